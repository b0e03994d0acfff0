"""Coarse-to-fine schedules of hash grids (Neuralangelo): levels, differences, curvature.

Li et al. 2023, section 3.2: numerical gradients with a step of about a cell of the finest open
level smooth across cells, so details appear level by level.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def open_levels(step: int, *, first: int, every: int, after: int = 0) -> int:
    """Number of levels in use: ``first`` up to step ``after``, one more each ``every`` steps.

    There is no upper limit: the grid has the levels it has.
    """
    return first + max(step - after, 0) // every


def level_resolution(level: int, base: int, growth: float) -> float:
    """Cells a side of the finest of ``level`` open levels (the first is 1)."""
    return base * growth ** (max(level, 1) - 1)


def smooth_resolution(step: float, *, base: int, growth: float, every: int, limit: float) -> float:
    """Resolution that grows by ``growth`` each ``every`` steps, continuously, up to ``limit``."""
    return min(base * growth ** (step / every), limit)


def curvature_factor(
    step: int, *, base: int, growth: float, every: int, limit: float, warmup: int
) -> float:
    """Factor of the curvature loss: a linear rise to 1, then in proportion to the cells."""
    if step < warmup:
        return step / warmup
    grown = smooth_resolution(step - warmup, base=base, growth=growth, every=every, limit=limit)
    return base / grown


def second_differences(
    centre: Float[Tensor, "*n"], taps: Float[Tensor, "*n 6"], step: float
) -> Float[Tensor, "*n 3"]:
    """Second derivatives along x, y, z from values at +x, -x, +y, -y, +z, -z."""
    plus, minus = taps[..., 0::2], taps[..., 1::2]
    return (plus + minus - 2 * centre[..., None]) / step**2


def curvature_loss(second: Float[Tensor, "*n 3"]) -> Float[Tensor, ""]:
    """Mean absolute second derivative, axes apart (sdfstudio's reading of the paper's loss)."""
    return second.abs().mean() if second.numel() else torch.zeros((), device=second.device)
