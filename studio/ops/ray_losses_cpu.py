"""The losses of a ray and their gradients in closed form: those of `studio.models.sdf.losses`."""

from __future__ import annotations

import math

from studio.ops.compiled import part

ABSOLUTE, SQUARE, HUBER, CHARBONNIER = 0, 1, 2, 3
CROSS_ENTROPY, MASK_SQUARE = 0, 1

COLOUR_ERRORS = {  # kind of a channel's error, and the factor of the channels' sum
    "l1": (ABSOLUTE, 1 / 3),
    "l1-sum": (ABSOLUTE, 1.0),
    "mse": (SQUARE, 1 / 3),
    "mse-sum": (SQUARE, 1.0),
    "huber": (HUBER, 1 / 3),
    "charbonnier": (CHARBONNIER, 1.0),
}
MASK_ERRORS = {"bce": CROSS_ENTROPY, "mse": MASK_SQUARE}


@part(inline="always")
def _channel(kind, off, real):
    """Error of a channel and its derivative; of Charbonnier's the square, under its root."""
    size = abs(off)
    sign = real(1) if off > real(0) else (real(-1) if off < real(0) else real(0))
    if kind == ABSOLUTE:
        return size, sign
    if kind == HUBER and size >= real(1):
        return size - real(0.5), sign
    if kind == HUBER:
        return real(0.5) * off * off, off
    return off * off, off + off


@part(inline="always")
def _mask_error(kind, opacity, mask, real):
    """Error of an opacity and its derivative."""
    if kind == MASK_SQUARE:
        off = opacity - mask
        return off * off, off + off
    low, one = real(1e-3), real(1)
    clipped = min(max(opacity, low), one - low)
    error = -(mask * math.log(clipped) + (one - mask) * math.log(one - clipped))
    inside = low <= opacity <= one - low
    slope = (clipped - mask) / (clipped * (one - clipped)) if inside else real(0)
    return real(error), slope


@part
def ray_losses(n, target, background, terms, sums, opacity, grad_sums, grad_opacity):
    """Errors of colour and opacity of ray n; the gradients by sums and opacity are set.

    ``terms`` are: kind and factor of the colour error, what its sum counts in the loss, whether
    only rays on the mask count in it; kind of the mask error, what its sum counts in the loss.
    """
    kind, factor, by_colour, on_mask, mask_kind, by_mask = terms
    real = sums.dtype.type
    zero, mask, scale = real(0), target[n, 3], real(factor)
    through, empty = real(1) - opacity[n], real(1) - mask
    counts = not on_mask or mask > real(0.5)
    error, by_opacity = zero, zero
    for c in range(3):
        behind = background[n, c] if background.shape[0] > 0 else zero
        off = sums[c, n] + through * behind - (target[n, c] * mask + behind * empty)
        part_error, slope = _channel(kind, off, real)
        error += part_error
        grad_sums[c, n] = slope
    if kind == CHARBONNIER:
        root = real(math.sqrt(error + real(0.001)))
        error, scale = root, real(0.5) / root
    for c in range(3):
        grad = real(by_colour) * scale * grad_sums[c, n] if counts else zero
        grad_sums[c, n] = grad
        by_opacity -= grad * (background[n, c] if background.shape[0] > 0 else zero)
    error = error if kind == CHARBONNIER else error * real(factor)
    mask_error, mask_slope = _mask_error(mask_kind, opacity[n], mask, real)
    grad_opacity[n] = by_opacity + real(by_mask) * mask_slope
    return (error if counts else zero), mask_error
