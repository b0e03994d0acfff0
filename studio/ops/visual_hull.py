"""Visual hull: what the masks of posed views leave of a cube, and its signed distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from studio.views import ViewSet


@dataclass(frozen=True)
class Frame:
    """Axis-aligned cube in the world, the place of the local cube [-1, 1]^3.

    Attributes:
        centre: in world units.
        half: half its side, in world units.
    """

    centre: Float[Tensor, 3]
    half: float

    def to_local(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """World positions in units of the cube."""
        return (points - self.centre.to(points)) / self.half

    def to_world(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Positions in the cube in world units."""
        return points * self.half + self.centre.to(points)


def cell_centres(resolution: int) -> Float[Tensor, "m 3"]:
    """Centres of the cells of a grid over [-1, 1]^3, the last axis fastest."""
    axis = (torch.arange(resolution) + 0.5) * (2 / resolution) - 1
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)


def visual_hull(
    views: ViewSet,
    frame: Frame,
    resolution: int,
    *,
    agreement: float = 1.0,
    dilation_px: float = 0.0,
    cover_cells: bool = False,
    within: Bool[Tensor, "q q q"] | None = None,
) -> Bool[Tensor, "r r r"]:
    """Find the cells that lie in the masks of enough views.

    Points outside a picture, or behind its camera, count as inside its mask; but two views (the
    only one, of one) have to show a cell within their masks, or nothing speaks for it.

    Args:
        views: posed masks.
        frame: the cube to carve.
        resolution: cells a side.
        agreement: share of views that have to see a cell as object.
        dilation_px: how far every mask is grown.
        cover_cells: grow the masks by half a cell diagonal, so that no part of a cell is missed.
        within: a hull of another resolution, outside of which nothing is looked for.
    """
    alive, _ = _votes(
        views,
        frame,
        resolution,
        allowed=_allowed(agreement, views),
        dilation_px=dilation_px,
        cover_cells=cover_cells,
        within=within,
    )
    return _marked(alive, resolution)


def _allowed(agreement: float, views: ViewSet) -> int:
    """How many views may speak against a cell."""
    return int((1 - agreement) * len(views) + 1e-6)


def _marked(cells: Int[Tensor, " m"], resolution: int) -> Bool[Tensor, "r r r"]:
    hull = torch.zeros(resolution**3, dtype=torch.bool)
    hull[cells] = True
    return hull.view(resolution, resolution, resolution)


def _votes(
    views: ViewSet,
    frame: Frame,
    resolution: int,
    *,
    allowed: int,
    dilation_px: float = 0.0,
    cover_cells: bool = False,
    within: Bool[Tensor, "q q q"] | None = None,
) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """Cells that at most ``allowed`` views speak against, and how many do."""
    points = cell_centres(resolution)
    alive = torch.arange(resolution**3)
    if within is not None:
        alive = alive[within[_cell_of(points, within.shape[0])]]
        points = points[alive]
    against = torch.zeros(len(points), dtype=torch.int32)
    shown = torch.zeros_like(against)
    h, w = views.cameras.size
    radius = 3**0.5 / resolution * frame.half if cover_cells else 0.0
    for i in range(len(views)):
        camera = views.cameras[[i]]
        uv, depth = (value[0] for value in camera.project(frame.to_world(points)))
        grow = dilation_px + radius * _pixels_per_unit(views, i, frame)
        mask = _grown(views.mask[i], int(np.ceil(grow)) if grow > 0 else 0)
        grid = (uv / uv.new_tensor([w, h]) * 2 - 1).clamp(-3, 3)
        seen = F.grid_sample(mask[None, None], grid[None, None], align_corners=False)[0, 0, 0]
        inside = (grid.abs() < 1).all(-1) & (depth > 0)
        against += ((seen < 0.5) & inside).int()
        shown += ((seen >= 0.5) & inside).int()
        keep = against <= allowed
        alive, points, against, shown = alive[keep], points[keep], against[keep], shown[keep]
    speaks = shown >= min(2, len(views))
    return alive[speaks], against[speaks]


def _cell_of(points: Float[Tensor, "n 3"], resolution: int) -> tuple[Tensor, ...]:
    """Index of the cells of a grid over [-1, 1]^3 that hold some points."""
    return ((points + 1) * (0.5 * resolution)).long().clamp(0, resolution - 1).unbind(-1)


def _pixels_per_unit(views: ViewSet, i: int, frame: Frame) -> float:
    cameras = views.cameras
    if cameras.ortho_scale is not None:
        return float(cameras.size[0] / cameras.ortho_scale[i])
    distance = float((cameras.centres[i] - frame.centre).norm())
    return float(cameras.intrinsics[i, 0, 0]) / max(distance - 0.5 * frame.half, 0.1 * frame.half)


def _grown(mask: Float[Tensor, "h w"], pixels: int) -> Float[Tensor, "h w"]:
    if pixels <= 0:
        return mask
    pixels = min(pixels, max(mask.shape))
    rows = F.max_pool2d(mask[None, None], (1, 2 * pixels + 1), stride=1, padding=(0, pixels))
    return F.max_pool2d(rows, (2 * pixels + 1, 1), stride=1, padding=(pixels, 0))[0, 0]


def silhouette_match(
    views: ViewSet, hull: Bool[Tensor, "r r r"], frame: Frame
) -> tuple[float, float]:
    """How well the hull's silhouettes, a cell wider, match the masks: means over the views.

    Returns:
        The share of the masks' pixels that they cover, and their intersection over union.
    """
    points = cell_centres(hull.shape[0])[hull.reshape(-1)]
    h, w = views.cameras.size
    covered, overlap = [], []
    for i in range(len(views)):
        uv, depth = (value[0] for value in views.cameras[[i]].project(frame.to_world(points)))
        x, y = uv.clamp(-1, max(h, w)).floor().long().unbind(-1)
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h) & (depth > 0)
        silhouette = torch.zeros(h, w)
        silhouette[y[inside], x[inside]] = 1
        reach = _pixels_per_unit(views, i, frame) * frame.half / hull.shape[0]
        shape, mask = _grown(silhouette, int(np.ceil(reach))) > 0, views.mask[i] > 0.5
        both = float((shape & mask).sum())
        covered.append(both / max(float(mask.sum()), 1))
        overlap.append(both / max(float((shape | mask).sum()), 1))
    return float(np.mean(covered)), float(np.mean(overlap))


def agreed_hull(
    views: ViewSet,
    frame: Frame,
    resolution: int,
    agreement: float,
    minimum_coverage: float,
    *,
    cover_cells: bool = False,
) -> tuple[Bool[Tensor, "r r r"] | None, float]:
    """Carve with as much agreement as the views really have.

    Where the hull does not fill the masks (inconsistent views), the agreement is relaxed in steps,
    on until the silhouettes match the masks no better.

    Returns:
        The hull and the agreement used, or (None, 0) if even half of the views do not agree.
    """
    alive, against = _votes(
        views,
        frame,
        resolution,
        allowed=_allowed(min(agreement, 0.5), views),
        cover_cells=cover_cells,
    )
    steps = [agreement] + [a for a in (0.95, 0.9, 0.8, 0.7, 0.6, 0.5) if a < agreement]
    fewest = 1 if cover_cells else 8
    best: tuple[Bool[Tensor, "r r r"] | None, float] = (None, 0.0)
    best_overlap = 0.0
    for tried in steps:
        hull = _marked(alive[against <= _allowed(tried, views)], resolution)
        if hull.sum() < fewest:
            continue
        covered, overlap = silhouette_match(views, hull, frame)
        if overlap > best_overlap and covered >= minimum_coverage:
            best, best_overlap = (hull, tried), overlap
        if covered > 0.98 or (best_overlap > 0 and overlap < best_overlap):
            break
    return best


def tight_frame(hull: Bool[Tensor, "r r r"], frame: Frame, margin: float = 1.08) -> Frame:
    """Shrink a cube to the hull's bounding cube, plus a margin."""
    cells = hull.nonzero()
    low = cells.amin(0) * (2 / hull.shape[0]) - 1
    high = (cells.amax(0) + 1) * (2 / hull.shape[0]) - 1
    centre = frame.to_world(((low + high) / 2)[None])[0]
    half = float((high - low).max()) / 2 * frame.half * margin
    return Frame(centre, half)


def hull_distance(hull: Bool[Tensor, "r r r"]) -> Float[Tensor, "r r r"]:
    """Smoothed signed distance of a hull at the cell centres, in units of half the cube."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    inside = np.pad(hull.numpy(), 1)
    distance = distance_transform_edt(~inside) - distance_transform_edt(inside)
    distance -= 0.5 * np.sign(distance)  # cell centres are half a cell from the boundary
    smooth = gaussian_filter(distance.astype(np.float32), 1.0)[1:-1, 1:-1, 1:-1]
    return torch.from_numpy(smooth * np.float32(2 / hull.shape[0]))


def distance_to_cells(cells: Bool[Tensor, "r r r"]) -> Float[Tensor, "r r r"]:
    """Lower bound of the distance from anywhere in a cell to the marked cells, 0 in those.

    In units of half the cube.
    """
    from scipy.ndimage import distance_transform_edt

    if not bool(cells.any()):
        return torch.full(cells.shape, 1.0)
    steps = torch.from_numpy(distance_transform_edt(~cells.cpu().numpy()).astype(np.float32))
    # between centres it is `steps` cells; the ends lie within half a diagonal of the centres
    nearest = (steps - 3**0.5).clamp(min=1e-3)
    return torch.where(cells.cpu(), torch.zeros(()), nearest * (2 / cells.shape[0]))
