"""The contract of all systems: what happens between data and result."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from studio.data.base import Data
from studio.errors import ConfigError
from studio.plugins.discovery import heirs

if TYPE_CHECKING:
    from studio.runs.folder import RunFolder


class BaseSystem:
    """Base of all systems; registered as ``("system", name)``.

    `studio.systems.scene.SceneSystem` fits a scene model, `studio.systems.base.System` is trained
    by Lightning.

    Attributes:
        cfg: the system's options, an instance of its ``Config``.
        run: the run folder, or None where nothing is written (tests, notebooks).
        experiment_seed: `seed` of the experiment.
        summary: what a person should know about the result; lines for the end of `export`.
        alarms: what contradicts the result, one sentence or two each.
        warnings: what went wrong on the way there, one sentence or two each.
    """

    Config: ClassVar[type]
    reads: ClassVar[type[Data]] = Data
    """What kind of data it reads; `check` and `prepare` are given no other."""
    precisions: ClassVar[tuple[str, ...]] = ("32-true", "bf16-mixed", "16-mixed")
    """Values of `trainer.precision` in which it computes."""
    one_process: ClassVar[bool] = False
    """Whether it works in one process on one device only."""
    run: RunFolder

    def take(self, cfg: Any, run: RunFolder | None) -> None:
        """Take options and run folder; called by the constructors."""
        self.cfg = cfg
        self.experiment_seed = 0
        self.summary: list[str] = []
        self.alarms: list[str] = []
        self.warnings: list[str] = []
        self.run = run  # type: ignore[assignment]  # what writes is not called without one

    @property
    def seed(self) -> int:
        """Of all noise: the option `seed`, or the experiment's where that is null."""
        own = getattr(self.cfg, "seed", None)
        return self.experiment_seed if own is None else int(own)

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

    def validation_pictures(self) -> dict[str, Any]:
        """What it makes of unseen inputs, for the previews; empty: there are no previews.

        Returns:
            "pictures" [N,3,H,W] in [0, 1], "columns" of the sheet, and numbers to log.
        """
        return {}


def check_data(
    system_type: str, system: type[BaseSystem], data_type: str, data: type[Data]
) -> None:
    """Refuse a data plugin that a system cannot read.

    Raises:
        ConfigError: naming those that it reads.
    """
    if not issubclass(data, system.reads):
        raise ConfigError(
            f"system_type '{system_type}' cannot read data_type '{data_type}'.",
            allowed=f"data_type: {', '.join(heirs('data', system.reads))}",
        )
