"""How far a stage is: a bar on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import pytorch_lightning as L

LINE_SECONDS = 15.0
"""Seconds between two lines where there is no terminal."""
BAR_SECONDS = 0.2
"""Seconds between two updates of the bar."""


class StageProgress:
    """Shows one stage: `with StageProgress("views", 25) as show: show(done, total)`.

    It can be handed to `Guidance.generate(progress=...)` as it is.

    Args:
        label: name of the stage.
        total: number of steps.
        done: steps already done before (a resumed run).
        unit: what is counted: "" for steps, "s" for the seconds of a time budget.
    """

    def __init__(self, label: str, total: int, done: int = 0, unit: str = "") -> None:
        self.label = label
        self.total = total
        self.done = done
        self.unit = unit
        self.line_seconds = LINE_SECONDS
        self._bar: Any = None
        self._task: Any = None
        self._shown = 0.0
        self._marks: deque[tuple[float, int]] = deque(maxlen=64)

    def __enter__(self) -> Self:
        self._shown = time.monotonic()
        self._marks.append((self._shown, self.done))
        if sys.stdout.isatty():
            self._open_bar()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, done: int, total: int, values: Mapping[str, Any] | None = None) -> None:
        """Note that `done` of `total` steps are done; `values` are shown beside them."""
        self.done, self.total = done, total
        now = time.monotonic()
        last = done >= total
        wait = BAR_SECONDS if self._bar is not None else self.line_seconds
        if now - self._shown < wait and not last:
            return
        self._shown = now
        self._marks.append((now, done))
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, note=self._note(values))
        else:
            unit = f" {self.unit}" if self.unit else ""
            print(f"{self.label}: {done}/{total}{unit}  {self._note(values)}", flush=True)

    def rate(self) -> float:
        """Steps a second, over the last few updates."""
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        return (last - first) / (end - start) if end > start else 0.0

    def _note(self, values: Mapping[str, Any] | None) -> str:
        shown = [f"{k.removeprefix('train/')} {float(v):.4g}" for k, v in (values or {}).items()]
        if self.unit == "s":
            return "  ".join([*shown, f"{clock(self.total - self.done)} left"])
        rate = self.rate()
        left = f"{clock((self.total - self.done) / rate)} left" if rate > 0 else ""
        speed = f"{rate:.2f} steps/s" if rate >= 0.1 or rate == 0 else f"{1 / rate:.1f} s/step"
        return "  ".join([*shown, speed, left]).rstrip()

    def _open_bar(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn(self.unit),
            TextColumn("{task.fields[note]}"),
            refresh_per_second=5,
        )
        self._bar.start()
        self._task = self._bar.add_task(self.label, total=self.total, completed=self.done, note="")


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    whole = round(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class TrainingProgress(L.Callback):
    """Shows training: step, the losses of the progress bar, rate and time left.

    A system with a `time_budget` (seconds used, seconds in all) is measured by that.
    """

    def __init__(self, label: str = "train") -> None:
        self.label = label
        self._stage: StageProgress | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the bar."""
        if trainer.is_global_zero:
            unit = "s" if _time_budget(pl_module) else ""
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

    @staticmethod
    def _place(trainer: L.Trainer, pl_module: L.LightningModule) -> tuple[int, int]:
        """How much is done of how much: seconds under a time budget, otherwise steps."""
        budget = _time_budget(pl_module)
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


def _time_budget(system: Any) -> tuple[float, float] | None:
    budget: tuple[float, float] | None = getattr(system, "time_budget", None)
    return budget
