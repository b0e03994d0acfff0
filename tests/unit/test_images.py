"""Any picture file becomes straight-alpha RGBA, and what is no picture a clear message."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from studio.errors import DataError
from studio.io.images import (
    centre_object,
    composite,
    from_uint8,
    object_box,
    premultiply,
    read_picture,
    read_rgba_or_rgb,
    resize,
    save_png,
    to_uint8,
    unpremultiply,
)


def ramp(height: int = 12, width: int = 16) -> np.ndarray:
    """RGB pixels that differ along both axes, so that a flip or rotation shows."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y * 20, x * 15, 255 - y * 10 - x * 5], axis=-1).astype(np.uint8)


def disc(size: int = 64, radius: float = 20, at: tuple[float, float] = (32, 32)) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    alpha = (radius + 0.5 - ((x - at[0]) ** 2 + (y - at[1]) ** 2).sqrt()).clamp(0, 1)
    return torch.stack([torch.full_like(alpha, 0.8), x / size, y / size, alpha])


def saved(path: Path, picture: Image.Image, **options: object) -> torch.Tensor:
    picture.save(path, **options)
    return read_picture(path)


def test_rgba_png_is_exact_both_ways(tmp_path: Path) -> None:
    alpha = np.arange(192, dtype=np.uint8).reshape(12, 16, 1)
    pixels = np.concatenate([ramp(), alpha], axis=2)
    picture = saved(tmp_path / "a.png", Image.fromarray(pixels))
    assert np.array_equal(to_uint8(picture), pixels)
    save_png(tmp_path / "b.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), pixels)


def test_modes_of_the_same_greyscale_agree(tmp_path: Path) -> None:
    grey = Image.fromarray(ramp()[..., 1])
    expected = from_uint8(np.asarray(grey.convert("RGBA")))
    for mode in ("L", "RGB", "LA", "RGBA", "P"):
        picture = saved(tmp_path / f"{mode}.png", grey.convert(mode))
        torch.testing.assert_close(picture, expected, msg=mode)
    cmyk = saved(tmp_path / "cmyk.tif", grey.convert("RGB").convert("CMYK"))
    torch.testing.assert_close(cmyk, expected, atol=1.5 / 255, rtol=0)
    bits = saved(tmp_path / "bits.png", Image.fromarray(ramp()[..., 0] > 100))
    assert set(bits[:3].unique().tolist()) == {0.0, 1.0}


def test_sixteen_bit_greyscale_keeps_its_depth(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 12 * 16).reshape(12, 16).astype(np.uint16)
    picture = saved(tmp_path / "deep.png", Image.fromarray(values))
    expected = torch.from_numpy(values.astype(np.float32) / 65535)
    for channel in range(3):
        torch.testing.assert_close(picture[channel], expected)
    assert (picture[3] == 1).all()
    assert len(picture[0].unique()) == 192


def test_floating_point_picture_outside_the_range_is_refused(tmp_path: Path) -> None:
    inside = saved(tmp_path / "in.tif", Image.fromarray(np.full((9, 9), 0.25, np.float32)))
    assert (inside[0] == 0.25).all()
    with pytest.raises(DataError, match="holds values from 7 to 7"):
        saved(tmp_path / "out.tif", Image.fromarray(np.full((9, 9), 7, np.float32)))


def test_palette_with_transparency(tmp_path: Path) -> None:
    index = np.zeros((10, 10), np.uint8)
    index[3:7, 2:9] = 1
    picture = Image.fromarray(index).convert("P")
    picture.putpalette([255, 0, 255, 10, 200, 30])
    rgba = saved(tmp_path / "p.png", picture, transparency=0)
    assert torch.equal(rgba[3], torch.from_numpy(index).float())
    assert (rgba[:, 4, 4] * 255).round().tolist() == [10, 200, 30, 255]


def test_colour_key_transparency(tmp_path: Path) -> None:
    pixels = np.full((10, 10, 3), 40, np.uint8)
    pixels[2:5] = (9, 8, 7)
    rgba = saved(tmp_path / "key.png", Image.fromarray(pixels), transparency=(9, 8, 7))
    assert (rgba[3, 2:5] == 0).all() and (rgba[3, 5:] == 1).all()
    assert read_rgba_or_rgb(tmp_path / "key.png")[1]


def test_alpha_is_reported_only_where_the_file_has_it(tmp_path: Path) -> None:
    for mode, has in (("RGB", False), ("L", False), ("RGBA", True), ("LA", True)):
        Image.fromarray(ramp()).convert(mode).save(tmp_path / "x.png")
        assert read_rgba_or_rgb(tmp_path / "x.png")[1] is has


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_formats(tmp_path: Path, suffix: str) -> None:
    big = Image.fromarray(ramp()).resize((160, 120), Image.BICUBIC)
    picture = saved(tmp_path / f"a.{suffix}", big, quality=95)
    expected = from_uint8(np.asarray(big.convert("RGBA")))
    assert (picture - expected).abs().mean() < 0.02


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path: Path, orientation: int) -> None:
    """The stored pixels are turned so that each orientation tag means the same upright picture."""
    upright = ramp()
    turns = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation]))
    picture = saved(tmp_path / "a.png", stored, exif=exif)
    assert np.array_equal(to_uint8(picture[:3]), upright)


def test_inverted_adobe_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (200, 30, 60)).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    colour = read_picture(tmp_path / "a.jpg")[:3].mean(dim=(1, 2)) * 255
    torch.testing.assert_close(colour, torch.tensor([200.0, 30.0, 60.0]), atol=4, rtol=0)


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header promises a huge picture and whose data is tiny."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )  # fmt: skip

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.png", b"", "empty file"),
        ("text.png", b"this is no picture at all", "is not a picture"),
        ("wide.png", huge_png(30_000, 100), "30,000x100 px, too large"),
        ("many.png", huge_png(12_000, 12_000), "too large|decoded safely"),
        ("bomb.png", huge_png(60_000, 60_000), "too large|decoded safely"),
        ("tiny.png", None, "too small"),
        ("clear.png", None, "fully transparent"),
        ("cut.png", None, "broken or cut off"),
        ("cut.jpg", None, "broken or cut off"),
        ("folder.png", None, "is a folder"),
        ("missing.png", None, "does not exist"),
    ],
)
def test_what_is_no_picture(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    if content is not None:
        path.write_bytes(content)
    elif name == "tiny.png":
        Image.new("RGB", (1, 1)).save(path)
    elif name == "clear.png":
        Image.new("RGBA", (32, 32), (200, 10, 10, 0)).save(path)
    elif name.startswith("cut"):
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif name == "folder.png":
        path.mkdir()
    with pytest.raises(DataError, match=words) as caught:
        read_picture(path)
    assert str(path) in str(caught.value)


def test_missing_picture_suggests_the_near_name(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "teapot.png")
    with pytest.raises(DataError, match=r"did you mean .*teapot\.png"):
        read_picture(tmp_path / "teapto.png")
    with pytest.raises(DataError, match="there is no folder"):
        read_picture(tmp_path / "no" / "teapot.png")


def test_unreadable_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("studio.io.picture_files.Image.open", refuse)
    with pytest.raises(DataError, match="permission denied"):
        read_picture(tmp_path / "a.png")


def test_eight_bit_round_trip_and_rounding() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert np.array_equal(to_uint8(from_uint8(every)), every)
    between = torch.tensor([[[0.4 / 255, 0.6 / 255, -1.0, 2.0]]])
    assert to_uint8(between)[..., 0].tolist() == [[0, 1, 0, 255]]


def test_composite_and_premultiplication() -> None:
    rgba = torch.rand(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    on_white, on_black = composite(rgba), composite(rgba, 0.0)
    torch.testing.assert_close(on_white - on_black, (1 - rgba[:, 3:]).expand(-1, 3, -1, -1))
    red = composite(rgba, torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(red[:, 0], on_white[:, 0])
    torch.testing.assert_close(red[:, 1:], on_black[:, 1:])
    torch.testing.assert_close(unpremultiply(premultiply(rgba)), rgba)


@pytest.mark.parametrize("smooth", [False, True])
def test_resizing_never_bleeds_the_colour_of_transparent_pixels(smooth: bool) -> None:
    rgba = torch.zeros(4, 40, 40)
    rgba[1] = 1.0  # green where transparent
    rgba[:, 8:31, 9:30] = torch.tensor([1.0, 0.0, 0.0, 1.0])[:, None, None]
    small = resize(rgba, 13, 13, smooth=smooth)
    visible = small[3] > 0.01
    assert visible.sum() > 40
    assert small[0][visible].min() > 0.99
    assert small[1][visible].max() < 0.01


def test_area_resize_keeps_coverage() -> None:
    rgba = disc(60, 17.3)
    torch.testing.assert_close(resize(rgba, 15, 20)[3].mean(), rgba[3].mean(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("at", [(32.0, 32.0), (14.0, 50.0), (64.0, 20.0)])
def test_object_is_centred_at_the_ratio(at: tuple[float, float]) -> None:
    """Also for an object that the picture's border cuts."""
    picture = centre_object(disc(at=at), 256, 0.75)
    left, top, right, bottom = object_box(picture)
    assert max(right - left, bottom - top) == pytest.approx(192, abs=5)  # a source pixel
    assert (left + right) / 2 == pytest.approx(128, abs=1.5)
    assert (top + bottom) / 2 == pytest.approx(128, abs=1.5)
    assert picture.min() >= 0 and picture.max() <= 1


def test_centring_leaves_no_halo() -> None:
    rgba = torch.zeros(4, 32, 32)
    rgba[:, 10:22, 8:25] = 1.0
    picture = centre_object(rgba, 256, 0.5)
    left, top, right, bottom = object_box(picture)
    outside = picture[3].clone()
    outside[top - 8 : bottom + 8, left - 8 : right + 8] = 0
    assert outside.max() == 0
    assert picture[0][picture[3] > 1e-3].min() > 0.999


def test_centring_refuses_nonsense() -> None:
    with pytest.raises(DataError, match="ratio is 0"):
        centre_object(disc(), 64, 0.0)
    with pytest.raises(DataError, match="empty after its background"):
        centre_object(torch.zeros(4, 16, 16), 64)
