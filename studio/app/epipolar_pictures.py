"""`launch.py --visualise-epipolar`: what two views of an object see of each other, as pictures.

For chosen pixels of one view, the lines on which another view shows them, and the keys that SPAD's
mask lets them attend to. Lines are drawn from projected points of the pixels' rays, so they check
the masks, which are made in another way. Everything here takes a `ViewSet` and returns 8-bit
pictures [h, w, 3]; `run_pictures` reads a folder and writes files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from studio.app.epipolar_drawing import (
    Picture,
    draw_dot,
    draw_line,
    palette,
    save_picture,
    side_by_side,
    stacked,
    title_row,
    view_tile,
    write_gif,
)
from studio.cameras import Cameras
from studio.config import parse_config
from studio.data.layouts.capture import CaptureData
from studio.errors import ConfigError, DataError
from studio.guidance.spad.epipolar import epipolar_mask
from studio.plugins.ranges import Range
from studio.views import ViewSet


@dataclass
class PictureConfig:
    """Words of `--visualise-epipolar FOLDER`."""

    views: str = "0,1"
    """Positions of the two views."""
    out: str = ""
    """Folder of the pictures; empty: outputs/epipolar/<name of the folder>."""
    side: Annotated[int, Range(2, 64)] = 32
    """Tokens on a side of each view (SPAD's latents: 32)."""
    level: Literal[1, 2, 4, 8] = 2
    """Coarser level shown beside the full one; 1 shows none."""
    points: Annotated[int, Range(1, 10_000)] = 6
    """Pixels that are followed, spread over the object."""
    at: str = ""
    """Pixels to follow instead, as x,y,x,y,... of the first view."""
    frames: Annotated[int, Range(0, 10_000)] = 48
    """Pictures of walk.gif; 0 writes none."""
    tile: Annotated[int, Range(32, 2048)] = 320
    """Height of each view in the pictures, px."""

    def __post_init__(self) -> None:
        """Check what belongs together."""
        if self.side % self.level:
            raise ConfigError(
                f"level is {self.level}, side {self.side}.", allowed="a level that divides the side"
            )


def run_pictures(folder: str, words: Sequence[str]) -> int:
    """Write lines.png, masks.png, matrix.png and walk.gif; returns the exit code.

    Args:
        folder: a capture of any known layout, or a `ViewSet` that was saved.
        words: `key=value` words, the keys of `PictureConfig`.

    Raises:
        StudioError: if a word or the folder cannot be used.
    """
    cfg = parse_config(PictureConfig, dict(word.split("=", 1) for word in words))
    views = CaptureData(CaptureData.Config(root=folder, masks="optional")).load()
    pair = views.select(_pair(cfg.views, len(views)))
    pixels = _given(cfg.at, pair) if cfg.at else spread_pixels(pair.mask[0], cfg.points)
    out = Path(cfg.out or f"outputs/epipolar/{Path(folder).resolve().name}")
    save_picture(out / "lines.png", lines_picture(pair, pixels, cfg.tile))
    save_picture(out / "masks.png", masks_picture(pair, pixels, cfg.side, cfg.level, cfg.tile))
    save_picture(out / "matrix.png", matrix_picture(pair.cameras, cfg.side))
    if cfg.frames:
        path = walk_pixels(pair.mask[0], cfg.frames)
        frames = [walk_picture(pair, pixel, cfg.side, cfg.tile) for pixel in path]
        write_gif(out / "walk.gif", frames)
    print(out)
    return 0


# --- pictures -------------------------------------------------------------------------------------


def lines_picture(pair: ViewSet, pixels: Float[Tensor, "n 2"], tile: int = 320) -> Picture:
    """Draw pixels of the first of two views, and in the second the lines on which they lie.

    A line's thick part is where the pixel's ray runs through the cube that holds the object.
    """
    first, second = (view_tile(pair, i, tile) for i in (0, 1))
    scale = tile / pair.cameras.size[0]
    for pixel, colour in zip(pixels, palette(len(pixels)), strict=True):
        draw_dot(first, pixel, scale, colour)
        draw_line(second, pair, pixel, scale, colour)
    return side_by_side([np.asarray(first), np.asarray(second)])


def masks_picture(
    pair: ViewSet, pixels: Float[Tensor, "n 2"], side: int = 32, level: int = 2, tile: int = 320
) -> Picture:
    """Show what each pixel's token may attend to in the second view, one row a pixel.

    Columns: the pixel; the mask at the full level; then, for a level of 2, 4 or 8, at that level as
    pixels of the coarse grid read it ("spatial") and as the released weights do ("flat").
    """
    shown = [("spatial", 1)] + [(way, level) for way in ("spatial", "flat") if level > 1]
    rows = []
    height, width = pair.cameras.size
    names = [
        "pixel",
        *(f"{side // at} x {side // at} tokens" + f", {way}" * (at > 1) for way, at in shown),
    ]
    rows.append(title_row(names, round(width * tile / height)))
    for pixel, colour in zip(pixels, palette(len(pixels)), strict=True):
        left = view_tile(pair, 0, tile)
        draw_dot(left, pixel, tile / height, colour)
        tiles = [np.asarray(left)]
        for way, at in shown:
            mask = token_mask(pair.cameras, pixel, side, way, at)
            right = view_tile(pair, 1, tile, mask)
            draw_line(right, pair, pixel, tile / height, colour, thin=True)
            tiles.append(np.asarray(right))
        rows.append(side_by_side(tiles))
    return stacked(rows)


def matrix_picture(cameras: Cameras, side: int = 32) -> Picture:
    """Show the mask of all views as a matrix: a white pixel lets its row attend to its column."""
    mask = epipolar_mask(cameras, side)
    return np.repeat(mask.byte().numpy()[..., None] * 255, 3, axis=2)


def walk_picture(
    pair: ViewSet, pixel: Float[Tensor, "2"], side: int = 32, tile: int = 320
) -> Picture:
    """Show one pixel of the first view, and its mask and line in the second."""
    return masks_picture(pair, pixel[None], side, 1, tile)


def token_mask(
    cameras: Cameras,
    pixel: Float[Tensor, "2"],
    side: int,
    resample: str = "spatial",
    level: int = 1,
) -> Bool[Tensor, "g g"]:
    """Return what the token at a pixel (x, y) of the first camera may attend to in the second."""
    grid = side // level
    mask = epipolar_mask(cameras, side, resample, level)
    size = pixel.new_tensor([cameras.size[1], cameras.size[0]])
    x, y = (pixel / size * grid).long().clamp(0, grid - 1).tolist()
    return mask[y * grid + x, grid**2 : 2 * grid**2].reshape(grid, grid)


# --- pixels ---------------------------------------------------------------------------------------


def spread_pixels(mask: Float[Tensor, "h w"], count: int) -> Float[Tensor, "n 2"]:
    """Choose pixels (x, y) of the object that lie far from each other, the middle one first."""
    inside = (mask > 0.5).nonzero().flip(1) + 0.5
    if not len(inside):
        raise DataError("the first view is empty.", hint="Give the pixels: at=x,y,x,y,...")
    chosen = [int((inside - inside.mean(0)).norm(dim=1).argmin())]
    apart = (inside - inside[chosen[0]]).norm(dim=1)
    while len(chosen) < count and apart.max() > 0:
        chosen.append(int(apart.argmax()))
        apart = torch.minimum(apart, (inside - inside[chosen[-1]]).norm(dim=1))
    return inside[chosen]


def walk_pixels(mask: Float[Tensor, "h w"], count: int) -> Float[Tensor, "n 2"]:
    """Return pixels (x, y) along a closed curve through the middle and the ends of the object."""
    inside = (mask > 0.5).nonzero().flip(1).float() + 0.5
    if not len(inside):
        raise DataError("the first view is empty.", hint="frames=0 leaves the walk out.")
    low, high = inside.amin(0), inside.amax(0)
    turn = torch.arange(count) * (2 * torch.pi / count)
    curve = torch.stack([torch.sin(turn), torch.sin(2 * turn)], dim=1)  # a lying eight
    return (low + high) / 2 + curve * (high - low) / 2 * 0.95


# --- words ----------------------------------------------------------------------------------------


def _pair(text: str, count: int) -> list[int]:
    numbers = _numbers("views", text)
    inside = all(n in range(count) for n in numbers)
    if len(numbers) != 2 or not inside or numbers[0] == numbers[1]:
        raise ConfigError(
            f"views={text}.",
            allowed=f"two different positions from 0 to {count - 1}, as in views=0,1",
        )
    return [int(n) for n in numbers]


def _given(text: str, pair: ViewSet) -> Float[Tensor, "n 2"]:
    numbers = _numbers("at", text)
    height, width = pair.cameras.size
    inside = all(0 <= n <= (height if i % 2 else width) for i, n in enumerate(numbers))
    if len(numbers) % 2 or not inside:
        raise ConfigError(
            f"at={text}.", allowed=f"x,y,x,y,... within the {width} x {height} px of the view"
        )
    return torch.tensor(numbers).reshape(-1, 2)


def _numbers(key: str, text: str) -> list[float]:
    try:
        return [float(word) for word in text.strip("[]()").split(",")]
    except ValueError as error:
        raise ConfigError(f"{key}={text}.", allowed="numbers with commas between") from error
