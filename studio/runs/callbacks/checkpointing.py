"""The callback that writes checkpoints: whole or absent, at the end and on signals, too."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch

from studio.io.files import atomic_write, remove
from studio.progress import first_process
from studio.runs.folder import RunFolder

LAUNCHER_SECONDS = 1.0
"""A signal that comes so soon after another is no second wish: torchrun hands Ctrl-C on."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """Training stopped after a whole step because a signal asked for it.

    Attributes:
        signal: the signal's number.
        step: the step that the saved checkpoint holds.
    """

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"stopped by signal {number} after step {step}")
        self.signal = number
        self.step = step


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
        self.run = run
        self.every = every
        self.keep = keep
        self.saved_step = -1
        self.fitted = ""
        self._fresh = False
        self._signal, self._signalled = 0, 0.0
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen to signals; a checkpoint that was resumed from need not be written again."""
        self.saved_step = trainer.global_step
        self._fresh = trainer.global_step == 0
        _count_batches_from_here(trainer)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._on_signal)

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
            return self._signal
        mine = torch.tensor(self._signal, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(mine, reduce_op="max"))

    def save(self, trainer: L.Trainer) -> None:
        """Write the state as it is now."""
        step = trainer.global_step
        path = self.run.ckpts / f"step={step:08d}.ckpt"
        trainer.save_checkpoint(path)
        self.saved_step = step
        if not trainer.is_global_zero:
            return
        self._remove_older(path)  # first: a run killed in between saves once more, and removes
        with atomic_write(self.run.last_checkpoint) as temporary:
            _second_name(path, temporary)

    def _remove_older(self, path: Path) -> None:
        """Remove what need not be kept: older than `keep`, or of an earlier run in the folder."""
        stored = sorted(self.run.ckpts.glob("step=*.ckpt"))
        mine = [p for p in stored if p.name <= path.name and not self._fresh]
        for old in set(stored) - set(mine[-self.keep :]) - {path}:
            remove(old)
        self._fresh = False

    def state_dict(self) -> dict[str, Any]:
        """What the weights are fitted to, for the checkpoint."""
        return {"fitted": self.fitted}

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the signals back; one that came while the last step was saved stops here."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
        if number := self._agreed_signal(trainer):
            raise Interrupted(number, trainer.global_step)

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._signal:
            if time.monotonic() - self._signalled < LAUNCHER_SECONDS:
                return
            raise KeyboardInterrupt
        self._signal, self._signalled = number, time.monotonic()
        if first_process():
            print(
                "\nfinishing this step, then saving; press Ctrl-C again to stop at once", flush=True
            )


def _second_name(file: Path, name: Path) -> None:
    """Give a file another name; where the file system has one name a file only, copy it."""
    try:
        name.hardlink_to(file)
    except (OSError, NotImplementedError):
        shutil.copyfile(file, name)


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
