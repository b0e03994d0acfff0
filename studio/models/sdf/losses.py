"""Losses of surface reconstruction as plain functions of tensors.

Every function returns a scalar that is 0, not NaN, where there is nothing to average. Sources:
NeuS (Wang et al. 2021), SyncDreamer (Liu et al. 2023), Wonder3D (Long et al. 2023), IGR (Gropp et
al. 2020), mip-NeRF 360 (Barron et al. 2022), Ref-NeRF (Verbin et al. 2022), threestudio.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Scalar = Float[Tensor, ""]
PerRay = Float[Tensor, " n"]

# --- errors of single rays ------------------------------------------------------------------------


def _charbonnier(off: Float[Tensor, "n 3"]) -> PerRay:
    return (off.square().sum(-1) + 0.001).sqrt()  # SyncDreamer, renderer/renderer.py


COLOUR_ERRORS: dict[str, Callable[[Float[Tensor, "n 3"]], PerRay]] = {
    "l1": lambda off: off.abs().mean(-1),
    "l1-sum": lambda off: off.abs().sum(-1),
    "mse": lambda off: off.square().mean(-1),
    "mse-sum": lambda off: off.square().sum(-1),
    "huber": lambda off: F.smooth_l1_loss(off, torch.zeros_like(off), reduction="none").mean(-1),
    "charbonnier": _charbonnier,
}
"""Error of a ray from the difference of its colours: NeuS sums over the channels."""


def clipped_opacity(opacity: PerRay) -> PerRay:
    """Opacity in [1e-3, 1 - 1e-3], as all references clip it before a logarithm."""
    return opacity.clamp(1e-3, 1 - 1e-3)


def mask_cross_entropy(opacity: PerRay, mask: PerRay) -> PerRay:
    """Binary cross-entropy of opacities against coverages in [0, 1]."""
    return F.binary_cross_entropy(clipped_opacity(opacity), mask, reduction="none")


MASK_ERRORS: dict[str, Callable[[PerRay, PerRay], PerRay]] = {
    "bce": mask_cross_entropy,
    "mse": lambda opacity, mask: (opacity - mask).square(),
}
"""Error of a ray's opacity."""


def normal_error(
    normal: Float[Tensor, "n 3"], wanted: Float[Tensor, "n 3"], cosine: PerRay, *, geo_aware: bool
) -> tuple[PerRay, Bool[Tensor, " n"]]:
    """Wonder3D's error of rendered normals, and the rays for which the wanted ones face the camera.

    Args:
        normal: rendered, of any length.
        wanted: unit normals.
        cosine: of ray and wanted normal; above -0.1 a generated normal is not believed.
        geo_aware: weigh rays by exp(|cosine|), normalised over all rays; otherwise all alike.
    """
    facing = cosine <= -0.1
    error = 1 - F.cosine_similarity(normal, wanted, dim=-1)
    if geo_aware:
        weight = torch.where(facing, cosine, torch.zeros_like(cosine)).abs().exp()
        error = error * weight / weight.sum()
    return error, facing


# --- averages over rays ---------------------------------------------------------------------------


def mean_over(error: PerRay, counts: PerRay | Bool[Tensor, " n"] | None = None) -> Scalar:
    """Mean over the rays that count; NeuS's masked mean where ``counts`` holds weights."""
    if counts is None:
        return error.mean() if len(error) else error.sum()
    share = counts.to(error.dtype)
    return (error * share).sum() / (share.sum() + 1e-5)


def ranked_mean(
    error: PerRay,
    keep: float,
    weight: PerRay | None = None,
    *,
    reduce: str = "mean",
    as_released: bool = False,
) -> Scalar:
    """Wonder3D's ranking loss: the largest errors, where views disagree, are left out.

    Args:
        error: of each ray.
        keep: share of the rays that stay, those of the smallest errors.
        weight: of each ray, applied after the selection and not normalised.
        reduce: mean or sum.
        as_released: choose as Wonder3D's code does, which applies the order to errors that are in
            order already, and so keeps other ones than the smallest.
    """
    kept = int(keep * len(error))
    small, order = torch.sort(error)
    small = small[order[:kept]] if as_released else small[:kept]
    if weight is not None:
        small = small * weight[order[:kept]]
    return small.mean() if reduce == "mean" and kept else small.sum()


# --- regularisation -------------------------------------------------------------------------------


def eikonal(gradients: Float[Tensor, "p 3"], weights: Float[Tensor, " p"] | None = None) -> Scalar:
    """Mean of (|gradient| - 1)^2; with weights NeuS's weighted mean."""
    g = gradients.T
    off = ((g * g).sum(0).add(1e-12).sqrt() - 1).square()
    return mean_over(off, weights)


def sparsity(sdf: Float[Tensor, " p"], scale: float = 1.0) -> Scalar:
    """Mean of exp(-scale |sdf|): surfaces that nothing asks for shrink away."""
    return mean_over((-scale * sdf.abs()).exp())


def opacity_sparsity(opacity: PerRay) -> Scalar:
    """Mean of sqrt(opacity^2 + 0.01) (threestudio)."""
    return mean_over((opacity.square() + 0.01).sqrt())


def opaque(opacity: PerRay) -> Scalar:
    """Binary entropy of the opacity: rays hit or miss."""
    clipped = clipped_opacity(opacity)
    return F.binary_cross_entropy(clipped, clipped) if len(opacity) else opacity.sum()


def curvature(laplacian: Float[Tensor, " p"]) -> Scalar:
    """Mean of |laplacian| (Neuralangelo, eq. 7)."""
    return mean_over(laplacian.abs())


def normal_smoothness(gradients: Float[Tensor, "p 3"], nearby: Float[Tensor, "p 3"]) -> Scalar:
    """Mean absolute change of the gradient's coordinates over a small random step (Wonder3D)."""
    return mean_over((gradients - nearby).T.abs().mean(0))


def picture_smoothness(normals: Float[Tensor, "b h w 3"]) -> Scalar:
    """Mean squared differences of neighbouring rows plus of neighbouring columns (threestudio)."""
    rows = (normals[:, 1:] - normals[:, :-1]).square().mean()
    return rows + (normals[:, :, 1:] - normals[:, :, :-1]).square().mean()


def orient(
    weights: Float[Tensor, " p"],
    normals: Float[Tensor, "p 3"],
    directions: Float[Tensor, "p 3"],
    opacity: Tensor,
) -> Scalar:
    """Ref-NeRF's penalty of visible normals that look away from the camera, per ray that hits.

    Args:
        weights: of the samples; no gradient goes there.
        normals: unit normals.
        directions: unit directions of the samples' rays.
        opacity: of all rays, of any shape.
    """
    away = (normals * directions).sum(-1).clamp(min=0).square()
    return (weights.detach() * away).sum() / (opacity > 0).sum().clamp(min=1)


def depth_variance(variance: Tensor, opacity: Tensor) -> Scalar:
    """Mean variance of the depth over the rays that are more opaque than not (threestudio)."""
    hit = opacity > 0.5
    return variance[hit].mean() if bool(hit.any()) else variance.sum() * 0


def distortion(
    weights: Float[Tensor, " p"],
    t: Float[Tensor, " p"],
    sections: Float[Tensor, " p"],
    ray_index: Int[Tensor, " p"],
    rays: int,
) -> Scalar:
    """mip-NeRF 360's distortion loss in linear time, the mean over all rays.

    Args:
        weights: of samples that are packed ray by ray, front to back.
        t: mid points of their sections.
        sections: lengths of the sections.
        ray_index: ray of each sample, ascending.
        rays: how many rays there are.
    """
    if len(weights) == 0:
        return weights.sum()
    w, wt = weights.double(), weights.double() * t.double()
    before, before_t = w.cumsum(0) - w, wt.cumsum(0) - wt
    counts = torch.bincount(ray_index, minlength=rays)
    first = (counts.cumsum(0) - counts)[ray_index]  # first sample of each sample's ray
    before, before_t = before - before[first], before_t - before_t[first]
    within = sections * weights.square() / 3
    between = 2 * (wt * before - w * before_t)
    return (within + between).sum().to(weights.dtype) / max(rays, 1)


def outside(sdf: Float[Tensor, " p"], margin: float = 0.0) -> Scalar:
    """Mean depth below ``margin`` of points that are known to lie outside."""
    return mean_over((margin - sdf).clamp(min=0))
