"""`ViewSet`: pictures and cameras that belong together, and their way through a folder."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from studio.cameras import Cameras, orbit_cameras
from studio.errors import DataError
from studio.views import ViewSet


def views(count: int = 3, size: tuple[int, int] = (12, 16), ortho: bool = False) -> ViewSet:
    """Random 8-bit pictures on a rig whose numbers are not round."""
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 4, *size), generator=generator) / 255
    azimuth = [17.3 + 360 * i / count for i in range(count)]
    cameras = orbit_cameras(azimuth, 31.7, 1.53, 49.13, size)
    if ortho:
        cameras = dataclasses.replace(cameras, ortho_scale=torch.rand(count) + 1)
    return ViewSet(images, cameras, 0.517, {"method": "test", "seed": 3})


def with_other_intrinsics(cameras: Cameras) -> Cameras:
    """Another focal length per axis and view, and an off-centre principal point."""
    intrinsics = cameras.intrinsics.clone()
    for i in range(len(cameras)):
        intrinsics[i, 0, 0] *= 1.1 + 0.01 * i
        intrinsics[i, :2, 2] += torch.tensor([0.37, -1.21]) * (i + 1)
    return dataclasses.replace(cameras, intrinsics=intrinsics)


def assert_same(a: ViewSet, b: ViewSet) -> None:
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.cameras.c2w, b.cameras.c2w)
    assert torch.equal(a.cameras.intrinsics, b.cameras.intrinsics)
    assert a.cameras.size == b.cameras.size
    assert (a.cameras.ortho_scale is None) == (b.cameras.ortho_scale is None)
    if a.cameras.ortho_scale is not None and b.cameras.ortho_scale is not None:
        assert torch.equal(a.cameras.ortho_scale, b.cameras.ortho_scale)
    assert a.bound == b.bound and a.meta == b.meta


@pytest.mark.parametrize("ortho", [False, True])
def test_round_trip_is_exact(tmp_path: Path, ortho: bool) -> None:
    original = views(ortho=ortho)
    assert original.save(tmp_path / "v") == tmp_path / "v" / "transforms.json"
    loaded = ViewSet.load(tmp_path / "v")
    assert_same(loaded, original)
    assert loaded.names == ("000", "001", "002")


def test_round_trip_with_intrinsics_per_view_and_names(tmp_path: Path) -> None:
    plain = views()
    original = dataclasses.replace(
        plain, cameras=with_other_intrinsics(plain.cameras), names=("front", "left.side", "back 2")
    )
    original.save(tmp_path)
    loaded = ViewSet.load(tmp_path)
    assert_same(loaded, original)
    assert loaded.names == original.names


def test_saving_again_removes_the_pictures_of_before(tmp_path: Path) -> None:
    views(4).save(tmp_path)
    (tmp_path / "images" / "mine.txt").write_text("not ours")
    views(2).save(tmp_path)
    assert len(ViewSet.load(tmp_path)) == 2
    kept = sorted(p.name for p in (tmp_path / "images").iterdir())
    assert kept == ["000.png", "001.png", "mine.txt"]


def test_interrupted_saving_is_not_taken_for_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views().save(tmp_path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("studio.captures.transforms_writer.save_png", interrupt)
    with pytest.raises(KeyboardInterrupt):
        views().save(tmp_path)
    with pytest.raises(DataError, match=r"has no transforms\.json"):
        ViewSet.load(tmp_path)


def test_unsaveable_provenance_does_not_destroy_what_is_there(tmp_path: Path) -> None:
    views().save(tmp_path)
    with pytest.raises(ValueError, match="JSON compliant"):
        dataclasses.replace(views(), meta={"loss": float("nan")}).save(tmp_path)
    assert_same(ViewSet.load(tmp_path), views())


def test_names_must_differ(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="same name"):
        dataclasses.replace(views(), names=("a", "b", "a")).save(tmp_path)


def test_saved_file_has_what_other_programs_read(tmp_path: Path) -> None:
    original = views()
    document = json.loads(original.save(tmp_path).read_text())
    assert document["camera_model"] == "OPENCV"
    assert (document["w"], document["h"]) == (16, 12)
    assert document["fl_x"] == original.cameras.intrinsics[0, 0, 0].item()
    assert {"fl_y", "cx", "cy", "camera_angle_x", "aabb_scale"} <= set(document)
    frame = document["frames"][0]
    assert (tmp_path / frame["file_path"]).suffix == ".png"
    back = torch.tensor(frame["transform_matrix"])[:3, 2]  # OpenGL: +z points away from the scene
    centre = original.cameras.centres[0]
    torch.testing.assert_close(back, centre / centre.norm(), atol=1e-5, rtol=0)


def test_compositing_and_masks() -> None:
    some = views()
    white, black = some.rgb_on(1.0), some.rgb_on(0.0)
    torch.testing.assert_close(white - black, (1 - some.mask)[:, None].expand_as(white))


def test_selection_keeps_names() -> None:
    some = dataclasses.replace(views(), names=("a", "b", "c")).select([2, 0])
    assert some.names == ("c", "a") and len(some) == 2
    assert torch.equal(some.cameras.c2w, views().cameras.c2w[[2, 0]])


def test_pictures_and_cameras_must_agree() -> None:
    some = views()
    for images in (some.images[:2], some.images[:, :3], some.images[..., :8]):
        with pytest.raises(DataError, match="do not match"):
            ViewSet(images, some.cameras)
