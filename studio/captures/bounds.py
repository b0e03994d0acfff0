"""The size of an object: estimated from its masks and the cameras that look at it, or checked."""

from __future__ import annotations

import logging
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d

from studio.cameras import Cameras
from studio.errors import DataError
from studio.similarity import translation

logger = logging.getLogger(__name__)

GRID = 40  # cells a side of the coarse visual hull
MOST_VIEWS = 24
MARGIN = 1.05
LOOSE = 2.2  # times what the pictures show, from which on a declared box is not believed
SNUG = 1.5  # the same for boxes that users' files declare, of what masks that agree outline
CUTTING = 0.6  # of what the masks outline, below which it is not
AGREEING = 0.6  # of the widest mask's reach, from which on the hull of all masks is the object's
ABSURD = 10.0  # times what the pictures show, from which on no bound is taken


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


def believed_bound(
    bound: float | None,
    mask: Float[Tensor, "v h w"],
    cameras: Cameras,
    source: object,
    loose: float = LOOSE,
    snug: float | None = None,
) -> float | None:
    """Return the bound that a file declares, or None if the pictures plainly show another.

    Args:
        bound: half the side of the cube around the origin that is said to hold the object.
        mask: of the pictures.
        cameras: theirs.
        source: the file, for messages.
        loose: times what the pictures show, up to which it is believed.
        snug: times what the masks outline together, up to which it is believed where they agree.

    Raises:
        DataError: if the bound is not a positive number.
    """
    if bound is None:
        return None
    if not 0 < bound < math.inf:
        raise DataError(f"{source}: bound is {bound:g}.", allowed="a positive number, world units")
    outlined, shown = _reaches(mask, cameras)
    most = loose * shown
    if snug is not None and outlined >= AGREEING * shown:
        shown = MARGIN**2 * outlined  # as it would be guessed
        most = min(most, snug * shown)
    if CUTTING * outlined <= bound <= most:
        return bound
    logger.warning(
        "%s: the declared box reaches to %.3g from the origin, but the pictures show an object "
        "that reaches to %.3g: the box is taken from the pictures (or give data.bound)",
        source,
        bound,
        outlined if bound < shown else shown,
    )
    return None


def check_given_bound(bound: float, mask: Float[Tensor, "v h w"], cameras: Cameras) -> float:
    """Return the user's own bound.

    Raises:
        DataError: if it is many times larger than what the pictures show.
    """
    _, shown = _reaches(mask, cameras)
    if bound > ABSURD * shown:
        raise DataError(
            f"data.bound is {bound:.3g}, {bound / shown:.3g} times what the pictures show "
            f"({shown:.3g} from the origin).",
            allowed=f"up to {ABSURD * shown:.3g}; the best is a little above what they show",
            hint="data.bound=null takes it from the pictures.",
        )
    return bound


def _reaches(mask: Float[Tensor, "v h w"], cameras: Cameras) -> tuple[float, float]:
    """How far along an axis the object reaches from the origin: at least, and at most.

    At least as far as the hull that all masks agree on (0 where they agree on nothing or are
    full); at most as far as the widest single mask, or all that the pictures show.
    """
    try:
        target = look_at_point(cameras)
    except DataError:  # parallel axes
        target = torch.zeros(3)
    moved = cameras.placed(translation(target))
    half = seen_half_width(moved)
    low, high = hull_box(mask, moved, half)
    hull = float((high - low).amax()) < 1.9 * half  # otherwise it says nothing
    outlined = float(torch.maximum(target + high, -(target + low)).max()) / MARGIN if hull else 0.0
    widest = max(min(half, _widest(mask, moved)), float(torch.maximum(high, -low).max()))
    return outlined, float(target.abs().max()) + MARGIN * widest


def _widest(mask: Float[Tensor, "v h w"], cameras: Cameras) -> float:
    """Largest distance, at the origin's depth, of a mask's box from the origin."""
    pixels, depth = cameras.project(torch.zeros(1, 3))
    solid = mask > 0.5
    widest = 0.0
    for i in range(len(cameras)):
        rows, columns = (solid[i].any(dim=d).nonzero()[:, 0] for d in (1, 0))
        if not len(rows):
            continue
        x, y = pixels[i, 0].tolist()
        right = max(float(columns[-1]) + 1 - x, x - float(columns[0]))
        down = max(float(rows[-1]) + 1 - y, y - float(rows[0]))
        if cameras.ortho_scale is not None:
            unit = float(cameras.ortho_scale[i]) / cameras.size[0]
        else:
            unit = abs(float(depth[i, 0])) / float(cameras.intrinsics[i, :2, :2].diagonal().min())
        widest = max(widest, unit * max(right, down))
    return widest


def hull_box(
    mask: Float[Tensor, "v h w"], cameras: Cameras, half: float
) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Return the corners of the box around the visual hull on a coarse grid over [-half, half]^3.

    Views that show no object are left out. An empty hull (masks that disagree) gives the whole
    cube.
    """
    showing = (mask > 0.5).flatten(1).any(1)
    if not bool(showing.all()):
        mask, cameras = mask[showing], cameras[showing.nonzero()[:, 0]]
    if not len(cameras):
        return torch.full((3,), -half), torch.full((3,), half)
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
