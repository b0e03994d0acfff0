"""What happens to a chunk of points on a level of the hash grid: a piece of several kernels.

Storage is structure-of-arrays: points [3, P] in [0, 1], features [2L, P], Jacobian [2L, 3, P]. The
two features of a table row are one complex number: they are read and written at once. A chunk of
points goes through one level in stages, each a loop that the compiler turns into vector code (the
random accesses stand alone); in between lies scratch memory of constant size, in which features and
their factors are interleaved as in the table.
"""

from __future__ import annotations

import numpy as np

from studio.ops.compiled import FAST, part
from studio.ops.scalars_cpu import add_pair

CHUNK = 128  # points: scratch of all stages stays in the first-level cache

PRIME_Y = np.uint32(2654435761)  # tiny-cuda-nn: coherent prime hash
PRIME_Z = np.uint32(805459861)


@part(inline="always")
def _place(points, start, count, scale, steps, cells, inside):
    """Cell coordinates times ``steps``, and the (doubled) position inside the cell."""
    real = points.dtype.type
    for d in range(3):
        for i in range(count):
            position = min(max(points[d, start + i], real(0)), real(1)) * scale + real(0.5)
            cell = np.uint32(np.int32(position))
            cells[d, i] = cell * steps[d]
            share = position - real(cell)
            inside[d, 2 * i] = share
            inside[d, 2 * i + 1] = share


@part(inline="always")
def _smooth(inside, slope, count):
    """Positions w inside cells become smoothstep's weights w^2 (3 - 2 w), of slope 6 w (1 - w)."""
    real = inside.dtype.type
    for d in range(3):
        for j in range(2 * count):
            w = inside[d, j]
            inside[d, j] = w * w * (real(3) - real(2) * w)
            slope[d, j] = real(6) * w * (real(1) - w)


@part(inline="always")
def _steps(resolution, dense):
    """What one cell along x, y and z adds to a row index (dense) or to the parts of its hash."""
    if dense:
        return np.uint32(1), np.uint32(resolution), np.uint32(resolution * resolution)
    return np.uint32(1), PRIME_Y, PRIME_Z


@part(inline="always")
def _rows_of_corners(cells, count, steps, rows, dense, index):
    """Table rows of the eight corners of each cell, x fastest, then y, then z."""
    size, mask = np.uint32(rows), np.uint32(rows - 1)
    for c in range(8):
        x, y, z = np.uint32(c & 1), np.uint32(c >> 1 & 1) * steps[1], np.uint32(c >> 2) * steps[2]
        if dense:
            corner = np.uint32(x + y + z)
            for i in range(count):
                row = np.uint32(cells[0, i] + cells[1, i] + cells[2, i] + corner)
                # a coordinate on the upper face reaches beyond resolution^3: tiny-cuda-nn wraps it
                index[c, i] = min(row, np.uint32(row - size))
        else:
            for i in range(count):
                row = np.uint32(cells[0, i] + x) ^ np.uint32(cells[1, i] + y)
                index[c, i] = (row ^ np.uint32(cells[2, i] + z)) & mask


@part(inline="always")
def encode_scratch(points, table):
    """What `encode_chunk` works in: cells, rows, positions, slopes, results and table entries."""
    numbers = np.empty((10, 2 * CHUNK), points.dtype)
    cells, index = np.empty((3, CHUNK), np.uint32), np.empty((8, CHUNK), np.uint32)
    pairs = np.empty((8, CHUNK), table.dtype)
    return cells, index, numbers[:3], numbers[3:6], numbers[6:], pairs


@part(fastmath=FAST)
def encode_chunk(points, start, count, table, grid, level, scratch, features, jacobian, sloped):
    """Features (and, if ``sloped``, their derivatives) of a chunk on a level."""
    scales, resolutions, offsets, dense, smooth = grid
    cells, index, inside, slope, result, pairs = scratch
    part, scale = table[offsets[level] : offsets[level + 1]], scales[level]
    steps = _steps(resolutions[level], dense[level])
    v = pairs.view(points.dtype)
    k = 2 * level
    _place(points, start, count, scale, steps, cells, inside)
    if smooth:
        _smooth(inside, slope, count)
    _rows_of_corners(cells, count, steps, len(part), dense[level], index)
    for c in range(8):
        for i in range(count):
            pairs[c, i] = part[index[c, i]]
    for j in range(2 * count):
        fx, fy, fz = inside[0, j], inside[1, j], inside[2, j]
        v0, v2, v4, v6 = v[0, j], v[2, j], v[4, j], v[6, j]
        dx00, dx10 = v[1, j] - v0, v[3, j] - v2  # dx[y][z]
        dx01, dx11 = v[5, j] - v4, v[7, j] - v6
        a00, a10, a01, a11 = v0 + fx * dx00, v2 + fx * dx10, v4 + fx * dx01, v6 + fx * dx11
        dy0, dy1 = a10 - a00, a11 - a01
        b0, b1 = a00 + fy * dy0, a01 + fy * dy1
        c0, c1 = dx00 + fy * (dx10 - dx00), dx01 + fy * (dx11 - dx01)
        result[0, j] = b0 + fz * (b1 - b0)
        result[1, j] = scale * (c0 + fz * (c1 - c0))
        result[2, j] = scale * (dy0 + fz * (dy1 - dy0))
        result[3, j] = scale * (b1 - b0)
    if smooth:
        for d in range(3):
            for j in range(2 * count):
                result[d + 1, j] *= slope[d, j]
    for i in range(count):
        features[k, start + i] = result[0, 2 * i]
        features[k + 1, start + i] = result[0, 2 * i + 1]
    if sloped:
        for d in range(3):
            for i in range(count):
                jacobian[k, d, start + i] = result[d + 1, 2 * i]
                jacobian[k + 1, d, start + i] = result[d + 1, 2 * i + 1]


@part(inline="always")
def _interleave(first, second, start, count, factor, out):
    """Write two rows alternately."""
    for i in range(count):
        out[2 * i] = factor * first[start + i]
        out[2 * i + 1] = factor * second[start + i]


@part(inline="always")
def scatter_scratch(points, table):
    """What `scatter_chunk` works in: cells, rows, positions, slopes, given numbers, changes."""
    numbers = np.empty((11, 2 * CHUNK), points.dtype)
    for d in range(6, 11):  # without normals, some are never given
        for j in range(2 * CHUNK):
            numbers[d, j] = 0
    cells, index = np.empty((3, CHUNK), np.uint32), np.empty((8, CHUNK), np.uint32)
    pairs = np.empty((8, CHUNK), table.dtype)
    return cells, index, numbers[:3], numbers[3:6], numbers[6:], pairs


@part(fastmath=FAST)
def scatter_chunk(points, start, count, grid, level, scratch, grad_y, g, grad_n, grad_table):
    """Add a chunk's gradient: row(c) += w_c * gy + s * g * sum_d sign_d w_c/d * gn_d."""
    scales, resolutions, offsets, dense, smooth = grid
    cells, index, inside, slope, given, pairs = scratch
    real, one = points.dtype.type, points.dtype.type(1)
    part, scale = grad_table[offsets[level] : offsets[level + 1]], scales[level]
    steps = _steps(resolutions[level], dense[level])
    add = pairs.view(points.dtype)
    k = 2 * level
    _place(points, start, count, scale, steps, cells, inside)
    if smooth:
        _smooth(inside, slope, count)
    _rows_of_corners(cells, count, steps, len(part), dense[level], index)
    _interleave(grad_y[k], grad_y[k + 1], start, count, one, given[0])
    if grad_n.shape[1] > 0:
        _interleave(g[k], g[k + 1], start, count, real(scale), given[1])
        for d in range(3):
            _interleave(grad_n[d], grad_n[d], start, count, one, given[2 + d])
            if smooth:
                for j in range(2 * count):
                    given[2 + d, j] *= slope[d, j]
    for j in range(2 * count):
        x1, y1, z1 = inside[0, j], inside[1, j], inside[2, j]
        x0, y0, z0 = one - x1, one - y1, one - z1
        u, h = given[0, j], given[1, j]
        nx, ny, nz = h * given[2, j], h * given[3, j], h * given[4, j]
        ux0, ux1 = x0 * u - nx, x1 * u + nx
        yz00, yz10, yz01, yz11 = y0 * z0, y1 * z0, y0 * z1, y1 * z1
        m00, m10 = ny * z0 + nz * y0, ny * z0 - nz * y1  # changes along y and z, [y][z]
        m01, m11 = ny * z1 - nz * y0, ny * z1 + nz * y1
        add[0, j], add[1, j] = ux0 * yz00 - x0 * m00, ux1 * yz00 - x1 * m00
        add[2, j], add[3, j] = ux0 * yz10 + x0 * m10, ux1 * yz10 + x1 * m10
        add[4, j], add[5, j] = ux0 * yz01 - x0 * m01, ux1 * yz01 - x1 * m01
        add[6, j], add[7, j] = ux0 * yz11 + x0 * m11, ux1 * yz11 + x1 * m11
    for i in range(count):
        for c in range(8):  # neighbours often share a cell: the corners' sums are independent
            add_pair(part, index[c, i], pairs, c, i)


@part(fastmath=FAST)
def contract_range(jacobian, g, normal, start, stop):
    """Normals of some of the points."""
    for d in range(3):
        for p in range(start, stop):
            normal[d, p] = jacobian[0, d, p] * g[0, p] + jacobian[1, d, p] * g[1, p]
    for k in range(2, g.shape[0], 2):
        for d in range(3):
            for p in range(start, stop):
                change = jacobian[k, d, p] * g[k, p] + jacobian[k + 1, d, p] * g[k + 1, p]
                normal[d, p] += change


@part(fastmath=FAST)
def expand_range(jacobian, grad_normal, grad_g, start, stop):
    """Gradients by g of some of the points."""
    for k in range(grad_g.shape[0]):
        for p in range(start, stop):
            grad_g[k, p] = (
                jacobian[k, 0, p] * grad_normal[0, p]
                + jacobian[k, 1, p] * grad_normal[1, p]
                + jacobian[k, 2, p] * grad_normal[2, p]
            )
