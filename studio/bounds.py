"""Guessing how large an object is from the cameras that look at it and its masks."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d

from studio.cameras import Cameras
from studio.errors import DataError

GRID = 40  # cells a side of the coarse visual hull
MOST_VIEWS = 24
MARGIN = 1.05


def look_at_point(cameras: Cameras) -> Float[Tensor, " 3"]:
    """Return the world point that is nearest to all viewing axes (least squares).

    Raises:
        DataError: if the axes are parallel, so that there is none.
    """
    axis = cameras.c2w[:, :3, 2].double()
    across = torch.eye(3, dtype=torch.float64) - axis[:, :, None] * axis[:, None, :]
    matrix = across.sum(0)
    if torch.linalg.eigvalsh(matrix)[0] < 1e-3 * len(cameras):
        raise DataError(
            "the cameras do not surround a common point, so the object's size cannot be guessed.",
            hint="Give half the side of the cube around it: data.bound=<world units>.",
        )
    return torch.linalg.solve(matrix, (across @ cameras.centres.double()[:, :, None]).sum(0))[
        :, 0
    ].float()


def seen_half_width(cameras: Cameras) -> float:
    """Return half the median width, in world units, of what the pictures show at the origin."""
    h, w = cameras.size
    if cameras.ortho_scale is not None:
        return float(cameras.ortho_scale.median()) * min(1.0, w / h) / 2
    tangents = torch.minimum(w / cameras.intrinsics[:, 0, 0], h / cameras.intrinsics[:, 1, 1]) / 2
    return float((cameras.centres.norm(dim=1) * tangents).median())


def look_elsewhere(cameras: Cameras) -> bool:
    """Whether the point that the cameras look at is clearly not the origin.

    Raises:
        DataError: if there is no such point.
    """
    return _is_off(look_at_point(cameras), seen_half_width(cameras))


def _is_off(target: Float[Tensor, " 3"], half: float) -> bool:
    return target.norm().item() > 0.35 * half


def guess_bound(mask: Float[Tensor, "v h w"], cameras: Cameras) -> float:
    """Return half the side of the cube around the origin that holds the object.

    The cameras must look at the origin. The cube starts as wide as the pictures are at the origin
    and shrinks to the visual hull of the masks on a coarse grid, with a margin.

    Raises:
        DataError: if the cameras look elsewhere.
    """
    target, half = look_at_point(cameras), seen_half_width(cameras)
    if _is_off(target, half):
        at = ", ".join(f"{x:.3g}" for x in target.tolist())
        raise DataError(
            f"the cameras look at ({at}), not at the origin, and no bound is given.",
            hint="Set data.centre=masks to move the object to the origin, or give its half size\n"
            "  with data.bound=<world units>.",
        )
    low, high = hull_box(mask, cameras, half)
    return min(half, MARGIN * float(torch.maximum(high, -low).max()))


def hull_box(
    mask: Float[Tensor, "v h w"], cameras: Cameras, half: float
) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Return the corners of the box around the visual hull on a coarse grid over [-half, half]^3.

    An empty hull (masks that disagree) gives the whole cube.
    """
    step = math.ceil(len(cameras) / MOST_VIEWS)
    hull = _visual_hull(mask[::step], cameras[::step], half)
    if not hull.any():
        return torch.full((3,), -half), torch.full((3,), half)
    inside = hull.nonzero()
    cell = 2 * half / GRID
    return inside.amin(0) * cell - half, (inside.amax(0) + 1) * cell - half


def _visual_hull(
    mask: Float[Tensor, "v h w"], cameras: Cameras, half: float
) -> Bool[Tensor, "g g g"]:
    """Keep the cells that no view sees as background.

    What lies outside a picture is background, too, unless the object is cut by its border. Masks
    are widened by half a cell's diagonal, so that a thin part between two cell centres survives.
    """
    cell = 2 * half / GRID
    line = (torch.arange(GRID) + 0.5) * cell - half
    points = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1).reshape(-1, 3)
    h, w = cameras.size
    widen = math.ceil(0.87 * cell * min(h, w) / (2 * half))
    rows = max_pool2d(mask[:, None], (1, 2 * widen + 1), 1, (0, widen))
    wide = max_pool2d(rows, (2 * widen + 1, 1), 1, (widen, 0))[:, 0] > 0.5
    pixels, depth = cameras.project(points)
    x, y = pixels.floor().long().unbind(-1)
    seen = (x >= 0) & (x < w) & (y >= 0) & (y < h) & (depth > 0)
    view = torch.arange(len(mask))[:, None]
    solid = wide[view, y.clamp(0, h - 1), x.clamp(0, w - 1)]
    border = torch.cat([mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1]], dim=1)
    cut = border.sum(dim=1) > 0.5
    kept = torch.where(seen, solid, cut[:, None]).all(0)
    return kept.reshape(GRID, GRID, GRID)
