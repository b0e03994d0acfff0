"""Numba loops of the colour network: what lies between its matrix products."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from studio.ops.compiled import FAST, kernel, part
from studio.ops.scalars_cpu import exponential, take
from studio.ops.threads import in_threads


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


@kernel
def _rectify(taken, rows, z, bias):
    row = take(taken)
    while row < rows:
        _rectify_row(z[row], bias[row])
        row = take(taken)


@kernel
def _rectify_backward(taken, rows, hidden, w2, grad_out, grad_hidden, grad_w2, sums):
    row = take(taken)
    while row < rows:
        sums[row] = _rectify_backward_row(
            hidden[row], w2[:, row], grad_out, grad_hidden[row], grad_w2[:, row]
        )
        row = take(taken)


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
    in_threads(_rectify, len(z), *_arrays(z, bias))


def rectify_backward(
    hidden: Tensor, w2: Tensor, grad_out: Tensor, grad_hidden: Tensor, grad_w2: Tensor, sums: Tensor
) -> None:
    """Gradient by the units before their rectifiers, its row sums, and that by ``w2`` [3, h]."""
    arrays = _arrays(hidden, w2, grad_out, grad_hidden, grad_w2, sums)
    in_threads(_rectify_backward, len(hidden), *arrays)


def squash(z: Tensor, bias: Tensor) -> None:
    """Logistic function of z + bias, in place."""
    _squash(*_arrays(z, bias))
