"""Numba loops of the SDF network: the squareplus passes, forward and backward."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from studio.ops.backend import in_parallel

FAST = {"contract", "nsz", "arcp", "reassoc"}
CURVE = 1e-3  # squareplus: (z + sqrt(z^2 + CURVE)) / 2


@njit(cache=True, fastmath=FAST, error_model="numpy")
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


@njit(cache=True, fastmath=FAST, error_model="numpy")
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


@njit(cache=True, parallel=True)
def _activate_parallel(z, bias, weight, hidden, slope):
    for row in prange(z.shape[0]):
        _activate_row(z[row], bias[row], weight[row], hidden[row], slope[row])


@njit(cache=True, parallel=True)
def _activate_backward_parallel(z, weight, grad_hidden, grad_slope, sums, slope_sums):
    for row in prange(z.shape[0]):
        sums[row], slope_sums[row] = _activate_backward_row(
            z[row], weight[row], grad_hidden[row], grad_slope[row]
        )


@njit(cache=True)
def _activate_serial(z, bias, weight, hidden, slope):
    for row in range(z.shape[0]):
        _activate_row(z[row], bias[row], weight[row], hidden[row], slope[row])


@njit(cache=True)
def _activate_backward_serial(z, weight, grad_hidden, grad_slope, sums, slope_sums):
    for row in range(z.shape[0]):
        sums[row], slope_sums[row] = _activate_backward_row(
            z[row], weight[row], grad_hidden[row], grad_slope[row]
        )


def activate(z, bias, weight, hidden, slope) -> None:
    """Hidden units and their slopes times ``weight``; adds the bias to ``z`` in place."""
    run = _activate_parallel if in_parallel() else _activate_serial
    run(z, bias, weight, hidden, slope)


def activate_backward(z, weight, grad_hidden, grad_slope, sums, slope_sums) -> None:
    """Turn ``grad_hidden`` into the gradient by z in place; row sums go to the last two."""
    run = _activate_backward_parallel if in_parallel() else _activate_backward_serial
    run(z, weight, grad_hidden, grad_slope, sums, slope_sums)
