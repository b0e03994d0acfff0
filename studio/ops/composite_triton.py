"""Triton kernels of NeuS opacity and front-to-back compositing of packed samples.

One program composites one ray, a chunk of samples at a time: products of (1 - alpha) by a scan,
the light behind a sample by a scan from the back.

Checked against the twins in Triton's interpreter (TRITON_INTERPRET=1); `benchmarks/gpu_kernels.py`
repeats the comparison on a CUDA device.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 512  # samples per program of the opacity
CHUNK = 32  # samples of a ray per step of the compositing


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _alpha_kernel(
    sdf, cosine, constants, alpha, slope_sdf, slope_cosine, count, SIZE: tl.constexpr
):
    p = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = p < count
    length, sharp, tiny = tl.load(constants), tl.load(constants + 1), tl.load(constants + 2)
    distance = tl.load(sdf + p, mask=inside, other=0.0)
    shift = 0.5 * tl.load(cosine + p, mask=inside, other=0.0) * length
    before, after = _sigmoid(sharp * (distance - shift)), _sigmoid(sharp * (distance + shift))
    bottom = before + tiny
    value = (before - after + tiny) / bottom
    tl.store(alpha + p, tl.minimum(tl.maximum(value, 0.0), 1.0), mask=inside)
    unclamped = tl.where((value > 0.0) & (value < 1.0), 1.0 / bottom, 0.0)
    by_before = unclamped * (1.0 - value) * sharp * before * (1.0 - before)
    by_after = -unclamped * sharp * after * (1.0 - after)
    tl.store(slope_sdf + p, by_before + by_after, mask=inside)
    tl.store(slope_cosine + p, 0.5 * length * (by_after - by_before), mask=inside)


@triton.jit
def _times(a, b):
    return a * b


@triton.jit
def _through_alpha(alpha, p, start, stop):
    """1 - alpha of the samples before p; 1 before the first."""
    return 1.0 - tl.load(alpha + p - 1, mask=(p > start) & (p <= stop), other=0.0)


@triton.jit
def _forward_kernel(
    alpha, values, offsets, sums, opacity, weights, samples, rays, channels,
    C: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0)
    start, stop = tl.load(offsets + n), tl.load(offsets + n + 1)
    c = tl.arange(0, C)
    lane = tl.arange(0, CHUNK)
    total = tl.zeros((C,), alpha.dtype.element_ty)
    seen = tl.sum(tl.zeros((CHUNK,), alpha.dtype.element_ty), 0)
    light = seen + 1.0  # transmittance in front of the chunk
    for low in range(start, stop, CHUNK):
        p = low + lane
        inside = p < stop
        a = tl.load(alpha + p, mask=inside, other=0.0)
        # within the chunk: product over its earlier samples
        step = tl.where(lane > 0, _through_alpha(alpha, p, start, stop), 1.0)
        reached = light * tl.associative_scan(step, 0, _times)
        weight = tl.where(inside, reached * a, 0.0)
        tl.store(weights + p, weight, mask=inside)
        tile = tl.load(
            values + c[:, None] * samples + p[None, :],
            mask=(c < channels)[:, None] & inside[None, :],
            other=0.0,
        )
        total += tl.sum(tile * weight[None, :], 1)
        seen += tl.sum(weight, 0)
        light = tl.sum(tl.where(lane == CHUNK - 1, reached * (1.0 - a), 0.0), 0)
    tl.store(opacity + n, seen)
    tl.store(sums + c * rays + n, total, mask=c < channels)


@triton.jit
def _behind(m_later, b_later, m, b):
    """Compose x -> m x + b after what lies further back: (m, b) of an earlier sample."""
    return m * m_later, b + m * b_later


@triton.jit
def _light_kernel(alpha, offsets, light, CHUNK: tl.constexpr):
    """Transmittance in front of every sample."""
    n = tl.program_id(0)
    start, stop = tl.load(offsets + n), tl.load(offsets + n + 1)
    lane = tl.arange(0, CHUNK)
    front = tl.sum(tl.zeros((CHUNK,), alpha.dtype.element_ty), 0) + 1.0
    for low in range(start, stop, CHUNK):
        p = low + lane
        step = tl.where(lane > 0, _through_alpha(alpha, p, start, stop), 1.0)
        reached = front * tl.associative_scan(step, 0, _times)
        tl.store(light + p, reached, mask=p < stop)
        a = tl.load(alpha + p, mask=p < stop, other=0.0)
        front = tl.sum(tl.where(lane == CHUNK - 1, reached * (1.0 - a), 0.0), 0)


@triton.jit
def _value(values, grad, by_opacity, by_weight, p, mask, samples, channels, C: tl.constexpr):
    """Derivative of the loss by the weight of each sample."""
    c = tl.arange(0, C)
    tile = tl.load(
        values + c[:, None] * samples + p[None, :],
        mask=(c < channels)[:, None] & mask[None, :],
        other=0.0,
    )
    total = by_opacity + tl.load(by_weight + p, mask=mask, other=0.0)
    return total + tl.sum(tile * grad[:, None], 0)


@triton.jit
def _backward_kernel(
    alpha, values, weights, offsets, light, grad_sums, grad_opacity, grad_weights,
    grad_alpha, grad_values, samples, rays, channels, C: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """dL/dalpha_i = T_i (v_i - R_i); behind i lies R_i = a_j v_j + (1 - a_j) R_j, j = i + 1."""
    n = tl.program_id(0)
    start, stop = tl.load(offsets + n), tl.load(offsets + n + 1)
    c = tl.arange(0, C)
    lane = tl.arange(0, CHUNK)
    grad = tl.load(grad_sums + c * rays + n, mask=c < channels, other=0.0)
    by_opacity = tl.load(grad_opacity + n)
    behind = by_opacity * 0.0  # R of the last sample of the present chunk
    chunks = (stop - start + CHUNK - 1) // CHUNK
    for chunk in range(chunks):
        p = start + (chunks - 1 - chunk) * CHUNK + lane
        inside = p < stop
        # sample i composes i + 1 ... end of the chunk; the chunk's last one takes what is behind
        inner = (lane < CHUNK - 1) & (p + 1 < stop)
        a = tl.load(alpha + p + 1, mask=inner, other=0.0)
        later = _value(values, grad, by_opacity, grad_weights, p + 1, inner, samples, channels, C)
        m, b = tl.associative_scan((1.0 - a, a * later), 0, _behind, reverse=True)
        rest = b + m * behind
        value = _value(values, grad, by_opacity, grad_weights, p, inside, samples, channels, C)
        reached = tl.load(light + p, mask=inside, other=0.0)
        tl.store(grad_alpha + p, reached * (value - rest), mask=inside)
        weight = tl.load(weights + p, mask=inside, other=0.0)
        tl.store(
            grad_values + c[:, None] * samples + p[None, :],
            grad[:, None] * weight[None, :],
            mask=(c < channels)[:, None] & inside[None, :],
        )
        own = tl.load(alpha + p, mask=inside, other=0.0)
        first = own * value + (1.0 - own) * rest
        behind = tl.sum(tl.where(lane == 0, first, 0.0), 0)


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
    count = len(sdf)
    if count:
        constants = sdf.new_tensor([float(step), float(inv_s), 1e-5])
        _alpha_kernel[(triton.cdiv(count, BLOCK),)](
            sdf, cosine, constants, alpha, slope_sdf, slope_cosine, count, SIZE=BLOCK
        )


def _sizes(values: Tensor, offsets: Tensor) -> tuple[tuple[int, int, int], dict[str, int]]:
    channels, samples = values.shape
    rays = len(offsets) - 1
    return (samples, rays, channels), {"C": triton.next_power_of_2(channels), "CHUNK": CHUNK}


def composite_forward(
    alpha: Tensor, values: Tensor, offsets: Tensor, sums: Tensor, opacity: Tensor, weights: Tensor
) -> None:
    """Weighted sums per ray, opacity per ray and weight per sample."""
    sizes, options = _sizes(values, offsets)
    if sizes[1]:
        _forward_kernel[(sizes[1],)](
            alpha, values, offsets, sums, opacity, weights, *sizes, **options, num_warps=1
        )


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
    """Gradients by the opacities and values of every sample."""
    sizes, options = _sizes(values, offsets)
    if sizes[1]:
        light = alpha.new_empty(len(alpha))
        _light_kernel[(sizes[1],)](alpha, offsets, light, CHUNK=CHUNK, num_warps=1)
        _backward_kernel[(sizes[1],)](
            alpha, values, weights, offsets, light, grad_sums, grad_opacity, grad_weights,
            grad_alpha, grad_values, *sizes, **options, num_warps=1,
        )  # fmt: skip
