"""Opacities and colours of a tile of samples whose field is known, and the way back.

With n the gradient of the signed distance and o the outputs of the field at a sample that is seen
along d (see `studio.ops.field_tile_cpu`):

    N = n / |n|,       alpha = section(sdf, n . d)  (see `studio.ops.composite_cpu`)
    i = (o, N, d),     q = max(Wc i + bc, 0),         rgb = 1 / (1 + exp(-Wo q - bo))

Wc has a column of zeros for the first output, the distance, so that o is read where it was written.
Backwards, let Gx be the gradient of the loss by x. Given Galpha and Grgb,

    Go' = Grgb rgb (1 - rgb),     Gq = Wo^T Go' where q > 0,     Gi = Wc^T Gq,
    Gsdf, Gn from Galpha and GN (`sections_gradient`), and from the eikonal loss, (|n| - 1)^2.
"""

from __future__ import annotations

import numpy as np

from studio.ops.compiled import FAST, part
from studio.ops.composite_cpu import sections, sections_gradient
from studio.ops.field_tile_cpu import clear
from studio.ops.scalars_cpu import exponential
from studio.ops.tiles_cpu import TILE, add_products, product, product_transposed, rectified_product

SMALL = 13  # rows of scratch


@part(inline="always")
def inputs_of(sizes):
    """Padded number of inputs of the colour network: outputs of the field, normal, direction."""
    return sizes[2] + 8


@part(inline="always")
def tile_rows(sizes):
    """How many rows a tile keeps."""
    k, h, _ = sizes
    return 16 + 5 * k + 2 * h + inputs_of(sizes)


@part(inline="always")
def shade_rows(tile, sizes):
    """Behind those of the field: positions, directions, slopes, n, sdf, i and q."""
    k, h, _ = sizes
    a = 3 + 5 * k + h
    b = a + 13 + inputs_of(sizes)
    return (
        tile[a : a + 3],
        tile[a + 3 : a + 6],
        tile[a + 6 : a + 9],
        tile[a + 9 : a + 12],
        tile[a + 12],
        tile[a + 13 : b],
        tile[b : b + h],
    )


@part(inline="always")
def colour_weights_of(flat, sizes):
    """The gradients by the colour network in one row: Wc, Wo, bc, bo."""
    h, i = sizes[1], inputs_of(sizes)
    a, b = h * i, h * (i + 4)
    return flat[:a].reshape(h, i), flat[a:b].reshape(4, h), flat[b : b + h], flat[b + h : b + h + 4]


@part
def place_tile(tile, start, count, points, directions, sizes):
    """Copy positions and directions of the samples from ``start`` on; what is left over is 0."""
    own_points, own_directions, _, _, _, _, _ = shade_rows(tile, sizes)
    for d in range(3):
        for p in range(count):
            own_points[d, p] = points[d, start + p]
            own_directions[d, p] = directions[d, start + p]
        for p in range(count, TILE):
            own_points[d, p] = 0
            own_directions[d, p] = 0


@part(fastmath=FAST)
def shade_tile(tile, start, count, features, nets, sizes, how, small, results):
    """Opacities and colours of the samples from ``start`` on."""
    wc, bc, wo, bo, _ = nets
    step, sharp, exact, unit, seen_along = how
    alpha, values = results
    outputs, one = sizes[2], alpha.dtype.type(1)
    _, along, slopes, gradient, distance, i, q = shade_rows(tile, sizes)
    opacity, rgb = small[0], small[1:5]
    normal, seen = i[outputs : outputs + 3], i[outputs + 3 : outputs + 6]
    sections(distance, gradient, along, (step, sharp, exact), unit, opacity, normal, slopes)
    for d in range(3):
        for p in range(TILE):
            seen[d, p] = along[d, p] if seen_along else -normal[d, p]
    clear(i[:1])
    clear(i[1 + features : outputs])
    clear(i[outputs + 6 :])
    rectified_product(wc, i, bc, q)
    product(wo, q, bo, rgb)
    for p in range(count):
        alpha[start + p] = opacity[p]
    for d in range(3):
        for p in range(count):
            values[d, start + p] = one / (one + exponential(-rgb[d, p]))


@part(fastmath=FAST)
def shade_tile_gradient(tile, start, count, grads, nets, sizes, how, work, sums):
    """Gradients by i, sdf and n, left in ``work``; by the weights, added to ``sums``.

    Those of single rows, and the errors of the eikonal loss, are left in ``work`` for
    `add_shade_rows`.
    """
    values, grad_alpha, grad_values, eikonal = grads
    _, _, wo, _, none = nets
    wc, unit, seen_along = nets[0], how[3], how[4]
    grad_z, grad_q, grad_i, small = work
    sums_wc, sums_wo, _, _ = sums
    outputs, real = sizes[2], values.dtype.type
    one, tiny, by_length = real(1), real(1e-12), real(eikonal)
    _, along, slopes, gradient, _, i, q = shade_rows(tile, sizes)
    grad_out, by_alpha, by_sdf = small[0:4], small[4], small[5]
    by_normal, by_gradient, error = small[6:9], small[9:12], small[12]
    clear(small)
    for d in range(3):
        for p in range(count):
            rgb = values[d, start + p]
            grad_out[d, p] = grad_values[d, start + p] * rgb * (one - rgb)
    product_transposed(wo, grad_out, none, grad_z)
    for m in range(q.shape[0]):
        for p in range(TILE):  # in place, this would be slow masked stores
            grad_q[m, p] = grad_z[m, p] if q[m, p] > real(0) else real(0)
    add_products(grad_out, q, sums_wo)
    add_products(grad_q, i, sums_wc)
    product_transposed(wc, grad_q, none, grad_i)
    for d in range(3):
        for p in range(TILE):
            seen = real(0) if seen_along else grad_i[outputs + 3 + d, p]
            by_normal[d, p] = grad_i[outputs + d, p] - seen
    for p in range(count):
        by_alpha[p] = grad_alpha[start + p]
    normal = i[outputs : outputs + 3]
    sections_gradient(along, normal, slopes, unit, by_alpha, by_normal, by_sdf, by_gradient)
    for p in range(count):
        x, y, z = gradient[0, p], gradient[1, p], gradient[2, p]
        inverse = slopes[2, p]
        off = (x * x + y * y + z * z + tiny) * inverse - one
        error[p] = off * off
        factor = by_length * off * inverse
        by_gradient[0, p] += factor * x
        by_gradient[1, p] += factor * y
        by_gradient[2, p] += factor * z


@part(inline="always")
def by_field(work, features):
    """Gradients by sdf, n and the features, as `shade_tile_gradient` left them."""
    _, _, grad_i, small = work
    return small[5], small[9:12], grad_i[1 : 1 + features]


@part(inline="always")
def shade_scratch(sizes, like):
    """What `shade_tile_gradient` works in."""
    h = sizes[1]
    grad_z, grad_q = np.empty((h, TILE), like.dtype), np.empty((h, TILE), like.dtype)
    grad_i = np.empty((inputs_of(sizes), TILE), like.dtype)
    return grad_z, grad_q, grad_i, np.empty((SMALL, TILE), like.dtype)
