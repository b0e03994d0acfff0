"""One picture becomes a condition: cut out, centred, scaled, with its elevation."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from studio.cameras import orbit_cameras
from studio.data.conditions import single_image
from studio.data.conditions.single_image import SingleImageData
from studio.errors import StudioError
from studio.io.images import composite, object_box, read_rgba
from studio.plugins.options import build
from studio.views import Original

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


@pytest.mark.parametrize("ratio", [0.5, 0.78, 1.0])
def test_breadth_is_scaled_about_the_pictures_centre(tmp_path: Path, ratio: float) -> None:
    """The object is 80 px wide and reaches 80 px to the left of the centre of a 200x120 picture."""
    options = {"image": photo(tmp_path / "a.png"), "fit": "breadth", "ratio": ratio}
    condition = build("data", "single-image", options | {"resolution": 160}, key="data").condition()
    left, top, right, bottom = object_box(condition.image)
    side = max(80 / ratio, 160)  # no smaller than what holds the whole object
    assert right - left == pytest.approx(80 * 160 / side, abs=1.01)
    assert bottom - top == pytest.approx(40 * 160 / side, abs=1.01)
    assert left == pytest.approx(80 - 80 * 160 / side, abs=1.01)
    assert condition.meta["fit"] == "breadth"


def test_tall_object_is_not_cut(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (100, 200))
    ImageDraw.Draw(picture).rectangle((45, 10, 54, 189), fill=(0, 0, 255, 255))
    picture.save(tmp_path / "tall.png")
    options = {"image": str(tmp_path / "tall.png"), "fit": "breadth", "resolution": 180}
    image = build("data", "single-image", options, key="data").condition().image
    assert object_box(image) == (85, 0, 95, 180)


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
        ({"image": "a.png", "ratio": 1.5, "fit": "breadth"}, "ratio is 1.5"),
        ({"image": "a.png", "fit": "height"}, "box, breadth"),
        ({"image": "a.png", "background": "alpha"}, "no transparent background"),
        ({"image": "strip.png", "ratio": None, "resolution": 64}, "0 pixels show the object"),
        ({"image": "a.png", "elevation": 3}, "did you mean 'data.elevation_deg'"),
    ],
)
def test_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "a.png")
    Image.open("a.png").crop((0, 20, 200, 80)).resize((4000, 20)).save("strip.png")
    with pytest.raises(StudioError, match=words):
        build("data", "single-image", options, key="data").condition()


@pytest.mark.skipif(not DATA, reason="STUDIO_TEST_DATA is not set")
def test_real_pictures() -> None:
    for path in sorted((Path(str(DATA)) / "images").iterdir()):
        options = {"image": str(path), "resolution": 64}
        image = build("data", "single-image", options, key="data").condition().image
        left, top, right, bottom = object_box(image)
        assert max(right - left, bottom - top) == pytest.approx(48, abs=2), path.name


@pytest.mark.parametrize(
    "options", [{"ratio": None}, {"ratio": 0.6}, {"ratio": 0.5, "fit": "breadth"}]
)
@pytest.mark.parametrize("size", [(300, 200), (200, 300)])
def test_pixels_of_the_file_and_of_the_prepared_picture_lie_on_the_same_rays(
    tmp_path: Path, options: dict[str, Any], size: tuple[int, int]
) -> None:
    width, height = size
    picture = np.zeros((height, width, 4), np.uint8)
    picture[60:170, 50:140] = (40, 40, 40, 255)  # off the middle
    picture[100:106, 70:76] = (255, 40, 40, 255)  # a red dot around (73, 103)
    Image.fromarray(picture).save(tmp_path / "dot.png")
    config = SingleImageData.Config(image=str(tmp_path / "dot.png"), resolution=96, **options)
    condition = SingleImageData(config).condition()
    (original,) = condition.originals
    prepared = orbit_cameras([20.0], 10.0, size=96)
    posed = original.posed(prepared)
    assert posed.images.shape[-2:] == posed.cameras.size
    assert condition.image is not None
    small, large = red_centre(condition.image), red_centre(original.image)
    wanted = prepared.rays(small[None, None]).directions
    assert (posed.cameras.rays(large[None, None]).directions - wanted).abs().max() < 2e-3


def test_a_large_picture_is_reduced_with_its_camera() -> None:
    image = torch.zeros(4, 400, 500)
    image[:, 100:300, 200:350] = 1.0
    image[1:3, 150:160, 250:260] = 0.0
    whole = Original(image, -20.0, 30.0, 600.0)
    small = whole.trimmed(finest=102)
    assert max(small.image.shape[1:]) == 102
    camera = orbit_cameras([0.0], 30.0, size=64)
    rays = [
        view.cameras.rays(red_centre(view.images[0])[None, None]).directions
        for view in (whole.posed(camera), small.posed(camera))
    ]
    assert (rays[0] - rays[1]).abs().max() < 2e-3


def red_centre(rgba: torch.Tensor) -> torch.Tensor:
    """Pixel position (x, y) of what is red."""
    red = (rgba[0] - rgba[1]).clamp(min=0) * rgba[3]
    y, x = torch.meshgrid(*(torch.arange(n) + 0.5 for n in red.shape), indexing="ij")
    return torch.stack([(x * red).sum(), (y * red).sum()]) / red.sum()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_large_pictures_are_worked_on_at_the_size_that_is_of_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    picture = Image.new("RGB", (600, 400), "white")
    ImageDraw.Draw(picture).ellipse((150, 60, 480, 330), fill=(200, 40, 20))
    ImageDraw.Draw(picture).rectangle((300, 150, 360, 200), fill=(20, 60, 200))
    if mode == "RGBA":
        picture.putalpha(picture.convert("L").point(lambda grey: 255 * (grey < 250)))
    picture = picture.quantize(8) if mode == "P" else picture.convert(mode)
    picture.save(tmp_path / "large.png")
    data = build("data", "single-image", {"image": str(tmp_path / "large.png")}, key="data")
    whole = data.condition()
    monkeypatch.setattr("studio.io.images.LARGE", 300)
    monkeypatch.setattr("studio.io.images.SMALL", 150)
    monkeypatch.setattr("studio.data.conditions.single_image.FINEST", 120)
    sizes: list[int] = []
    cut = single_image.foreground

    def noted(picture: torch.Tensor, *words: Any, **options: Any) -> torch.Tensor:
        sizes.append(max(picture.shape[1:]))
        return cut(picture, *words, **options)

    monkeypatch.setattr(single_image, "foreground", noted)
    reduced = data.condition()
    assert sizes[0] == 150 and 256 / 330 * 600 <= sizes[1] < 600 * 0.85, "never below resolution"
    assert (composite(whole.image) - composite(reduced.image)).abs().mean() < 4e-3
    assert whole.originals[0].side / reduced.originals[0].side == pytest.approx(
        600 / sizes[1], rel=0.02
    )


@pytest.mark.parametrize(("suffix", "count"), [(".gif", 3), (".webp", 3), (".tif", 3), (".mpo", 1)])
def test_that_the_first_of_several_frames_is_taken_is_noted(
    tmp_path: Path, suffix: str, count: int
) -> None:
    first = Image.open(photo(tmp_path / "a.png"))
    others = [first.transpose(Image.Transpose.ROTATE_180), first.rotate(90)]
    path = tmp_path / f"several{suffix if suffix != '.mpo' else '.jpg'}"
    kind = {"format": "MPO"} if suffix == ".mpo" else {}
    first.save(path, save_all=True, append_images=others, **kind)
    notes = (
        build("data", "single-image", {"image": str(path)}, key="data").condition().meta["notes"]
    )
    assert notes == ([f"the first of the file's {count} frames is taken"] if count > 1 else [])
