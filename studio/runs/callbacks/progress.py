"""Progress of training, from Lightning's hooks."""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any

import pytorch_lightning as L

from studio.errors import StudioError
from studio.io.files import write_json
from studio.progress import StageProgress
from studio.runs.folder import RunFolder

NOTE_SECONDS = 2.0
"""Between two notes in the run folder."""


class TrainingProgress(L.Callback):
    """Shows training: step, the losses of the progress bar, rate and time left.

    A system with a `time_budget` (seconds used, seconds in all) is measured by that. Now and then
    the run folder's logs/progress.json gets {"step", "steps", "loss"}, for whoever looks on.

    Args:
        run: the run folder; None: no notes.
        label: of the bar.
    """

    def __init__(self, run: RunFolder | None = None, label: str = "train") -> None:
        self.run = run
        self.label = label
        self._noted = 0.0
        self._stage: StageProgress | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Open the bar, once the system has made its preparations.

        Training that is resumed within an epoch begins with a batch, not with an epoch.
        """
        if trainer.is_global_zero and self._stage is None:
            unit = "s" if _time_budget(trainer, pl_module) else ""
            done, total = self._place(trainer, pl_module)
            self._stage = StageProgress(self.label, total, done, unit).__enter__()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move it."""
        if self._stage is not None:
            values: dict[str, Any] = dict(trainer.progress_bar_metrics)
            if self._stage.unit == "s":
                values = {"step": trainer.global_step, **values}
            self._stage(*self._place(trainer, pl_module), values)
            self._note(trainer, values)

    def _note(self, trainer: L.Trainer, values: dict[str, Any]) -> None:
        """Write down how far it is, at the end and every few seconds; where that fails, not."""
        step, steps = trainer.global_step, max(0, int(trainer.max_steps))
        if self.run is None or (time.monotonic() - self._noted < NOTE_SECONDS and step != steps):
            return
        self._noted = time.monotonic()
        loss = values.get("train/loss", values.get("loss"))
        content = {"step": step, "steps": steps, "loss": None if loss is None else float(loss)}
        with contextlib.suppress(StudioError):
            write_json(self.run.logs / "progress.json", content)

    @staticmethod
    def _place(trainer: L.Trainer, pl_module: L.LightningModule) -> tuple[int, int]:
        """How much is done of how much: seconds under a time budget, otherwise steps."""
        budget = _time_budget(trainer, pl_module)
        if budget is None:
            return trainer.global_step, int(trainer.max_steps)
        used, whole = budget
        return min(int(used), math.ceil(whole)), math.ceil(whole)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close it."""
        self._close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Close it before the message is printed."""
        self._close()

    def _close(self) -> None:
        if self._stage is not None:
            self._stage.__exit__(None, None, None)
            self._stage = None


def _time_budget(trainer: L.Trainer, system: Any) -> tuple[float, float] | None:
    """Seconds used and seconds in all, where they decide and not a number of steps."""
    if trainer.max_steps > 0:
        return None
    budget: tuple[float, float] | None = system.time_budget
    return budget
