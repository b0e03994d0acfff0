"""NeuS opacity (Wang et al. 2021, eq. 13) and alpha compositing of packed samples."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from studio.ops.backend import choose_backend, kernels, ready
from studio.ops.packed import ray_of, transmittance

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
    def forward(ctx, sdf, cosine, step, inv_s, backend):
        sdf, cosine = ready("sdf", sdf), ready("cosine", cosine)
        results = [torch.empty_like(sdf) for _ in range(3)]
        kernels("composite", backend).alpha_forward(sdf, cosine, step, inv_s, *results)
        ctx.save_for_backward(*results[1:])
        return results[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        slope_sdf, slope_cosine = ctx.saved_tensors
        return grad * slope_sdf, grad * slope_cosine, None, None, None


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
        backend: ``auto``, ``cpu``, ``triton`` or ``torch``.
    """
    backend = choose_backend("neus_alpha", backend, sdf.device)
    if backend == "torch":
        return neus_alpha_reference(sdf, cosine, step, inv_s)
    return _NeusAlpha.apply(sdf, cosine, step, inv_s, backend)


def composite_reference(
    alpha: Float[Tensor, " p"], values: Float[Tensor, "c p"], offsets: Int[Tensor, " n+1"]
) -> tuple[Float[Tensor, "c n"], Float[Tensor, " n"], Float[Tensor, " p"]]:
    """Tensor form of `composite`, exact and differentiable also where an opacity is 1."""
    ray, rays = ray_of(offsets), len(offsets) - 1
    weights = alpha * transmittance(alpha, offsets)
    sums = values.new_zeros(values.shape[0], rays).index_add(1, ray, weights * values)
    return sums, weights.new_zeros(rays).index_add(0, ray, weights), weights


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, alpha, values, offsets, backend):
        alpha, values = ready("alpha", alpha), ready("values", values)
        offsets = offsets.contiguous()
        sums = values.new_empty(values.shape[0], len(offsets) - 1)
        opacity, weights = alpha.new_empty(len(offsets) - 1), torch.empty_like(alpha)
        run = kernels("composite", backend)
        run.composite_forward(alpha, values, offsets, sums, opacity, weights)
        ctx.save_for_backward(alpha, values, weights, offsets)
        ctx.backend = backend
        return sums, opacity, weights

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_sums, grad_opacity, grad_weights):
        alpha, values, weights, offsets = ctx.saved_tensors
        grads = [ready("grad", g) for g in (grad_sums, grad_opacity, grad_weights)]
        results = [torch.empty_like(alpha), torch.empty_like(values)]
        run = kernels("composite", ctx.backend)
        run.composite_backward(alpha, values, weights, offsets, *grads, *results)
        return *results, None, None


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
        backend: ``auto``, ``cpu``, ``triton``, ``nerfacc`` or ``torch``.

    Returns:
        Weighted sums per ray, opacity per ray, and the weight of each sample.
    """
    backend = choose_backend("composite", backend, alpha.device)
    if backend == "torch":
        return composite_reference(alpha, values, offsets)
    if backend == "nerfacc":
        from studio.ops.nerfacc import composite_nerfacc

        return composite_nerfacc(alpha, values, offsets)
    return _Composite.apply(alpha, values, offsets, backend)
