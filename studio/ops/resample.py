"""Intervals along rays, resampled by weight (mip-NeRF 360; nerfacc's ``importance_sampling``)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def resample_intervals(
    edges: Float[Tensor, "n s+1"], weights: Float[Tensor, "n s"], count: int
) -> tuple[Float[Tensor, "n count+1"], Float[Tensor, "n count"]]:
    """Place ``count`` intervals so that each holds about the same weight.

    Args:
        edges: ascending borders of the present intervals.
        weights: weight of each, not negative.
        count: number of new intervals, at least 2.

    Returns:
        Borders of the new intervals (half-way between centres, mirrored at the ends) and the
        centres, at the quantiles (k + 0.5) / count.
    """
    epsilon = torch.finfo(weights.dtype).eps
    share = weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)
    zero = torch.zeros_like(share[:, :1])
    cdf = torch.cat([zero, share[:, :-1].cumsum(-1).clamp(max=1), torch.ones_like(zero)], -1)
    pad = 0.5 / count
    wanted = torch.linspace(pad, 1 - pad - epsilon, count).to(weights).expand(len(weights), count)
    right = torch.searchsorted(cdf, wanted.contiguous(), right=True).clamp(1, weights.shape[1])
    low, high = cdf.gather(-1, right - 1), cdf.gather(-1, right)
    start, end = edges.gather(-1, right - 1), edges.gather(-1, right)
    part = (wanted - low) / (high - low).clamp(min=epsilon)
    centres = start + part.clamp(0, 1) * (end - start)
    middle = (centres[:, 1:] + centres[:, :-1]) / 2
    first, last = 2 * centres[:, :1] - middle[:, :1], 2 * centres[:, -1:] - middle[:, -1:]
    return torch.cat([first, middle, last], -1), centres
