"""A tile of points on its way through the hash-grid field, and back.

A tile of `TILE` points goes through the whole chain while it lies in the cache. With y (u) the
features of the position u = (x + 1) / 2, J their derivative by u, and w the first row of W2:

    z = W1 y + b1,     h = act(z),        s = act'(z) w,          act(z) = (z + sqrt(z^2 + c)) / 2
    o = W2 h + b2,     g = W1^T s,        n = J^T g / 2 + x / |x|,          sdf = o0 + |x| - r

Backwards, let Gx be the gradient of the loss by x. Go and Gn are given (Go0 is that by sdf). Then

    g is linear in s and J:               Gg = J Gn / 2,          Gs = W1 Gg,
    s and h both come from z:             Gz = act'(z) W2^T Go + w act''(z) Gs,    Gy = W1^T Gz,
    GW1 = Gz y^T + s Gg^T,                GW2 = Go h^T, to whose first row Gs act'(z) is added,

with act''(z) = c / (2 (z^2 + c)^(3/2)). The table's gradient follows from Gy, g and Gn / 2 alone
(`scatter_chunk`), as J is linear in the table.
"""

from __future__ import annotations

import numpy as np

from studio.ops.compiled import FAST, part
from studio.ops.hash_grid_chunks_cpu import contract_range, encode_chunk, expand_range
from studio.ops.tiles_cpu import TILE, add_products, product, product_transposed

CURVE = 1e-3  # squareplus: (z + sqrt(z^2 + CURVE)) / 2


@part(inline="always")
def rows_of(tile, sizes):
    """What a tile keeps: positions, y, J, g and z."""
    k, h, _ = sizes
    jacobian = tile[3 + k : 3 + 4 * k].reshape(k, 3, TILE)
    z = 3 + 5 * k
    return tile[:3], tile[3 : 3 + k], jacobian, tile[3 + 4 * k : z], tile[z : z + h]


@part(inline="always")
def weights_of(flat, sizes):
    """The gradients by all weights and biases in one row: W1, W2, b1, b2."""
    k, h, o = sizes
    a, b = h * k, h * (k + o)
    return flat[:a].reshape(h, k), flat[a:b].reshape(o, h), flat[b : b + h], flat[b + h :]


@part
def clear(rows):
    """Zeros."""
    for m in range(rows.shape[0]):
        for p in range(rows.shape[1]):
            rows[m, p] = 0


@part
def add_rows(rows, sums):
    """Add the sums over a tile's points to `sums`, in an order that no compiler may change.

    That of eight lanes. With the freedom of `FAST`, which its caller must not have either, code for
    one thread and code for many would add up differently.
    """
    for m in range(rows.shape[0]):
        row = rows[m]
        a, b, c, d = row[0], row[1], row[2], row[3]
        e, f, g, h = row[4], row[5], row[6], row[7]
        for p in range(8, TILE, 8):
            a, b, c, d = a + row[p], b + row[p + 1], c + row[p + 2], d + row[p + 3]
            e, f, g, h = e + row[p + 4], f + row[p + 5], g + row[p + 6], h + row[p + 7]
        sums[m] += ((a + b) + (c + d)) + ((e + f) + (g + h))


@part(fastmath=FAST)
def _activate(z, weight, hidden, slope):
    """Set h to act(z) and s to act'(z) w."""
    real = z.dtype.type
    half, one, curve = real(0.5), real(1), real(CURVE)
    for m in range(z.shape[0]):
        w = weight[m]
        for p in range(TILE):
            value = z[m, p]
            square = value * value + curve
            inverse = one / np.sqrt(square)
            hidden[m, p] = half * (value + square * inverse)
            slope[m, p] = half * (one + value * inverse) * w


@part(fastmath=FAST)
def _activate_gradient(z, weight, hidden, slope, grad_slope, grad):
    """Turn ``grad`` by h into that by z, Gs into Gs act'(z); set h and s."""
    real = z.dtype.type
    half, one, curve = real(0.5), real(1), real(CURVE)
    for m in range(z.shape[0]):
        w = weight[m]
        for p in range(TILE):
            value = z[m, p]
            square = value * value + curve
            inverse = one / np.sqrt(square)
            first = half * (one + value * inverse)
            second = half * curve * inverse * inverse * inverse
            hidden[m, p] = half * (value + square * inverse)
            slope[m, p] = first * w
            by_z = grad[m, p] * first + grad_slope[m, p] * w * second
            grad[m, p] = by_z
            grad_slope[m, p] *= first


@part(fastmath=FAST)
def forward_tile(tile, start, count, points, table, grid, nets, sizes, work, results):
    """Distances of the points from ``start`` on; where there is room for them, gradients, too."""
    w1, b1, w2, b2, none, radius, width = nets
    scratch, hidden, slope, out, inverse = work
    sdf, gradient, features = results
    sloped, real = gradient.shape[1] > 0, points.dtype.type
    one, half, size = real(1), real(0.5), real(radius)
    unit, y, jacobian, g, z = rows_of(tile, sizes)
    for d in range(3):
        for p in range(count):
            unit[d, p] = half * points[d, start + p] + half
        for p in range(count, TILE):
            unit[d, p] = half
    for level in range(len(grid[0])):
        encode_chunk(unit, 0, TILE, table, grid, level, scratch, y, jacobian, sloped)
    clear(y[width:])
    product(w1, y, b1, z)
    _activate(z, w2[0], hidden, slope)
    rows = sizes[2] if sloped else 4
    product(w2[:rows], hidden, b2, out[:rows])
    for p in range(TILE):
        x0, x1, x2 = unit[0, p] - half, unit[1, p] - half, unit[2, p] - half
        away = np.sqrt(x0 * x0 + x1 * x1 + x2 * x2 + real(0.25e-12))
        inverse[p] = one / away
        out[0, p] += (away + away) - size
    for p in range(count):
        sdf[start + p] = out[0, p]
    if sloped:
        for c in range(features.shape[0]):
            for p in range(count):
                features[c, start + p] = out[1 + c, p]
        product_transposed(w1, slope, none, g)
        n = out[:3]
        contract_range(jacobian[:width], g[:width], n, 0, TILE)
        for d in range(3):
            for p in range(count):
                gradient[d, start + p] = half * n[d, p] + (unit[d, p] - half) * inverse[p]


@part(fastmath=FAST)
def backward_tile(tile, start, count, grads, nets, sizes, work, back, sums):
    """Gradients by the weights, added to ``sums``; by y and n of the points, to ``back``.

    Those of single rows are left in ``work`` for `add_row_gradients`.
    """
    grad_sdf, grad_gradient, grad_features = grads
    w1, _, w2, _, none, _, width = nets
    hidden, slope, grad_z, grad_s, grad_o, grad_g = work
    sums_w1, sums_w2, _, _ = sums
    _, y, jacobian, _, z = rows_of(tile, sizes)
    grad_y, grad_n, half = back[:-3], back[-3:], grad_sdf.dtype.type(0.5)
    clear(grad_n)
    for d in range(3):
        for p in range(count):
            grad_n[d, p] = half * grad_gradient[d, start + p]
    clear(grad_o)
    for p in range(count):
        grad_o[0, p] = grad_sdf[start + p]
    for c in range(grad_features.shape[0]):
        for p in range(count):
            grad_o[1 + c, p] = grad_features[c, start + p]
    expand_range(jacobian[:width], grad_n, grad_g[:width], 0, TILE)
    clear(grad_g[width:])
    product(w1, grad_g, none, grad_s)
    product_transposed(w2, grad_o, none, grad_z)
    _activate_gradient(z, w2[0], hidden, slope, grad_s, grad_z)
    add_products(grad_o, hidden, sums_w2)
    add_products(grad_z, y, sums_w1)
    add_products(slope, grad_g, sums_w1)
    product_transposed(w1, grad_z, none, grad_y)


@part
def add_row_gradients(work, sums):
    """Add the gradients by the biases, and Gs act'(z) to the first row of that by W2."""
    _, _, grad_z, grad_s, grad_o, _ = work
    _, sums_w2, sums_b1, sums_b2 = sums
    add_rows(grad_s, sums_w2[0])
    add_rows(grad_z, sums_b1)
    add_rows(grad_o, sums_b2)
