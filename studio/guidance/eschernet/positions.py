"""Pixel positions as further input channels, for models too small to learn them otherwise.

Attention that looks up a place in a reference picture has to know places. Stable Diffusion's UNet
and ConvNeXt know them from the zeros around pictures, which takes millions of pictures to learn;
the nano networks read sines and cosines beside their input instead. The released ones do not.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

WAVES = (0.25, 0.5, 1.0)
"""Waves over half a picture's side."""
POSITION_CHANNELS = 4 * len(WAVES)


def with_positions(x: Float[Tensor, "n c h w"], channels: int) -> Float[Tensor, "n d h w"]:
    """Return pictures with the position channels behind them, if `channels` says so.

    Args:
        x: pictures or latents.
        channels: input channels of the network, c or c + `POSITION_CHANNELS`.
    """
    if channels == x.shape[1]:
        return x
    rows, columns = (
        _waves(torch.arange(n, device=x.device, dtype=x.dtype).add(0.5).mul(2 / n).sub(1))
        for n in x.shape[-2:]
    )
    height, width = x.shape[-2:]
    places = [rows[:, :, None].expand(-1, -1, width), columns[:, None].expand(-1, height, -1)]
    return torch.cat([x, torch.cat(places).expand(len(x), -1, -1, -1)], dim=1)


def _waves(place: Float[Tensor, " n"]) -> Float[Tensor, "p n"]:
    phases = [2 * math.pi * waves * place for waves in WAVES]
    return torch.stack([f(phase) for phase in phases for f in (torch.sin, torch.cos)])
