"""The composition of any number of views' estimates: a weighted mean for every value."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Composed:
    """The composed estimate and what it was composed of.

    Attributes:
        estimate: of the noise or the clean picture, whichever the network makes.
        used: which places of the padded tensors hold a view.
        weights: share of every view in every value, 0 where there is none; None for a plain mean.
        logits: what the weights are the softmax of, -inf where there is no view.
    """

    estimate: Float[Tensor, "b 3 h w"]
    used: Bool[Tensor, "b v"]
    weights: Float[Tensor, "b v 3 h w"] | None = None
    logits: Float[Tensor, "b v 3 h w"] | None = None

    def to(self, device: torch.device | str) -> Composed:
        """Move all tensors to a device."""
        tensors = (self.estimate, self.used, self.weights, self.logits)
        return Composed(*(None if t is None else t.to(device) for t in tensors))  # type: ignore[arg-type]


def used_views(view_count: Int[Tensor, " b"]) -> Bool[Tensor, "b v"]:
    """Return the mask of views in use; its width is the largest count."""
    places = torch.arange(int(view_count.max()), device=view_count.device)
    return places < view_count[:, None]


def compose(
    output: Float[Tensor, "m o h w"], used: Bool[Tensor, "b v"], weighting: bool
) -> Composed:
    """Put the estimates of all views in use together.

    Args:
        output: of the network for every view in use, sample by sample: the estimate in the first
            three channels, logits in the others.
        used: which views those are.
        weighting: mix by the softmax of the logits over the views, separately for every pixel and
            channel; otherwise take the mean.
    """
    estimate = _padded(output[:, :3], used, 0.0)
    if not weighting:
        share = used / used.sum(dim=1, keepdim=True)
        return Composed((estimate * share.to(estimate)[..., None, None, None]).sum(dim=1), used)
    logits = _padded(output[:, 3:], used, -torch.inf)
    weights = logits.softmax(dim=1)
    return Composed((weights * estimate).sum(dim=1), used, weights, logits)


def _padded(
    values: Float[Tensor, "m c h w"], used: Bool[Tensor, "b v"], fill: float
) -> Float[Tensor, "b v c h w"]:
    padded = values.new_full((*used.shape, *values.shape[1:]), fill)
    padded[used] = values
    return padded
