"""Captures whose coordinates float32 cannot bear (UTM, ECEF) come out like the same ones nearby."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from studio.cameras import Cameras, opencv_to_opengl
from studio.similarity import far_centre
from tests.unit.test_captures import (
    RADII,
    RIG,
    assert_same,
    read,
    write_colmap,
    write_ngp,
    write_poses_only,
)

ECEF = torch.tensor([3.2e6, -4.1e6, 3.7e6], dtype=torch.float64)
UTM = torch.tensor([500_123.4, 5_400_321.9, 300.0], dtype=torch.float64)


def far(cameras: Cameras, offset: Tensor) -> Cameras:
    """The cameras at huge coordinates, rotations exact to float64."""
    c2w = cameras.c2w.double()
    left, _, right = torch.linalg.svd(c2w[:, :3, :3])
    c2w[:, :3, :3] = left @ right
    c2w[:, :3, 3] += offset
    return Cameras(c2w, cameras.intrinsics, cameras.size)


@pytest.mark.parametrize("offset", [UTM, ECEF])
def test_colmap_far_away(tmp_path: Path, offset: Tensor) -> None:
    write_colmap(tmp_path, RIG, binary=False)
    (tmp_path / "sparse/0/points3D.txt").unlink()
    near = read("capture", tmp_path, centre="look-at")
    write_poses_only(tmp_path, far(RIG, offset))
    by_masks = read("capture", tmp_path)
    assert by_masks.bound == pytest.approx(near.bound, rel=0.2)
    views = read("capture", tmp_path, centre="look-at")
    assert views.bound == pytest.approx(near.bound, rel=0.1)
    torch.testing.assert_close(views.cameras.c2w, near.cameras.c2w, atol=1e-3, rtol=0)
    torch.testing.assert_close(views.mask, near.mask)
    assert views.to_world.dtype == torch.float64
    moved = views.to_world[:3, 3] - near.to_world[:3, 3]
    torch.testing.assert_close(moved, offset, atol=1e-3, rtol=0)


def test_transforms_far_away_are_centred_and_lead_back(tmp_path: Path) -> None:
    placed = far(RIG, ECEF)
    write_ngp(tmp_path, RIG)
    document = json.loads((tmp_path / "transforms.json").read_text())
    for frame, c2w in zip(document["frames"], placed.c2w, strict=True):
        frame["transform_matrix"] = opencv_to_opengl(c2w).tolist()
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    views = read("capture", tmp_path, up="keep")
    there = views.cameras.c2w.double()[:, :3, 3] + views.to_world[:3, 3]
    torch.testing.assert_close(there, placed.c2w[:, :3, 3], atol=1e-5, rtol=0)
    assert views.to_world[:3, 3].sub(ECEF).norm() < 0.3  # the object's middle is the origin
    shift = (views.to_world[:3, 3] - ECEF).float()
    moved = Cameras(views.cameras.c2w.clone(), views.cameras.intrinsics, views.cameras.size)
    moved.c2w[:, :3, 3] += shift
    assert_same(type(views)(views.images, moved), RIG, tolerance=1e-5)
    assert views.bound < 4 * float(RADII.max())


def test_what_is_near_stays_where_it_is() -> None:
    assert far_centre(RIG.c2w[:, :3, 3].double()) is None
    assert far_centre(far(RIG[[0]], ECEF).centres) is None  # one camera tells no size
    middle = far_centre(far(RIG, ECEF).centres)
    assert middle is not None and (middle - ECEF).norm() < 2
