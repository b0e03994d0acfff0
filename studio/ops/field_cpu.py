"""Numba loops of the hash-grid field: what lies between its matrix products."""

from __future__ import annotations

import numpy as np
from numba import prange
from torch import Tensor

from studio.ops.backend import in_parallel
from studio.ops.compiled import FAST, kernel, part

CURVE = 1e-3  # squareplus: (z + sqrt(z^2 + CURVE)) / 2


@part(fastmath=FAST)
def _activate_row(z, bias, weight, hidden, slope):
    """One hidden unit: h = act(z + b), d = act'(z + b) * w; z is replaced by z + b."""
    real = z.dtype.type
    half, curve = real(0.5), real(CURVE)
    for p in range(z.shape[0]):
        value = z[p] + bias
        root = np.sqrt(value * value + curve)
        z[p] = value
        hidden[p] = half * (value + root)
        slope[p] = half * (real(1) + value / root) * weight


@part(fastmath=FAST)
def _activate_backward_row(z, weight, grad_hidden, grad_slope):
    """grad_hidden becomes the gradient by z; returns its sum and sum(grad_slope * act'(z))."""
    real = z.dtype.type
    half, curve, one = real(0.5), real(CURVE), real(1)
    total, total_slope = real(0), real(0)
    for p in range(z.shape[0]):
        value = z[p]
        inverse = one / np.sqrt(value * value + curve)
        first = half * (one + value * inverse)
        second = half * curve * inverse * inverse * inverse
        grad = grad_hidden[p] * first + grad_slope[p] * weight * second
        total_slope += grad_slope[p] * first
        grad_hidden[p] = grad
        total += grad
    return total, total_slope


@kernel(parallel=True)
def _activate_parallel(z, bias, weight, hidden, slope):
    for row in prange(z.shape[0]):
        _activate_row(z[row], bias[row], weight[row], hidden[row], slope[row])


@kernel(parallel=True)
def _activate_backward_parallel(z, weight, grad_hidden, grad_slope, sums, slope_sums):
    for row in prange(z.shape[0]):
        sums[row], slope_sums[row] = _activate_backward_row(
            z[row], weight[row], grad_hidden[row], grad_slope[row]
        )


@kernel
def _activate_serial(z, bias, weight, hidden, slope):
    for row in range(z.shape[0]):
        _activate_row(z[row], bias[row], weight[row], hidden[row], slope[row])


@kernel
def _activate_backward_serial(z, weight, grad_hidden, grad_slope, sums, slope_sums):
    for row in range(z.shape[0]):
        sums[row], slope_sums[row] = _activate_backward_row(
            z[row], weight[row], grad_hidden[row], grad_slope[row]
        )


@part(fastmath=FAST)
def _rectify_row(z, bias):
    zero = z.dtype.type(0)
    for p in range(z.shape[0]):
        z[p] = max(z[p] + bias, zero)


@part(fastmath=FAST)
def _rectify_backward_row(hidden, weights, grad_out, grad_hidden, grad_weights):
    """Gradient by one unit before its rectifier and by its three weights; returns its sum."""
    zero = hidden.dtype.type(0)
    red, green, blue = weights[0], weights[1], weights[2]
    total, total_red, total_green, total_blue = zero, zero, zero, zero
    for p in range(hidden.shape[0]):
        h, r, g, b = hidden[p], grad_out[0, p], grad_out[1, p], grad_out[2, p]
        grad = red * r + green * g + blue * b
        grad = grad if h > zero else zero
        grad_hidden[p] = grad
        total += grad
        total_red += h * r
        total_green += h * g
        total_blue += h * b
    grad_weights[0], grad_weights[1], grad_weights[2] = total_red, total_green, total_blue
    return total


@kernel(parallel=True)
def _rectify_parallel(z, bias):
    for row in prange(z.shape[0]):
        _rectify_row(z[row], bias[row])


@kernel
def _rectify_serial(z, bias):
    for row in range(z.shape[0]):
        _rectify_row(z[row], bias[row])


@kernel(parallel=True)
def _rectify_backward_parallel(hidden, w2, grad_out, grad_hidden, grad_w2, sums):
    for row in prange(hidden.shape[0]):
        sums[row] = _rectify_backward_row(
            hidden[row], w2[:, row], grad_out, grad_hidden[row], grad_w2[:, row]
        )


@kernel
def _rectify_backward_serial(hidden, w2, grad_out, grad_hidden, grad_w2, sums):
    for row in range(hidden.shape[0]):
        sums[row] = _rectify_backward_row(
            hidden[row], w2[:, row], grad_out, grad_hidden[row], grad_w2[:, row]
        )


@kernel(fastmath=FAST)
def _squash(z, bias):
    one = z.dtype.type(1)
    for c in range(z.shape[0]):
        for p in range(z.shape[1]):
            z[c, p] = one / (one + np.exp(-(z[c, p] + bias[c])))


@kernel(fastmath=FAST)
def _add_sphere(x, radius, change, sdf, gradient):
    real = x.dtype.type
    half, tiny, size = real(0.5), real(1e-12), real(radius)
    for p in range(x.shape[1]):
        away = np.sqrt(x[0, p] * x[0, p] + x[1, p] * x[1, p] + x[2, p] * x[2, p] + tiny)
        sdf[p] = change[p] + away - size
        for d in range(3):
            gradient[d, p] = half * gradient[d, p] + x[d, p] / away


def _arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.numpy() for tensor in tensors)


def activate(z: Tensor, bias: Tensor, weight: Tensor, hidden: Tensor, slope: Tensor) -> None:
    """Hidden units and their slopes times ``weight``; adds the bias to ``z`` in place."""
    run = _activate_parallel if in_parallel() else _activate_serial
    run(*_arrays(z, bias, weight, hidden, slope))


def activate_backward(
    z: Tensor,
    weight: Tensor,
    grad_hidden: Tensor,
    grad_slope: Tensor,
    sums: Tensor,
    slope_sums: Tensor,
) -> None:
    """Turn ``grad_hidden`` into the gradient by z in place; row sums go to the last two."""
    run = _activate_backward_parallel if in_parallel() else _activate_backward_serial
    run(*_arrays(z, weight, grad_hidden, grad_slope, sums, slope_sums))


def rectify(z: Tensor, bias: Tensor) -> None:
    """Rectified units of z + bias, in place."""
    run = _rectify_parallel if in_parallel() else _rectify_serial
    run(*_arrays(z, bias))


def rectify_backward(
    hidden: Tensor, w2: Tensor, grad_out: Tensor, grad_hidden: Tensor, grad_w2: Tensor, sums: Tensor
) -> None:
    """Gradient by the units before their rectifiers, its row sums, and that by ``w2`` [3, h]."""
    run = _rectify_backward_parallel if in_parallel() else _rectify_backward_serial
    run(*_arrays(hidden, w2, grad_out, grad_hidden, grad_w2, sums))


def squash(z: Tensor, bias: Tensor) -> None:
    """Logistic function of z + bias, in place."""
    _squash(*_arrays(z, bias))


def add_sphere(x: Tensor, radius: float, change: Tensor, sdf: Tensor, gradient: Tensor) -> None:
    """Set ``sdf`` to change + |x| - radius and ``gradient`` to half of itself plus x / |x|."""
    points, *others = _arrays(x, change, sdf, gradient)
    _add_sphere(points, radius, *others)
