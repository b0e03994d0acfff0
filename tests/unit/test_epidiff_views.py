"""EpiDiff's folder layout: reading, writing, training items."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from studio.cameras import orbit_cameras
from studio.data.training.epidiff_layout import (
    ObjectViews,
    on_background,
    prepare_procedural,
    read_index,
    write_captions,
    write_object,
)
from studio.data.training.epidiff_views import EpiDiffViews
from studio.errors import ConfigError, DataError
from studio.plugins.parsing import parse_config
from studio.rigs import RIGS

OFFICIAL = Path(__file__).parents[1] / "parity" / "cases" / "epidiff" / "dataset" / "data"


def plugin(root: Path, **options: object) -> EpiDiffViews:
    return EpiDiffViews(EpiDiffViews.Config(root=str(root), resolution=16, **options))


def write_ring(root: Path, views: int = 4) -> np.ndarray:
    rgba = np.random.default_rng(0).integers(0, 256, (views, 16, 16, 4), dtype=np.uint8)
    cameras = orbit_cameras([k * 360 / views for k in range(views)], 30.0, size=16)
    lines = [write_object(root, "00", f"thing{i}", rgba, cameras, f"no.\t{i}") for i in range(2)]
    write_captions(root, "train", lines)
    return rgba


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rgba = write_ring(tmp_path)
    cameras = orbit_cameras([0, 90, 180, 270], 30.0, size=16)
    things = read_index(tmp_path, tmp_path / "caption_train.txt")
    assert [t.caption for t in things] == ["no. 0", "no. 1"]
    thing = things[0]
    torch.testing.assert_close(thing.c2w, cameras.c2w)
    torch.testing.assert_close(thing.intrinsics(16, 16), cameras.intrinsics[0])
    torch.testing.assert_close(thing.azimuth, torch.arange(4) * math.pi / 2)
    torch.testing.assert_close(thing.elevation, torch.full((4,), math.radians(30)))
    for view in range(4):
        assert np.array_equal(thing.rgba(view, (16, 16)), rgba[view])


def test_items_and_rings_are_training_batches(tmp_path: Path) -> None:
    rgba = write_ring(tmp_path)
    data = plugin(tmp_path, views=[0, 1, 2, 3], reference=2)
    items = data.dataset("train")
    assert len(items) == 2
    item = items[0]
    assert torch.equal(item["cond_image"], item["images"][2])
    assert torch.equal(item["cond_c2w"], item["c2w"][2])
    assert item["intrinsics"].shape == (4, 3, 3)
    value = rgba[1, 3, 4].astype(float) / 255
    expected = (value[:3] * value[3] + 1 - value[3]) * 2 - 1
    np.testing.assert_allclose(item["images"][1, :, 3, 4], expected, atol=1e-6)
    ring_views = data.ring_views("train")
    assert np.array_equal(ring_views.images[1], rgba)
    with pytest.raises(DataError, match="no ring"):
        plugin(tmp_path, views=[0, 2, 1]).ring_views("train")


def test_random_views_and_references(tmp_path: Path) -> None:
    write_ring(tmp_path, views=8)
    items = plugin(tmp_path, random_views=3, reference=-1).dataset("train")
    torch.manual_seed(0)
    drawn = [items[0] for _ in range(8)]
    assert all(item["images"].shape == (3, 3, 16, 16) for item in drawn)
    assert len({tuple(item["c2w"][:, 0, 3].tolist()) for item in drawn}) > 1
    assert len({float(item["cond_c2w"][0, 3]) for item in drawn}) > 1


def test_official_folder_is_read() -> None:
    data = plugin(OFFICIAL, views=[0, 2, 5, 7], reference=3)
    item = data.dataset("train")[1]
    assert item["caption"] == "a blue chair"
    assert item["images"].shape == (4, 3, 16, 16)
    focal = 0.5 / math.tan(0.5 * 0.8575560548920328) * 16
    assert item["intrinsics"][0, 0, 0] == pytest.approx(focal)
    assert item["c2w"][0, 2, 2] < 0  # looks down


def test_meta_of_the_render_tool_is_read(tmp_path: Path) -> None:
    write_ring(tmp_path)
    folder = tmp_path / "00" / "thing0"
    meta = json.loads((folder / "meta.json").read_text())
    meta["fov_x"] = meta.pop("camera_angle_x")
    for place in meta["locations"]:
        del place["frames"]
    (folder / "meta.json").write_text(json.dumps(meta))
    with Image.open(folder / "render_0001.webp") as picture:
        picture.save(folder / "render_0001.png")
    (folder / "render_0001.webp").unlink()
    thing = ObjectViews.read(folder)
    assert thing.files[:2] == ("render_0000.webp", "render_0001.png")
    assert thing.picture(1, (16, 16)).shape == (3, 16, 16)


def test_the_96_views_of_procedural_objects(tmp_path: Path) -> None:
    prepare_procedural(tmp_path, "val", objects=1, size=16)
    data = EpiDiffViews(EpiDiffViews.Config(root=str(tmp_path), resolution=16))
    item = data.dataset("val")[0]
    ring = RIGS["epidiff96"].cameras(16)[[6 * a + 4 for a in range(16)]]
    torch.testing.assert_close(item["c2w"], ring.c2w)
    assert item["images"].std() > 0.1
    azimuth, elevation, _ = ring[[10]].spherical()
    assert (round(float(azimuth)), round(float(elevation))) == (225, 30)
    assert torch.equal(item["cond_c2w"], item["c2w"][10])


def test_backgrounds() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert on_background(clear, (4, 4), 0.5).abs().max() == 0
    coloured = on_background(clear, (4, 4), [0.0, 0.5, 1.0])
    assert coloured[:, 0, 0].tolist() == [-1.0, 0.0, 1.0]
    opaque = on_background(Image.new("RGB", (4, 4), (255, 0, 0)), (2, 2), 0.5)
    assert opaque[:, 0, 0].tolist() == [1.0, -1.0, -1.0]


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        plugin(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"background is 'pink'"):
        plugin(tmp_path, background="pink")
    (tmp_path / "caption_train.txt").write_text("00/aaa a cup\n")
    with pytest.raises(DataError, match="line 1"):
        plugin(tmp_path).dataset("train")
    (tmp_path / "caption_train.txt").write_text("00/aaa\ta cup\n")
    with pytest.raises(DataError, match=r"meta\.json"):
        plugin(tmp_path).dataset("train")
    write_ring(tmp_path)
    with pytest.raises(DataError, match="no view 64"):
        plugin(tmp_path, views=[0]).dataset("train")[0]


def test_every_documented_background_and_reference_is_an_option() -> None:
    for background in ("white", "black", "gray", "random", "random_gray", "0.25"):
        assert parse_config(EpiDiffViews.Config, {"background": background}).background
    assert parse_config(EpiDiffViews.Config, {"reference": -1}).reference == -1
