"""Folders that appear whole: a reader finds the old or the new one, whenever the writer died."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from studio.io.files import (
    make_folder,
    refused,
    remove_temporaries,
    temporary_name,
    with_usual_permissions,
)

_AS_GIVEN = -100  # AT_FDCWD: relative paths start from the working folder
_EXCHANGE = 2  # RENAME_EXCHANGE of linux/fs.h, RENAME_SWAP of macOS' stdio.h


@contextlib.contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder` that takes its place in one step when the block succeeds.

    What a killed process left of an earlier attempt is removed first: its half folder, or the old
    folder after the exchange.

    Raises:
        StudioError: when the system refuses.
    """
    folder = Path(os.path.realpath(folder))  # a link to a folder stays
    make_folder(folder.parent)
    recover(folder)
    remove_temporaries(folder.parent)
    temporary = make_folder(temporary_name(folder))
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file() and not path.is_symlink():
                with_usual_permissions(path)
        try:
            _take_place(temporary, folder)
        except OSError as error:
            raise refused(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_place(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`; what was there before, if anything, is called `new` afterwards."""
    try:
        new.rename(folder)  # where there is nothing, or an empty folder
    except OSError:
        if not folder.is_dir():
            raise
        if not exchange(new, folder):
            aside = _aside(folder)
            folder.rename(aside)  # dying here leaves the old folder to `recover`
            new.rename(folder)
            aside.rename(new)


def exchange(one: Path, other: Path) -> bool:
    """Let two paths change names in one step; False where the system cannot."""
    if sys.platform not in ("linux", "darwin"):
        return False
    libc = ctypes.CDLL(None)
    paths, flag = (os.fsencode(one), os.fsencode(other)), ctypes.c_uint(_EXCHANGE)
    if hasattr(libc, "renameat2"):
        return bool(libc.renameat2(_AS_GIVEN, paths[0], _AS_GIVEN, paths[1], flag) == 0)
    return hasattr(libc, "renamex_np") and libc.renamex_np(*paths, flag) == 0


def recover(folder: Path) -> None:
    """Put an old folder back that was renamed for a new one which never came.

    Only where the system cannot exchange names, and a kill came between two renames.
    """
    aside = _aside(folder)
    if not aside.is_dir():
        return
    if folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            aside.rename(folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.aside")
