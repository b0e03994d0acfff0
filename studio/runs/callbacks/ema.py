"""A running mean of the weights, which is what gets validated and exported."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as L
import torch
from torch import Tensor


class EMA(L.Callback):
    """Exponential moving average of the trained weights.

    After update n the decay is min(decay, (1 + n) / (10 + n)), so that the first weights are soon
    forgotten. During validation and test the mean stands in for the weights.

    Args:
        decay: weight of the old mean, in [0, 1).
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"the decay is {decay}; it has to be in [0, 1)")
        self.decay = decay
        self.updates = 0
        self.shadow: dict[str, Tensor] = {}
        self._swapped = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start from the weights, unless a checkpoint brought a mean."""
        for name, parameter in _trained(pl_module).items():
            known = self.shadow.get(name, parameter)
            self.shadow[name] = known.detach().to(parameter.device, copy=True)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take the weights in after every optimiser step."""
        if trainer.global_step > self.updates:
            self.update(pl_module)
            self.updates = trainer.global_step

    @torch.no_grad()
    def update(self, module: torch.nn.Module) -> None:
        """Move the mean towards the weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        weights = _trained(module)
        torch._foreach_lerp_(
            [self.shadow[n] for n in weights], [p.detach() for p in weights.values()], 1 - decay
        )

    def swap_in(self, module: torch.nn.Module) -> None:
        """Put the mean in place of the weights, which it holds as long; nothing is copied."""
        if not self._swapped and self.shadow:
            self._exchange(module)

    def swap_out(self, module: torch.nn.Module) -> None:
        """Put the weights back."""
        if self._swapped:
            self._exchange(module)

    def _exchange(self, module: torch.nn.Module) -> None:
        for name, parameter in module.named_parameters():
            if name in self.shadow:
                mean = self.shadow[name].to(parameter.data)
                self.shadow[name], parameter.data = parameter.data, mean
        self._swapped = not self._swapped

    @contextlib.contextmanager
    def applied(self, module: torch.nn.Module) -> Iterator[None]:
        """The mean in place of the weights within a `with` block."""
        nested = self._swapped
        self.swap_in(module)
        try:
            yield
        finally:
            if not nested:
                self.swap_out(module)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate the mean."""
        self.swap_in(pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Train on with the weights."""
        self.swap_out(pl_module)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Test the mean."""
        self.swap_in(pl_module)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the weights back after the test."""
        self.swap_out(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The mean, for the checkpoint."""
        if self._swapped:
            raise RuntimeError("the mean stands in for the weights: swap_out before saving")
        return {"decay": self.decay, "updates": self.updates, "shadow": dict(self.shadow)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the mean of a checkpoint; the decay stays the one configured."""
        self.updates = state_dict["updates"]
        self.shadow = dict(state_dict["shadow"])


def _trained(module: torch.nn.Module) -> dict[str, Tensor]:
    return {n: p for n, p in module.named_parameters() if p.requires_grad}
