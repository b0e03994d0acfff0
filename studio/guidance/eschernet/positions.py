"""Pixel positions in attention, for models too small to learn them otherwise.

Attention that copies from a reference has to know places as well as cameras. Stable Diffusion's
UNet and ConvNeXt know places from the zeros around pictures, which takes millions of pictures to
learn. The nano networks add sines and cosines of a token's place to its query and key, before the
camera is encoded: from the start, tokens attend to the same place in pictures of the same camera,
and of cameras near it. The released networks do not (strength 0).

6DoF CaPE takes four channels as a row vector. Only its first three entries are used: what stands in
the fourth meets the translation between the cameras, which would make far cameras win. The other
three are merely rotated, so that no camera scores higher than the token's own.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

WAVES = (0.25, 2.0)
"""Slowest and fastest wave over half a picture's side."""


@lru_cache(maxsize=64)
def position_code(
    tokens: int, width: int, heads: int, device: torch.device
) -> Float[Tensor, "l d"]:
    """Return the code of every token of a square grid, the same for every head.

    Every four channels are (sine, 0, cosine, 0) of one wave, over rows or over columns; turning
    about the upright axis mixes the two.

    Args:
        tokens: l, a square number; row by row.
        width: d, of queries and keys.
        heads: d / heads must be a multiple of 8.
        device: where.

    Raises:
        ValueError: if the grid is not square or the width does not divide.
    """
    side = math.isqrt(tokens)
    if side * side != tokens or width % (8 * heads):
        raise ValueError(
            f"positions need a square grid and heads of 8n channels, not {tokens} tokens, "
            f"{width} channels, {heads} heads"
        )
    slow, fast = (math.log10(wave) for wave in WAVES)
    waves = torch.logspace(slow, fast, width // heads // 8, device=device)
    place = (torch.arange(side, device=device) + 0.5) * 2 / side - 1
    phase = 2 * math.pi * place[:, None] * waves
    row = phase[:, None].expand(-1, side, -1)
    column = phase[None].expand(side, -1, -1)
    both = torch.cat([row, column], dim=-1)
    nothing = torch.zeros_like(both)
    code = 2**0.5 * torch.stack([both.sin(), nothing, both.cos(), nothing], dim=-1)
    return code.reshape(tokens, -1).repeat(1, heads)
