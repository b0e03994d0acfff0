"""One picture of the whole story: input, views, the mesh from the same and from unseen sides."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from studio.cameras import Cameras
from studio.export.turntable import fitted_orbit, paint, shade_shape
from studio.images import composite, to_uint8
from studio.mesh import Mesh
from studio.views import ViewSet

TILE, GAP, MARGIN, LABEL = 128, 8, 20, 26
INK, PAPER, FRAME = (70, 74, 82), (255, 255, 255), (228, 230, 234)
COLUMNS = 4  # of a grid of views; two rows
Picture = UInt8[np.ndarray, "h w 3"]


def contact_sheet(
    mesh: Mesh,
    views: ViewSet | None = None,
    input_picture: Float[Tensor, "4 h w"] | None = None,
    *,
    views_label: str = "generated views",
) -> Image.Image:
    """Lay out the input picture, the views, and renders of the mesh beside and below them.

    Args:
        mesh: with a texture or vertex colours, in world units.
        views: what the mesh was made from; at most eight are shown, spread evenly.
        input_picture: RGBA, straight alpha in [0, 1].
        views_label: what the views are called.
    """
    big = 2 * TILE + GAP
    blocks: list[tuple[str, Image.Image]] = []
    if input_picture is not None:
        blocks.append(("input", _tile(_flat(input_picture), big)))
    if views is not None:
        chosen = _spread(len(views), 2 * COLUMNS)
        shown = views.select(chosen)
        blocks.append((views_label, _grid([_flat(image) for image in shown.images])))
        renders = paint(mesh, _square(shown.cameras, 2 * TILE), supersample=1)
        blocks.append(("mesh, same cameras", _grid(list(renders))))
    first_azimuth = 0.0 if views is None else float(views.cameras.spherical()[0][0])
    top = _row(blocks) if blocks else None
    width = top.width if top is not None else 8 * TILE + 7 * GAP
    side = (width - 7 * GAP) // 8
    azimuths, elevations = zip(*_unseen_sides(views, first_azimuth), strict=True)
    cameras = fitted_orbit(mesh, list(azimuths), list(elevations), side)
    texture, shape = paint(mesh, cameras, supersample=3), shade_shape(mesh, cameras, supersample=3)
    unseen = "mesh, unseen sides" if views is not None else "mesh"
    bottom = _row(
        [(unseen, _grid(list(texture), side, 4)), ("shape", _grid(list(shape), side, 4))], GAP
    )
    return _stack([top, bottom] if top is not None else [bottom])


def _unseen_sides(views: ViewSet | None, first_azimuth: float) -> list[tuple[float, float]]:
    """Four directions (azimuth, elevation) far from all cameras: below, level, above."""
    candidates = [
        (first_azimuth + turn, elevation)
        for turn, elevation in ((25.0, -25.0), (115.0, 5.0), (205.0, -12.0), (295.0, 62.0))
    ]
    if views is None:
        return candidates
    azimuth, elevation, _ = views.cameras.spherical()
    taken = _directions(azimuth.numpy(), elevation.numpy())
    moved = []
    for turn, height in candidates:  # slide each along its circle to the middle between cameras
        options = turn + np.linspace(-30, 30, 13)
        clearance = (_directions(options, np.full(13, height)) @ taken.T).max(1)
        moved.append((float(options[clearance.argmin()]), height))
    return moved


def _directions(azimuth_deg: np.ndarray, elevation_deg: np.ndarray) -> np.ndarray:
    a, e = np.radians(azimuth_deg), np.radians(elevation_deg)
    return np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], -1)


def _spread(total: int, wanted: int) -> list[int]:
    """Evenly spread positions, the first one included."""
    return [i * total // wanted for i in range(wanted)] if total > wanted else list(range(total))


def _square(cameras: Cameras, side: int) -> Cameras:
    h, w = cameras.size
    return cameras.resized(side * h // max(h, w), side * w // max(h, w))


def _flat(rgba: Float[Tensor, "4 h w"]) -> Picture:
    return to_uint8(composite(rgba.detach().float().cpu(), 1.0))


def _tile(picture: Picture, side: int) -> Image.Image:
    """Fit a picture into a white square with a hairline frame."""
    image = Image.fromarray(picture)
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.LANCZOS)
    tile = Image.new("RGB", (side, side), PAPER)
    tile.paste(image, ((side - size[0]) // 2, (side - size[1]) // 2))
    ImageDraw.Draw(tile).rectangle((0, 0, side - 1, side - 1), outline=FRAME)
    return tile


def _grid(pictures: list[Picture], side: int = TILE, columns: int = COLUMNS) -> Image.Image:
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    step = side + GAP
    sheet = Image.new("RGB", (columns * step - GAP, rows * step - GAP), PAPER)
    for i, picture in enumerate(pictures):
        sheet.paste(_tile(picture, side), (i % columns * step, i // columns * step))
    return sheet


def _row(blocks: list[tuple[str, Image.Image]], gap: int = MARGIN) -> Image.Image:
    """Set labelled blocks side by side."""
    width = sum(image.width for _, image in blocks) + gap * (len(blocks) - 1)
    sheet = Image.new("RGB", (width, LABEL + max(image.height for _, image in blocks)), PAPER)
    draw, font, x = ImageDraw.Draw(sheet), ImageFont.load_default(15), 0
    for label, image in blocks:
        draw.text((x + 1, 2), label, fill=INK, font=font)
        sheet.paste(image, (x, LABEL))
        x += image.width + gap
    return sheet


def _stack(rows: list[Image.Image]) -> Image.Image:
    height = sum(row.height for row in rows) + GAP * (len(rows) - 1) + 2 * MARGIN
    sheet = Image.new("RGB", (max(row.width for row in rows) + 2 * MARGIN, height), PAPER)
    y = MARGIN
    for row in rows:
        sheet.paste(row, (MARGIN, y))
        y += row.height + GAP
    return sheet
