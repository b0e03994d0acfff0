"""Paths that a user gives: there, readable, or a message that says what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.errors import DataError


@contextmanager
def readable(root: Path) -> Iterator[None]:
    """Turn what the system says while a capture is read into a message.

    Raises:
        DataError: for a file or folder that may not be read.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or root} cannot be read: {(error.strerror or str(error)).lower()}.",
            hint="Check who may read the folder and its files."
            if isinstance(error, PermissionError)
            else None,
        ) from error


def existing(root: Path) -> Path:
    """Return the folder or file.

    Raises:
        DataError: if there is none; names a near one.
    """
    with readable(root):
        if "\0" not in str(root) and root.exists():
            return root
        siblings = [p.name for p in root.parent.iterdir()] if root.parent.is_dir() else []
    near = difflib.get_close_matches(root.name, siblings, n=1, cutoff=0.6)
    raise DataError(
        f"folder {root} does not exist.",
        hint=f"did you mean {root.parent / near[0]}?" if near else None,
    )
