"""Paths that a user gives: there, readable, or a message that says what is wrong."""

from __future__ import annotations

import difflib
from pathlib import Path

from studio.errors import DataError
from studio.io.reading import reading, shown


def existing(root: Path) -> Path:
    """Return the folder or file.

    Raises:
        DataError: if there is none; names a near one.
    """
    with reading(root, raised=OSError):
        if "\0" not in str(root) and root.exists():
            return root
        siblings = [p.name for p in root.parent.iterdir()] if root.parent.is_dir() else []
    near = difflib.get_close_matches(root.name, siblings, n=1, cutoff=0.6)
    raise DataError(
        f"{'file' if root.suffix else 'folder'} {shown(root)} does not exist.",
        hint=f"did you mean {root.parent / near[0]}?" if near else None,
    )
