"""Numba loop of what rays see of a textured mesh: the arithmetic of `studio.ops.ray_caster`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.ops.compiled import kernel

Array = NDArray[Any]


@kernel
def shade_textured(
    face: Array, u: Array, v: Array, depth: Array, table: Array, texture: Array, out: Array
) -> None:
    """Fill in what rays see.

    Args:
        face: triangle that each ray hits, [n]; -1 where there is none.
        u: barycentric weight of its second corner, [n].
        v: of its third, [n].
        depth: of the hits, [n].
        table: what corners hold, [m, 3, C]: colour first, the texture's coordinates last, and a
            normal in between where ``out`` has room for it.
        texture: [h, w, 3] of bytes, the first row on top.
        out: [n, 4 or 8], zeros: colour, coverage, depth, normal.
    """
    high, wide, _ = texture.shape
    columns = table.shape[2]
    one, half = np.float32(1), np.float32(0.5)
    right, bottom = np.float32(wide - 1), np.float32(high - 1)
    values = np.empty(columns, np.float32)
    for n in range(len(face)):
        f = face[n]
        if f < 0:
            continue
        first = one - u[n] - v[n]
        for c in range(columns):
            values[c] = first * table[f, 0, c] + u[n] * table[f, 1, c] + v[n] * table[f, 2, c]
        s, t = values[columns - 2], values[columns - 1]
        x = min(max(s * np.float32(wide) - half, np.float32(0)), right)
        y = min(max((one - t) * np.float32(high) - half, np.float32(0)), bottom)
        x0, y0 = int(x), int(y)
        x1, y1 = min(x0 + 1, wide - 1), min(y0 + 1, high - 1)
        fx, fy = float(x) - x0, float(y) - y0
        for c in range(3):
            top = texture[y0, x0, c] * (1 - fx) + texture[y0, x1, c] * fx
            low = texture[y1, x0, c] * (1 - fx) + texture[y1, x1, c] * fx
            out[n, c] = values[c] * np.float32((top * (1 - fy) + low * fy) / 255.0)
        out[n, 3] = one
        if out.shape[1] > 4:
            out[n, 4] = depth[n]
            for d in range(3):
                out[n, 5 + d] = values[3 + d]
