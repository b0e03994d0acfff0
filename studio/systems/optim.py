"""Optimiser and learning-rate schedule shared by the training systems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class OptimizerConfig:
    """AdamW with a warm-up, a plateau and a linear decay at the end."""

    lr: float = 4e-4
    """Learning rate of the plateau."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.99])
    """Adam's moment decays."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    warmup_steps: int = 200
    """Steps of linear warm-up."""
    decay_steps: int = 0
    """Steps of linear decay to zero before trainer.max_steps; 0 keeps the rate constant."""
    grad_clip: float = 1.0
    """Largest norm of the gradient; 0 switches clipping off."""


def make_optimizer(groups: list[dict[str, Any]], cfg: OptimizerConfig) -> torch.optim.AdamW:
    """Return AdamW over groups {"params", "lr_scale"}."""
    scaled = [{"params": g["params"], "lr": cfg.lr * g.get("lr_scale", 1.0)} for g in groups]
    return torch.optim.AdamW(
        [g for g in scaled if g["params"]],
        lr=cfg.lr,
        betas=(cfg.betas[0], cfg.betas[1]),
        weight_decay=cfg.weight_decay,
        fused=True,
    )


def warmup_plateau_decay(cfg: OptimizerConfig, max_steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate at a step."""

    def factor(step: int) -> float:
        rise = (step + 1) / max(cfg.warmup_steps, 1)
        fall = (max_steps - step) / cfg.decay_steps if cfg.decay_steps and max_steps > 0 else 1.0
        return max(0.0, min(1.0, rise, fall))

    return factor
