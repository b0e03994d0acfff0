"""What cameras leave open about a scene's place is an error or left alone, never rounding."""

import dataclasses

import pytest
import torch
from torch import Tensor

from studio.cameras import Cameras, look_at, orbit_cameras
from studio.data.layouts.placement import (
    centre_point,
    lying,
    placement,
    rotation_to_z,
    tells_up,
    up_direction,
)
from studio.errors import DataError

ORIGIN = torch.zeros(3)


def around(elevation: list[float]) -> Cameras:
    return orbit_cameras([k * 45.0 for k in range(8)], elevation, 2.0, 45.0, 16)


def rolled(cameras: Cameras, degrees: Tensor) -> Cameras:
    """The cameras, each turned about its viewing axis."""
    cos, sin = torch.deg2rad(degrees).cos(), torch.deg2rad(degrees).sin()
    turn = torch.eye(4).repeat(len(cameras), 1, 1)
    turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1] = cos, -sin, sin, cos
    return dataclasses.replace(cameras, c2w=cameras.c2w @ turn)


@pytest.mark.parametrize("elevation", [[0.0] * 8, [30.0, -30.0] * 4, [0.5, -0.4] * 4])
def test_positions_around_the_centre_do_not_tell_up(elevation: list[float]) -> None:
    with pytest.raises(DataError, match=r"data.up=positions(.|\n)*upright"):
        up_direction("positions", around(elevation), ORIGIN)
    with pytest.raises(DataError, match="upright"):
        placement(around([20.0] * 8), centre="cameras", up="positions")


def test_positions_above_the_centre_tell_up() -> None:
    up = up_direction("positions", around([20.0] * 8), ORIGIN)
    torch.testing.assert_close(up, torch.tensor([0.0, 0, 1]), atol=1e-5, rtol=0)


def test_pictures_turned_all_ways_do_not_tell_up() -> None:
    level = around([20.0] * 8)
    assert tells_up(level)
    upside_down = rolled(level, torch.tensor([0.0, 180.0] * 4))
    with pytest.raises(DataError, match=r"data.up=upright(.|\n)*positions"):
        up_direction("upright", upside_down, ORIGIN)
    assert not tells_up(upside_down)
    portrait = rolled(level, torch.tensor([0.0, 0, 0, 0, 0, 90, 0, 0]))  # one of eight
    up = up_direction("upright", portrait, ORIGIN)
    assert up is not None and up[2] > 0.95


def test_a_world_whose_up_is_not_that_of_level_pictures_is_told() -> None:
    level = around([20.0, 35.0] * 4)
    assert lying(level) is None
    tipped = torch.eye(4)
    tipped[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # +z becomes +y
    for turn, axis in ((tipped, "+y"), (tipped.T, "-y")):
        assert lying(dataclasses.replace(level, c2w=turn @ level.c2w)) == axis
    down = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    assert lying(dataclasses.replace(level, c2w=down @ level.c2w)) == "-z"
    by_hand = rolled(level, torch.tensor([0.0, 50, -40, 60, 0, 90, 20, -70]))
    assert lying(dataclasses.replace(by_hand, c2w=tipped @ by_hand.c2w)) is None


def test_an_upright_world_is_not_turned_by_rounding() -> None:
    for tilt in ([3e-6, -2e-6, 1.0], [-1e-4, 5e-5, 1.0]):
        assert torch.equal(rotation_to_z(torch.tensor(tilt)), torch.eye(3))
    flipped = rotation_to_z(torch.tensor([2e-6, 0.0, -1.0]))
    assert torch.equal(flipped, torch.diag(torch.tensor([1.0, -1.0, -1.0])))


def test_parallel_axes_have_no_nearest_points() -> None:
    one = around([0.0] * 8)[[0, 0, 0]]
    one.c2w[:, 1, 3] += torch.tensor([0.0, 0.5, 1.0])
    with pytest.raises(DataError, match="look-at-pairs"):
        centre_point("look-at-pairs", one)
    mixed = Cameras(
        torch.cat([one.c2w, around([0.0] * 8).c2w[2:]]), one.intrinsics[[0] * 9], one.size
    )
    assert centre_point("look-at-pairs", mixed).norm() < 1.0


def test_a_camera_at_the_centre_gives_no_scale() -> None:
    ring = around([20.0] * 8)
    inside = look_at(torch.tensor([[1e-5, 0.0, 0.0]]), torch.tensor([1.0, 0.0, 0.0]))
    cameras = Cameras(torch.cat([ring.c2w, inside]), ring.intrinsics[[0] * 9], ring.size)
    with pytest.raises(DataError, match="camera 8 stands at the scene's centre"):
        placement(cameras, centre="keep", up="keep", nearest=1.0)
    assert torch.equal(placement(cameras, centre="keep", up="keep", nearest=None), torch.eye(4))
