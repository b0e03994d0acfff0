"""Numba kernels of NeuS opacity and front-to-back compositing of packed samples."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from studio.ops.compiled import FAST, kernel, part
from studio.ops.scalars_cpu import exponential, take
from studio.ops.threads import in_threads

RAYS = 256  # of a task


@part(inline="always")
def _opacity(sdf, cosine, length, sharp, real):
    """Opacity of a section and its derivatives by both (zero where it is clamped)."""
    one, half, tiny = real(1), real(0.5), real(1e-5)
    shift = half * cosine * length
    before = one / (one + exponential(-sharp * (sdf - shift)))
    after = one / (one + exponential(-sharp * (sdf + shift)))
    bottom = before + tiny
    value = (before - after + tiny) / bottom
    inside = one if real(0) < value < one else real(0)
    by_before = inside * (one - value) / bottom * sharp * before * (one - before)
    by_after = -inside / bottom * sharp * after * (one - after)
    clamped = min(max(value, real(0)), one)
    return clamped, by_before + by_after, half * length * (by_after - by_before)


@kernel(fastmath=FAST)
def _alpha_forward(sdf, cosine, step, inv_s, alpha, slope_sdf, slope_cosine):
    """Opacity of sections and its derivatives."""
    real = sdf.dtype.type
    length, sharp = real(step), real(inv_s)
    for p in range(sdf.shape[0]):
        alpha[p], slope_sdf[p], slope_cosine[p] = _opacity(sdf[p], cosine[p], length, sharp, real)


@part(fastmath=FAST)
def sections(sdf, gradient, directions, settings, unit, alpha, normal, slopes):
    """Opacities and normals; slopes: of alpha by SDF and d . gradient, and 1 / |gradient|."""
    real = sdf.dtype.type
    one, zero, half, tiny = real(1), real(0), real(0.5), real(1e-12)
    step, sharp, exact = real(settings[0]), real(settings[1]), real(settings[2])
    for p in range(sdf.shape[0]):
        x, y, z = gradient[0, p], gradient[1, p], gradient[2, p]
        inverse = one / np.sqrt(x * x + y * y + z * z + tiny)
        normal[0, p], normal[1, p], normal[2, p] = x * inverse, y * inverse, z * inverse
        slope = x * directions[0, p] + y * directions[1, p] + z * directions[2, p]
        slope *= inverse if unit else one
        relaxed = max(half - half * slope, zero)
        cosine = exact * min(slope, zero) - (one - exact) * relaxed
        by_slope = exact * (one if slope < zero else zero)
        by_slope += (one - exact) * half * (one if relaxed > zero else zero)
        alpha[p], slopes[0, p], by_cosine = _opacity(sdf[p], cosine, step, sharp, real)
        slopes[1, p] = by_cosine * by_slope
        slopes[2, p] = inverse


@part(fastmath=FAST)
def sections_gradient(
    directions, normal, slopes, unit, grad_alpha, grad_normal, grad_sdf, grad_gradient
):
    """Gradients by the signed distances and by their gradients."""
    real = directions.dtype.type
    one, zero = real(1), real(0)
    by_unit = one if unit else zero
    for p in range(grad_alpha.shape[0]):
        grad_sdf[p] = grad_alpha[p] * slopes[0, p]
        by_slope = grad_alpha[p] * slopes[1, p]
        a, b, c = (
            directions[0, p] * by_slope,
            directions[1, p] * by_slope,
            directions[2, p] * by_slope,
        )
        x, y, z = normal[0, p], normal[1, p], normal[2, p]
        u = grad_normal[0, p] + by_unit * a
        v = grad_normal[1, p] + by_unit * b
        w = grad_normal[2, p] + by_unit * c
        along, inverse = x * u + y * v + z * w, slopes[2, p]
        grad_gradient[0, p] = (u - x * along) * inverse + (one - by_unit) * a
        grad_gradient[1, p] = (v - y * along) * inverse + (one - by_unit) * b
        grad_gradient[2, p] = (w - z * along) * inverse + (one - by_unit) * c


@kernel
def _sections_forward(sdf, gradient, directions, settings, unit, alpha, normal, slopes):
    sections(sdf, gradient, directions, settings, unit, alpha, normal, slopes)


@kernel
def _sections_backward(
    directions, normal, slopes, unit, grad_alpha, grad_normal, grad_sdf, grad_gradient
):
    sections_gradient(
        directions, normal, slopes, unit, grad_alpha, grad_normal, grad_sdf, grad_gradient
    )


@part
def composite_ray(alpha, values, start, stop, n, sums, opacity, weights):
    """Composite the samples of one ray, front to back."""
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


@part
def composite_ray_gradient(
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


@kernel
def _composite(taken, tasks, alpha, values, offsets, sums, opacity, weights):
    task = take(taken)
    while task < tasks:
        for n in range(task * RAYS, min((task + 1) * RAYS, offsets.shape[0] - 1)):
            composite_ray(alpha, values, offsets[n], offsets[n + 1], n, sums, opacity, weights)
        task = take(taken)


@kernel
def _composite_backward(taken, tasks, offsets, arrays):
    task = take(taken)
    while task < tasks:
        for n in range(task * RAYS, min((task + 1) * RAYS, offsets.shape[0] - 1)):
            composite_ray_gradient(offsets[n], offsets[n + 1], n, *arrays)
        task = take(taken)


def alpha_forward(
    sdf: Tensor,
    cosine: Tensor,
    step: float,
    inv_s: float,
    alpha: Tensor,
    slope_sdf: Tensor,
    slope_cosine: Tensor,
) -> None:
    """Opacity of sections and its derivatives (zero where it is clamped)."""
    results = (alpha.numpy(), slope_sdf.numpy(), slope_cosine.numpy())
    _alpha_forward(sdf.numpy(), cosine.numpy(), step, inv_s, *results)


def sections_forward(
    sdf: Tensor,
    gradient: Tensor,
    directions: Tensor,
    settings: tuple[float, float, float],
    unit: bool,
    alpha: Tensor,
    normal: Tensor,
    slopes: Tensor,
) -> None:
    """Opacities and unit normals of sections; what `sections_backward` needs goes to ``slopes``.

    ``settings`` are section length, sharpness, and share of the exact slope.
    """
    arrays = tuple(a.numpy() for a in (sdf, gradient, directions))
    numbers = tuple(float(value) for value in settings)
    _sections_forward(*arrays, numbers, unit, alpha.numpy(), normal.numpy(), slopes.numpy())


def sections_backward(
    directions: Tensor,
    normal: Tensor,
    slopes: Tensor,
    unit: bool,
    grad_alpha: Tensor,
    grad_normal: Tensor,
    grad_sdf: Tensor,
    grad_gradient: Tensor,
) -> None:
    """Gradients by the signed distances and by their gradients."""
    arrays = (grad_alpha, grad_normal, grad_sdf, grad_gradient)
    given = tuple(a.numpy() for a in (directions, normal, slopes))
    _sections_backward(*given, unit, *(a.numpy() for a in arrays))


def composite_forward(
    alpha: Tensor, values: Tensor, offsets: Tensor, sums: Tensor, opacity: Tensor, weights: Tensor
) -> None:
    """Weighted sums per ray, opacity per ray and weight per sample."""
    arrays = (a.numpy() for a in (alpha, values, offsets, sums, opacity, weights))
    in_threads(_composite, -(-len(opacity) // RAYS), *arrays)


def composite_backward(
    alpha: Tensor,
    values: Tensor,
    weights: Tensor,
    offsets: Tensor,
    grad_sums: Tensor,
    grad_opacity: Tensor,
    grad_weights: Tensor,
    grad_alpha: Tensor,
    grad_values: Tensor,
) -> None:
    """Gradients by the opacities and values of every sample (a reverse sweep per ray)."""
    inputs = (alpha, values, weights, grad_sums, grad_opacity, grad_weights)
    arrays = tuple(a.numpy() for a in (*inputs, grad_alpha, grad_values))
    in_threads(_composite_backward, -(-(len(offsets) - 1) // RAYS), offsets.numpy(), arrays)
