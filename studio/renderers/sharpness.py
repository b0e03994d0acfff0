"""Sharpness of NeuS as a learned parameter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LearnedSharpness(nn.Module):
    """s = exp(10 v) of the logistic density, v learned (Wang et al. 2021, section 3.2).

    Args:
        variance: v at the start; 0.3 gives s = 20.1.
        limit: none, or [start, reach, largest] (instant-nsr-pl's ``modulate``): after step
            ``start`` s stays below a value that grows from s at that time, in proportion to
            step / ``reach``, to ``largest``.
    """

    ceiling: Tensor
    before: Tensor

    def __init__(self, variance: float = 0.3, limit: Sequence[float] = ()) -> None:
        super().__init__()
        if len(limit) not in (0, 3):
            raise ValueError(f"limit is {list(limit)}: [start step, reach step, largest s] or none")
        self.limit = tuple(limit)
        self.variance = nn.Parameter(torch.tensor(variance))
        self.register_buffer("ceiling", torch.tensor(1e6))
        self.register_buffer("before", torch.tensor(0.0))

    def forward(self) -> Float[Tensor, ""]:
        """Present sharpness."""
        sharpness = (10 * self.variance).exp().clamp(1e-6, 1e6)
        return torch.minimum(sharpness, self.ceiling.to(sharpness))

    @torch.no_grad()
    def advance(self, step: int) -> None:
        """Raise the limit for a training step."""
        if not self.limit:
            return
        start, reach, largest = self.limit
        if step <= start:
            self.before.copy_(self())
        else:
            grown = self.before + step / reach * (largest - self.before)
            self.ceiling.copy_(grown.clamp(max=largest))
