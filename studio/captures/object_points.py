"""Where the object is, by sparse points alone: what stands on the floor where cameras look."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from studio.cameras import Cameras
from studio.captures.bounds import look_at_point
from studio.errors import DataError

COMMON = 0.5  # share of the pictures that show a point of the object
THICK = 0.012  # of a floor, to either side, in distances of the cameras
STEEP = 0.35  # sine of the angle between a floor's normal and what is up
TRIES = 400  # random triples of points
FLOOR, BELOW = 0.1, 0.05  # least share of the points on a floor, and most of them below
CELL = 0.05  # within which points belong together, in distances of the cameras
PART = 0.1  # least share of what stands on the floor
OUTER = 0.005  # share of the object's points beyond its box, on each side


def object_box(
    points: Float[Tensor, "n 3"], cameras: Cameras
) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """Return the corners of the box around the object; where there is a floor, it stands on it.

    Points that few pictures show are left out, then those of the floor and below it; of what hangs
    together in the rest, the part nearest to where the cameras look is the object.

    Args:
        points: sparse points, outliers among them, in a world with +Z up, at least roughly.
        cameras: that look at the object.

    Raises:
        DataError: if there are too few points where the cameras look.
    """
    target = look_at_point(cameras)
    distance = float((cameras.centres - target).norm(dim=1).median())
    near = (points - target).norm(dim=1) < 0.9 * distance
    points = points[near][_shown(points[near], cameras) >= COMMON].double()
    floor = _floor(points, THICK * distance)
    height = points @ floor[:3] - floor[3] if floor is not None else points[:, 2] + torch.inf
    standing = points[height > THICK * distance]
    part = _nearest_part(standing.numpy(), target.numpy(), CELL * distance)
    if part is None:
        raise DataError(
            f"data.centre=object: only {len(standing)} of the sparse points lie where the cameras "
            "look, and they do not hang together.",
            allowed="masks, look-at or points, with data.bound=<half the cube's side>",
        )
    low, high = np.quantile(standing.numpy()[part], [OUTER, 1 - OUTER], axis=0)
    if floor is not None and abs(float(floor[2])) > 0.5:
        middle = (low + high) / 2
        plane = floor.numpy()
        low[2] = min(low[2], (plane[3] - plane[:2] @ middle[:2]) / plane[2])
    return torch.from_numpy(low).float(), torch.from_numpy(high).float()


def object_bound(points: Float[Tensor, "n 3"], cameras: Cameras) -> float:
    """Half the side of the cube around the origin that holds the object, with a margin of 10 %."""
    low, high = object_box(points, cameras)
    return 1.1 * float(torch.maximum(high, -low).max())


def _shown(points: Float[Tensor, "n 3"], cameras: Cameras) -> Float[Tensor, " n"]:
    """Share of the pictures in whose frame each point lies."""
    pixels, depth = cameras.project(points.float())
    inside = (pixels >= 0) & (pixels < pixels.new_tensor([cameras.size[1], cameras.size[0]]))
    return (inside.all(-1) & (depth > 0)).float().mean(0)


def _floor(points: Float[Tensor, "n 3"], thick: float) -> Float[Tensor, "4"] | None:
    """The plane that holds the most points and has hardly any below it: unit normal up, offset."""
    if len(points) < 3:
        return None
    generator = torch.Generator().manual_seed(0)
    a, b, c = points[torch.randint(len(points), (3, TRIES), generator=generator)]
    normal = torch.linalg.cross(b - a, c - a)
    normal = torch.nn.functional.normalize(normal, dim=1) * normal[:, 2:].sign()
    level = normal[:, 2] > (1 - STEEP**2) ** 0.5
    normal, offset = normal[level], (normal * a).sum(1)[level]
    best, most = None, FLOOR * len(points)
    for n, d in zip(normal, offset, strict=True):
        height = points @ n - d
        on = int((height.abs() < thick).sum())
        if on > most and int((height < -thick).sum()) < BELOW * len(points):
            best, most = torch.cat([n, d[None]]), on
    return best


def _nearest_part(
    points: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "3"], cell: float
) -> Bool[np.ndarray, " n"] | None:
    """Which points belong to the part that is nearest to a target; None if there is none."""
    from scipy.ndimage import label

    if len(points) < 10:
        return None
    at = np.floor((points - points.min(0)) / cell).astype(np.int64)
    cells = np.zeros(at.max(0) + 1, np.int64)
    np.add.at(cells, tuple(at.T), 1)
    parts = label(cells > 1, np.ones((3, 3, 3)))[0][tuple(at.T)]
    sizes = np.bincount(parts)
    sizes[0] = 0  # single points: outliers
    large = np.flatnonzero(sizes >= max(PART * len(points), 4))
    if len(large) == 0:
        return None
    away = [np.linalg.norm(points[parts == part] - target, axis=1).min() for part in large]
    found: Bool[np.ndarray, " n"] = parts == large[int(np.argmin(away))]
    return found
