"""NeuS opacity (Wang et al. 2021, eq. 13) and alpha compositing of packed samples."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from studio.ops.backend import choose_backend, contiguous_float

EPSILON = 1e-5  # official NeuS: added to numerator and denominator


def neus_alpha_reference(
    sdf: Float[Tensor, " p"], cosine: Float[Tensor, " p"], step: float, inv_s: float
) -> Float[Tensor, " p"]:
    """Plain tensor form of `neus_alpha`."""
    shift = 0.5 * cosine * step
    before, after = torch.sigmoid(inv_s * (sdf - shift)), torch.sigmoid(inv_s * (sdf + shift))
    return ((before - after + EPSILON) / (before + EPSILON)).clamp(0, 1)


class _NeusAlpha(torch.autograd.Function):
    @staticmethod
    def forward(ctx, sdf, cosine, step, inv_s):
        from studio.ops import composite_cpu

        sdf, cosine = contiguous_float("sdf", sdf), contiguous_float("cosine", cosine)
        results = [torch.empty_like(sdf) for _ in range(3)]
        composite_cpu.alpha_forward(
            sdf.numpy(), cosine.numpy(), step, inv_s, *(r.numpy() for r in results)
        )
        ctx.save_for_backward(*results[1:])
        return results[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        slope_sdf, slope_cosine = ctx.saved_tensors
        return grad * slope_sdf, grad * slope_cosine, None, None


def neus_alpha(
    sdf: Float[Tensor, " p"],
    cosine: Float[Tensor, " p"],
    step: float,
    inv_s: float,
    *,
    backend: str = "auto",
) -> Float[Tensor, " p"]:
    """Opacity of a section of length ``step`` around each sample.

    Args:
        sdf: signed distance at the middle of the section.
        cosine: derivative of the SDF along the ray, at most 0.
        step: section length.
        inv_s: sharpness s of the logistic density.
        backend: ``auto``, ``cpu`` or ``torch``.
    """
    if choose_backend("neus_alpha", backend, sdf.device) == "torch":
        return neus_alpha_reference(sdf, cosine, step, inv_s)
    return _NeusAlpha.apply(sdf, cosine, step, inv_s)


def composite_reference(
    alpha: Float[Tensor, " p"], values: Float[Tensor, "c p"], offsets: Int[Tensor, " n+1"]
) -> tuple[Float[Tensor, "c n"], Float[Tensor, " n"], Float[Tensor, " p"]]:
    """Tensor form of `composite`: transmittance by a sum of logarithms in float64."""
    counts = offsets.diff()
    ray = torch.repeat_interleave(torch.arange(len(counts), device=alpha.device), counts)
    log = torch.log1p(-alpha.double().clamp(max=1 - 1e-6))
    before = log.cumsum(0) - log
    first = (
        before[offsets[:-1].clamp(max=max(len(log) - 1, 0))]
        if len(log)
        else log.new_zeros(len(counts))
    )
    weights = (alpha.double() * torch.exp(before - first[ray])).to(alpha.dtype)
    sums = values.new_zeros(values.shape[0], len(counts)).index_add(1, ray, weights * values)
    return sums, weights.new_zeros(len(counts)).index_add(0, ray, weights), weights


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, alpha, values, offsets):
        from studio.ops import composite_cpu

        alpha, values = contiguous_float("alpha", alpha), contiguous_float("values", values)
        sums = values.new_empty(values.shape[0], len(offsets) - 1)
        opacity, weights = alpha.new_empty(len(offsets) - 1), torch.empty_like(alpha)
        arrays = (alpha, values, offsets, sums, opacity, weights)
        composite_cpu.composite_forward(*(a.numpy() for a in arrays))
        ctx.save_for_backward(alpha, values, weights, offsets)
        return sums, opacity, weights

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_sums, grad_opacity, grad_weights):
        from studio.ops import composite_cpu

        alpha, values, weights, offsets = ctx.saved_tensors
        grads = [contiguous_float("grad", g) for g in (grad_sums, grad_opacity, grad_weights)]
        results = [torch.empty_like(alpha), torch.empty_like(values)]
        arrays = (alpha, values, weights, offsets, *grads, *results)
        composite_cpu.composite_backward(*(a.numpy() for a in arrays))
        return *results, None


def composite(
    alpha: Float[Tensor, " p"],
    values: Float[Tensor, "c p"],
    offsets: Int[Tensor, " n+1"],
    *,
    backend: str = "auto",
) -> tuple[Float[Tensor, "c n"], Float[Tensor, " n"], Float[Tensor, " p"]]:
    """Composite packed samples front to back.

    Args:
        alpha: opacity of each sample, in [0, 1].
        values: what to sum up, feature-major (colours, normals, depths, ...).
        offsets: first sample of each ray, and the number of samples last.
        backend: ``auto``, ``cpu`` or ``torch``.

    Returns:
        Weighted sums per ray, opacity per ray, and the weight of each sample.
    """
    if choose_backend("composite", backend, alpha.device) == "torch":
        return composite_reference(alpha, values, offsets)
    return _Composite.apply(alpha, values, offsets)
