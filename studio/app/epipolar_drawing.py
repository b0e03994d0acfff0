"""Drawing for pictures of epipolar geometry: points and lines on views, labelled rows, GIFs."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from studio.cameras import Cameras
from studio.io.files import atomic_write
from studio.io.images import to_uint8
from studio.views import ViewSet

Picture = UInt8[np.ndarray, "h w 3"]
GAP = 8  # px between tiles
FADED = 0.25  # strength of what a mask hides
REACH = (1e-3, 1e3)  # ends of a drawn ray, in distances of the camera from the object


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


def view_tile(
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


def draw_dot(
    canvas: Image.Image, pixel: Tensor, scale: float, colour: tuple[int, int, int]
) -> None:
    """Mark a pixel, on a view drawn at a scale."""
    x, y = (pixel * scale).tolist()
    box = (x - 5, y - 5, x + 5, y + 5)
    ImageDraw.Draw(canvas).ellipse(box, fill=colour, outline="black", width=1)


def draw_line(
    canvas: Image.Image,
    pair: ViewSet,
    pixel: Tensor,
    scale: float,
    colour: tuple[int, int, int],
    *,
    thin: bool = False,
) -> None:
    """Draw the ray of a pixel of the other view: thin, and strong within the object's cube."""
    draw = ImageDraw.Draw(canvas)
    for bound, width in ((None, 1), (pair.bound, 1 if thin else 4)):
        points = ray_polyline(pair.cameras, pixel, bound)
        line = [(x * scale, y * scale) for x, y in points if abs(x) + abs(y) < 1e5]
        if len(line) > 1:
            draw.line(line, fill=colour, width=width)


def title_row(names: Sequence[str], width: int) -> Picture:
    """Names above columns of a width."""
    canvas = Image.new("RGB", (len(names) * (width + GAP) - GAP, 20), "white")
    for i, name in enumerate(names):
        ImageDraw.Draw(canvas).text((i * (width + GAP) + 4, 4), name, fill="black")
    return np.asarray(canvas)


def side_by_side(tiles: Sequence[Picture]) -> Picture:
    """Tiles of one height in a row."""
    gap = np.full((tiles[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for tile in tiles for part in (tile, gap)][:-1], axis=1)


def stacked(rows: Sequence[Picture]) -> Picture:
    """Rows of one width below each other."""
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([part for row in rows for part in (row, gap)][:-1], axis=0)


def save_picture(path: Path, picture: Picture) -> None:
    """Write a PNG."""
    with atomic_write(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG", optimize=True)


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
