"""Triton kernels of the multiresolution hash grid: features and Jacobian in one pass, one scatter.

Storage as for the numba kernels: points [3, P] in [0, 1], features [LF, P], Jacobian [LF, 3, P];
any power of two of features per level. One program handles a block of points of one level; a
corner's row is read, and added to, as one vector of F numbers.

Checked against the twin in Triton's interpreter (TRITON_INTERPRET=1); `benchmarks/gpu_kernels.py`
repeats the comparison on a CUDA device.
"""

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from studio.ops.hash_grid import HashGridLayout

BLOCK = 256  # points per program


@triton.jit
def _cell(points, p, inside, count, d: tl.constexpr, scale, SMOOTH: tl.constexpr):
    """Cell, weight of its upper corners and that weight's slope along one axis.

    tiny-cuda-nn shifts by half a cell.
    """
    x = tl.load(points + d * count + p, mask=inside, other=0.0)
    position = tl.minimum(tl.maximum(x, 0.0), 1.0) * scale + 0.5
    cell = tl.floor(position)
    w = position - cell
    if SMOOTH:
        return cell.to(tl.uint32), w * w * (3.0 - 2.0 * w), scale * (6.0 * w * (1.0 - w))
    else:
        return cell.to(tl.uint32), w, scale + 0.0 * w


@triton.jit
def _row(cx, cy, cz, corner: tl.constexpr, resolution, rows, dense):
    """Table row of a corner, numbered x fastest; dense levels wrap at the upper faces."""
    x, y, z = cx + (corner & 1), cy + (corner >> 1 & 1), cz + (corner >> 2)
    flat = x + resolution * (y + resolution * z)
    flat = tl.where(flat >= rows, flat - rows, flat)
    hashed = (x ^ (y * tl.full((1,), 2654435761, tl.uint32))) ^ (
        z * tl.full((1,), 805459861, tl.uint32)
    )
    return tl.where(dense != 0, flat, hashed & (rows - 1))


@triton.jit
def _side(fraction, upper: tl.constexpr):
    """Weight of a corner along one axis, and the sign of its derivative."""
    if upper:
        return fraction, 1.0
    else:
        return 1.0 - fraction, -1.0


@triton.jit
def _level(numbers, scales, level):
    """Size of a level: scale, resolution, number of rows, whether dense, and its first row."""
    resolution = tl.load(numbers + 4 * level).to(tl.uint32)
    rows = tl.load(numbers + 4 * level + 1).to(tl.uint32)
    return (
        tl.load(scales + level),
        resolution,
        rows,
        tl.load(numbers + 4 * level + 2),
        tl.load(numbers + 4 * level + 3),
    )


@triton.jit
def _encode_kernel(
    points, table, numbers, scales, features, jacobian, count,
    F: tl.constexpr, JACOBIAN: tl.constexpr, SMOOTH: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    level = tl.program_id(1)
    p = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = p < count
    scale, resolution, rows, dense, first = _level(numbers, scales, level)
    cx, fx, dx = _cell(points, p, inside, count, 0, scale, SMOOTH)
    cy, fy, dy = _cell(points, p, inside, count, 1, scale, SMOOTH)
    cz, fz, dz = _cell(points, p, inside, count, 2, scale, SMOOTH)
    f = tl.arange(0, F)[None, :]
    mask = inside[:, None] & (f < F)
    y = tl.zeros((SIZE, F), fx.dtype)
    jx, jy, jz = y, y, y
    for corner in tl.static_range(8):
        wx, sx = _side(fx, corner & 1)
        wy, sy = _side(fy, corner >> 1 & 1)
        wz, sz = _side(fz, corner >> 2)
        row = first + _row(cx, cy, cz, corner, resolution, rows, dense).to(tl.int64)
        value = tl.load(table + row[:, None] * F + f, mask=mask, other=0.0)
        y += (wx * wy * wz)[:, None] * value
        if JACOBIAN:
            jx += (sx * wy * wz)[:, None] * value
            jy += (sy * wx * wz)[:, None] * value
            jz += (sz * wx * wy)[:, None] * value
    k = (level * F + f).to(tl.int64)
    tl.store(features + k * count + p[:, None], y, mask=mask)
    if JACOBIAN:
        out = jacobian + 3 * k * count + p[:, None]
        tl.store(out, dx[:, None] * jx, mask=mask)
        tl.store(out + count, dy[:, None] * jy, mask=mask)
        tl.store(out + 2 * count, dz[:, None] * jz, mask=mask)


@triton.jit
def _scatter_kernel(
    points, numbers, scales, grad_y, g, grad_n, grad_table, count,
    F: tl.constexpr, NORMAL: tl.constexpr, SMOOTH: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """row(c) += w_c * gy + g * sum_d slope_d sign_d w_c/d * gn_d, with atomic additions."""
    level = tl.program_id(1)
    p = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = p < count
    scale, resolution, rows, dense, first = _level(numbers, scales, level)
    cx, fx, dx = _cell(points, p, inside, count, 0, scale, SMOOTH)
    cy, fy, dy = _cell(points, p, inside, count, 1, scale, SMOOTH)
    cz, fz, dz = _cell(points, p, inside, count, 2, scale, SMOOTH)
    f = tl.arange(0, F)[None, :]
    mask = inside[:, None] & (f < F)
    place = (level * F + f).to(tl.int64) * count + p[:, None]
    by_y = tl.load(grad_y + place, mask=mask, other=0.0)
    if NORMAL:
        by_slope = tl.load(g + place, mask=mask, other=0.0)
        nx = dx * tl.load(grad_n + p, mask=inside, other=0.0)
        ny = dy * tl.load(grad_n + count + p, mask=inside, other=0.0)
        nz = dz * tl.load(grad_n + 2 * count + p, mask=inside, other=0.0)
    for corner in tl.static_range(8):
        wx, sx = _side(fx, corner & 1)
        wy, sy = _side(fy, corner >> 1 & 1)
        wz, sz = _side(fz, corner >> 2)
        row = first + _row(cx, cy, cz, corner, resolution, rows, dense).to(tl.int64)
        value = (wx * wy * wz)[:, None] * by_y
        if NORMAL:
            slope = sx * wy * wz * nx + sy * wx * wz * ny + sz * wx * wy * nz
            value += slope[:, None] * by_slope
        tl.atomic_add(grad_table + row[:, None] * F + f, value, mask=mask, sem="relaxed")


@triton.jit
def _contract_kernel(jacobian, g, normal, count, width, SIZE: tl.constexpr):
    p = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = p < count
    x = tl.zeros((SIZE,), normal.dtype.element_ty)
    y, z = x, x
    slopes, parts = g + p, jacobian + p
    for _ in range(width):
        slope = tl.load(slopes, mask=inside, other=0.0)
        x += slope * tl.load(parts, mask=inside, other=0.0)
        y += slope * tl.load(parts + count, mask=inside, other=0.0)
        z += slope * tl.load(parts + 2 * count, mask=inside, other=0.0)
        slopes += count
        parts += 3 * count
    tl.store(normal + p, x, mask=inside)
    tl.store(normal + count + p, y, mask=inside)
    tl.store(normal + 2 * count + p, z, mask=inside)


@triton.jit
def _expand_kernel(jacobian, grad_normal, grad_g, count, SIZE: tl.constexpr):
    k = tl.program_id(1).to(tl.int64)
    p = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = p < count
    part = jacobian + 3 * k * count + p
    total = tl.zeros((SIZE,), grad_g.dtype.element_ty)
    for d in tl.static_range(3):
        by_normal = tl.load(grad_normal + d * count + p, mask=inside, other=0.0)
        total += by_normal * tl.load(part + d * count, mask=inside, other=0.0)
    tl.store(grad_g + k * count + p, total, mask=inside)


@functools.lru_cache(maxsize=8)
def _level_sizes(
    layout: HashGridLayout, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Per level (resolution, rows, dense, first row), and the scales, on a device."""
    numbers = list(zip(layout.resolutions, layout.rows, layout.dense, layout.offsets, strict=False))
    return (
        torch.tensor(numbers, dtype=torch.int64, device=device),
        torch.tensor(layout.scales, dtype=dtype, device=device),
    )


def encode(
    points: Tensor, table: Tensor, layout: HashGridLayout, features: Tensor, jacobian: Tensor
) -> None:
    """Fill ``features`` [LF, P] and, unless it has no points, ``jacobian`` [LF, 3, P]."""
    count = points.shape[1]
    if count == 0:
        return
    sizes = _level_sizes(layout, points.dtype, points.device)
    _encode_kernel[(triton.cdiv(count, BLOCK), layout.levels)](
        points, table, *sizes, features, jacobian, count,
        F=layout.features, JACOBIAN=jacobian.shape[2] > 0,
        SMOOTH=layout.interpolation == "smoothstep", SIZE=BLOCK,
    )  # fmt: skip


def scatter(
    points: Tensor,
    layout: HashGridLayout,
    grad_y: Tensor,
    g: Tensor,
    grad_n: Tensor,
    grad_table: Tensor,
) -> None:
    """Add the gradient with respect to the table to ``grad_table`` (order not deterministic)."""
    count = points.shape[1]
    if count == 0:
        return
    sizes = _level_sizes(layout, points.dtype, points.device)
    _scatter_kernel[(triton.cdiv(count, BLOCK), layout.levels)](
        points, *sizes, grad_y, g, grad_n, grad_table, count,
        F=layout.features, NORMAL=grad_n.shape[1] > 0,
        SMOOTH=layout.interpolation == "smoothstep", SIZE=BLOCK,
    )  # fmt: skip


def contract(jacobian: Tensor, g: Tensor, normal: Tensor) -> None:
    """normal[d, p] = sum_k jacobian[k, d, p] g[k, p]."""
    width, count = g.shape
    if count:
        _contract_kernel[(triton.cdiv(count, BLOCK),)](
            jacobian, g, normal, count, width, SIZE=BLOCK
        )


def expand(jacobian: Tensor, grad_normal: Tensor, grad_g: Tensor) -> None:
    """grad_g[k, p] = sum_d jacobian[k, d, p] grad_normal[d, p]."""
    width, count = grad_g.shape
    if count:
        _expand_kernel[(triton.cdiv(count, BLOCK), width)](
            jacobian, grad_normal, grad_g, count, SIZE=BLOCK
        )
