"""What is told of a checkpoint file without torch: whether it is cut short; what else is good."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path

from studio.errors import WeightsError
from studio.io.reading import reading
from studio.io.weight_files import begins_pickled, is_archive


def check_end(path: Path) -> None:
    """Refuse a checkpoint that is cut short or of another kind, by its beginning and its end.

    Raises:
        WeightsError: naming the previous good one beside it, if there is one.
    """
    if not archive_at(path) and not begins_pickled(path):
        raise damaged(path)


def damaged(path: Path) -> WeightsError:
    """The message that a checkpoint is damaged; it names the previous good one beside it."""
    good = previous_good(path)
    return WeightsError(
        f"{path} is damaged or cut short: {path.stat().st_size} bytes that torch cannot read.",
        hint=f"the last good checkpoint is {good}: resume={good}"
        if good
        else f"there is no other good checkpoint in {path.parent}: give another file, or none",
    )


def archive_at(path: Path) -> bool:
    """Whether a file is an archive whose directory is whole."""
    try:
        return is_archive(path)
    except WeightsError:
        return False


def previous_good(path: Path) -> Path | None:
    """The newest other checkpoint beside `path` whose every byte is as it was written."""
    others = [p for p in path.parent.glob("*.ckpt") if p != path and archive_at(p)]
    newest = sorted(others, key=lambda p: p.stat().st_mtime, reverse=True)
    return next((other for other in newest if is_whole(other)), None)


def is_whole(path: Path) -> bool:
    """Whether every byte of an archive is as it was written."""
    with contextlib.suppress(WeightsError), reading(path, error=WeightsError):
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    return False
