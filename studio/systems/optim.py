"""Optimisers and learning-rate schedules of the training systems."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch

from studio.ops.schedule import Betas, LearningRateConfig
from studio.plugins.ranges import Factor, Installed, Length, Range
from studio.systems.muon import Muon

Fall = Annotated[list[Annotated[float, Range(0, 1e9, above=True)]], Length(2, 2)]


OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "adamw": (),
    "adamw-8bit": ("bitsandbytes",),
    "muon": (),
}
"""Optimisers of training, and the package that has one."""


@dataclass
class OptimizerConfig(LearningRateConfig):
    """The optimiser of a training, and its learning rate."""

    optimizer: Annotated[str, Installed(OPTIMIZERS)] = "adamw"
    """adamw; adamw-8bit: bitsandbytes' (NVIDIA GPUs), with a quarter of the memory for its moments;
    muon: orthogonal steps of matrices, AdamW's of all else; fewer but dearer steps, for large batches."""  # noqa: E501
    lr: Annotated[float, Range(0, 1e3, above=True)] = 4e-4
    """Learning rate at its highest; groups of parameters scale it."""
    scale_lr: bool = False
    """Multiply `lr` by the joint batch: objects of a step on all devices."""
    betas: Betas = field(default_factory=lambda: [0.9, 0.99])
    """Adam's moment decays; Muon's momentum is the first."""
    weight_decay: Factor = 0.01
    """Decoupled weight decay."""
    exponential: Fall = field(default_factory=lambda: [1.0, 1.0])
    """[f, n]: fall beside it, by factor f in every n steps after the warm-up, exponentially."""
    grad_clip: Factor = 1.0
    """Largest norm of the gradient; 0 switches clipping off."""


def make_optimizer(
    groups: list[dict[str, Any]], cfg: OptimizerConfig, *, fused: bool = True, batch: int = 1
) -> torch.optim.Optimizer:
    """Return the optimiser over groups {"params", "lr_scale"}.

    Args:
        groups: what is trained.
        cfg: options.
        fused: one kernel for the whole step of AdamW. It undoes a loss scaler's factor inside, too
            late for gradients that are to be clipped.
        batch: objects of a step, on all devices, for `scale_lr`.
    """
    lr = cfg.lr * (batch if cfg.scale_lr else 1)
    scaled = [{"params": g["params"], "lr": lr * g.get("lr_scale", 1.0)} for g in groups]
    trained = [g for g in scaled if g["params"]]
    rest: dict[str, Any] = {"betas": (cfg.betas[0], cfg.betas[1]), "weight_decay": cfg.weight_decay}
    if cfg.optimizer == "adamw-8bit":
        import bitsandbytes

        eight_bit: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(trained, lr=lr, **rest)
        return eight_bit
    if cfg.optimizer == "muon":
        return Muon(trained, lr=lr, **rest)
    return torch.optim.AdamW(trained, lr=lr, fused=fused, **rest)


def rate_by_step(cfg: OptimizerConfig, max_steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate at a step of `max_steps`, endless where below 1."""
    rate, (ratio, span) = cfg.learning_rate(), cfg.exponential
    total = max_steps if max_steps > 0 else math.inf

    def factor(step: int) -> float:
        slow = float(ratio ** (max(step - cfg.warmup_steps, 0) / span))
        return rate(step, total) * slow

    return factor
