"""The reader of Zero-1-to-3's training data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from studio.cameras import CANONICAL_FOV_DEG, orbit_cameras
from studio.data.training.views_release import ViewsReleaseData, fixed_views, read_camera
from studio.errors import ConfigError, DataError
from studio.plugins.options import build

AZIMUTHS = [0.0, 40.0, 200.0]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four objects of three views with known cameras, half of every picture half transparent."""
    cameras = orbit_cameras(AZIMUTHS, [10.0, -20.0, 60.0], 1.7, size=16)
    pixels = np.zeros((16, 16, 4), dtype=np.uint8)
    pixels[4:12, 4:12] = (200, 40, 0, 255)
    pixels[4:12, 8:12, 3] = 51  # alpha 0.2
    for name in ("a", "b", "c", "sub/d"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for k in range(3):
            opengl = cameras.c2w[k].double().numpy() * [1, -1, -1, 1]
            np.save(folder / f"{k:03d}.npy", np.linalg.inv(opengl)[:3])
            Image.fromarray(pixels).save(folder / f"{k:03d}.png")
    (tmp_path / "valid_paths.json").write_text(json.dumps(["a", "b", "c", "sub/d"]))
    return tmp_path


def _data(root: Path, **options: object) -> ViewsReleaseData:
    given = {"root": str(root), "size": 16, "total_view": 3, "train_share": 0.75, **options}
    return build("data", "views-release", given, key="data")


def test_cameras_come_back_in_our_convention(root: Path) -> None:
    want = orbit_cameras(AZIMUTHS, [10.0, -20.0, 60.0], 1.7, CANONICAL_FOV_DEG, 16)
    item = _data(root).dataset("train").views(0, [1, 2], 0)
    torch.testing.assert_close(item["cond_c2w"], want.c2w[0])
    torch.testing.assert_close(item["c2w"], want.c2w[1:])
    torch.testing.assert_close(item["intrinsics"], want.intrinsics[1:])


def test_compositing(root: Path) -> None:
    colour = torch.tensor([200.0, 40.0, 0.0]) / 255
    right = _data(root).dataset("train").views(0, [0], 1)["images"][0] / 2 + 0.5
    torch.testing.assert_close(right[:, 5, 10], colour * 0.2 + 0.8, atol=1e-6, rtol=0)
    raw = _data(root, compositing="released").dataset("train").views(0, [0], 1)["images"][0]
    torch.testing.assert_close(raw[:, 5, 10] / 2 + 0.5, colour, atol=1.01 / 255, rtol=0)
    for picture in (right, raw / 2 + 0.5):
        assert (picture[:, 0, 0] == 1).all()
        torch.testing.assert_close(picture[:, 5, 5], colour, atol=1.01 / 255, rtol=0)


def test_splits_follow_the_list(root: Path) -> None:
    data = _data(root)
    assert data.dataset("train").paths == ["a", "b", "c"]
    assert data.dataset("val").paths == ["sub/d"]
    with pytest.raises(DataError, match="val split .* is empty"):
        _data(root, train_share=1.0).dataset("val")


def test_batches_and_draws(root: Path) -> None:
    data = _data(root, targets=2)
    batch = next(iter(DataLoader(data.dataset("train"), batch_size=3)))
    shapes = {k: tuple(v.shape) for k, v in batch.items()}
    assert shapes == {
        "images": (3, 2, 3, 16, 16),
        "cond_image": (3, 3, 16, 16),
        "c2w": (3, 2, 4, 4),
        "cond_c2w": (3, 4, 4),
        "intrinsics": (3, 2, 3, 3),
    }
    val = data.dataset("val")
    assert torch.equal(val[0]["c2w"], val[0]["c2w"])
    seen = torch.cat([val[0]["c2w"], val[0]["cond_c2w"][None]])[:, :3, 3]
    assert len({tuple(row.tolist()) for row in seen}) == 3  # without replacement


def test_camera_to_world_files_are_refused(root: Path) -> None:
    np.save(root / "a" / "000.npy", np.eye(4))
    with pytest.raises(DataError, match="4x4") as caught:
        _data(root).dataset("train").views(0, [1], 0)
    assert "3x4 world-to-camera" in str(caught.value)


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.full((3, 4), np.nan), np.ones((3, 4))])
def test_impossible_cameras_are_refused(tmp_path: Path, matrix: np.ndarray) -> None:
    np.save(tmp_path / "000.npy", matrix)
    with pytest.raises(DataError, match=r"000\.npy"):
        read_camera(tmp_path / "000.npy")


def test_broken_items_are_named_not_replaced(root: Path) -> None:
    (root / "a" / "001.png").write_bytes(b"not a picture")
    (root / "b" / "001.npy").unlink()
    for compositing in ("right", "released"):
        with pytest.raises(DataError, match=r"001\.png"):
            _data(root, compositing=compositing).dataset("train").views(0, [1], 0)
    with pytest.raises(DataError, match=r"001\.npy"):
        _data(root).dataset("train").views(1, [1], 0)


def test_wrong_folders_and_options(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="right, released"):
        _data(root, compositing="white")
    with pytest.raises(ConfigError, match="1 to 2"):
        _data(root, targets=3)
    with pytest.raises(DataError, match="valid_paths"):
        _data(tmp_path / "nowhere")
    (root / "valid_paths.json").write_text("{}")
    with pytest.raises(DataError, match="list of folder names"):
        _data(root)
    shutil.copy(root / "a" / "000.png", root / "valid_paths.json")
    with pytest.raises(DataError, match=r"cannot be read: Unicode(.|\n)*allowed: JSON"):
        _data(root)


# --- several references (EscherNet) ---------------------------------------------------------------


def test_items_with_references(root: Path) -> None:
    (root / "captions.csv").write_text('id,caption\na,"a red box, half glass"\nd,a box\n')
    data = _data(root, references=2, captions="captions.csv")
    item = data.dataset("train")[0]
    assert item["ref_images"].shape == (2, 3, 16, 16) and item["ref_c2w"].shape == (2, 4, 4)
    assert torch.equal(item["ref_images"][0], item["cond_image"])
    assert torch.equal(item["ref_c2w"][0], item["cond_c2w"])
    places = torch.cat([item["c2w"], item["ref_c2w"]])[:, :3, 3]
    assert len({tuple(row.tolist()) for row in places}) == 3  # without replacement
    assert item["caption"] == "a red box, half glass"
    assert data.dataset("val")[0]["caption"] == "a box"  # by the folder's own name
    assert data.dataset("train")[1]["caption"] == ""
    batch = next(iter(DataLoader(data.dataset("train"), batch_size=3)))
    assert batch["ref_images"].shape == (3, 2, 3, 16, 16) and len(batch["caption"]) == 3


def test_draws_with_replacement_repeat_views(root: Path) -> None:
    dataset = _data(root, references=2, targets=3, replacement=True).dataset("train")
    torch.manual_seed(0)
    draws = [dataset.draw(0) for _ in range(200)]
    assert all(len(r) == 2 and len(t) == 3 and set(r + t) <= {0, 1, 2} for r, t in draws)
    assert any(set(r) & set(t) for r, t in draws) and any(len(set(r + t)) == 3 for r, t in draws)
    torch.manual_seed(0)
    assert dataset.draw(0) == draws[0]  # the seed alone decides


@pytest.mark.parametrize(
    ("references", "targets", "want"),
    [
        (3, 3, ([1, 2, 3], [0, 1, 11])),
        (3, 2, ([1, 2, 3], [0, 1])),  # the official slice yields fourteen targets
        (4, 1, ([0, 1, 2, 3], [0])),
        (1, 5, ([1], [0, 1, 9, 10, 11])),
    ],
)
def test_fixed_views(references: int, targets: int, want: tuple[list[int], list[int]]) -> None:
    assert fixed_views(references, targets, 12) == want


def test_validation_on_fixed_views(root: Path) -> None:
    data = _data(root, references=1, targets=2, fix_sample=True)
    val, other = data.dataset("val"), data.dataset("train")
    assert val.draw(0) == ([1], [0, 1])
    assert torch.equal(val[0]["ref_c2w"][0], val[0]["c2w"][1])
    assert {tuple(other.draw(0)[0]) for _ in range(30)} == {(0,), (1,), (2,)}


def test_lists_of_objects(root: Path) -> None:
    (root / "ids.txt").write_text("b\n\nc\n")
    np.save(root / "ids.npy", np.array(["c", "a"]))
    (root / "invalid.json").write_text(json.dumps({"transparent": ["a"], "unreadable": ["c"]}))
    assert _data(root, objects="ids.txt").paths == ["b", "c"]
    assert _data(root, objects=str(root / "ids.npy")).paths == ["c", "a"]
    assert _data(root, invalid="invalid.json").paths == ["b", "sub/d"]
    (root / "invalid.json").write_text("[]")
    assert len(_data(root, invalid="invalid.json").paths) == 4
    np.save(root / "ids.npy", np.array([1, 2]))
    with pytest.raises(DataError, match="list of folder names"):
        _data(root, objects="ids.npy")
    np.save(root / "ids.npy", np.array(["c", None]), allow_pickle=True)
    with pytest.raises(DataError, match=r"ids\.npy") as caught:
        _data(root, objects="ids.npy")
    assert "without pickling" in str(caught.value)


def test_broken_objects_are_skipped_only_when_asked(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "a" / "001.png").write_bytes(b"not a picture")
    options = {"references": 1, "targets": 2}  # all three views of an object
    with pytest.raises(DataError, match=r"a.001\.png"):
        _data(root, **options).dataset("train")[0]
    dataset = _data(root, broken="skip", **options).dataset("train")
    torch.manual_seed(1)
    got = dataset[0]
    torch.manual_seed(1)
    assert torch.equal(got["c2w"], dataset[1]["c2w"])  # the next object in the list
    assert list(dataset.skipped) == ["a"] and "001.png" in dataset.skipped["a"]
    assert "object a is skipped" in caplog.text
    for name in ("b", "c"):
        (root / name / "000.npy").unlink()
    with pytest.raises(DataError, match="3 objects in a row"):
        dataset[0]
    with pytest.raises(ConfigError, match="raise, skip"):
        _data(root, broken="ignore")


def test_captions_that_cannot_be_used(root: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv"):
        _data(root, captions="none.csv")
    (root / "captions.csv").write_text("a,one, two\n")
    with pytest.raises(DataError, match="row 1: 3 fields"):
        _data(root, captions="captions.csv")
