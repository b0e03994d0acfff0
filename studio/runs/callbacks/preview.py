"""Previews while Lightning trains, every few steps."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as L

from studio.runs.callbacks.ema import EMA
from studio.runs.folder import RunFolder
from studio.runs.previews import write_preview


class Preview(L.Callback):
    """Writes `save/step=N.png` from the system's `validation_pictures`, using the mean weights.

    Args:
        run: the run folder.
        every: steps between two previews.
    """

    def __init__(self, run: RunFolder, every: int) -> None:
        self.run = run
        self.every = every
        self._made = -1

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Make the pictures when it is time."""
        step = trainer.global_step
        due = step % self.every == 0 or step >= trainer.max_steps
        if due and step != self._made and trainer.is_global_zero:
            self._made = step
            self.make(trainer, pl_module)

    def make(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the pictures and log the numbers that come with them."""
        ema = next((c for c in trainer.callbacks if isinstance(c, EMA)), EMA(0.0))  # type: ignore[attr-defined]
        step = trainer.global_step
        write_preview(self.run, pl_module, step, ema.applied(pl_module), trainer.loggers)
