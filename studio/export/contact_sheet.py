"""The contact sheet: input, views, and the mesh from the same and from unseen sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from studio.export.turntable import fitted_orbit, paint
from studio.io.images import composite, to_uint8
from studio.mesh import Mesh
from studio.views import ViewSet

TILE, GAP, MARGIN, LABEL = 128, 8, 20, 26
INK, PAPER, FRAME = (70, 74, 82), (255, 255, 255), (228, 230, 234)
ALARM = (176, 42, 30)
COLUMNS = 4  # of a grid of views; two rows
Picture = UInt8[np.ndarray, "h w 3"]


def contact_sheet(
    mesh: Mesh,
    views: ViewSet | None = None,
    input_picture: Float[Tensor, "4 h w"] | None = None,
    *,
    views_label: str = "generated views",
    notes: Sequence[str] = (),
) -> Image.Image:
    """Lay out the input picture, the views, and renders of the mesh beside and below them.

    Args:
        mesh: with a texture or vertex colours, in world units.
        views: what the mesh was made from; at most eight are shown, spread evenly.
        input_picture: RGBA, straight alpha in [0, 1].
        views_label: what the views are called.
        notes: sentences below all; those that begin with "warning" in another colour.
    """
    big = 2 * TILE + GAP
    blocks: list[tuple[str, Image.Image]] = []
    if input_picture is not None:
        crop = _common_square(input_picture[None, 3])
        blocks.append(("input", _tile(_flat(input_picture, crop), big)))
    if views is not None:
        shown = views.select(_spread(len(views), 2 * COLUMNS))
        crop = _common_square(shown.mask)
        blocks.append((views_label, _grid([_flat(image, crop) for image in shown.images])))
        scale = 2 * TILE / (crop[1] - crop[0])  # render at twice the size of a tile, then crop
        h, w = shown.cameras.size
        cameras = shown.cameras.resized(round(h * scale), round(w * scale))
        renders = paint(mesh, cameras, supersample=1)[0]
        same = [_cut(picture, [round(edge * scale) for edge in crop]) for picture in renders]
        blocks.append(("mesh, same cameras", _grid(same)))
    first_azimuth = 0.0 if views is None else float(views.cameras.spherical()[0][0])
    top = _row(blocks) if blocks else None
    width = top.width if top is not None else 8 * TILE + 7 * GAP
    side = (width - 7 * GAP) // 8
    azimuths, elevations = zip(*_unseen_sides(views, first_azimuth), strict=True)
    cameras = fitted_orbit(mesh, list(azimuths), list(elevations), side)
    colour, shape = (_grid(list(pictures), side) for pictures in paint(mesh, cameras, 3))
    label = "mesh" if views is None else "mesh, unseen sides"
    bottom = _row([(label, colour), ("shape", shape)], GAP)
    rows = [bottom] if top is None else [top, bottom]
    return _stack([*rows, _text(notes, width)] if notes else rows)


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


def _common_square(masks: Float[Tensor, "v h w"]) -> list[int]:
    """The square (left, right, top, bottom) around what all masks cover, with a margin.

    It may reach over the picture's edge.
    """
    covered = masks.detach().cpu().amax(0).numpy() > 0.05
    h, w = covered.shape
    if not covered.any():
        covered = np.ones((h, w), dtype=bool)
    y, x = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    side = round(1.1 * max(y[-1] - y[0], x[-1] - x[0]) + 2)
    left, top = ((v[0] + v[-1] + 1 - side) // 2 for v in (x, y))
    return [int(left), int(left) + side, int(top), int(top) + side]


def _cut(picture: Picture, crop: list[int]) -> Picture:
    """The part of a picture inside a square; white beyond its edges."""
    left, right, top, bottom = crop
    h, w = picture.shape[:2]
    part = picture[max(top, 0) : bottom, max(left, 0) : right]
    pad = ((max(-top, 0), max(bottom - h, 0)), (max(-left, 0), max(right - w, 0)), (0, 0))
    return np.pad(part, pad, constant_values=255)


def _flat(rgba: Float[Tensor, "4 h w"], crop: list[int]) -> Picture:
    return _cut(to_uint8(composite(rgba.detach().float().cpu(), 1.0)), crop)


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


def _text(notes: Sequence[str], width: int) -> Image.Image:
    """Sentences one below the other, broken where they are longer than a width in pixels."""
    font, lines = ImageFont.load_default(15), []
    for note in notes:
        colour, line = (ALARM if note.startswith("warning") else INK), ""
        for word in note.split():
            if line and font.getlength(f"{line} {word}") > width:
                lines.append((line, colour))
                line = ""
            line = f"{line} {word}".strip()
        lines.append((line, colour))
    sheet = Image.new("RGB", (width, 22 * len(lines) + 4), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (line, colour) in enumerate(lines):
        draw.text((1, 4 + 22 * i), line, fill=colour, font=font)
    return sheet


def _stack(rows: list[Image.Image]) -> Image.Image:
    height = sum(row.height for row in rows) + GAP * (len(rows) - 1) + 2 * MARGIN
    sheet = Image.new("RGB", (max(row.width for row in rows) + 2 * MARGIN, height), PAPER)
    y = MARGIN
    for row in rows:
        sheet.paste(row, (MARGIN, y))
        y += row.height + GAP
    return sheet
