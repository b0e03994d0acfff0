"""Training as it is shown, and noted for whoever looks on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from studio.errors import StudioError
from studio.io.files import write_json
from studio.progress import StageProgress
from studio.runs.folder import RunFolder

NOTE_SECONDS = 2.0
"""Between two notes in the run folder."""


class ShownTraining:
    """Shows step, losses, rate and time left; logs/progress.json gets {"step", "steps", "loss"}.

    Args:
        run: the run folder; None: no notes.
        label: of the bar.
    """

    def __init__(self, run: RunFolder | None = None, label: str = "train") -> None:
        self.run, self.label = run, label
        self._noted = 0.0
        self._stage: StageProgress | None = None

    def open(self, done: int, total: int, unit: str = "") -> None:
        """Begin, unless it has begun.

        Args:
            done: steps, or seconds of a time budget.
            total: of them.
            unit: s for seconds.
        """
        if self._stage is None:
            self._stage = StageProgress(self.label, total, done, unit).__enter__()

    def tell(self, done: int, total: int, step: int, steps: int, values: Mapping[str, Any]) -> None:
        """Tell how far it is.

        Args:
            done: as in `open`.
            total: likewise.
            step: that was made last.
            steps: in all; 0: open.
            values: losses, by name.
        """
        if self._stage is None:
            return
        if self._stage.unit == "s":
            values = {"step": step, **values}
        self._stage(done, total, values)
        if self.run is None or (time.monotonic() - self._noted < NOTE_SECONDS and step != steps):
            return
        self._noted = time.monotonic()
        loss = values.get("train/loss", values.get("loss"))
        content = {"step": step, "steps": steps, "loss": None if loss is None else float(loss)}
        with contextlib.suppress(StudioError):
            write_json(self.run.logs / "progress.json", content)

    def close(self) -> None:
        """End it; before a message is printed."""
        if self._stage is not None:
            self._stage.__exit__(None, None, None)
            self._stage = None
