"""A snapshot of what produced a run, when Lightning begins to train."""

from __future__ import annotations

import pytorch_lightning as L

from studio.runs.folder import RunFolder
from studio.runs.snapshot import write_snapshot


class Snapshot(L.Callback):
    """Writes configs/environment.json and configs/code.zip when training starts."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write them once, from the first process."""
        if trainer.is_global_zero:
            write_snapshot(self.run)
