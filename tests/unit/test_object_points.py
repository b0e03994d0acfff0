"""The object's box by sparse points: on a floor, among other things, with outliers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from studio.cameras import Cameras, orbit_cameras
from studio.captures.object_points import object_bound, object_box
from studio.data.layouts.placement import placement
from studio.errors import DataError
from studio.similarity import translation

MIDDLE, SIDES = torch.tensor([0.05, -0.1, 0.25]), torch.tensor([0.2, 0.3, 0.25])


def cameras() -> Cameras:
    seen = orbit_cameras(range(0, 360, 20), [20.0, 45.0] * 9, 2.0, 40.0, size=(48, 64))
    c2w = seen.c2w.clone()
    c2w[:, 2, 3] += 0.25  # they look at the middle of the object's height
    return replace(seen, c2w=c2w)


def box_points(middle: Tensor, sides: Tensor, count: int, seed: int) -> Tensor:
    """Points on the faces of a box."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 3, generator=generator) * 2 - 1
    face = torch.randint(3, (count,), generator=generator)
    points[torch.arange(count), face] = points[torch.arange(count), face].sign()
    return middle + points * sides


def scene(floor: bool = True) -> Tensor:
    """An object, the floor that it stands on, two crates, and points anywhere."""
    generator = torch.Generator().manual_seed(4)
    parts = [box_points(MIDDLE, SIDES, 900, 1)]
    for x, y in ((0.9, 0.4), (-0.7, -0.9)):
        parts.append(box_points(torch.tensor([x, y, 0.12]), torch.full((3,), 0.12), 250, 2))
    if floor:
        ground = torch.rand(2500, 3, generator=generator) * 4 - 2
        parts.append(ground * torch.tensor([1.0, 1.0, 0.002]))
    parts.append((torch.rand(120, 3, generator=generator) - 0.5) * 6)
    points = torch.cat(parts)
    return points + 0.003 * torch.randn(points.shape, generator=generator)


@pytest.mark.parametrize("floor", [True, False])
def test_the_box_is_that_of_the_object_alone(floor: bool) -> None:
    low, high = object_box(scene(floor), cameras())
    assert (low - (MIDDLE - SIDES)).abs().max() < 0.04
    assert (high - (MIDDLE + SIDES)).abs().max() < 0.04
    if floor:
        assert abs(float(low[2])) < 0.01, "it stands on the floor"


def test_a_tilted_world_is_understood_and_the_cube_is_snug() -> None:
    """As from COLMAP: turned about a level axis by 70 degrees, up told by the pictures."""
    angle = torch.tensor(70.0).deg2rad()
    c, s = float(angle.cos()), float(angle.sin())
    turn = torch.eye(4)
    turn[:3, :3] = torch.tensor([[1, 0, 0], [0, c, -s], [0, s, c]])
    turned, seen = scene() @ turn[:3, :3].T, cameras().placed(torch.linalg.inv(turn))
    to_world = placement(seen, centre="object", up="upright", points=turned, nearest=1.0)
    centre = to_world[:3, 3] @ turn[:3, :3]
    assert (centre - MIDDLE).abs().max() < 0.03
    size = torch.linalg.det(to_world[:3, :3]) ** (1 / 3)
    local = (turned - to_world[:3, 3]) @ to_world[:3, :3] / size**2
    bound = object_bound(local, seen.placed(to_world)) * size
    assert float(SIDES.max()) < float(bound) < 1.25 * float(SIDES.max())


def test_too_few_points_are_said_in_a_sentence() -> None:
    with pytest.raises(DataError, match="do not hang together"):
        object_box(scene()[-120:], cameras())
    with pytest.raises(DataError, match="no sparse points"):
        placement(cameras().placed(translation(MIDDLE)), centre="object", up="keep")
