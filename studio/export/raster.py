"""Triangles of the plane on a grid of texels, without a graphics library; compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from studio.ops.compiled import kernel

CANDIDATES = 4_000_000  # texel and triangle pairs tested at a time

Array = NDArray[Any]
Covered = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, "n 3"]]


def covered_texels(corners: Float[np.ndarray, "m 3 2"], size: int) -> Iterator[Covered]:
    """Find the texels whose centres each triangle covers, some triangles at a time.

    Args:
        corners: x and y in texels; what lies outside of [0, size] is left out.
        size: side of the grid.

    Yields:
        number of the texel (row by row, y down the rows), its triangle, and the barycentric weights
        of the centre. Centres on an edge belong to both triangles.
    """
    low = np.clip(np.ceil(corners.min(1) - 0.5), 0, size).astype(np.int64)
    high = np.clip(np.floor(corners.max(1) - 0.5) + 1, 0, size).astype(np.int64)
    span = np.maximum(high - low, 0)
    tested = np.cumsum(span[:, 0] * span[:, 1])
    start = 0
    while start < len(corners):
        before = tested[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(tested, before + CANDIDATES, side="right")))
        yield _cover(corners, low, span, np.arange(start, stop), size)
        start = stop


def _cover(
    corners: np.ndarray, low: np.ndarray, span: np.ndarray, faces: np.ndarray, size: int
) -> Covered:
    most = int((span[faces, 0] * span[faces, 1]).sum())
    texel, face, weight = np.empty(most, np.int64), np.empty(most, np.int64), np.empty((most, 3))
    first, last = int(faces[0]), int(faces[-1]) + 1
    found = _fill(np.ascontiguousarray(corners), low, span, first, last, size, texel, face, weight)
    return texel[:found], face[:found], weight[:found]


@kernel
def _fill(
    corners: Array,
    low: Array,
    span: Array,
    first: int,
    last: int,
    size: int,
    texel: Array,
    face: Array,
    weight: Array,
) -> int:
    """Write what some triangles cover; return how much."""
    found = 0
    for f in range(first, last):
        ax, ay = corners[f, 0, 0], corners[f, 0, 1]
        bx, by = corners[f, 1, 0] - ax, corners[f, 1, 1] - ay
        cx, cy = corners[f, 2, 0] - ax, corners[f, 2, 1] - ay
        area = bx * cy - by * cx
        if not abs(area) >= 1e-12:
            continue
        for y in range(low[f, 1], low[f, 1] + span[f, 1]):
            for x in range(low[f, 0], low[f, 0] + span[f, 0]):
                px, py = x + 0.5 - ax, y + 0.5 - ay
                wb, wc = (px * cy - py * cx) / area, (bx * py - by * px) / area
                wa = 1 - wb - wc
                if min(wa, wb, wc) >= -1e-7:
                    texel[found], face[found] = y * size + x, f
                    weight[found, 0], weight[found, 1], weight[found, 2] = wa, wb, wc
                    found += 1
    return found
