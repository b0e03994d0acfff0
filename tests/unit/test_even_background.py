"""Objects on an even background, drawn with true masks: holes, soft shadows, faint outlines."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from studio.captures.even_background import Cut, cut_out
from studio.captures.foreground import foreground
from studio.captures.large_cut import cut_out_any_size
from studio.data.conditions.single_image import SingleImageData
from studio.io.images import centre_object, object_box

SIDE, FINER = 256, 2
Drawn = tuple[np.ndarray, np.ndarray]


def grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = (np.mgrid[: SIDE * FINER, : SIDE * FINER] + 0.5) / (SIDE * FINER) * 2 - 1
    return x, y


def shading(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Light on a round body, from the upper left."""
    depth = np.sqrt(np.clip(1 - across**2 - down**2, 0, 1))
    return 0.35 + 0.65 * np.clip((-0.5 * across - 0.6 * down + 0.62 * depth) / 1, 0, 1)


def mug() -> Drawn:
    """Light and mask: a body and a handle with a hole."""
    x, y = grid()
    body = (abs(x + 0.1) < 0.35) & (abs(y) < 0.45)
    away = np.hypot((x - 0.28) / 0.28, y / 0.3)
    handle = (away < 1) & (away > 0.62) & (x > 0.2)
    return np.where(body, shading((x + 0.1) / 0.36, 0 * x), 0.8), body | handle


def chair() -> Drawn:
    """A seat, legs with a bar between them, a back of slats: six enclosed areas."""
    x, y = grid()
    seat, legs = (abs(x) < 0.4) & (abs(y - 0.1) < 0.05), (abs(abs(x) - 0.36) < 0.04) & (y > 0.1)
    slats = (abs(x) < 0.3) & (y > -0.6) & (y < 0) & (abs((x + 0.3) % 0.2 - 0.1) < 0.06)
    back = (abs(x) < 0.4) & (y < 0.1) & (y > -0.75) & ~slats
    bar = (abs(x) < 0.4) & (abs(y - 0.6) < 0.03)
    return 0.8 + 0.2 * np.sin(x * 9) * np.cos(y * 7), seat | back | (legs & (y < 0.8)) | bar


def teapot() -> Drawn:
    """Round, with a handle, touching the ground."""
    x, y = grid()
    u, v = x / 0.42, (y - 0.1) / 0.36
    spout = (x < -0.3) & (x > -0.68) & (abs(y - 0.05 - (x + 0.3) * 0.6) < 0.07)
    away = np.hypot((x - 0.42) / 0.26, (y - 0.08) / 0.24)
    handle = (away < 1) & (away > 0.7) & (x > 0.36)
    body = u**2 + v**2 < 1
    return np.where(body, shading(u, v), 0.8), body | spout | handle


def shadow(dark: float = 0.55) -> np.ndarray:
    """Light on the ground under an object: a soft ellipse."""
    x, y = grid()
    off = np.hypot((x - 0.05) / 0.62, (y - 0.47) / 0.16)
    deep = np.clip(1.15 - off, 0, 1)
    return 1 - dark * np.clip(deep**2 * (3 - 2 * deep), 0, 1)


def drawn(
    thing: Drawn,
    colour: tuple[float, float, float],
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ground: np.ndarray | None = None,
    noise: float = 0.006,
) -> Drawn:
    """The picture [3,h,w] with antialiasing and noise, and its mask."""
    light, mask = thing
    behind = np.ones((*light.shape, 3)) * background
    behind = behind if ground is None else behind * ground[..., None]
    picture = np.where(mask[..., None], light[..., None] * np.array(colour), behind)
    fine = np.concatenate([picture, mask[..., None]], axis=-1)
    coarse = fine.reshape(SIDE, FINER, SIDE, FINER, 4).mean((1, 3))
    grain = np.random.default_rng(0).normal(0, noise, (SIDE, SIDE, 3))
    rgb = (coarse[..., :3] + grain).clip(0, 1).astype(np.float32)
    return np.moveaxis(rgb, -1, 0), coarse[..., 3] > 0.5


def overlap(cut: Cut, mask: np.ndarray) -> float:
    solid = cut.alpha > 0.5
    return float((solid & mask).sum() / (solid | mask).sum())


RED, WOOD, TEAL, WHITE, GREY = (
    (0.75, 0.2, 0.15),
    (0.45, 0.3, 0.15),
    (0.2, 0.45, 0.5),
    (1.0, 1.0, 1.0),
    (0.6, 0.6, 0.6),
)


@pytest.mark.parametrize("background", [WHITE, (0.6, 0.65, 0.7), (0.0, 0.0, 0.0)])
def test_the_hole_of_a_handle_is_background(background: tuple[float, float, float]) -> None:
    picture, mask = drawn(mug(), RED, background)
    cut = cut_out(picture, 0.08)
    assert cut.holes == 1 and overlap(cut, mask) > 0.98
    kept = cut_out(picture, 0.08, holes=False)
    assert kept.holes == 0 and overlap(kept, mask) < 0.93


@pytest.mark.parametrize("ground", [None, shadow()])
@pytest.mark.parametrize("background", [WHITE, (0.95, 0.95, 0.95), (0.75, 0.8, 0.9)])
def test_the_hole_of_a_handle_in_a_jpeg(
    background: tuple[float, float, float], ground: np.ndarray | None, tmp_path: Path
) -> None:
    """JPEG's noise reaches far into a hole, a shadow beneath makes no difference."""
    picture, mask = drawn(teapot(), RED, background, ground)
    image = Image.fromarray((255 * np.moveaxis(picture, 0, -1)).round().astype(np.uint8))
    image.save(tmp_path / "p.jpg", quality=85)
    stored = np.moveaxis(np.asarray(Image.open(tmp_path / "p.jpg")), -1, 0)
    cut = cut_out(stored.astype(np.float32) / 255, 0.08)
    assert cut.holes == 1 and overlap(cut, mask) > 0.96


def test_the_spaces_of_a_chair_are_background() -> None:
    picture, mask = drawn(chair(), WOOD)
    assert overlap(cut_out(picture, 0.08), mask) > 0.97


def test_white_parts_that_are_shaded_stay() -> None:
    """A white spot on a body is not as even as the background, even where it is as bright."""
    light, mask = mug()
    x, y = grid()
    spot = np.hypot(x + 0.1, y) < 0.15
    picture, true = drawn((light, mask), RED)
    white, _ = drawn((light, mask), WHITE)
    at = spot.reshape(SIDE, FINER, SIDE, FINER).mean((1, 3)) > 0.5
    picture = np.where(at, white, picture)
    cut = cut_out(picture, 0.08)
    assert cut.holes == 1 and overlap(cut, true) > 0.98


@pytest.mark.parametrize("colour", [TEAL, GREY, (0.98, 0.9, 0.78)])
@pytest.mark.parametrize("background", [(0.95, 0.95, 0.95), (0.75, 0.8, 0.9)])
def test_a_soft_shadow_is_background(
    colour: tuple[float, float, float], background: tuple[float, float, float]
) -> None:
    picture, mask = drawn(teapot(), colour, background, shadow())
    cut = cut_out(picture, 0.08)
    assert cut.shadow > 0.02 and overlap(cut, mask) > 0.96
    plain, mask = drawn(teapot(), colour, background)
    assert cut_out(plain, 0.08).shadow < 0.005


def test_a_white_object_on_white_keeps_what_can_be_told_and_warns() -> None:
    picture, mask = drawn(mug(), WHITE)
    assert overlap(cut_out(picture, 0.08), mask) > 0.9
    picture, mask = drawn(teapot(), WHITE, (0.97, 0.97, 0.97), shadow())
    notes: list[str] = []
    rgba = torch.from_numpy(np.concatenate([picture, np.ones((1, SIDE, SIDE), np.float32)]))
    foreground(rgba, notes=notes)
    assert any("outline hardly differs from the background" in note for note in notes)


def test_remarks_name_what_was_done(tmp_path: Path) -> None:
    picture, _ = drawn(mug(), RED, ground=shadow(0.3))
    pixels = (np.moveaxis(picture, 0, -1) * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mug.png")
    data = SingleImageData(SingleImageData.Config(image=str(tmp_path / "mug.png")))
    notes = data.condition().meta["notes"]
    assert any("data.holes=false" in note for note in notes)
    assert not any("hardly differs" in note for note in notes)


def test_specks_do_not_move_the_object() -> None:
    picture, mask = drawn(mug(), RED)
    dusty = picture.copy()
    dusty[:, 12:15, 12:15] = 0.3
    cut, clean = cut_out(dusty, 0.08), cut_out(picture, 0.08)
    assert cut.alpha[:20, :20].max() == 0
    assert overlap(cut, clean.alpha > 0.5) == 1
    rgba = torch.from_numpy(np.concatenate([clean.rgb, clean.alpha[None]]).astype(np.float32))
    spotted = rgba.clone()
    spotted[3, 3:7, 5:9], spotted[3, 240:246, 100:103] = 0.3, 0.15
    assert object_box(spotted) == object_box(rgba)
    torch.testing.assert_close(
        centre_object(spotted, 128)[3, 20:108, 20:108], centre_object(rgba, 128)[3, 20:108, 20:108]
    )


def test_large_pictures_are_outlined_by_their_own_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found at a reduced size, an object has the alpha that the whole picture gives it."""
    picture = drawn(teapot(), RED)[0]
    picture = picture[:, :-3]  # sides that the reduction does not divide
    whole = cut_out(picture, 0.08)
    untouched = cut_out_any_size(picture, 0.08)
    np.testing.assert_array_equal(untouched.alpha, whole.alpha)
    np.testing.assert_array_equal(untouched.rgb, whole.rgb)
    monkeypatch.setattr("studio.captures.large_cut.BOUND", 128)
    monkeypatch.setattr("studio.captures.large_cut.TILE", 96)
    large = cut_out_any_size(picture, 0.08)
    assert large.alpha.shape == whole.alpha.shape and large.holes == whole.holes == 1
    assert overlap(large, whole.alpha > 0.5) > 0.995
    assert np.abs(large.alpha - whole.alpha).mean() < 1e-4
    shaded, mask = drawn(teapot(), RED, ground=shadow())
    assert overlap(cut_out_any_size(shaded, 0.08), mask) > 0.92
