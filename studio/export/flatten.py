"""Charts laid flat with as little stretch as possible.

As rigid as possible: every triangle should keep its shape but for a turn, and the corners meet in
the least squares sense (Liu et al., "A local/global approach to mesh parameterization", 2008).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu

from studio.export.raster import covered_texels

ROUNDS = 12
BLUNT = 0.05  # least cotangent of a corner: obtuse triangles count a little
CHECKED = 512  # texels along the charts' own square, on which overlaps are looked for


def flattened(
    corners: Float[np.ndarray, "m 3 3"],
    plane: Float[np.ndarray, "m 3 2"],
    joint: Int[np.ndarray, "m 3"],
    chart: Int[np.ndarray, " m"],
) -> Float[np.ndarray, "m 3 2"]:
    """Return corners on the plane; charts that would fold or lie over themselves stay as given.

    Every chart has the area that its triangles have in space.

    Args:
        corners: of triangles in space.
        plane: where they lie now, counter-clockwise.
        joint: number of each corner, from 0, the same for corners that stay together.
        chart: of each triangle, from 0.
    """
    flat = _relaxed(corners, plane, joint)
    spoilt = np.zeros(int(chart.max()) + 1, bool)
    spoilt[chart[_doubled_area(flat) <= 0]] = True
    spoilt[_overlapping(flat, chart)] = True
    flat = np.where(spoilt[chart][:, None, None], plane, flat)
    wanted = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    has = np.bincount(chart, np.abs(_doubled_area(flat)))
    scale = np.sqrt(np.bincount(chart, wanted) / np.maximum(has, 1e-30))
    return flat * scale[chart][:, None, None]


def _relaxed(
    corners: Float[np.ndarray, "m 3 3"],
    plane: Float[np.ndarray, "m 3 2"],
    joint: Int[np.ndarray, "m 3"],
) -> Float[np.ndarray, "m 3 2"]:
    """Rounds of turning every triangle to where its corners are, and joining the corners again."""
    count = int(joint.max()) + 1
    shape = _own_plane(corners)
    sides = np.roll(shape, -1, axis=1) - shape  # side i from corner i to the next
    opposite = np.roll(shape, -2, axis=1)
    u, v = shape - opposite, np.roll(shape, -1, axis=1) - opposite
    sine = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    weight = np.maximum((u * v).sum(-1) / np.maximum(sine, 1e-30), BLUNT)
    starts, ends = joint.ravel(), np.roll(joint, -1, axis=1).ravel()
    graph = coo_matrix((weight.ravel(), (starts, ends)), (count, count)).tocsc()
    graph = graph + graph.T
    degree = np.asarray(graph.sum(1)).ravel()
    solver = splu(
        (diags(degree * (1 + 1e-9) + 1e-12) - graph).tocsc(), options={"SymmetricMode": True}
    )
    at = np.empty((count, 2))
    at[joint.ravel()] = plane.reshape(-1, 2)
    for _ in range(ROUNDS):
        now = at[np.roll(joint, -1, axis=1)] - at[joint]
        along = (weight[..., None] * sides * now).sum((1, 2))
        across = (weight * (sides[..., 0] * now[..., 1] - sides[..., 1] * now[..., 0])).sum(1)
        length = np.maximum(np.hypot(along, across), 1e-30)
        cosine, sine_ = (along / length)[:, None], (across / length)[:, None]
        x, y = sides[..., 0], sides[..., 1]
        turned = np.stack([cosine * x - sine_ * y, sine_ * x + cosine * y], -1)
        pull = (weight[..., None] * turned).reshape(-1, 2)
        right = np.stack(
            [np.bincount(ends, p, count) - np.bincount(starts, p, count) for p in pull.T], 1
        )
        at = solver.solve(right)
    return at[joint]


def _own_plane(corners: Float[np.ndarray, "m 3 3"]) -> Float[np.ndarray, "m 3 2"]:
    """Every triangle on a plane of its own, undistorted, counter-clockwise."""
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    length = np.linalg.norm(one, axis=1)
    along = (one * other).sum(1) / np.maximum(length, 1e-30)
    height = np.linalg.norm(np.cross(one, other), axis=1) / np.maximum(length, 1e-30)
    zero = np.zeros_like(length)
    return np.stack([np.stack(p, 1) for p in ((zero, zero), (length, zero), (along, height))], 1)


def _doubled_area(corners: Float[np.ndarray, "m 3 2"]) -> Float[np.ndarray, " m"]:
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.asarray(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])


def _overlapping(
    flat: Float[np.ndarray, "m 3 2"], chart: Int[np.ndarray, " m"]
) -> Int[np.ndarray, " k"]:
    """Charts of which two triangles cover one texel, beyond the texels that an edge passes."""
    order = np.argsort(chart, kind="stable")
    starts = np.searchsorted(chart[order], np.arange(int(chart.max()) + 1))
    low = np.minimum.reduceat(flat.min(1)[order], starts)
    extent = float((np.maximum.reduceat(flat.max(1)[order], starts) - low).max())
    grid = (flat - low[chart][:, None]) * (CHECKED / max(extent, 1e-30))
    places = [
        chart[face] * np.int64(CHECKED**2) + texel
        for texel, face, weight in covered_texels(grid, CHECKED)
        if len(face)
    ]
    place, times = np.unique(np.concatenate(places), return_counts=True)
    return np.unique(place[times > 1] // CHECKED**2)
