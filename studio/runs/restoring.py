"""What is said where a checkpoint is put back into a system, or cannot be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from studio.errors import WeightsError
from studio.io.reading import reading


def say_restored(path: Path, content: Mapping[str, Any], fitted: object, system: Any) -> None:
    """Say which weights were loaded, and whether they were fitted to something else.

    Args:
        path: of the checkpoint.
        content: of it.
        fitted: hash of what they are fitted to, as the checkpoint says; none says nothing.
        system: that has them now.
    """
    print(f"weights: {path} (step {content.get('global_step', '?')})")
    if fitted and fitted != system.train_key():
        print("  they were fitted to other views, or with other options or code than these")


def state_refused(path: Path) -> AbstractContextManager[None]:
    """Turn what is raised over the content of a whole checkpoint into a `WeightsError`."""
    return reading(
        path,
        problem="holds a state that this program did not write, or of another config",
        error=WeightsError,
        hint="Use a checkpoint of this config's own run folder, or start without it.",
    )


@contextlib.contextmanager
def weights_errors(path: Path | None) -> Iterator[None]:
    """Turn torch's report of keys that do not fit into a `WeightsError`."""
    try:
        yield
    except RuntimeError as error:
        if "Error(s) in loading state_dict" not in str(error):
            raise
        lines = [line.strip()[:200] for line in str(error).splitlines()[1:6]]
        raise does_not_fit(path, lines) from error


def does_not_fit(path: Path | None, lines: Sequence[str]) -> WeightsError:
    """What is said of a checkpoint of another model, with what they differ in."""
    return WeightsError(
        f"{path} does not fit this config's model.",
        hint="\n  ".join(["use the config in its run folder's configs/", *lines]),
    )
