"""NeuS opacity (Wang et al. 2021, eq. 13) and alpha compositing of packed samples."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from studio.ops.backend import choose_backend, kernels, ready
from studio.ops.field import length
from studio.ops.packed import ray_of, transmittance

EPSILON = 1e-5  # official NeuS: added to numerator and denominator


def neus_alpha_reference(
    sdf: Float[Tensor, " p"], cosine: Float[Tensor, " p"], step: float | Tensor, inv_s: float
) -> Float[Tensor, " p"]:
    """Plain tensor form of `neus_alpha`."""
    shift = 0.5 * cosine * step
    before, after = torch.sigmoid(inv_s * (sdf - shift)), torch.sigmoid(inv_s * (sdf + shift))
    return ((before - after + EPSILON) / (before + EPSILON)).clamp(0, 1)


class _NeusAlpha(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, sdf: Tensor, cosine: Tensor, step: float, inv_s: float, backend: str
    ) -> Tensor:
        sdf, cosine = ready("sdf", sdf), ready("cosine", cosine)
        results = [torch.empty_like(sdf) for _ in range(3)]
        kernels("composite", backend).alpha_forward(sdf, cosine, step, inv_s, *results)
        ctx.save_for_backward(*results[1:])
        return results[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
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


def neus_sections_reference(
    sdf: Float[Tensor, " p"],
    gradient: Float[Tensor, "3 p"],
    directions: Float[Tensor, "3 p"],
    step: float,
    inv_s: float,
    exact: float = 1.0,
    *,
    unit: bool = False,
    backend: str = "torch",
) -> tuple[Float[Tensor, " p"], Float[Tensor, "3 p"]]:
    """Tensor form of `neus_sections`."""
    normal = gradient / length(gradient)
    slope = ((normal if unit else gradient) * directions).sum(0)
    cosine = annealed_slope(slope, exact)
    return neus_alpha(sdf, cosine, step, inv_s, backend=backend), normal


def annealed_slope(slope: Float[Tensor, " p"], exact: float) -> Float[Tensor, " p"]:
    """Slope of a section: official NeuS lets rays that leave a surface see it, too, at first.

    Args:
        slope: derivative of the SDF along the ray.
        exact: share of the exact form, the slope where it is negative; 1 at the end.
    """
    if exact >= 1:
        return slope.clamp(max=0)
    return exact * slope.clamp(max=0) - (1 - exact) * (0.5 - 0.5 * slope).clamp(min=0)


class _NeusSections(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        sdf: Tensor,
        gradient: Tensor,
        directions: Tensor,
        step: float,
        inv_s: float,
        exact: float,
        unit: bool,
    ) -> tuple[Tensor, Tensor]:
        from studio.ops import composite_cpu

        sdf, gradient = ready("sdf", sdf), ready("gradient", gradient)
        directions = ready("directions", directions)
        alpha, normal, slopes = (
            torch.empty_like(sdf),
            torch.empty_like(gradient),
            sdf.new_empty(3, len(sdf)),
        )
        composite_cpu.sections_forward(
            sdf, gradient, directions, (step, inv_s, exact), unit, alpha, normal, slopes
        )
        ctx.save_for_backward(directions, normal, slopes)
        ctx.unit = unit
        return alpha, normal

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_alpha: Tensor, grad_normal: Tensor) -> tuple[Tensor | None, ...]:
        from studio.ops import composite_cpu

        directions, normal, slopes = ctx.saved_tensors
        grads = ready("grad", grad_alpha), ready("grad", grad_normal)
        grad_sdf, grad_gradient = torch.empty_like(grad_alpha), torch.empty_like(normal)
        composite_cpu.sections_backward(
            directions, normal, slopes, ctx.unit, *grads, grad_sdf, grad_gradient
        )
        return grad_sdf, grad_gradient, None, None, None, None, None


def neus_sections(
    sdf: Float[Tensor, " p"],
    gradient: Float[Tensor, "3 p"],
    directions: Float[Tensor, "3 p"],
    step: float,
    inv_s: float,
    exact: float = 1.0,
    *,
    unit: bool = False,
    backend: str = "auto",
) -> tuple[Float[Tensor, " p"], Float[Tensor, "3 p"]]:
    """Opacity of the sections around samples, and the unit normals there.

    Args:
        sdf: signed distance at the middle of each section.
        gradient: its derivative by the position.
        directions: unit directions of the samples' rays.
        step: section length.
        inv_s: sharpness s of the logistic density.
        exact: see `annealed_slope`.
        unit: take the slope from the normal instead of the gradient (instant-nsr).
        backend: ``auto``, ``cpu`` (one native loop), ``triton`` or ``torch``.
    """
    backend = choose_backend("neus_alpha", backend, sdf.device)
    if backend == "cpu":
        return _NeusSections.apply(sdf, gradient, directions, step, inv_s, exact, unit)
    return neus_sections_reference(
        sdf, gradient, directions, step, inv_s, exact, unit=unit, backend=backend
    )


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
    def forward(
        ctx: Any, alpha: Tensor, values: Tensor, offsets: Tensor, backend: str
    ) -> tuple[Tensor, Tensor, Tensor]:
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
    def backward(
        ctx: Any, grad_sums: Tensor, grad_opacity: Tensor, grad_weights: Tensor
    ) -> tuple[Tensor | None, ...]:
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
