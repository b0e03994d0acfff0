"""View consistency: high for renders of one object, low where a view was spoilt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from studio.cameras import Cameras, orbit_cameras
from studio.export.isosurface import extract_mesh
from studio.mesh import Mesh
from studio.metrics.consistency import view_consistency
from studio.ops.ray_caster import render_mesh
from studio.views import ViewSet


def snail(points: torch.Tensor) -> torch.Tensor:
    body = (points * torch.tensor([1.0, 2.0, 1.5])).norm(dim=1) / 1.5 - 0.25
    house = (points - torch.tensor([-0.1, 0.05, 0.2])).norm(dim=1) - 0.2
    return torch.minimum(body, house)


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    mesh = extract_mesh(snail, 0.5, 64)
    colours = 0.5 + 0.4 * np.sin(mesh.vertices * 9 + np.float32([0, 1, 2]))
    return replace(mesh, colours=colours.astype(np.float32))


@pytest.fixture(scope="module")
def views(mesh) -> ViewSet:
    cameras = orbit_cameras(range(0, 360, 30), [30.0, 0.0] * 6, size=64)
    return render_mesh(mesh, cameras, shading=False)


@pytest.fixture(scope="module")
def perfect(views):
    return view_consistency(views)


def test_renders_of_one_object_agree(perfect):
    assert perfect.silhouette_iou > 0.97
    assert perfect.colour_db > 24
    assert perfect.seen_twice > 0.9


def test_a_rotated_view_is_noticed_and_named(views, perfect):
    images = views.images.clone()
    images[4] = images[4].flip(-1)
    spoilt = view_consistency(replace(views, images=images))
    assert spoilt.silhouette_iou < perfect.silhouette_iou - 0.02
    assert spoilt.colour_db < perfect.colour_db - 3


def test_swapped_views_are_noticed(views, perfect):
    order = list(range(len(views)))
    order[2], order[5] = 5, 2
    spoilt = view_consistency(replace(views, images=views.images[order]))
    assert spoilt.silhouette_iou < perfect.silhouette_iou - 0.05
    assert spoilt.worst_view in (2, 5)
    assert spoilt.colour_db < perfect.colour_db - 6


def test_colour_jitter_harms_colours_alone_and_by_its_size(views, perfect):
    random = torch.Generator().manual_seed(0)

    def jittered(size: float):
        shift = size * torch.randn(len(views), 3, 1, 1, generator=random)
        images = torch.cat([views.images[:, :3] + shift, views.images[:, 3:]], 1)
        return view_consistency(replace(views, images=images))

    small, large = jittered(0.05), jittered(0.2)
    assert small.silhouette_iou == pytest.approx(perfect.silhouette_iou)
    assert perfect.colour_std < small.colour_std < large.colour_std
    assert large.colour_std == pytest.approx(0.2, rel=0.35)


def test_a_missing_half_in_one_view_is_noticed(views, perfect):
    images = views.images.clone()
    images[0, :, :, :32] = 0
    spoilt = view_consistency(replace(views, images=images))
    assert spoilt.silhouette_iou < perfect.silhouette_iou - 0.05


def test_a_common_shift_of_all_cameras_around_z_changes_nothing(views, perfect):
    turn = torch.eye(4)
    turn[:2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    turned = replace(views, cameras=replace(views.cameras, c2w=turn @ views.cameras.c2w))
    again = view_consistency(turned)
    assert again.silhouette_iou == pytest.approx(perfect.silhouette_iou, abs=0.01)
    assert again.colour_db == pytest.approx(perfect.colour_db, abs=1.0)


def test_orthographic_and_oblong_pictures(mesh):
    base = orbit_cameras(range(0, 360, 45), [20.0, -20.0] * 4, size=(48, 80))
    cameras = Cameras(base.c2w, base.intrinsics, base.size, torch.full((8,), 1.2))
    measured = view_consistency(render_mesh(mesh, cameras, shading=False))
    assert measured.silhouette_iou > 0.96
    assert measured.colour_db > 22


def test_empty_pictures_have_no_colour_figure(views):
    measured = view_consistency(replace(views, images=torch.zeros_like(views.images)))
    assert np.isnan(measured.colour_std) and measured.seen_twice == 0.0


def test_one_view_is_refused(views):
    with pytest.raises(ValueError, match="two views"):
        view_consistency(views.select([0]))
