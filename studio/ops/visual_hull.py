"""Visual hull: what the masks of posed views leave of a cube, and its signed distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
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
    points = cell_centres(resolution)
    alive = torch.arange(resolution**3)
    if within is not None:
        alive = alive[within[_cell_of(points, within.shape[0])]]
        points = points[alive]
    against = torch.zeros(len(points), dtype=torch.int32)
    shown = torch.zeros_like(against)
    allowed = int((1 - agreement) * len(views) + 1e-6)
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
    hull = torch.zeros(resolution**3, dtype=torch.bool)
    hull[alive[shown >= min(2, len(views))]] = True
    return hull.view(resolution, resolution, resolution)


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
    rows = F.max_pool2d(mask[None, None], (1, 2 * pixels + 1), stride=1, padding=(0, pixels))
    return F.max_pool2d(rows, (2 * pixels + 1, 1), stride=1, padding=(pixels, 0))[0, 0]


def coverage(views: ViewSet, hull: Bool[Tensor, "r r r"], frame: Frame) -> float:
    """Share of the masks' pixels that the hull's silhouettes cover, the mean over the views."""
    points = cell_centres(hull.shape[0])[hull.reshape(-1)]
    h, w = views.cameras.size
    shares = []
    for i in range(len(views)):
        uv, depth = (value[0] for value in views.cameras[[i]].project(frame.to_world(points)))
        x, y = uv.clamp(-1, max(h, w)).floor().long().unbind(-1)
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h) & (depth > 0)
        silhouette = torch.zeros(h, w)
        silhouette[y[inside], x[inside]] = 1
        reach = _pixels_per_unit(views, i, frame) * frame.half / hull.shape[0]
        mask = views.mask[i] > 0.5
        covered = _grown(silhouette, int(np.ceil(reach)))[mask]
        shares.append(float(covered.mean()) if len(covered) else 1.0)
    return float(np.mean(shares))


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

    Where the hull does not fill the masks (inconsistent views), the agreement is relaxed in steps.

    Returns:
        The hull and the agreement used, or (None, 0) if even half of the views do not agree.
    """
    steps = [agreement] + [a for a in (0.95, 0.9, 0.8, 0.7, 0.6, 0.5) if a < agreement]
    fewest = 1 if cover_cells else 8
    for tried in steps:
        hull = visual_hull(views, frame, resolution, agreement=tried, cover_cells=cover_cells)
        if hull.sum() >= fewest and coverage(views, hull, frame) >= minimum_coverage:
            return hull, tried
    return None, 0.0


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
