"""SPAD's data set: cameras out of pickles, broken views, captions, drawn views."""

from __future__ import annotations

import logging
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from studio.cameras import Cameras, opencv_to_opengl, orbit_cameras
from studio.data.training.batches import Parts
from studio.data.training.captioned_pictures import CaptionedPictures
from studio.data.training.captions import read_captions, without_3d
from studio.data.training.spad import SpadData, orthogonal_groups
from studio.data.training.spad_files import read_blender_camera, read_object, read_pickled
from studio.errors import ConfigError, DataError
from studio.plugins.parsing import parse_config

FOV_RAD = 0.702769935131073
DRAWS = ((12.0, -20.0), (77.0, 5.0), (50.0, 21.0))  # azimuth, elevation


def rig() -> Cameras:
    azimuth = [a + 90 * i for a, _ in DRAWS for i in range(4)]
    elevation = [e for _, e in DRAWS for _ in range(4)]
    return orbit_cameras(azimuth, elevation, 3.5, np.degrees(FOV_RAD), 32)


def blender_text(matrix: np.ndarray) -> str:
    """A matrix as Blender prints it."""
    rows = ["(" + ", ".join(f"{v: .4f}" for v in row) + ")" for row in matrix]
    return "<Matrix 4x4 " + "\n            ".join(rows) + ">"


def write_object(folder: Path, broken: int | None = None) -> None:
    """Twelve views; view k is a square of brightness k / 12 on transparent ground."""
    (folder / "images").mkdir(parents=True)
    (folder / "cameras").mkdir()
    for k, c2w in enumerate(opencv_to_opengl(rig().c2w).double().numpy()):
        if k == broken:
            c2w[:3, 3] = 0
        camera = {"camera_id": f"camera_{k}_0", "matrix_world": blender_text(c2w), "fov": FOV_RAD}
        np.save(folder / f"cameras/{k}.npy", camera, allow_pickle=True)  # type: ignore[arg-type]
        pixels = np.zeros((32, 32, 4), np.uint8)
        pixels[8:24, 8:24] = (k * 255 // 12, 0, 0, 255)
        Image.fromarray(pixels).save(folder / f"images/{k}.png")


def write_exr(path: Path, grey: np.ndarray) -> None:
    """Three equal float channels, uncompressed."""
    height, width = grey.shape
    channel = struct.pack("<iiii", 2, 0, 1, 1)
    box = struct.pack("<4i", 0, 0, width - 1, height - 1)
    header = struct.pack("<2i", 20000630, 2)
    for name, kind, value in (
        (b"channels", b"chlist", b"".join(c + b"\0" + channel for c in (b"B", b"G", b"R")) + b"\0"),
        (b"compression", b"compression", b"\0"),
        (b"dataWindow", b"box2i", box),
        (b"displayWindow", b"box2i", box),
        (b"lineOrder", b"lineOrder", b"\0"),
        (b"pixelAspectRatio", b"float", struct.pack("<f", 1)),
        (b"screenWindowCenter", b"v2f", struct.pack("<2f", 0, 0)),
        (b"screenWindowWidth", b"float", struct.pack("<f", 1)),
    ):
        header += name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value
    header += b"\0"
    size = 12 * width
    places = [len(header) + 8 * height + y * (8 + size) for y in range(height)]
    rows = [
        struct.pack("<2i", y, size) + 3 * grey[y].astype("<f4").tobytes() for y in range(height)
    ]
    path.write_bytes(header + struct.pack(f"<{height}Q", *places) + b"".join(rows))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("spad")
    for name in ("aaa", "bbb", "ccc"):
        write_object(root / name, broken=6 if name == "bbb" else None)
    (root / "filtered_objaverse.txt").write_text("bbb\nccc\n")
    (root / "captions.csv").write_text('aaa,a 3D model of a red box\nbbb,"a box, red"\n')
    (root / "bono/images").mkdir(parents=True)
    (root / "bono/cameras").mkdir()
    for file in ("images/0.png", "cameras/0.npy"):
        Image.new("RGBA", (32, 32)).save(root / "bono" / file, format="PNG")
    return root


def data(root: Path, **options: Any) -> SpadData:
    options = {"root": str(root), "size": 16, "objects": "filtered_objaverse.txt", **options}
    return SpadData(parse_config(SpadData.Config, options, key="data"))


def test_cameras_out_of_blender_text(root: Path) -> None:
    """Four decimals of text, yet exact rotations."""
    thing = read_object(root / "aaa")
    torch.testing.assert_close(thing.c2w, rig().c2w, atol=2e-4, rtol=0)
    rotation = thing.c2w[:, :3, :3]
    eye = torch.eye(3).expand(12, -1, -1)
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), eye, atol=1e-6, rtol=0)
    lens = thing.cameras([0, 3], 16).intrinsics
    torch.testing.assert_close(lens, rig().resized(16, 16).intrinsics[[0, 3]])


@pytest.mark.parametrize("text", [str, repr, lambda m: str(m.tolist())])
def test_other_forms_of_the_matrix(tmp_path: Path, text: Any) -> None:
    matrix = opencv_to_opengl(rig().c2w)[0].double().numpy()
    with (tmp_path / "raw.npy").open("wb") as file:
        pickle.dump({"matrix_world": text(matrix), "fov": np.float64(FOV_RAD)}, file)
    read, fov_deg = read_blender_camera(tmp_path / "raw.npy")
    np.testing.assert_allclose(read, matrix, atol=1e-6)
    assert fov_deg == pytest.approx(np.degrees(FOV_RAD))


def test_broken_views_are_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    thing = read_object(root / "bbb")
    assert thing.numbers == (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11) and thing.broken == (6,)
    train = data(root, train_share=1.0).dataset("train")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            train[0]
    assert [r.getMessage() for r in caplog.records] == [
        f"{root / 'bbb'}: view 6 left out, its camera has no place"
    ]
    groups = orthogonal_groups(thing.c2w)
    assert [[thing.numbers[v] for v in g] for g in groups] == [
        [0, 1, 2, 3], [4, 5, 7], [8, 9, 10, 11]
    ]  # fmt: skip


class _Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("evil"),)


@pytest.mark.parametrize("wrapped", [True, False])
def test_pickles_run_nothing(
    tmp_path: Path, wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, payload = tmp_path / "camera.npy", {"matrix_world": _Evil(), "fov": 1.0}
    if wrapped:
        np.save(path, payload, allow_pickle=True)  # type: ignore[arg-type]
    else:
        path.write_bytes(pickle.dumps(payload))
    with pytest.raises(DataError, match="not admitted"):
        read_blender_camera(path)
    assert not (tmp_path / "evil").exists()
    path.write_bytes(b"cnumpy\nndarray\n(I3\ntR.")  # calls the class of arrays
    with pytest.raises(DataError, match="cannot be read"):
        read_pickled(path)


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ([1, 2], "no camera"),
        ({"matrix_world": "1 2 3", "fov": 0.7}, "no matrix"),
        ({"matrix_world": np.eye(4) * 2, "fov": 0.7}, "not rigid"),
        ({"matrix_world": np.eye(4), "fov": 40.0}, "fov 40.0"),
        ({"matrix_world": np.full((4, 4), np.nan), "fov": 0.7}, "not finite"),
    ],
)
def test_wrong_cameras(tmp_path: Path, camera: Any, message: str) -> None:
    (tmp_path / "0.npy").write_bytes(pickle.dumps(camera))
    with pytest.raises(DataError, match=message):
        read_blender_camera(tmp_path / "0.npy")


def test_unreadable_files(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"bono.cameras.0.npy cannot be read"):
        read_object(root / "bono")
    with pytest.raises(DataError, match="no view that can be used"):
        read_object(tmp_path)
    np.save(tmp_path / "plain.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"array \(3,\)"):
        read_pickled(tmp_path / "plain.npy")


def test_items(root: Path) -> None:
    """Pictures belong to their cameras; the first view is the condition."""
    source = data(root, objects=None, views=3, captions="captions.csv", train_share=0.5)
    train = source.dataset("train")
    assert train.names == ["aaa", "bbb"] and source.dataset("val").names == ["bono", "ccc"]
    torch.manual_seed(0)
    item = train[0]
    assert item["caption"] == "a red box"
    assert item["images"].shape == (3, 3, 16, 16) and item["intrinsics"].shape == (3, 3, 3)
    for view in range(3):
        shade = item["images"][view][:, 8, 8]
        k = round((shade[0].item() + 1) / 2 * 12)
        torch.testing.assert_close(item["c2w"][view], rig().c2w[k], atol=2e-4, rtol=0)
        assert shade[1] == -1 and (item["images"][view][:, 0, 0] == 1).all()
    assert torch.equal(item["cond_image"], item["images"][0])
    assert torch.equal(item["cond_c2w"], item["c2w"][0])


def test_depths(root: Path) -> None:
    """Stored depths are a tenth; every pixel is the nearest stored one."""
    options = {"objects": "one.txt", "train_share": 1.0, "depths": True, "views": 1}
    (root / "one.txt").write_text("ccc\n")
    with pytest.raises(DataError, match=r"\.exr cannot be read"):
        data(root, **options).dataset("train")[0]
    (root / "ccc/depths").mkdir()
    grey = np.arange(32 * 32, dtype=np.float32).reshape(32, 32) / 100
    for k in range(12):
        write_exr(root / f"ccc/depths/{k}.exr", grey)
    item = data(root, **options).dataset("train")[0]
    torch.testing.assert_close(item["depths"][0], torch.from_numpy(grey[1::2, 1::2]) * 10)


def test_draws_follow_the_seed(root: Path) -> None:
    train = data(root, train_share=1.0, views=4).dataset("train")
    torch.manual_seed(5)
    first = train[1]["c2w"]
    assert not torch.equal(train[1]["c2w"], first)
    torch.manual_seed(5)
    assert torch.equal(train[1]["c2w"], first)
    val = data(root, train_share=0.0, views=4).dataset("val")
    assert torch.equal(val[1]["c2w"], val[1]["c2w"])


def test_orthogonal_views(root: Path) -> None:
    """Neighbours are 90 degrees apart, at one elevation, starting anywhere."""
    train = data(root, train_share=1.0, views=4, setup="orthogonal").dataset("train")
    starts = set()
    for _ in range(12):
        item = train[0]
        cameras = Cameras(item["c2w"], item["intrinsics"], (16, 16))
        azimuth, elevation, _ = cameras.spherical()
        torch.testing.assert_close(azimuth.diff() % 360, torch.full((3,), 90.0), atol=0.1, rtol=0)
        assert elevation.std() < 0.1
        starts.add(round(azimuth[0].item()))
    assert len(starts) > 2
    both = data(root, train_share=1.0, views=4, setup="both").dataset("train")
    steps = [_azimuth_steps(both[1]) for _ in range(16)]
    right = [bool((s - 90).abs().max() < 0.1) for s in steps]
    assert any(right) and not all(right)


def _azimuth_steps(item: dict[str, Any]) -> torch.Tensor:
    return Cameras(item["c2w"], item["intrinsics"], (16, 16)).spherical()[0].diff() % 360


def test_broken_objects(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"objects": None, "train_share": 1.0, "views": 2}
    with pytest.raises(DataError, match="bono"):
        data(root, **options).dataset("train")[2]
    with caplog.at_level(logging.WARNING):
        data(root, **options, broken="skip").dataset("train")[2]
    assert "bono is skipped" in caplog.text


def test_wrong_options(root: Path) -> None:
    for options in ({"setup": "polar"}, {"views": 5, "setup": "orthogonal"}, {"broken": "no"}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            data(root, **options)
    with pytest.raises(DataError, match="no folder"):
        data(root / "missing")
    with pytest.raises(DataError, match="split"):
        data(root, train_share=1.0).dataset("val")
    with pytest.raises(DataError, match="no view that can be used"):
        (root / "list.txt").write_text("not-there\n")
        data(root, objects="list.txt", train_share=1.0).dataset("train")[0]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five wide pictures with captions, number k of brightness k / 10 in its middle square."""
    folder = tmp_path / "laion"
    (folder / "00001").mkdir(parents=True)
    for k in range(6):
        pixels = np.zeros((40, 60, 3), np.uint8)
        pixels[:, 10:50] = k * 255 // 10
        path = folder / ("00001" if k % 2 else ".") / f"{k}.{'jpg' if k < 3 else 'png'}"
        Image.fromarray(pixels).save(path, quality=95)
        if k < 5:
            path.with_suffix(".txt").write_text(f" picture {k}\n")
    return folder


def test_some_steps_are_of_single_pictures(root: Path, pictures: Path) -> None:
    options = {"captions": "captions.csv", "pictures": str(pictures), "pictures_batch": 3}
    train = data(root, train_share=1.0, pictures_share=0.4, **options).dataset("train")
    batches = [train.batches(2, 5, lambda: 0).at(step) for step in range(40)]
    alone = [batch for batch in batches if "c2w" not in batch]
    assert 8 <= len(alone) <= 24  # 16 are expected
    seen = set()
    for batch in batches:
        if "c2w" in batch:
            assert batch["images"].shape == (2, 2, 3, 16, 16)
            continue
        assert batch["images"].shape == (3, 1, 3, 16, 16)
        for picture, caption in zip(batch["images"], batch["caption"], strict=True):
            assert caption.startswith("picture ")
            shade = int(caption[-1]) / 5 - 1
            assert (picture - shade).abs().max() < 0.03  # the black sides are cut off
        seen.update(batch["caption"])
    assert seen == {f"picture {k}" for k in range(5)}
    never = data(root, train_share=1.0, pictures_share=0.0, **options).dataset("train")
    assert all("c2w" in never.batches(2, 5, lambda: 0).at(step) for step in range(20))


def test_steps_of_single_pictures_follow_seed_and_step(root: Path, pictures: Path) -> None:
    options: dict[str, Any] = {"captions": "captions.csv", "pictures": str(pictures)}
    options["pictures_batch"] = 2
    train = data(root, train_share=1.0, pictures_share=0.5, **options).dataset("train")
    whole = [train.batches(2, 5, lambda: 0).at(step) for step in range(12)]
    torch.manual_seed(9)  # nothing else counts
    resumed = iter(train.batches(2, 5, lambda: 4))
    for before, after in zip(whole[4:], resumed, strict=False):
        assert before["caption"] == after["caption"]
        assert torch.equal(before["images"], after["images"])
    kinds = [
        ["c2w" in train.batches(2, seed, lambda: 0).at(s) for s in range(12)] for seed in (5, 6)
    ]
    assert kinds[0] != kinds[1]
    options["pictures_batch"] = 4  # what two processes with two each see together
    joint = data(root, train_share=1.0, pictures_share=0.5, **options).dataset("train")
    for step in range(12):
        parts = [train.batches(2, 5, lambda: 0, Parts((r,), 2)).at(step, r) for r in (0, 1)]
        assert {"c2w" in part for part in parts} == {kinds[0][step]}
        together = joint.batches(4, 5, lambda: 0).at(step)["caption"]
        assert together == parts[0]["caption"] + parts[1]["caption"]


def test_pictures_that_cannot_be_used(
    root: Path, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (pictures / "00001/1.jpg").write_bytes(b"no picture")
    order = CaptionedPictures(pictures, 16)
    assert [path.stem for path in order.paths] == ["0", "1", "3", "2", "4"]
    with pytest.raises(DataError, match="1.jpg is not a picture"):
        order[1]
    assert CaptionedPictures(pictures, 16, skip=True)[1]["caption"] == "picture 3"
    assert "1.jpg is skipped" in caplog.text
    with pytest.raises(DataError, match="holds no pictures with captions"):
        data(root, pictures=str(root / "aaa"))
    for options in ({"pictures_share": 1.5}, {"pictures_batch": 0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            data(root, **options)


def test_captions(root: Path, tmp_path: Path) -> None:
    assert read_captions(root / "captions.csv")["bbb"] == "a box, red"
    for given, wanted in {
        "a 3D model of a red car": "a red car",
        "A 3D rendering of an apple with a leaf.": "an apple with a leaf.",
        "low poly 3D model of a tree": "a tree",
        "a chair and a 3D model of a table": "a chair and a table",
        "a 3D apple on a table": "an apple on a table",
        "a car in 3D": "a car",
        "a small chair, 3D model": "a small chair",
        "a three-dimensional cube": "a cube",
        "a wooden sword, 3 dents": "a wooden sword, 3 dents",
    }.items():
        assert without_3d(given) == wanted
