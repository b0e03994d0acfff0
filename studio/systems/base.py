"""The contract of systems: Lightning modules that read data, train, measure and export."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytorch_lightning as pl

from studio.data.base import Data
from studio.errors import ConfigError
from studio.plugins.discovery import heirs

if TYPE_CHECKING:
    from studio.runs.folder import RunFolder


class System(pl.LightningModule):
    """Base of all systems; registered as ``("system", name)`` and built by the command line.

    Attributes:
        cfg: the system's options, an instance of its ``Config``.
        run: the run folder, or None where nothing is written (tests, notebooks).
        summary: what a person should know about the result; lines for the end of `export`.
        alarms: what contradicts the result, one sentence or two each.
        warnings: what went wrong on the way there, one sentence or two each.
    """

    Config: ClassVar[type]
    reads: ClassVar[type[Data]] = Data
    """What kind of data it reads; `check` and `prepare` are given no other."""
    precisions: ClassVar[tuple[str, ...]] = ("32-true", "bf16-mixed", "16-mixed")
    """Values of `trainer.precision` in which it computes."""
    run: RunFolder

    def __init__(self, cfg: Any, *, run: RunFolder | None = None) -> None:
        super().__init__()
        self.cfg = cfg
        self.summary: list[str] = []
        self.alarms: list[str] = []
        self.warnings: list[str] = []
        self.run = run  # type: ignore[assignment]  # what writes is not called without one

    def check(self, data: Any) -> None:
        """Refuse what cannot work (a missing picture, unfit weights) before anything is written."""

    @abstractmethod
    def prepare(self, data: Any) -> None:
        """Read what is to be learned from a data plugin; called once, before training starts."""

    def check_export(self) -> None:
        """Refuse, before hours of training, what `export` could not do."""

    @abstractmethod
    def export(self) -> Path:
        """Write the results of training and return the main file or folder."""

    def train_key(self) -> str | None:
        """Return a hash of all that training depends on; known after `prepare`.

        A fixed run folder that holds a finished training of the same key is not trained again.
        """
        return None

    @property
    def time_budget(self) -> tuple[float, float] | None:
        """Seconds used and seconds in all, where they and not steps end the training."""
        return None

    def validation_pictures(self) -> dict[str, Any]:
        """What it makes of unseen inputs, for the previews; empty: there are no previews.

        Returns:
            "pictures" [N,3,H,W] in [0, 1], "columns" of the sheet, and numbers to log.
        """
        return {}

    def callbacks(self) -> list[Any]:
        """Return the Lightning callbacks this system needs beside the usual ones."""
        return []


def check_data(system_type: str, system: type[System], data_type: str, data: type[Data]) -> None:
    """Refuse a data plugin that a system cannot read.

    Raises:
        ConfigError: naming those that it reads.
    """
    if not issubclass(data, system.reads):
        raise ConfigError(
            f"system_type '{system_type}' cannot read data_type '{data_type}'.",
            allowed=f"data_type: {', '.join(heirs('data', system.reads))}",
        )
