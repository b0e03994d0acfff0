"""`launch.py --visualise-epipolar`: what two views of an object see of each other, as pictures.

For chosen pixels of one view, the lines on which another view shows them, and the keys that SPAD's
mask lets them attend to. Lines are drawn from projected points of the pixels' rays, so they check
the masks, which are made in another way. Everything here takes a `ViewSet` and returns 8-bit
pictures [h, w, 3]; `run_pictures` reads a folder and writes files.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from studio.cameras import Cameras
from studio.config import parse_config
from studio.data.layouts.capture import CaptureData
from studio.errors import ConfigError, DataError
from studio.guidance.spad.epipolar import epipolar_mask
from studio.io.files import atomic_write
from studio.io.images import to_uint8
from studio.plugins.ranges import Range
from studio.views import ViewSet

Picture = UInt8[np.ndarray, "h w 3"]

GAP = 8  # px between tiles
FADED = 0.25  # strength of what a mask hides
REACH = (1e-3, 1e3)  # ends of a drawn ray, in distances of the camera from the object


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
    _save(out / "lines.png", lines_picture(pair, pixels, cfg.tile))
    _save(out / "masks.png", masks_picture(pair, pixels, cfg.side, cfg.level, cfg.tile))
    _save(out / "matrix.png", matrix_picture(pair.cameras, cfg.side))
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
    first, second = (_canvas(pair, i, tile) for i in (0, 1))
    scale = tile / pair.cameras.size[0]
    for pixel, colour in zip(pixels, palette(len(pixels)), strict=True):
        _dot(first, pixel, scale, colour)
        _draw_line(second, pair, pixel, scale, colour)
    return _row([np.asarray(first), np.asarray(second)])


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
    rows.append(_titles(names, round(width * tile / height)))
    for pixel, colour in zip(pixels, palette(len(pixels)), strict=True):
        left = _canvas(pair, 0, tile)
        _dot(left, pixel, tile / height, colour)
        tiles = [np.asarray(left)]
        for way, at in shown:
            mask = token_mask(pair.cameras, pixel, side, way, at)
            right = _canvas(pair, 1, tile, mask)
            _draw_line(right, pair, pixel, tile / height, colour, thin=True)
            tiles.append(np.asarray(right))
        rows.append(_row(tiles))
    return _column(rows)


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


def ray_polyline(
    cameras: Cameras, pixel: Float[Tensor, "2"], bound: float | None = None, points: int = 512
) -> list[tuple[float, float]]:
    """Project the ray through a pixel (x, y) of the first camera into the second.

    Args:
        cameras: of the two views.
        pixel: in the first picture.
        bound: take only the part in the cube of this half side around the origin.
        points: that the ray is cut into.

    Returns:
        pixel positions of what lies in front of the second camera, in order; may be empty.
    """
    ray = cameras[[0]].rays(pixel[None, None].to(cameras.c2w))
    origin, direction = ray.origins[0].double(), ray.directions[0].double()
    reach = origin.norm().clamp(min=1e-6) * torch.tensor(REACH, dtype=torch.float64)
    near, far = reach.tolist()
    if bound is not None:
        planes = torch.stack([(-bound - origin) / direction, (bound - origin) / direction])
        near = max(near, planes.amin(0).max().item())
        far = min(far, planes.amax(0).min().item())
    if near >= far:
        return []
    steps = torch.logspace(0, 1, points, base=far / near, dtype=torch.float64) * near
    at = origin + steps[:, None] * direction
    place, depth = cameras[[1]].project(at.to(cameras.c2w))
    return [tuple(xy) for xy in place[0][depth[0] > 1e-6].tolist()]


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


def palette(count: int) -> list[tuple[int, int, int]]:
    """Return well separated strong colours."""
    hues = [colorsys.hsv_to_rgb(i / max(count, 1), 0.9, 0.85) for i in range(count)]
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues]


def write_gif(path: Path, frames: Sequence[Picture], seconds: float = 0.12) -> None:
    """Write frames as an endless GIF."""
    pictures = [Image.fromarray(frame).quantize(128) for frame in frames]
    with atomic_write(path) as temporary:
        pictures[0].save(
            temporary,
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 * seconds),
            loop=0,
        )


# --- drawing --------------------------------------------------------------------------------------


def _canvas(
    views: ViewSet, index: int, tile: int, mask: Bool[Tensor, "g g"] | None = None
) -> Image.Image:
    """A view on light grey, `tile` px high; what a mask hides is faded."""
    height, width = views.cameras.size
    picture = to_uint8(views.select([index]).rgb_on(0.93)[0])
    size = (round(width * tile / height), tile)
    canvas = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
    if mask is None:
        return canvas
    weight = Image.fromarray((mask.numpy() * 255).astype(np.uint8))
    weight = weight.resize(size, Image.Resampling.NEAREST)
    faded = Image.blend(Image.new("RGB", size, "white"), canvas, FADED)
    yellow = Image.blend(canvas, Image.new("RGB", size, (255, 225, 80)), 0.45)
    return Image.composite(yellow, faded, weight)


def _dot(canvas: Image.Image, pixel: Tensor, scale: float, colour: tuple[int, int, int]) -> None:
    x, y = (pixel * scale).tolist()
    box = (x - 5, y - 5, x + 5, y + 5)
    ImageDraw.Draw(canvas).ellipse(box, fill=colour, outline="black", width=1)


def _draw_line(
    canvas: Image.Image,
    pair: ViewSet,
    pixel: Tensor,
    scale: float,
    colour: tuple[int, int, int],
    *,
    thin: bool = False,
) -> None:
    draw = ImageDraw.Draw(canvas)
    for bound, width in ((None, 1), (pair.bound, 1 if thin else 4)):
        points = ray_polyline(pair.cameras, pixel, bound)
        line = [(x * scale, y * scale) for x, y in points if abs(x) + abs(y) < 1e5]
        if len(line) > 1:
            draw.line(line, fill=colour, width=width)


def _titles(names: Sequence[str], width: int) -> Picture:
    canvas = Image.new("RGB", (len(names) * (width + GAP) - GAP, 20), "white")
    for i, name in enumerate(names):
        ImageDraw.Draw(canvas).text((i * (width + GAP) + 4, 4), name, fill="black")
    return np.asarray(canvas)


def _row(tiles: Sequence[Picture]) -> Picture:
    gap = np.full((tiles[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for tile in tiles for part in (tile, gap)][:-1], axis=1)


def _column(rows: Sequence[Picture]) -> Picture:
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([part for row in rows for part in (row, gap)][:-1], axis=0)


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


def _save(path: Path, picture: Picture) -> None:
    with atomic_write(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG", optimize=True)
