"""Volume rendering of packed samples: transmittance, visibility, and who belongs to which ray."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def pack(ray_index: Int[Tensor, " p"], rays: int) -> Int[Tensor, " n+1"]:
    """First sample of each ray, and the number of samples last.

    Args:
        ray_index: ray of each sample, ascending.
        rays: number of rays; those without samples may lie anywhere.
    """
    counts = torch.bincount(ray_index, minlength=rays)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def ray_of(offsets: Int[Tensor, " n+1"]) -> Int[Tensor, " p"]:
    """Ray of each sample: the inverse of `pack`."""
    counts = offsets.diff()
    return torch.repeat_interleave(torch.arange(len(counts), device=offsets.device), counts)


def density_alpha(
    density: Float[Tensor, " p"], section: Float[Tensor, " p"] | float
) -> Float[Tensor, " p"]:
    """Opacity of sections of constant density: 1 - exp(-density * section)."""
    return -torch.expm1(-density * section)


def expected_depth(depth: Float[Tensor, " n"], opacity: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Mean distance of what a ray sees, from the weighted sum; 0 where it sees nothing."""
    return depth / opacity.clamp(min=torch.finfo(opacity.dtype).eps)


def transmittance(alpha: Float[Tensor, " p"], offsets: Int[Tensor, " n+1"]) -> Float[Tensor, " p"]:
    """Share of light that reaches each sample: the product of (1 - alpha) of those before it.

    Exact and differentiable also where an opacity is 1. Takes memory for rays times the samples of
    the longest ray.
    """
    if len(alpha) == 0:
        return alpha
    ray = ray_of(offsets)
    place = torch.arange(len(alpha), device=alpha.device) - offsets[ray]
    through = alpha.new_ones(len(offsets) - 1, int(offsets.diff().max()) + 1)
    through = through.index_put((ray, place + 1), 1 - alpha)
    return through.cumprod(1)[ray, place]


@torch.no_grad()
def visible(
    alpha: Float[Tensor, " p"],
    offsets: Int[Tensor, " n+1"],
    *,
    threshold: float = 0.0,
    stop: float = 1e-4,
) -> Bool[Tensor, " p"]:
    """Tell which samples can be seen.

    Args:
        alpha: opacity of each sample.
        offsets: first sample of each ray, and their number last.
        threshold: least opacity that counts.
        stop: least transmittance that counts (nerfacc: ``early_stop_eps``).
    """
    return (transmittance(alpha, offsets) >= stop) & (alpha >= threshold)
