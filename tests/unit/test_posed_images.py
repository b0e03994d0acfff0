"""Posed pictures as references: any shape, twice, and cameras that cannot be meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.cameras import Cameras, orbit_cameras
from studio.data.conditions.posed_images import PosedImagesData
from studio.errors import ConfigError, DataError
from studio.views import Condition, ViewSet


def save(folder: Path, cameras: Cameras, size: tuple[int, int] = (16, 24)) -> Path:
    """Write views of a ball at the origin."""
    cameras = replace(cameras, intrinsics=cameras.resized(*size).intrinsics, size=size)
    cameras.intrinsics[:, 0, 0] = cameras.intrinsics[:, 1, 1]
    images = torch.zeros(len(cameras), 4, *size)
    y, x = (torch.arange(n) + 0.5 - n / 2 for n in size)
    images[:, :, (x**2 + y[:, None] ** 2) < 36] = 1.0
    ViewSet(images, cameras, bound=0.5).save(folder)
    return folder


def condition(root: Path, **options: Any) -> Condition:
    return PosedImagesData(PosedImagesData.Config(str(root), **options)).condition()


def test_wide_pictures_become_squares_in_which_every_point_keeps_its_place(tmp_path: Path) -> None:
    root = save(tmp_path, orbit_cameras([0.0, 90.0, 200.0], 20.0, radius=3.0))
    given = ViewSet.load(root)
    made = condition(root, resolution=24, rescale=False).views
    assert made is not None and made.images.shape == (3, 4, 24, 24)
    torch.testing.assert_close(made.images[:, :, 4:20], given.images)
    assert not made.images[:, :, :4].any() and not made.images[:, :, 20:].any()
    points = torch.tensor([[0.1, 0.2, -0.1], [-0.3, 0.1, 0.2]])
    before, after = given.cameras.project(points)[0], made.cameras.project(points)[0]
    torch.testing.assert_close(after, before + torch.tensor([0.0, 4.0]))


def test_a_picture_may_be_given_twice(tmp_path: Path) -> None:
    root = save(tmp_path, orbit_cameras([0.0, 90.0], 20.0))
    views = condition(root, references=[1, 1, 0], resolution=24).views
    assert views is not None and len(views) == 3
    torch.testing.assert_close(views.cameras.c2w[0], views.cameras.c2w[1])
    views.save(tmp_path / "again")


def test_cameras_that_look_away_are_refused(tmp_path: Path) -> None:
    cameras = orbit_cameras([0.0, 90.0], 20.0)
    turned = cameras.c2w.clone()
    turned[1, :3, :3] *= torch.tensor([-1.0, 1.0, -1.0])
    with pytest.raises(DataError, match=r"pictures \[1\] of .* look away"):
        condition(save(tmp_path, replace(cameras, c2w=turned)))


def test_numbers_of_pictures(tmp_path: Path) -> None:
    root = save(tmp_path, orbit_cameras([0.0, 90.0], 20.0))
    assert len(condition(root, count=0).views or ()) == 2
    with pytest.raises(ConfigError, match="count is -1"):
        condition(root, count=-1)
    with pytest.raises(DataError, match="0 to 1"):
        condition(root, references=[2])
