"""Triangles of the plane on a grid of texels, without a graphics library."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

CANDIDATES = 4_000_000  # texel and triangle pairs tested at a time

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
    count = span[faces].prod(1)
    face = faces.repeat(count)
    offset = np.arange(len(face)) - (np.cumsum(count) - count).repeat(count)
    width = span[face, 0]
    x, y = low[face, 0] + offset % width, low[face, 1] + offset // width
    a, b, c = corners[face].transpose(1, 0, 2)
    p = np.stack([x, y], 1) + 0.5
    area = _cross(b - a, c - a)
    safe = np.where(np.abs(area) < 1e-12, np.inf, area)
    wb, wc = _cross(p - a, c - a) / safe, _cross(b - a, p - a) / safe
    wa = 1 - wb - wc
    hit = (np.minimum(np.minimum(wa, wb), wc) >= -1e-7) & np.isfinite(safe)
    return (y * size + x)[hit], face[hit], np.stack([wa[hit], wb[hit], wc[hit]], 1)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
