"""Numba loops of the colour network: what lies between its matrix products."""

from __future__ import annotations

import numpy as np
from numba import prange
from torch import Tensor

from studio.ops.backend import in_parallel
from studio.ops.compiled import FAST, kernel, part
from studio.ops.scalars_cpu import exponential


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
            z[c, p] = one / (one + exponential(-(z[c, p] + bias[c])))


def _arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.numpy() for tensor in tensors)


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
