"""The optimiser of a fit and its learning rate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch

from studio.ops.adam import Adam
from studio.ops.schedule import LEARNING_RATES, Betas, LearningRateConfig
from studio.plugins.ranges import Factor, OneOf, Range, Share, StepsOrZero


@dataclass
class FitOptimizerConfig(LearningRateConfig):
    """Optimiser of a fit and its learning rate; the defaults suit the hash-grid geometry."""

    optimizer: Literal["adam", "adamw"] = "adam"
    """adam or adamw (decoupled weight decay)."""
    lr: Annotated[float, Range(0, 1e3, above=True)] = 1e-2
    """Learning rate at its highest; groups of parameters scale it."""
    lr_schedule: Annotated[str, OneOf(LEARNING_RATES)] = "exponential"
    lr_end: Factor = 0.03
    warmup_steps: StepsOrZero = 30
    betas: Betas = field(default_factory=lambda: [0.9, 0.99])
    """Adam's moment decays."""
    eps: Share = 1e-15
    """Added to the root of the second moment; small, as most rows of a hash table rest."""
    weight_decay: Factor = 0.0
    """Weight decay, of all parameters."""


def make_fit_optimizer(
    groups: list[dict[str, Any]], cfg: FitOptimizerConfig, lr: float | None = None
) -> torch.optim.Optimizer:
    """Return Adam over groups {"params", "lr_scale"}; ``base_lr`` of one is its full learning rate.

    Raises:
        ConfigError: for an optimiser that does not exist.
    """
    parameters = [parameter for group in groups for parameter in group["params"]]
    adam = Adam if Adam.fits(parameters) else torch.optim.Adam
    kinds = {"adam": adam, "adamw": torch.optim.AdamW}
    rates = [(cfg.lr if lr is None else lr) * group.get("lr_scale", 1.0) for group in groups]
    return kinds[cfg.optimizer](
        [
            {"params": group["params"], "lr": rate, "base_lr": rate}
            for group, rate in zip(groups, rates, strict=True)
            if group["params"]
        ],
        betas=(cfg.betas[0], cfg.betas[1]),
        eps=cfg.eps,
        weight_decay=cfg.weight_decay,
        fused=True,
    )
