"""What a system is: a Lightning module that reads data, trains, measures itself and exports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytorch_lightning as pl

if TYPE_CHECKING:
    from studio.runs.folder import RunFolder


class System(pl.LightningModule):
    """Base of all systems; registered as ``("system", name)`` and built by the command line.

    Attributes:
        cfg: the system's options, an instance of its ``Config``.
        run: the run folder, or None where nothing is written (tests, notebooks).
        summary: what a person should know about the result; lines for the end of `export`.
        warnings: what went wrong on the way there, one sentence or two each.
    """

    Config: ClassVar[type]
    precisions: ClassVar[tuple[str, ...]] = ("32-true", "bf16-mixed", "16-mixed")
    """Values of `trainer.precision` in which it computes."""
    run: RunFolder

    def __init__(self, cfg: Any, *, run: RunFolder | None = None) -> None:
        super().__init__()
        self.cfg = cfg
        self.summary: list[str] = []
        self.warnings: list[str] = []
        self.run = run  # type: ignore[assignment]  # what writes is not called without one

    def check(self, data: Any) -> None:
        """Refuse what cannot work (a missing picture, unfit weights) before anything is written."""

    def prepare(self, data: Any) -> None:
        """Read what is to be learned from a data plugin; called once, before training starts."""
        raise NotImplementedError(f"{type(self).__name__} reads no data")

    def check_export(self) -> None:
        """Refuse, before hours of training, what `export` could not do."""

    def export(self) -> Path:
        """Write the results of training and return the main file or folder."""
        raise NotImplementedError(f"{type(self).__name__} exports nothing")

    def train_key(self) -> str | None:
        """Return a hash of all that training depends on; known after `prepare`.

        A fixed run folder that holds a finished training of the same key is not trained again.
        """
        return None

    def callbacks(self) -> list[Any]:
        """Return the Lightning callbacks this system needs beside the usual ones."""
        return []
