"""The hash grid of nerfstudio's torch implementation, which is not that of tiny-cuda-nn.

Every level is hashed, grids are ``floor(scale)`` cells wide without the half-cell shift, and the
corners of a point are its floor and ceiling: at an integer coordinate the two coincide.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def scalings(levels: int, min_resolution: int, max_resolution: int) -> Float[Tensor, " levels"]:
    """Cells a side of each level."""
    span = math.log(max_resolution) - math.log(min_resolution)
    growth = float(np.float32(math.exp(span / (levels - 1)))) if levels > 1 else 1.0
    # in float32, but for the powers: torch's vary with the processor, and the last bit counts
    sizes = [np.float32(min_resolution) * np.float32(growth**level) for level in range(levels)]
    return torch.tensor(sizes).floor()


def encode_nerfstudio(
    points: Float[Tensor, "n 3"],
    table: Float[Tensor, "rows f"],
    scale: Float[Tensor, " levels"],
) -> Float[Tensor, "n lf"]:
    """Encode points of [0, 1]^3; differentiable.

    Args:
        points: positions.
        table: the levels' rows, ``rows / levels`` (a power of two) each.
        scale: cells a side of each level, from `scalings`.
    """
    rows = table.shape[0] // len(scale)
    position = points[:, None] * scale.to(points)[:, None]  # [n, levels, 3]
    low, high = position.detach().floor(), position.detach().ceil()
    part = position - low
    first = torch.arange(len(scale), device=points.device) * rows
    encoded = points.new_zeros(*position.shape[:2], table.shape[1])
    for corner in range(8):
        upper = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2], device=points.device) > 0
        weight = torch.where(upper, part, 1 - part).prod(-1)
        row = _hash(torch.where(upper, high, low).long(), rows) + first
        encoded = encoded + weight[..., None] * table[row]
    return encoded.flatten(1)


def _hash(vertices: Int[Tensor, "n levels 3"], rows: int) -> Int[Tensor, "n levels"]:
    x, y, z = vertices.unbind(-1)
    return (x ^ (y * 2654435761) ^ (z * 805459861)) % rows
