"""The checkpoints of a run folder: `step=N.ckpt`, the newest also named `last.ckpt`."""

from __future__ import annotations

import shutil
from pathlib import Path

from studio.io.files import atomic_write, remove
from studio.runs.folder import RunFolder


class StoredCheckpoints:
    """Says where checkpoints go, and removes those that need not be kept.

    Args:
        run: the run folder.
        keep: how many `step=N.ckpt` stay.
    """

    def __init__(self, run: RunFolder, keep: int) -> None:
        self.run, self.keep = run, keep
        self.fresh = True
        """Whether this run has begun at step 0, so that what lies there is an earlier run's."""

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is written."""
        return self.run.ckpts / f"step={step:08d}.ckpt"

    def written(self, step: int) -> None:
        """Note that the checkpoint of a step is there, whole."""
        path = self.path(step)
        self._remove_older(path)  # first: a run killed in between saves once more, and removes
        with atomic_write(self.run.last_checkpoint) as temporary:
            _second_name(path, temporary)

    def _remove_older(self, path: Path) -> None:
        stored = sorted(self.run.ckpts.glob("step=*.ckpt"))
        mine = [p for p in stored if p.name <= path.name and not self.fresh]
        for old in set(stored) - set(mine[-self.keep :]) - {path}:
            remove(old)
        self.fresh = False


def _second_name(file: Path, name: Path) -> None:
    """Give a file another name; where the file system has one name a file only, copy it."""
    try:
        name.hardlink_to(file)
    except (OSError, NotImplementedError):
        shutil.copyfile(file, name)
