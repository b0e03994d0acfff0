"""Numba loops of the SDF network: contraction with the Jacobian and the squareplus passes."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from studio.ops.backend import in_parallel

FAST = {"contract", "nsz", "arcp", "reassoc"}
BLOCK = 1024
CURVE = 1e-3  # squareplus: (z + sqrt(z^2 + CURVE)) / 2


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _contract_range(jacobian, g, normal, start, stop):
    for d in range(3):
        for p in range(start, stop):
            normal[d, p] = jacobian[0, d, p] * g[0, p]
    for k in range(1, g.shape[0]):
        for d in range(3):
            for p in range(start, stop):
                normal[d, p] += jacobian[k, d, p] * g[k, p]


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _expand_range(jacobian, grad_normal, grad_g, start, stop):
    for k in range(grad_g.shape[0]):
        for p in range(start, stop):
            grad_g[k, p] = (
                jacobian[k, 0, p] * grad_normal[0, p]
                + jacobian[k, 1, p] * grad_normal[1, p]
                + jacobian[k, 2, p] * grad_normal[2, p]
            )


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
def _contract_parallel(jacobian, g, normal):
    count = g.shape[1]
    for block in prange((count + BLOCK - 1) // BLOCK):
        _contract_range(jacobian, g, normal, block * BLOCK, min(count, block * BLOCK + BLOCK))


@njit(cache=True, parallel=True)
def _expand_parallel(jacobian, grad_normal, grad_g):
    count = grad_g.shape[1]
    for block in prange((count + BLOCK - 1) // BLOCK):
        _expand_range(
            jacobian, grad_normal, grad_g, block * BLOCK, min(count, block * BLOCK + BLOCK)
        )


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


def contract(jacobian, g, normal) -> None:
    """normal[d, p] = sum_k jacobian[k, d, p] g[k, p]."""
    if in_parallel():
        _contract_parallel(jacobian, g, normal)
    else:
        _contract_range(jacobian, g, normal, 0, g.shape[1])


def expand(jacobian, grad_normal, grad_g) -> None:
    """grad_g[k, p] = sum_d jacobian[k, d, p] grad_normal[d, p]."""
    if in_parallel():
        _expand_parallel(jacobian, grad_normal, grad_g)
    else:
        _expand_range(jacobian, grad_normal, grad_g, 0, grad_g.shape[1])


def activate(z, bias, weight, hidden, slope) -> None:
    """Hidden units and their slopes times ``weight``; adds the bias to ``z`` in place."""
    run = _activate_parallel if in_parallel() else _activate_serial
    run(z, bias, weight, hidden, slope)


def activate_backward(z, weight, grad_hidden, grad_slope, sums, slope_sums) -> None:
    """Turn ``grad_hidden`` into the gradient by z in place; row sums go to the last two."""
    run = _activate_backward_parallel if in_parallel() else _activate_backward_serial
    run(z, weight, grad_hidden, grad_slope, sums, slope_sums)
