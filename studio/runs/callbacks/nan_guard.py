"""A guard that stops a run whose numbers are NaN or infinite before they reach the weights."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as L
import torch
from torch import Tensor

from studio.errors import TrainingError


class NanGuard(L.Callback):
    """Stops at the first loss or gradient that is not finite, naming the step and the tensor."""

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        """Look at the loss; the losses that the system logged tell which term it was."""
        if torch.isfinite(loss):
            return
        terms = {k: v for k, v in trainer.callback_metrics.items() if not torch.isfinite(v).all()}
        names = ", ".join(f"{k} = {float(v)}" for k, v in terms.items())
        bad = [n for n, p in pl_module.named_parameters() if not torch.isfinite(p).all()]
        where = f"; first among the weights: {bad[0]}" if bad else ""
        raise self._error(trainer, f"loss = {float(loss.detach())}", names + where)

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any
    ) -> None:
        """Look at the gradients; a loss scaler may let single steps overflow."""
        if trainer.precision == "16-mixed":
            return
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if not gradients or torch.isfinite(torch.stack(torch._foreach_norm(gradients))).all():
            return
        for name, parameter in pl_module.named_parameters():
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
                raise self._error(trainer, f"the gradient of {name} is not finite", "")

    @staticmethod
    def _error(trainer: L.Trainer, what: str, detail: str) -> TrainingError:
        detail = f" ({detail.strip('; ')})" if detail else ""
        return TrainingError(
            f"step {trainer.global_step}: {what}{detail}.",
            hint="resume=last goes on from the last good checkpoint; "
            "lower the learning rate, or use trainer.precision=32-true",
        )
