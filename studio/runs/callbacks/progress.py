"""Progress of training, from Lightning's hooks."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as L

from studio.runs.folder import RunFolder
from studio.runs.shown import ShownTraining


class TrainingProgress(L.Callback):
    """Shows training: step, the losses of the progress bar, rate and time left.

    Args:
        run: the run folder; None: no notes.
    """

    def __init__(self, run: RunFolder | None = None) -> None:
        self.shown = ShownTraining(run)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Open the bar, once the system has made its preparations.

        Training that is resumed within an epoch begins with a batch, not with an epoch.
        """
        if trainer.is_global_zero:
            self.shown.open(trainer.global_step, int(trainer.max_steps))

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move it."""
        step, steps = trainer.global_step, int(trainer.max_steps)
        self.shown.tell(step, steps, step, steps, dict(trainer.progress_bar_metrics))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close it."""
        self.shown.close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Close it before the message is printed."""
        self.shown.close()
