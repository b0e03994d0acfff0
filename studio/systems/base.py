"""The contract of systems that Lightning trains: they read data, train, measure and export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from studio.systems.contract import BaseSystem

if TYPE_CHECKING:
    from studio.runs.folder import RunFolder


class System(BaseSystem, pl.LightningModule):
    """Base of the systems that Lightning trains, by its hooks; see `BaseSystem`."""

    def __init__(self, cfg: Any, *, run: RunFolder | None = None) -> None:
        pl.LightningModule.__init__(self)
        self.take(cfg, run)

    def callbacks(self) -> list[Any]:
        """Return the Lightning callbacks this system needs beside the usual ones."""
        return []
