"""Moves of folders that leave each whole at one of two places whenever the process ends."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import shutil
from collections.abc import Sequence
from pathlib import Path

from studio.errors import DataError
from studio.io.files import make_folder, refused, remove_temporaries, temporary_name


def move_folders(root: Path, target: Path, names: Sequence[str]) -> None:
    """Move folders to another place, also one on another disk; those that went already are left.

    Args:
        root: where they are.
        target: where they go; made if need be.
        names: of folders below the root, as `id` or `shard/id`; shards that become empty go.

    Raises:
        StudioError: if another folder is at a place, or the system refuses to write there.
    """
    for name in names:
        source, place = root / name, target / name
        if source.is_dir():
            _move_one(source, place)
        if "/" in name:
            with contextlib.suppress(OSError):  # there are others, or it went with an earlier one
                source.parent.rmdir()


def _move_one(source: Path, place: Path) -> None:
    if place.exists() and not _part_of(source, place):
        raise DataError(f"{place} exists, so {source} stays where it is.")
    make_folder(place.parent)
    try:
        if place.exists():  # moved to another disk, but for a rest
            shutil.rmtree(source)
        else:
            _move_folder(source, place)
    except OSError as error:
        raise refused(error, place) from error


def _move_folder(source: Path, place: Path) -> None:
    """Move a folder, so that it is whole at its place whenever the process ends."""
    try:
        source.rename(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        remove_temporaries(place.parent)
        copy = temporary_name(place)
        try:
            shutil.copytree(source, copy, symlinks=True)
            copy.rename(place)
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        shutil.rmtree(source)


def _part_of(source: Path, place: Path) -> bool:
    """Whether all files below a folder lie below another one, too, with the same content."""
    files = [p for p in source.rglob("*") if p.is_file()]
    others = [place / p.relative_to(source) for p in files]
    same = (o.is_file() and filecmp.cmp(p, o, False) for p, o in zip(files, others, strict=True))
    return all(same)
