"""Exposures and small errors of poses are corrected during the fit."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.captures import exposed, unposed
from studio.cameras import Cameras, Rays
from studio.metrics.exposure import exposure_logs
from studio.models.sdf.alignment import PictureSlopes, turned
from studio.models.sdf.corrections import CorrectionConfig, Corrections
from studio.models.sdf.ray_pool import RayBatch
from studio.ops.visual_hull import Frame
from studio.systems.findings import corrections
from studio.systems.reconstruction import Reconstruction
from studio.views import ViewSet
from tests.unit.test_reconstruction import RADIUS, small_config, sphere_views

FRAME = Frame(torch.tensor([0.02, -0.01, 0.03]), 0.4)


def shown(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """A smoothly coloured ball's colours and distances along rays of the frame; misses are NaN."""
    o, radius = FRAME.to_world(origins) / RADIUS, 1.0
    along = (o * directions).sum(-1)
    root = along**2 - o.square().sum(-1) + radius
    depth = -along - root.sqrt()
    colour = torch.sin(2 * (o + depth[:, None] * directions)) * 0.5 + 0.5
    return colour, depth * RADIUS / FRAME.half


def moved(rays: Rays, rotation: Tensor, shift: Tensor) -> Rays:
    return Rays(rays.origins @ rotation.T + shift, rays.directions @ rotation.T)


def batch_of(cameras: Cameras, view: int, pixels: Tensor) -> RayBatch:
    rays = cameras[[view]].rays(pixels[None])
    local = Rays(FRAME.to_local(rays.origins), rays.directions)
    return RayBatch(local, torch.ones(len(pixels), 4), None, torch.full((len(pixels),), view))


def pictures(cameras: Cameras) -> Tensor:
    h, w = cameras.size
    rays = cameras.rays()
    colour, depth = shown(FRAME.to_local(rays.origins), rays.directions)
    hit = depth.isfinite()
    rgba = torch.cat([torch.where(hit[:, None], colour, 0.0), hit[:, None].float()], 1)
    return rgba.view(len(cameras), h, w, 4).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("orthographic", [False, True])
def test_slopes_of_pictures_tell_what_rays_of_a_moved_camera_see(orthographic: bool) -> None:
    cameras = sphere_views(256).cameras[[1, 9]]
    if orthographic:
        cameras = replace(cameras, ortho_scale=torch.full((2,), 0.9))
    views = ViewSet(pictures(cameras), cameras)
    slopes = PictureSlopes(views, FRAME, torch.device("cpu"))
    rotation, shift = turned(torch.tensor([[0.0, 0, 0], [0.03, -0.02, 0.01]])), torch.zeros(2, 3)
    shift[1] = torch.tensor([0.02, 0.03, -0.01])
    pixels = torch.rand(200, 2) * 60 + 98
    given = batch_of(cameras, 1, pixels)
    turn, move = torch.tensor([0.004, -0.003, 0.002]), torch.tensor([0.003, -0.004, 0.002])

    def true(rays: Rays) -> tuple[Tensor, Tensor]:  # the object moves with the camera: it is right
        return shown((rays.origins - shift[1]) @ rotation[1], rays.directions @ rotation[1])

    rays = moved(given.rays, rotation[1], shift[1])
    before, depth = true(rays)
    change = true(moved(rays, turned(turn[None])[0], move))[0] - before
    points = rays.origins + depth[:, None] * rays.directions
    motion, _ = slopes(replace(given, rays=rays), points, rotation, shift, 1.0)
    way = torch.linalg.cross(turn.expand_as(points), points) + move
    told = (motion * way[:, None]).sum(-1)[:, :3]
    assert (told - change).abs().median() < 0.06 * change.abs().median()


def begun(views: ViewSet, options: Reconstruction.Config) -> Reconstruction:
    torch.manual_seed(0)
    system = Reconstruction(options)
    system.set_views(views)
    return system


def go_on(system: Reconstruction, steps: int) -> None:
    system.model.start(40)
    for _ in range(steps):
        system.model.step()


def fitted(views: ViewSet, steps: int = 150, **correct: object) -> Reconstruction:
    system = begun(views, small_config(correct=correct, rays_per_step=256))
    system.model.start(steps)
    while not system.model.done:
        system.model.step()
    return system


def pixels_off(views: ViewSet, true: ViewSet) -> float:
    points = torch.cartesian_prod(*[torch.linspace(-0.2, 0.2, 3)] * 3)
    off = views.cameras.project(points)[0] - true.cameras.project(points)[0]
    return float(off.square().sum(-1).mean().sqrt())


def factors_of(system: Reconstruction) -> Tensor:
    rows = system.model.corrected(system.views).meta["corrections"]
    return torch.tensor([row["factors"] for row in rows])


def dim(views: ViewSet) -> ViewSet:
    """The views without pixels that burn out in brighter pictures."""
    return replace(views, images=views.images * torch.tensor([0.7, 0.7, 0.7, 1])[:, None, None])


def test_exposures_are_found_and_pictures_made_even() -> None:
    true = dim(sphere_views())
    uneven = exposed(true)
    system = begun(uneven, small_config(correct={"exposure": True}))
    views = system.model.corrected(uneven)
    before, after = ((v.rgb_on(0) - true.rgb_on(0)).abs().mean() for v in (uneven, views))
    assert after < 0.25 * before
    assert factors_of(system).log().mean(0).abs().max() < 1e-4
    assert torch.equal(views.mask, true.mask) and torch.equal(views.cameras.c2w, true.cameras.c2w)


def test_equal_exposures_stay_as_they_are() -> None:
    assert exposure_logs(dim(sphere_views())).abs().max() < 0.05


def test_poses_that_are_a_little_off_are_corrected() -> None:
    true = sphere_views()
    off = unposed(true, 2.0, 0.02)
    views = fitted(off, 200, poses=True).model.corrected(off)
    assert pixels_off(views, true) < 0.4 * pixels_off(off, true)
    (line,) = corrections(views)
    assert line.startswith("poses corrected by") and "of the distance" in line
    rotation = views.cameras.c2w[:, :3, :3]
    assert torch.allclose(rotation @ rotation.transpose(1, 2), torch.eye(3), atol=1e-5)


def test_the_fit_and_all_that_follows_see_even_pictures() -> None:
    uneven = exposed(dim(sphere_views(16)))
    system = begun(uneven, small_config(correct={"exposure": True}))
    even, pool = system.model.corrected(uneven), system.model.fitter.pool
    first = even.images[0].reshape(4, -1).T
    assert all((first - target).abs().sum(1).min() == 0 for target in pool.target[:20])
    assert "exposures corrected by a factor of" in corrections(even)[0]


def test_without_corrections_nothing_is_changed() -> None:
    system = Reconstruction(small_config())
    system.set_views(views := sphere_views())
    assert system.model.fitter.corrections is None and system.model.corrected(views) is views
    assert "corrections" not in system.model.fit_state()


def test_a_resumed_fit_ends_with_the_same_corrections() -> None:
    views, correct = exposed(unposed(sphere_views(16), 1.0, 0.01)), {"poses": True}
    options = small_config(correct={**correct, "exposure": True}, rays_per_step=256)
    whole, half, other = (begun(views, options) for _ in range(3))
    go_on(whole, 40)
    go_on(half, 25)
    file = io.BytesIO()
    torch.save([half.state_dict(), half.model.optimizer.state_dict(), half.model.fit_state()], file)
    file.seek(0)
    weights, moments, state = torch.load(file, weights_only=True)
    other.load_state_dict(weights)
    other.model.optimizer.load_state_dict(moments)
    other.model.load_fit_state(state)
    assert torch.equal(other.model.fitter.corrections.values, half.model.fitter.corrections.values)
    go_on(other, 15)
    for name in ("values", "sums", "seen"):
        found, wanted = (getattr(s.model.fitter.corrections, name) for s in (other, whole))
        assert torch.equal(found, wanted), name
    assert bool(wanted.any()) and bool(state["corrections"]["values"].any())


def test_corrections_of_other_views_are_refused() -> None:
    state = fitted(sphere_views(16), 1, poses=True).model.fitter.corrections.state_dict()
    few = sphere_views(16).select([0, 2, 4, 6, 9, 10])
    with pytest.raises(ValueError, match="corrections of 11 views, not of 6"):
        fitted(few, 1, poses=True).model.fitter.corrections.load_state_dict(state)


def test_given_pictures_among_the_views_stay_as_they_are() -> None:
    views = sphere_views(16)
    found = Corrections(CorrectionConfig(poses=True), views, FRAME, torch.device("cpu"), fixed=1)
    found.values[:-1] = 0.1  # of the views, and not of what follows them
    found._settle()
    rays = Rays(torch.randn(2, 3), torch.nn.functional.normalize(torch.randn(2, 3), dim=1))
    given = RayBatch(rays, torch.rand(2, 4), None, torch.tensor([0, 11]), torch.randn(2, 3))
    batch = found(given)
    same = [(batch.rays.origins, rays.origins), (batch.rays.directions, rays.directions)]
    same.append((batch.normals, given.normals))
    for a, b in same:
        assert torch.equal(a[1], b[1]) and not torch.allclose(a[0], b[0])
