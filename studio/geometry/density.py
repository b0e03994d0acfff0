"""Density field of an unbounded scene, as instant-nsr-pl models the background."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from studio.geometry.encodings import FrequencyEncoding, HashEncoding
from studio.geometry.mlp import FusedMLP, VanillaMLP


class _TruncExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return torch.exp(x)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return grad * torch.exp(x.clamp(max=15))


def trunc_exp(x: Tensor) -> Tensor:
    """Exponential whose derivative stops growing at x = 15 (Instant-NGP)."""
    return _TruncExp.apply(x)


def contract_sphere(points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """All of space into [0, 1]^3: the unit ball keeps its shape, the rest is a shell around it.

    mip-NeRF 360 (Barron et al. 2022, eq. 10): y = x where |x| <= 1, else (2 - 1 / |x|) x / |x|; the
    result is y / 4 + 0.5.
    """
    length = points.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    outside = (2 - 1 / length) * points / length
    return torch.where(length > 1, outside, points) / 4 + 0.5


class DensityField(nn.Module):
    """Density exp(out_0 + bias) and the raw outputs at points of [0, 1]^3.

    Args:
        encoding: of the points.
        network: from the encoding to the outputs.
        bias: added to the first output.
    """

    def __init__(
        self,
        encoding: HashEncoding | FrequencyEncoding,
        network: VanillaMLP | FusedMLP,
        bias: float = -1.0,
    ) -> None:
        super().__init__()
        self.encoding, self.network, self.bias = encoding, network, bias

    def forward(
        self, points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n f"]]:
        """Return densities and features."""
        out = self.network(self.encoding(points))
        return trunc_exp(out[:, 0] + self.bias), out
