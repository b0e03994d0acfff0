"""Pictures on a mesh: compiled loops against Embree's rays and torch's lookups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample

from studio.cameras import Cameras, look_at, orbit_cameras, pinhole_intrinsics
from studio.export import view_kernels as kernels
from studio.export.isosurface import extract_mesh
from studio.export.projection import ProjectedView, matrices
from studio.mesh import Mesh
from studio.ops.ray_caster import RayCaster
from studio.views import ViewSet

SIZE = (40, 56)


@pytest.fixture(scope="module")
def two() -> Mesh:
    """A ring around a ball: it hides parts of it."""

    def field(p: torch.Tensor) -> torch.Tensor:
        ring = torch.stack([p[:, :2].norm(dim=1) - 0.36, p[:, 2]], 1).norm(dim=1) - 0.06
        return torch.minimum(ring, p.norm(dim=1) - 0.2)

    return extract_mesh(field, 0.5, 64, faces=3000).with_normals()


def cameras(kind: str) -> Cameras:
    """One of each kind; that within stands between ring and ball, with parts behind it."""
    if kind == "within":
        eye, target = torch.tensor([[0.0, -0.28, 0.02]]), torch.tensor([[0.3, 0.2, 0.0]])
        return Cameras(look_at(eye, target), pinhole_intrinsics(90.0, SIZE)[None], SIZE)
    seen = orbit_cameras([30.0], 25.0, size=40)
    shifted = seen.intrinsics.clone()
    shifted[:, 0, 1], shifted[:, 0, 2] = 3.0, 25.0  # a skewed lens beside the middle
    seen = replace(seen, intrinsics=shifted, size=SIZE)
    return seen if kind == "perspective" else replace(seen, ortho_scale=torch.tensor([1.1]))


def projected(mesh: Mesh, camera: Cameras) -> ProjectedView:
    pictures = ViewSet(torch.rand(1, 4, *SIZE, generator=torch.Generator().manual_seed(0)), camera)
    pictures.images[:, 3] = 1
    return ProjectedView.of(mesh.vertices[mesh.faces].astype(np.float64), pictures, 0, 0.8)


@pytest.mark.parametrize("kind", ["perspective", "orthographic", "within"])
def test_samples_meet_what_rays_meet(two, kind):
    camera, (h, w) = cameras(kind), SIZE
    view = projected(two, camera)
    row, column = np.indices((2 * h, 2 * w)).reshape(2, -1)
    at = torch.from_numpy(np.stack([column + 0.5, row + 0.5], 1) / 2).float()
    rays = camera.rays(at[None])
    found = RayCaster(two.vertices, two.faces).cast(rays.origins.numpy(), rays.directions.numpy())
    met = found["primID"] >= 0
    assert 0.1 < met.mean() < 0.9
    distance = view.distance.reshape(-1)
    assert (np.isfinite(distance) == met).mean() > 0.998
    both = np.isfinite(distance) & met
    assert np.quantile(np.abs(distance - found["tfar"])[both], 0.998) < 1e-4
    hits = view.hits
    corners = two.vertices[two.faces[hits.face]]
    weights = np.concatenate([1 - hits.weights.sum(2, keepdims=True), hits.weights], 2)
    assert weights.min() > -1e-5
    there = np.einsum("ksc,kscd->ksd", weights, corners).reshape(-1, 3)
    pixels, _ = camera.project(torch.from_numpy(there.astype(np.float32)))
    column, row = hits.pixel % w, hits.pixel // w
    wanted = [(column + dx, row + dy) for dy in (0.25, 0.75) for dx in (0.25, 0.75)]
    wanted = np.stack([np.stack(place, 1) for place in wanted], 1).reshape(-1, 2)
    assert np.abs(pixels[0].numpy() - wanted).max() < 1e-3


@pytest.mark.parametrize("kind", ["perspective", "orthographic", "within"])
def test_a_picture_shows_the_points_that_it_sees(two, kind):
    camera = cameras(kind)
    view = projected(two, camera)
    sight = view.sight(two.vertices, two.normals, 0.8)
    assert len(np.unique(sight.index)) == len(sight.index) > 50
    points = torch.from_numpy(two.vertices[sight.index])
    pixels, depth = camera.project(points)
    assert np.abs(pixels[0].numpy() - sight.at).max() < 1e-3 and depth.min() > 0
    away = points - camera.centres
    rays = torch.nn.functional.normalize(away, dim=1)
    if camera.ortho_scale is not None:
        rays = camera.c2w[:, :3, 2].expand_as(points)
    cosine = -(rays.numpy() * two.normals[sight.index]).sum(1)
    assert np.abs(cosine - sight.facing).max() < 1e-5 and sight.facing.min() > 0.15
    starts = points - 2 * rays if camera.ortho_scale is not None else camera.centres.expand_as(rays)
    found = RayCaster(two.vertices, two.faces).cast(starts.numpy(), rays.numpy())
    reach = (points - starts).norm(dim=1).numpy()
    assert (found["tfar"] > reach - 0.02).all(), "nothing hides them"
    assert ((sight.trust > 0) & (sight.trust <= 1)).all()


def test_lookups_are_those_of_torch():
    rng = np.random.default_rng(0)
    texture = rng.random((17, 17, 3), np.float32)
    corners = (17 * rng.random((5, 3, 2), np.float32)).astype(np.float32)
    face = rng.integers(0, 5, (30, 4)).astype(np.int32)
    weights = rng.dirichlet([1, 1, 1], (30, 4)).astype(np.float32)
    shown = np.empty((30, 3), np.float32)
    kernels.look_up(texture, corners, face, weights[..., 1:], shown)
    at = np.einsum("ksc,kscd->ksd", weights, corners[face])
    grid = torch.from_numpy(2 * at / 17 - 1).float()[None]
    picture = torch.from_numpy(texture).permute(2, 0, 1)[None]
    wanted = grid_sample(picture, grid, padding_mode="border", align_corners=False).mean(-1)[0].T
    assert np.abs(shown - wanted.numpy()).max() < 1e-5
    values = rng.random((5, 3, 3), np.float32)
    kernels.blend(values, face, weights[..., 1:], shown)
    assert np.abs(shown - np.einsum("ksc,kscd->ksd", weights, values[face]).mean(1)).max() < 1e-6


def test_corrections_are_weighted_lookups():
    rng = np.random.default_rng(1)
    beyond, at = rng.standard_normal((9, 13, 3)).astype(np.float32), rng.random((20, 2)) * [13, 9]
    share, index = rng.random(20).astype(np.float32), rng.permutation(25)[:20].astype(np.int32)
    total, power = np.ones((25, 3), np.float32), np.ones(25, np.float32)
    kernels.add_corrections(beyond, index, at.astype(np.float32), share, total, power)
    grid = torch.from_numpy(2 * at / [13, 9] - 1).float()[None, None]
    picture = torch.from_numpy(beyond).permute(2, 0, 1)[None]
    change = grid_sample(picture, grid, padding_mode="border", align_corners=False)[0, :, 0].T
    change = change.numpy()
    assert np.abs(total[index] - 1 - change * share[:, None]).max() < 1e-5
    assert np.abs(power[index] - 1 - (change**2).sum(1) * share).max() < 1e-5
    others = np.setdiff1d(np.arange(25), index)
    assert (total[others] == 1).all() and (power[others] == 1).all()


def test_a_camera_as_the_loops_have_it(two):
    for kind in ("perspective", "orthographic"):
        camera = cameras(kind)
        matrix, _ = matrices(camera)
        x, y, w, depth = matrix @ np.concatenate([two.vertices.T, np.ones((1, len(two.vertices)))])
        pixels, wanted = camera.project(torch.from_numpy(two.vertices))
        assert np.abs(np.stack([x / w, y / w], 1) - pixels[0].numpy()).max() < 1e-3
        assert np.abs(depth - wanted[0].numpy()).max() < 1e-5
