"""Hierarchical sampling of rays through a signed distance field (NeuS, supplement D.1).

The arithmetic is that of the official program: its constants are kept.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def transmittance(alpha: Float[Tensor, "n s"], epsilon: float = 1e-7) -> Float[Tensor, "n s"]:
    """Share of the light that reaches each section: the product of what those before let through.

    Args:
        alpha: opacity of the sections, front to back.
        epsilon: what an opaque section still lets through.
    """
    through = torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha + epsilon], dim=1)
    return through.cumprod(dim=1)[:, :-1]


def section_opacity(
    sdf: Float[Tensor, " p"],
    slope: Float[Tensor, " p"],
    length: Float[Tensor, " p"],
    inv_s: Float[Tensor, ""],
    anneal: float = 1.0,
) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
    """Opacity of sections (NeuS, eq. 13), and the logistic CDF of the distance where they begin.

    Args:
        sdf: signed distance in the middle of the section.
        slope: its derivative along the ray there.
        length: of the section.
        inv_s: sharpness s of the logistic density.
        anneal: share of the exact form of the slope, in which only rays that approach the surface
            see it; the rest is a relaxed form that helps while there is no surface yet.
    """
    exact, relaxed = F.relu(-slope), F.relu(0.5 - 0.5 * slope)
    shift = 0.5 * length * (exact * anneal + relaxed * (1 - anneal))
    enter, leave = torch.sigmoid((sdf + shift) * inv_s), torch.sigmoid((sdf - shift) * inv_s)
    return ((enter - leave + 1e-5) / (enter + 1e-5)).clamp(0, 1), enter


def section_weights(
    depths: Float[Tensor, "n s"],
    sdf: Float[Tensor, "n s"],
    inside: Bool[Tensor, "n s"],
    inv_s: float,
    epsilon: float = 1e-7,
) -> Float[Tensor, "n s-1"]:
    """Weights of the sections between samples, from the distances at their ends.

    Args:
        depths: increasing along each ray.
        sdf: signed distance there.
        inside: which samples lie where the object can be; sections with neither end there weigh 0.
        inv_s: sharpness s of the logistic density.
        epsilon: see `transmittance`.
    """
    length = depths.diff(dim=1)
    slope = sdf.diff(dim=1) / (length + 1e-5)
    before = torch.cat([torch.zeros_like(slope[:, :1]), slope[:, :-1]], dim=1)
    slope = torch.minimum(slope, before).clamp(-1e3, 0)  # steady where a thin part is grazed
    slope = slope * (inside[:, 1:] | inside[:, :-1])
    middle = 0.5 * (sdf[:, 1:] + sdf[:, :-1])
    shift = 0.5 * slope * length
    enter, leave = torch.sigmoid((middle - shift) * inv_s), torch.sigmoid((middle + shift) * inv_s)
    alpha = (enter - leave + 1e-5) / (enter + 1e-5)
    return alpha * transmittance(alpha, epsilon)


def inverse_cdf(
    edges: Float[Tensor, "n s"], weights: Float[Tensor, "n s-1"], count: int
) -> Float[Tensor, "n c"]:
    """Place ``count`` samples where the weights are, at the middles of equal shares of them.

    Args:
        edges: borders of the sections, increasing.
        weights: of the sections, not normalised.
        count: samples a ray.
    """
    density = weights + 1e-5
    cdf = (density / density.sum(1, keepdim=True)).cumsum(1)
    cdf = torch.cat([torch.zeros_like(cdf[:, :1]), cdf], dim=1)
    half = 0.5 / count
    u = torch.linspace(half, 1 - half, count, dtype=cdf.dtype, device=cdf.device)
    u = u.expand(len(cdf), -1).contiguous()
    above = torch.searchsorted(cdf, u, right=True)
    below = (above - 1).clamp(min=0)
    above = above.clamp(max=cdf.shape[1] - 1)
    low, high = cdf.gather(1, below), cdf.gather(1, above)
    width = high - low
    share = (u - low) / torch.where(width < 1e-5, 1.0, width)
    start = edges.gather(1, below)
    return start + share * (edges.gather(1, above) - start)


def merge(
    depths: Float[Tensor, "n s"], more: Float[Tensor, "n c"], *values: Float[Tensor, "n s+c"]
) -> tuple[Float[Tensor, "n s+c"], ...]:
    """Sort two sets of depths into one, and with them values given in the order (old, new)."""
    joined, order = torch.cat([depths, more], dim=1).sort(dim=1)
    return joined, *(value.gather(1, order) for value in values)


def refine(
    depths: Float[Tensor, "n s"],
    sdf_at: Callable[[Float[Tensor, "n c"]], Float[Tensor, "n c"]],
    inside_at: Callable[[Float[Tensor, "n c"]], Bool[Tensor, "n c"]],
    count: int,
    *,
    rounds: int = 4,
    inv_s: float = 64.0,
    epsilon: float = 1e-7,
    watch: Callable[..., None] | None = None,
) -> Float[Tensor, "n s+c"]:
    """Add samples near the surface, in rounds of doubled sharpness.

    Args:
        depths: increasing along each ray.
        sdf_at: signed distance at depths.
        inside_at: which depths lie where the object can be.
        count: samples to add to each ray, an equal part in each round.
        rounds: how many; after the last one the field is not asked again.
        inv_s: sharpness of the first round.
        epsilon: see `transmittance`.
        watch: called after each round with the new depths, all depths and, but for the last round,
            the distances there.
    """
    sdf = sdf_at(depths)
    for i in range(rounds):
        weights = section_weights(depths, sdf, inside_at(depths), inv_s * 2**i, epsilon)
        more = inverse_cdf(depths, weights, count // rounds)
        last = i + 1 == rounds
        if last:
            depths = merge(depths, more)[0]
        else:
            depths, sdf = merge(depths, more, torch.cat([sdf, sdf_at(more)], dim=1))
        if watch is not None:
            watch(more, depths, *(() if last else (sdf,)))
    return depths
