"""Numba kernels of NeuS opacity and front-to-back compositing of packed samples."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from studio.ops.backend import in_parallel

FAST = {"contract", "nsz", "arcp", "reassoc"}


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _alpha_forward(sdf, cosine, step, inv_s, alpha, slope_sdf, slope_cosine):
    """Opacity of sections and its derivatives (zero where it is clamped)."""
    real = sdf.dtype.type
    one, half, tiny = real(1), real(0.5), real(1e-5)
    length, sharp = real(step), real(inv_s)
    for p in range(sdf.shape[0]):
        shift = half * cosine[p] * length
        before = one / (one + np.exp(-sharp * (sdf[p] - shift)))
        after = one / (one + np.exp(-sharp * (sdf[p] + shift)))
        bottom = before + tiny
        value = (before - after + tiny) / bottom
        alpha[p] = min(max(value, real(0)), one)
        d_before, d_after = sharp * before * (one - before), sharp * after * (one - after)
        inside = one if real(0) < value < one else real(0)
        by_before = inside * (one - value) / bottom * d_before
        by_after = -inside / bottom * d_after
        slope_sdf[p] = by_before + by_after
        slope_cosine[p] = half * length * (by_after - by_before)


@njit(cache=True, error_model="numpy")
def _composite_ray(alpha, values, start, stop, n, sums, opacity, weights):
    real = alpha.dtype.type
    transmittance, total = real(1), real(0)
    for c in range(values.shape[0]):
        sums[c, n] = real(0)
    for p in range(start, stop):
        weight = transmittance * alpha[p]
        weights[p] = weight
        total += weight
        for c in range(values.shape[0]):
            sums[c, n] += weight * values[c, p]
        transmittance *= real(1) - alpha[p]
    opacity[n] = total


@njit(cache=True, error_model="numpy")
def _composite_ray_backward(
    start,
    stop,
    n,
    alpha,
    values,
    weights,
    grad_sums,
    grad_opacity,
    grad_weights,
    grad_alpha,
    grad_values,
):
    """dL/dalpha_i = T_i (v_i - R_i), R_i = what lies behind i, composited back to front."""
    real = alpha.dtype.type
    behind = real(0)
    for p in range(stop - 1, start - 1, -1):
        value = grad_opacity[n] + grad_weights[p]
        for c in range(values.shape[0]):
            value += grad_sums[c, n] * values[c, p]
            grad_values[c, p] = weights[p] * grad_sums[c, n]
        grad_alpha[p] = value - behind
        behind = alpha[p] * value + (real(1) - alpha[p]) * behind
    transmittance = real(1)
    for p in range(start, stop):
        grad_alpha[p] *= transmittance
        transmittance *= real(1) - alpha[p]


@njit(cache=True, parallel=True)
def _composite_parallel(alpha, values, offsets, sums, opacity, weights):
    for n in prange(offsets.shape[0] - 1):
        _composite_ray(alpha, values, offsets[n], offsets[n + 1], n, sums, opacity, weights)


@njit(cache=True)
def _composite_serial(alpha, values, offsets, sums, opacity, weights):
    for n in range(offsets.shape[0] - 1):
        _composite_ray(alpha, values, offsets[n], offsets[n + 1], n, sums, opacity, weights)


@njit(cache=True, parallel=True)
def _backward_parallel(offsets, arrays):
    for n in prange(offsets.shape[0] - 1):
        _composite_ray_backward(offsets[n], offsets[n + 1], n, *arrays)


@njit(cache=True)
def _backward_serial(offsets, arrays):
    for n in range(offsets.shape[0] - 1):
        _composite_ray_backward(offsets[n], offsets[n + 1], n, *arrays)


def alpha_forward(sdf, cosine, step, inv_s, alpha, slope_sdf, slope_cosine) -> None:
    """Opacity of sections and its derivatives (zero where it is clamped)."""
    results = (alpha.numpy(), slope_sdf.numpy(), slope_cosine.numpy())
    _alpha_forward(sdf.numpy(), cosine.numpy(), step, inv_s, *results)


def composite_forward(alpha, values, offsets, sums, opacity, weights) -> None:
    """Weighted sums per ray, opacity per ray and weight per sample."""
    run = _composite_parallel if in_parallel() else _composite_serial
    run(*(a.numpy() for a in (alpha, values, offsets, sums, opacity, weights)))


def composite_backward(
    alpha, values, weights, offsets, grad_sums, grad_opacity, grad_weights, grad_alpha, grad_values
) -> None:
    """Gradients by the opacities and values of every sample (a reverse sweep per ray)."""
    inputs = (alpha, values, weights, grad_sums, grad_opacity, grad_weights)
    arrays = tuple(a.numpy() for a in (*inputs, grad_alpha, grad_values))
    run = _backward_parallel if in_parallel() else _backward_serial
    run(offsets.numpy(), arrays)
