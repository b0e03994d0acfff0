"""A declared box is believed only where it fits what cameras, pictures and masks show."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.cameras import Cameras
from studio.captures.bounds import believed_bound, hull_box
from studio.errors import CameraError, ConfigError, DataError, StudioError
from tests.unit.test_captures import RIG, photograph, read, write_ngp

MASK = photograph(RIG)[:, 3]
TRUE = 0.45  # how far the balls reach


@pytest.mark.parametrize("aabb", [4, 16, 128])
def test_a_box_of_instant_ngp_is_never_many_times_the_object(
    tmp_path: Path, aabb: int, caplog: pytest.LogCaptureFixture
) -> None:
    write_ngp(tmp_path / "plain", RIG)
    write_ngp(tmp_path / "boxed", RIG, scale=0.33, offset=[0.5, 0.5, 0.5], aabb_scale=aabb)
    plain = read("capture", tmp_path / "plain").bound
    with caplog.at_level(logging.WARNING):
        assert read("capture", tmp_path / "boxed").bound == pytest.approx(plain, rel=1e-5)
    assert "declared box reaches to" in caplog.text


def with_bound(root: Path, bound: Any) -> Path:
    write_ngp(root, RIG)
    document = json.loads((root / "transforms.json").read_text())
    document["studio"] = {"bound": bound}
    (root / "transforms.json").write_text(json.dumps(document))
    return root


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan"), float("inf")])
def test_bounds_that_are_none_are_refused(tmp_path: Path, bound: float) -> None:
    with pytest.raises(DataError, match="bound is"):
        read("capture", with_bound(tmp_path, bound))
    with pytest.raises(StudioError, match="data.bound is"):
        read("capture", tmp_path, bound=bound)


@pytest.mark.parametrize(
    ("bound", "kept"), [(0.5, True), (0.6, True), (0.9, False), (20.0, False), (0.1, False)]
)
def test_bounds_in_files_are_checked(tmp_path: Path, bound: float, kept: bool) -> None:
    found = read("capture", with_bound(tmp_path, bound)).bound
    assert found == bound if kept else TRUE * 0.85 < found < TRUE * 1.25


def test_the_users_own_bound_counts_unless_it_is_absurd(tmp_path: Path) -> None:
    write_ngp(tmp_path, RIG)
    assert read("capture", tmp_path, bound=2.0).bound == 2.0
    with pytest.raises(DataError, match=r"data.bound is 40, [\d.]+ times what the pictures show"):
        read("capture", tmp_path, bound=40.0)


def test_pictures_without_masks_bear_what_they_show() -> None:
    full = torch.ones_like(MASK)
    assert believed_bound(0.8, full, RIG, "here") == 0.8
    assert believed_bound(0.2, full, RIG, "here") == 0.2  # part of a scene may be wanted
    assert believed_bound(24.0, full, RIG, "here") is None


def test_masks_that_disagree_do_not_shrink_a_box() -> None:
    apart = torch.zeros_like(MASK)
    for i in range(len(apart)):
        apart[i, 2 + 6 * i : 6 + 6 * i, 4 * i : 4 * i + 8] = 1.0
    assert believed_bound(0.6, apart, RIG, "here") == 0.6


def test_orthographic_scales_must_be_finite() -> None:
    with pytest.raises(CameraError, match="finite"):
        dataclasses.replace(RIG, ortho_scale=torch.full((5,), float("inf")))
    views = Cameras(RIG.c2w, RIG.intrinsics, RIG.size, torch.full((5,), 2.0))
    assert believed_bound(0.5, photograph(views)[:, 3], views, "here") == 0.5
    assert believed_bound(9.0, photograph(views)[:, 3], views, "here") is None


def test_a_picture_without_the_object_does_not_change_the_bound() -> None:
    spoilt = MASK.clone()
    spoilt[1] = 0
    seen = [i for i in range(len(MASK)) if i != 1]
    low, high = hull_box(spoilt, RIG, 1.0)
    assert torch.equal(low, hull_box(MASK[seen], RIG[seen], 1.0)[0])
    assert float(torch.maximum(high, -low).max()) < 1.25 * TRUE


@pytest.mark.parametrize("away", [5e5, 6.4e6])
def test_far_captures_are_centred_on_their_masks(tmp_path: Path, away: float) -> None:
    """The cameras' middle is not the object: they stand above it."""
    write_ngp(tmp_path / "near", RIG)
    write_ngp(tmp_path / "far", RIG)
    path = tmp_path / "far/transforms.json"
    document = json.loads(path.read_text())
    for frame in document["frames"]:
        for axis in range(3):
            frame["transform_matrix"][axis][3] += away
    path.write_text(json.dumps(document))
    near, far = (read("capture", tmp_path / name).bound for name in ("near", "far"))
    assert far == pytest.approx(near, rel=0.1)


def test_an_absurd_bound_is_printed_briefly(tmp_path: Path) -> None:
    write_ngp(tmp_path, RIG)
    with pytest.raises(ConfigError, match="above 0, up to") as caught:
        read("capture", tmp_path, bound=1e300)
    assert len(str(caught.value)) < 300
