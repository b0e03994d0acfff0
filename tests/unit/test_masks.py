"""Masks of every kind are understood or refused with file and value; backgrounds of captures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from studio.captures.masks import read_mask
from studio.errors import ConfigError, DataError
from studio.io.images import read_rgba, save_png
from studio.views import ViewSet
from tests.unit.test_captures import RIG, photograph, read, write_colmap, write_ngp

PICTURES = photograph(RIG)
TRUE = PICTURES[:, 3]


def shape(side: int = 24) -> np.ndarray:
    """A disc, bool."""
    y, x = np.mgrid[:side, :side] + 0.5
    return (x - 13) ** 2 + (y - 11) ** 2 < 49


def palette(disc: np.ndarray, colours: list[int]) -> Image.Image:
    picture = Image.fromarray(disc.astype(np.uint8)).convert("P")
    picture.putpalette(colours)
    return picture


def coloured(disc: np.ndarray, colour: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(disc[..., None].astype(np.uint8) * np.array(colour, np.uint8))


def layered(disc: np.ndarray, alpha: int) -> Image.Image:
    """Dark colours; the disc is in the alpha channel, or (alpha 255) in the colours."""
    rgb = np.full((*disc.shape, 3), 40, np.uint8)
    if alpha == 255:
        rgb = disc[..., None] * np.full(3, 255, np.uint8)
        return Image.fromarray(np.dstack([rgb, np.full(disc.shape, 255, np.uint8)]))
    return Image.fromarray(np.dstack([rgb, disc.astype(np.uint8) * 255]))


KINDS = {
    "white": lambda d: Image.fromarray(d.astype(np.uint8) * 255),
    "zero and one": lambda d: Image.fromarray(d.astype(np.uint8)),
    "one bit": lambda d: Image.fromarray(d),
    "16 bit": lambda d: Image.fromarray(d.astype(np.uint16) * 65535),
    "16 bit, zero and 255": lambda d: Image.fromarray(d.astype(np.uint16) * 255),
    "palette of labels": lambda d: palette(d, [0, 0, 0, 128, 0, 0]),
    "palette without black": lambda d: palette(d, [255, 255, 255, 255, 0, 0]),
    "palette of greys": lambda d: palette(d, [0, 0, 0, 255, 255, 255]),
    "red channel": lambda d: coloured(d, (255, 0, 0)),
    "dark red": lambda d: coloured(d, (90, 0, 0)),
    "cut-out": lambda d: layered(d, 0),
    "opaque RGBA": lambda d: layered(d, 255),
    "grey and alpha": lambda d: layered(d, 0).convert("LA"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_means_the_same(tmp_path: Path, kind: str) -> None:
    disc = shape()
    KINDS[kind](disc).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert torch.equal(mask[3], torch.from_numpy(disc).float())
    assert (mask[:3] == 1).all()


def test_soft_edges_are_kept(tmp_path: Path) -> None:
    values = np.tile(np.linspace(0, 255, 24).round().astype(np.uint8), (24, 1))
    Image.fromarray(values).save(tmp_path / "m.png")
    torch.testing.assert_close(
        read_mask(tmp_path / "m.png")[3], torch.from_numpy(values / np.float32(255))
    )


def test_values_that_mean_nothing_are_named(tmp_path: Path) -> None:
    labels = np.tile(np.arange(24, dtype=np.uint8) // 6, (24, 1))  # instances 0, 1, 2, 3
    Image.fromarray(labels).save(tmp_path / "labels.png")
    with pytest.raises(DataError, match=r"largest value of mask .*labels.png is 3 of 255"):
        read_mask(tmp_path / "labels.png")


def test_a_colour_photo_is_no_mask(tmp_path: Path) -> None:
    disc = shape()
    y, x = np.mgrid[:24, :24] / 23.0
    photo = np.stack([80 + 170 * x, 60 + 120 * y, 200 - 150 * x * y], axis=-1)
    cut = (photo * disc[..., None]).astype(np.uint8)
    Image.fromarray(cut).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"mask .*m.png is a colour photo without an alpha"):
        read_mask(tmp_path / "m.png")
    alpha = (255 * disc).astype(np.uint8)
    Image.fromarray(np.dstack([cut, alpha])).save(tmp_path / "m.png")
    assert torch.equal(read_mask(tmp_path / "m.png")[3], torch.from_numpy(disc).float())
    big = np.kron(disc, np.ones((8, 8), bool))
    coloured(big, (255, 0, 0)).save(tmp_path / "m.jpg", quality=40)  # JPEG adds colours
    mask = read_mask(tmp_path / "m.jpg")[3] > 0.5
    assert (mask == torch.from_numpy(big)).float().mean() > 0.98


def masked_capture(root: Path, masks: torch.Tensor) -> None:
    """A COLMAP project whose pictures are opaque on a loud background, with mask files."""
    write_colmap(root, RIG, binary=False)
    for i, mask in enumerate(masks):
        (file,) = (root / "masks").glob(f"photo {i}*")
        save_png(file, mask[None])
        picture = root / f"images/photo {i}.jpg.png"
        rgba = read_rgba(picture)
        noise = torch.rand(rgba[:3].shape, generator=torch.Generator().manual_seed(i))
        save_png(picture, torch.where(TRUE[i] > 0.5, rgba[:3], noise))


def test_inverted_masks_are_refused_and_can_be_inverted(tmp_path: Path) -> None:
    masked_capture(tmp_path, 1 - TRUE)
    with pytest.raises(DataError, match=r"cover the border of every(.|\n)*data.invert_masks=true"):
        read("capture", tmp_path)
    torch.testing.assert_close(read("capture", tmp_path, invert_masks=True).mask, TRUE)
    as_they_are = read("capture", tmp_path, invert_masks=False, bound=0.5)
    torch.testing.assert_close(as_they_are.mask, 1 - TRUE)


@pytest.mark.parametrize("odd", [[1], [0, 2, 4]])
def test_some_inverted_masks_are_refused_by_name(tmp_path: Path, odd: list[int]) -> None:
    masks = TRUE.clone()
    masks[odd] = 1 - masks[odd]
    masked_capture(tmp_path, masks)
    named = ", ".join(f"photo {i}.*" for i in odd)
    with pytest.raises(DataError, match=rf"{len(odd)} of {len(TRUE)} masks cover.*: {named}"):
        read("capture", tmp_path)
    as_they_are = read("capture", tmp_path, invert_masks=False, bound=0.5)
    torch.testing.assert_close(as_they_are.mask, masks)


def test_masks_may_be_gif(tmp_path: Path) -> None:
    masked_capture(tmp_path, TRUE)
    for file in list((tmp_path / "masks").iterdir()):
        Image.open(file).convert("L").save(file.with_suffix(".gif"))
        file.unlink()
    assert overlap(read("capture", tmp_path)) == 1


def test_inverted_alpha_is_refused_and_can_be_inverted(tmp_path: Path) -> None:
    write_ngp(tmp_path, RIG)
    for i, rgba in enumerate(PICTURES):
        save_png(tmp_path / f"images/{i}.png", torch.cat([rgba[:3], 1 - rgba[3:]]))
    with pytest.raises(DataError, match="alpha channels cover the border"):
        read("capture", tmp_path)
    torch.testing.assert_close(read("capture", tmp_path, invert_masks=True).mask, TRUE)


def test_empty_masks_name_a_file_and_the_largest_value(tmp_path: Path) -> None:
    masked_capture(tmp_path, torch.zeros_like(TRUE))
    with pytest.raises(DataError, match=r"photo 0.* are empty: their largest value is 0 of 255"):
        read("capture", tmp_path)


# --- where the masks of a capture come from -----------------------------------------------------


def plain_photos(root: Path) -> None:
    """RGB pictures on white, no masks."""
    write_ngp(root, RIG)
    for i, rgba in enumerate(PICTURES):
        save_png(root / f"images/{i}.png", rgba[:3] * rgba[3:] + 1 - rgba[3:])


def overlap(views: ViewSet) -> float:
    cut = views.mask > 0.5
    return float((cut & (TRUE > 0.5)).sum() / (cut | (TRUE > 0.5)).sum())


def test_photos_on_an_even_background_are_cut_out(tmp_path: Path) -> None:
    plain_photos(tmp_path)
    for background in ("auto", "border"):
        assert overlap(read("capture", tmp_path, background=background)) > 0.97
    with pytest.raises(DataError, match=r"masks are missing(.|\n)*data.background=rembg"):
        read("capture", tmp_path, background="alpha")
    assert (read("capture", tmp_path, background="none").mask == 1).all()
    with pytest.raises(DataError, match=r"background=rembg(.|\n)*0.png|0.png(.|\n)*rembg"):
        read("capture", tmp_path, background="rembg")
    with pytest.raises(ConfigError, match="allowed: auto, alpha, border, rembg, none"):
        read("capture", tmp_path, background="white")


def test_alpha_that_is_opaque_everywhere_is_no_mask(tmp_path: Path) -> None:
    plain_photos(tmp_path)
    for file in (tmp_path / "images").iterdir():
        Image.open(file).convert("RGBA").save(file)
    assert overlap(read("capture", tmp_path)) > 0.97


def test_uneven_backgrounds_are_refused_with_what_to_do(tmp_path: Path) -> None:
    masked_capture(tmp_path, TRUE)
    assert overlap(read("capture", tmp_path)) == 1
    for file in (tmp_path / "masks").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"not even(.|\n)*even background(.|\n)*background=none"):
        read("capture", tmp_path)


def test_one_mask_missing_among_others_is_told(tmp_path: Path) -> None:
    masked_capture(tmp_path, TRUE)
    next((tmp_path / "masks").glob("photo 3*")).unlink()
    with pytest.raises(DataError, match="photo 3.jpg.png has no alpha channel and no mask"):
        read("capture", tmp_path)
