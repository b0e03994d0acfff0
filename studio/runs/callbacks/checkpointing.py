"""The callback that writes checkpoints: whole or absent, at the end and on signals, too."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as L
import torch

from studio.runs.folder import RunFolder
from studio.runs.signals import Interrupted, StopSignals
from studio.runs.stored import StoredCheckpoints


class Checkpointing(L.callbacks.Checkpoint):
    """Saves `ckpts/step=N.ckpt`, also named `ckpts/last.ckpt`, every few steps and at the end.

    Ctrl-C or a termination signal lets the step finish, saves, and stops with `Interrupted`; a
    second one stops at once. Of several processes all stop after the same step, whichever of them
    got the signal.

    Args:
        run: the run folder.
        every: steps between two checkpoints; 0 saves at the end only.
        keep: how many `step=N.ckpt` stay.

    Attributes:
        fitted: hash of what the weights are fitted to, where the system knows it.
    """

    def __init__(self, run: RunFolder, every: int, keep: int) -> None:
        self.every = every
        self.stored = StoredCheckpoints(run, keep)
        self.signals = StopSignals()
        self.saved_step = -1
        self.fitted = ""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen to signals; a checkpoint that was resumed from need not be written again."""
        self.saved_step = trainer.global_step
        self.stored.fresh = trainer.global_step == 0
        _count_batches_from_here(trainer)
        self.signals.listen()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save when it is time, and stop if a signal came during the step."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # gradients that wait for the rest of the step are in no checkpoint
        step, number = trainer.global_step, self._agreed_signal(trainer)
        if step == self.saved_step and not number:
            return
        due = bool(self.every) and step % self.every == 0
        if due or number or step >= trainer.max_steps:
            self.save(trainer)
        if number:
            raise Interrupted(number, step)

    def _agreed_signal(self, trainer: L.Trainer) -> int:
        """The signal that any of the processes has got, 0 for none."""
        if trainer.world_size == 1:
            return self.signals.number
        mine = torch.tensor(self.signals.number, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(mine, reduce_op="max"))

    def save(self, trainer: L.Trainer) -> None:
        """Write the state as it is now."""
        step = trainer.global_step
        trainer.save_checkpoint(self.stored.path(step))
        self.saved_step = step
        if trainer.is_global_zero:
            self.stored.written(step)

    def state_dict(self) -> dict[str, Any]:
        """What the weights are fitted to, for the checkpoint."""
        return {"fitted": self.fitted}

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the signals back; one that came while the last step was saved stops here."""
        self.signals.give_back()
        if number := self._agreed_signal(trainer):
            raise Interrupted(number, trainer.global_step)


def _count_batches_from_here(trainer: L.Trainer) -> None:
    """Let the first batch after a resume be the first of a step.

    Lightning ends a step at batches whose number divides by accumulate_grad_batches, which may have
    been another number before. Our data go on by step, and so must the count of batches.
    """
    progress = trainer.fit_loop.epoch_loop.batch_progress
    total: Any = progress.total
    open_batches = total.processed - total.completed  # counted when it restarts
    progress.current.reset()
    progress.current.completed = -open_batches
