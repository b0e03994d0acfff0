"""Numba kernels of the multiresolution hash grid (two features per level, feature-major storage).

Storage is structure-of-arrays: points [3, P] in [0, 1], features [2L, P], Jacobian [2L, 3, P].
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from studio.ops.backend import in_parallel

BLOCK = 2048  # points per task: one block of points, features and Jacobian stays in the cache
ROW_BLOCK = 1024  # points per task of the contraction
SUM = {"contract", "nsz", "arcp", "reassoc"}

PRIME_Y = np.int64(2654435761)  # tiny-cuda-nn: coherent prime hash
PRIME_Z = np.int64(805459861)


@njit(cache=True, inline="always", error_model="numpy")
def _corner_rows(cx, cy, cz, resolution, rows, dense):
    """The eight table rows of a cell, in the order x fastest, then y, then z."""
    if dense:
        first = cx + resolution * (cy + resolution * cz)
        step_y, step_z = resolution, resolution * resolution
        r0, r1 = first, first + 1
        r2, r3 = first + step_y, first + step_y + 1
        r4, r5 = first + step_z, first + step_z + 1
        r6, r7 = first + step_y + step_z, first + step_y + step_z + 1
        # a coordinate on the upper face reaches beyond resolution^3: tiny-cuda-nn wraps it
        r0 -= rows if r0 >= rows else 0
        r1 -= rows if r1 >= rows else 0
        r2 -= rows if r2 >= rows else 0
        r3 -= rows if r3 >= rows else 0
        r4 -= rows if r4 >= rows else 0
        r5 -= rows if r5 >= rows else 0
        r6 -= rows if r6 >= rows else 0
        r7 -= rows if r7 >= rows else 0
    else:
        mask = rows - 1
        y0, y1 = cy * PRIME_Y, (cy + 1) * PRIME_Y
        z0, z1 = cz * PRIME_Z, (cz + 1) * PRIME_Z
        r0, r1 = (cx ^ y0 ^ z0) & mask, ((cx + 1) ^ y0 ^ z0) & mask
        r2, r3 = (cx ^ y1 ^ z0) & mask, ((cx + 1) ^ y1 ^ z0) & mask
        r4, r5 = (cx ^ y0 ^ z1) & mask, ((cx + 1) ^ y0 ^ z1) & mask
        r6, r7 = (cx ^ y1 ^ z1) & mask, ((cx + 1) ^ y1 ^ z1) & mask
    return r0, r1, r2, r3, r4, r5, r6, r7


@njit(cache=True, inline="always", error_model="numpy")
def _cell(coordinate, scale, real):
    """Cell index and position inside the cell of one coordinate in [0, 1]."""
    position = min(max(coordinate, real(0)), real(1)) * scale + real(0.5)
    cell = np.int64(position)
    return cell, position - real(cell)


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _encode_level(points, table, scale, resolution, dense, level, features, jacobian, start, stop):
    """Features (and, if ``jacobian`` has points, their derivatives) of one level."""
    real = points.dtype.type  # keeps every literal in the precision of the data
    rows = table.shape[0]
    with_jacobian = jacobian.shape[2] > 0
    for p in range(start, stop):
        cx, fx = _cell(points[0, p], scale, real)
        cy, fy = _cell(points[1, p], scale, real)
        cz, fz = _cell(points[2, p], scale, real)
        r0, r1, r2, r3, r4, r5, r6, r7 = _corner_rows(cx, cy, cz, resolution, rows, dense)
        for f in range(2):
            v0, v2, v4, v6 = table[r0, f], table[r2, f], table[r4, f], table[r6, f]
            dx00, dx10 = table[r1, f] - v0, table[r3, f] - v2  # dx[y][z]
            dx01, dx11 = table[r5, f] - v4, table[r7, f] - v6
            a00, a10, a01, a11 = v0 + fx * dx00, v2 + fx * dx10, v4 + fx * dx01, v6 + fx * dx11
            dy0, dy1 = a10 - a00, a11 - a01
            b0, b1 = a00 + fy * dy0, a01 + fy * dy1
            k = 2 * level + f
            features[k, p] = b0 + fz * (b1 - b0)
            if with_jacobian:
                c0, c1 = dx00 + fy * (dx10 - dx00), dx01 + fy * (dx11 - dx01)
                jacobian[k, 0, p] = scale * (c0 + fz * (c1 - c0))
                jacobian[k, 1, p] = scale * (dy0 + fz * (dy1 - dy0))
                jacobian[k, 2, p] = scale * (b1 - b0)


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _scatter_level(
    points, scale, resolution, dense, level, grad_y, g, grad_n, with_normal, grad_table
):
    """Add the gradient of one level: row(c) += w_c * gy + s * g * sum_d sign_d w_c/d * gn_d."""
    real = points.dtype.type
    one = real(1)
    rows = grad_table.shape[0]
    k0, k1 = 2 * level, 2 * level + 1
    for p in range(points.shape[1]):
        cx, x1 = _cell(points[0, p], scale, real)
        cy, y1 = _cell(points[1, p], scale, real)
        cz, z1 = _cell(points[2, p], scale, real)
        r0, r1, r2, r3, r4, r5, r6, r7 = _corner_rows(cx, cy, cz, resolution, rows, dense)
        x0, y0, z0 = one - x1, one - y1, one - z1
        u0, u1 = grad_y[k0, p], grad_y[k1, p]
        yz00, yz10, yz01, yz11 = y0 * z0, y1 * z0, y0 * z1, y1 * z1
        w0, w1, w2, w3 = x0 * yz00, x1 * yz00, x0 * yz10, x1 * yz10
        w4, w5, w6, w7 = x0 * yz01, x1 * yz01, x0 * yz11, x1 * yz11
        if with_normal:
            nx, ny, nz = scale * grad_n[0, p], scale * grad_n[1, p], scale * grad_n[2, p]
            h0, h1 = g[k0, p], g[k1, p]
            ax, bx, cx_, dx = nx * yz00, nx * yz10, nx * yz01, nx * yz11
            e0, e1, f0, f1 = ny * x0 * z0, ny * x1 * z0, ny * x0 * z1, ny * x1 * z1
            q00, q10, q01, q11 = nz * x0 * y0, nz * x1 * y0, nz * x0 * y1, nz * x1 * y1
            m0, m1 = -ax - e0 - q00, ax - e1 - q10
            m2, m3 = -bx + e0 - q01, bx + e1 - q11
            m4, m5 = -cx_ - f0 + q00, cx_ - f1 + q10
            m6, m7 = -dx + f0 + q01, dx + f1 + q11
            grad_table[r0, 0] += w0 * u0 + m0 * h0
            grad_table[r0, 1] += w0 * u1 + m0 * h1
            grad_table[r1, 0] += w1 * u0 + m1 * h0
            grad_table[r1, 1] += w1 * u1 + m1 * h1
            grad_table[r2, 0] += w2 * u0 + m2 * h0
            grad_table[r2, 1] += w2 * u1 + m2 * h1
            grad_table[r3, 0] += w3 * u0 + m3 * h0
            grad_table[r3, 1] += w3 * u1 + m3 * h1
            grad_table[r4, 0] += w4 * u0 + m4 * h0
            grad_table[r4, 1] += w4 * u1 + m4 * h1
            grad_table[r5, 0] += w5 * u0 + m5 * h0
            grad_table[r5, 1] += w5 * u1 + m5 * h1
            grad_table[r6, 0] += w6 * u0 + m6 * h0
            grad_table[r6, 1] += w6 * u1 + m6 * h1
            grad_table[r7, 0] += w7 * u0 + m7 * h0
            grad_table[r7, 1] += w7 * u1 + m7 * h1
        else:
            for r, w in (
                (r0, w0),
                (r1, w1),
                (r2, w2),
                (r3, w3),
                (r4, w4),
                (r5, w5),
                (r6, w6),
                (r7, w7),
            ):
                grad_table[r, 0] += w * u0
                grad_table[r, 1] += w * u1


@njit(cache=True)
def _encode_task(points, table, grid, level, start, features, jacobian):
    scales, resolutions, offsets, dense = grid
    part = table[offsets[level] : offsets[level + 1]]
    stop = min(start + BLOCK, points.shape[1])
    _encode_level(
        points, part, scales[level], resolutions[level], dense[level], level,
        features, jacobian, start, stop,
    )  # fmt: skip


@njit(cache=True)
def _scatter_task(points, grid, level, grad_y, g, grad_n, grad_table):
    scales, resolutions, offsets, dense = grid
    part = grad_table[offsets[level] : offsets[level + 1]]
    _scatter_level(
        points, scales[level], resolutions[level], dense[level], level,
        grad_y, g, grad_n, grad_n.shape[1] > 0, part,
    )  # fmt: skip


@njit(cache=True, parallel=True)
def _encode_parallel(points, table, grid, features, jacobian):
    levels = len(grid[0])
    for task in prange(levels * ((points.shape[1] + BLOCK - 1) // BLOCK)):
        start = (task // levels) * BLOCK
        _encode_task(points, table, grid, task % levels, start, features, jacobian)


@njit(cache=True)
def _encode_serial(points, table, grid, features, jacobian):
    for start in range(0, points.shape[1], BLOCK):
        for level in range(len(grid[0])):
            _encode_task(points, table, grid, level, start, features, jacobian)


@njit(cache=True, parallel=True)
def _scatter_parallel(points, grid, grad_y, g, grad_n, grad_table):
    levels = len(grid[0])
    for task in prange(levels):  # fine levels first: they take longest
        _scatter_task(points, grid, levels - 1 - task, grad_y, g, grad_n, grad_table)


@njit(cache=True)
def _scatter_serial(points, grid, grad_y, g, grad_n, grad_table):
    for level in range(len(grid[0])):
        _scatter_task(points, grid, level, grad_y, g, grad_n, grad_table)


@njit(cache=True, fastmath=SUM, error_model="numpy")
def _contract_range(jacobian, g, normal, start, stop):
    for d in range(3):
        for p in range(start, stop):
            normal[d, p] = jacobian[0, d, p] * g[0, p]
    for k in range(1, g.shape[0]):
        for d in range(3):
            for p in range(start, stop):
                normal[d, p] += jacobian[k, d, p] * g[k, p]


@njit(cache=True, fastmath=SUM, error_model="numpy")
def _expand_range(jacobian, grad_normal, grad_g, start, stop):
    for k in range(grad_g.shape[0]):
        for p in range(start, stop):
            grad_g[k, p] = (
                jacobian[k, 0, p] * grad_normal[0, p]
                + jacobian[k, 1, p] * grad_normal[1, p]
                + jacobian[k, 2, p] * grad_normal[2, p]
            )


@njit(cache=True, parallel=True)
def _contract_parallel(jacobian, g, normal):
    count = g.shape[1]
    for block in prange((count + ROW_BLOCK - 1) // ROW_BLOCK):
        _contract_range(
            jacobian, g, normal, block * ROW_BLOCK, min(count, block * ROW_BLOCK + ROW_BLOCK)
        )


@njit(cache=True, parallel=True)
def _expand_parallel(jacobian, grad_normal, grad_g):
    count = grad_g.shape[1]
    for block in prange((count + ROW_BLOCK - 1) // ROW_BLOCK):
        _expand_range(
            jacobian,
            grad_normal,
            grad_g,
            block * ROW_BLOCK,
            min(count, block * ROW_BLOCK + ROW_BLOCK),
        )


def encode(points, table, layout, features, jacobian) -> None:
    """Fill ``features`` [2L, P] and, unless it has no points, ``jacobian`` [2L, 3, P]."""
    run = _encode_parallel if in_parallel() else _encode_serial
    arrays = (points.numpy(), table.numpy(), layout.arrays(table.numpy().dtype))
    run(*arrays, features.numpy(), jacobian.numpy())


def scatter(points, layout, grad_y, g, grad_n, grad_table) -> None:
    """Add the gradient with respect to the table to ``grad_table`` (levels are independent)."""
    run = _scatter_parallel if in_parallel() else _scatter_serial
    gradients = (grad_y.numpy(), g.numpy(), grad_n.numpy(), grad_table.numpy())
    run(points.numpy(), layout.arrays(gradients[-1].dtype), *gradients)


def contract(jacobian, g, normal) -> None:
    """normal[d, p] = sum_k jacobian[k, d, p] g[k, p]."""
    jacobian, g, normal = jacobian.numpy(), g.numpy(), normal.numpy()
    if in_parallel():
        _contract_parallel(jacobian, g, normal)
    else:
        _contract_range(jacobian, g, normal, 0, g.shape[1])


def expand(jacobian, grad_normal, grad_g) -> None:
    """grad_g[k, p] = sum_d jacobian[k, d, p] grad_normal[d, p]."""
    jacobian, grad_normal, grad_g = jacobian.numpy(), grad_normal.numpy(), grad_g.numpy()
    if in_parallel():
        _expand_parallel(jacobian, grad_normal, grad_g)
    else:
        _expand_range(jacobian, grad_normal, grad_g, 0, grad_g.shape[1])
