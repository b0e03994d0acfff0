"""One picture becomes a condition: cut out, centred, scaled, with its elevation."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from studio.errors import StudioError
from studio.images import object_box, read_rgba
from studio.registry import build

DATA = os.environ.get("STUDIO_TEST_DATA")


def photo(path: Path, background: str = "white") -> str:
    picture = Image.new("RGB", (200, 120), background)
    ImageDraw.Draw(picture).rectangle((20, 30, 99, 69), fill=(200, 40, 20))
    picture.save(path)
    return str(path)


def test_photo_on_white(tmp_path: Path) -> None:
    options = {"image": photo(tmp_path / "a.png"), "resolution": 128, "elevation_deg": 10}
    condition = build("data", "single-image", options, key="data").condition()
    assert condition.elevation_deg == 10.0 and condition.azimuth_deg == 0.0
    assert condition.meta["image"].endswith("a.png")
    image = condition.image
    assert image.shape == (4, 128, 128)
    left, top, right, bottom = object_box(image)
    assert right - left == pytest.approx(96, abs=2) and bottom - top == pytest.approx(48, abs=2)
    assert (left + right) / 2 == pytest.approx(64, abs=1)
    torch.testing.assert_close(
        image[:3, 64, 64] * 255, torch.tensor([200.0, 40.0, 20.0]), atol=0.6, rtol=0
    )


def test_framing_can_be_kept(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png")
    options = {"image": path, "ratio": None, "resolution": 200}
    image = build("data", "single-image", options, key="data").condition().image
    assert object_box(image) == (20, 70, 100, 110)  # 40 px of transparency above and below


def test_several_pictures_without_cameras(tmp_path: Path) -> None:
    files = [photo(tmp_path / "a.png"), photo(tmp_path / "b.png", "black")]
    data = build("data", "images", {"images": files, "resolution": 64}, key="data")
    views = data.condition().views
    assert views.images.shape == (2, 4, 64, 64) and views.meta == {"posed": False}
    one = build("data", "single-image", {"image": files[1], "resolution": 64}, key="data")
    assert torch.equal(views.images[1], one.condition().image)
    with pytest.raises(StudioError, match="images is not given"):
        build("data", "images", {}, key="data")


def test_prepared_picture_is_written(tmp_path: Path) -> None:
    options = {"image": photo(tmp_path / "a.png"), "prepared": str(tmp_path / "out" / "p.png")}
    image = build("data", "single-image", options, key="data").condition().image
    assert (read_rgba(tmp_path / "out" / "p.png") - image).abs().max() <= 0.51 / 255


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "data.image is not given"),
        ({"image": "none.png"}, "none.png does not exist"),
        ({"image": "a.png", "elevation_deg": 90}, "data.elevation_deg is 90"),
        ({"image": "a.png", "resolution": 4}, "data.resolution is 4"),
        ({"image": "a.png", "ratio": 1.5}, "ratio is 1.5"),
        ({"image": "a.png", "background": "alpha"}, "no transparent background"),
        ({"image": "a.png", "elevation": 3}, "did you mean 'data.elevation_deg'"),
    ],
)
def test_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "a.png")
    with pytest.raises(StudioError, match=words):
        build("data", "single-image", options, key="data").condition()


@pytest.mark.skipif(not DATA, reason="STUDIO_TEST_DATA is not set")
def test_real_pictures() -> None:
    for path in sorted((Path(str(DATA)) / "images").iterdir()):
        options = {"image": str(path), "resolution": 64}
        image = build("data", "single-image", options, key="data").condition().image
        left, top, right, bottom = object_box(image)
        assert max(right - left, bottom - top) == pytest.approx(48, abs=2), path.name
