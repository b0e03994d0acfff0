"""Folders of visitors and jobs: what they are called, which there are, which are to go."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from studio.errors import StudioError
from studio.jobs import Record
from studio.server.settings import ServerConfig

ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{12}")
"""Name of a job: when it came, and what nobody can guess."""
VISITOR = re.compile(r"[0-9a-f]{32}")
GONE = "gone"
"""File in the folder of a job that is to be removed as soon as it has stopped."""
DRAFT_SECONDS = 3600
"""After which a folder that never became a job is removed."""


def new_name() -> str:
    """Return a name for a new job."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(6)}"


def visitors_in(folder: Path) -> list[Path]:
    """Return the folders of all visitors."""
    return [path for path in folder.iterdir() if VISITOR.fullmatch(path.name)]


def records_in(place: Path) -> Iterator[Record]:
    """The jobs of one visitor, in no order, without those that are to be removed."""
    for path in place.iterdir() if place.is_dir() else ():
        record = Record(path)
        if ID.fullmatch(path.name) and record.exists() and not (path / GONE).exists():
            yield record


def to_go(place: Path, kept: Collection[str], config: ServerConfig) -> Iterator[Path]:
    """Which folders of a visitor's jobs are to be removed.

    Args:
        place: the visitor's folder.
        kept: names of jobs that are not over.
        config: how many finished ones are kept, and for how long.
    """
    now, over = time.time(), []
    if not place.is_dir():
        return
    for path in sorted(p for p in place.iterdir() if ID.fullmatch(p.name)):
        record = Record(path)
        try:
            state = record.state if record.exists() else None
        except StudioError:  # damaged: nobody can use it
            yield path
            continue
        if state is None:
            if now - path.stat().st_mtime > DRAFT_SECONDS:
                yield path
        elif path.name not in kept:
            old = state.over and now - state.ended > config.days * 86400
            if (path / GONE).exists() or old:
                yield path
            else:
                over.append(path)
    yield from over[: max(0, len(over) - config.keep)]


def linked(source: str, target: str) -> str:
    """Give a file that is never written again a second name, or copy it where that is refused."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
