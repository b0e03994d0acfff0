"""COLMAP runs on plain photos: the program or `pycolmap`, with progress, once for each folder.

Both work in a process of their own, whose output goes to a log file; how far they are is read from
the database that they fill.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from studio.errors import DataError
from studio.io.files import make_folder, write_json
from studio.io.picture_files import picture_size
from studio.io.reading import known_json

logger = logging.getLogger(__name__)

STAMP = "photos.json"
MOST_PAIRED = 200  # photos up to which every one is matched with every other
INTERVAL_S = 5.0  # between two lines of progress


def find_colmap(given: str) -> str | None:
    """Return "pycolmap", the path of the program, or None where there is neither.

    Args:
        given: auto, pycolmap, or the program's name or path.

    Raises:
        DataError: if what was asked for is not there.
    """
    python = importlib.util.find_spec("pycolmap") is not None
    if given == "auto":
        return "pycolmap" if python else shutil.which("colmap")
    found = ("pycolmap" if python else None) if given == "pycolmap" else shutil.which(given)
    if found is None:
        raise DataError(
            f"data.colmap is {given!r}, which is not there.",
            allowed="auto, pycolmap (pip install pycolmap) or the path of the program colmap",
        )
    return found


def is_done(workspace: Path, photos: Sequence[Path]) -> bool:
    """Whether COLMAP has already found the cameras of just these photos, unchanged since."""
    return known_json(workspace / STAMP) == _stamp(photos)


def run_colmap(program: str, folder: Path, photos: Sequence[Path], workspace: Path) -> None:
    """Find the cameras of photos; models appear as `sparse/0`, `sparse/1` ... in the workspace.

    Args:
        program: what `find_colmap` returned.
        folder: that holds the photos.
        photos: its picture files.
        workspace: COLMAP's own folder; what an earlier run left there is removed.

    Raises:
        DataError: if COLMAP stops with an error or finds no cameras.
    """
    for old in ("sparse", "dense"):
        shutil.rmtree(workspace / old, ignore_errors=True)
    for name in (STAMP, "database.db", "database.db-wal", "database.db-shm"):
        (workspace / name).unlink(missing_ok=True)
    make_folder(workspace / "sparse")
    logger.info("%s: COLMAP finds the cameras of %d photos (%s)", folder, len(photos), program)
    start, log = time.monotonic(), workspace / "colmap.log"
    with log.open("wb") as output, _started(program, folder, photos, workspace, output) as process:
        try:
            _watch(process, workspace, log, len(photos))
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise DataError(
            f"COLMAP stopped with exit code {process.returncode}: {_last_words(log)}",
            hint=f"All that it said is in {log}.",
        )
    if not any((workspace / "sparse").glob("*/images.*")):
        raise DataError(
            f"{folder}: COLMAP could not tell where the {len(photos)} photos were taken.",
            allowed="30 or more sharp photos from all around, each overlapping the next by two "
            "thirds, of a thing with texture or on a ground with texture",
            hint=f"What it tried is in {log}.",
        )
    write_json(workspace / STAMP, _stamp(photos))
    logger.info("%s: COLMAP took %.0f s", folder, time.monotonic() - start)


def commands(folder: Path) -> str:
    """Return the commands that do the same elsewhere, whose result lies beside the photos."""
    target = folder / "colmap"
    return (
        f"mkdir -p {target}\n  colmap automatic_reconstructor --workspace_path {target} "
        f"--image_path {folder} --data_type individual --single_camera 1 --dense 0"
    )


def _stamp(photos: Sequence[Path]) -> dict[str, Any]:
    status = {path.name: path.stat() for path in photos}
    return {"photos": [[name, s.st_size, s.st_mtime_ns] for name, s in status.items()]}


def _started(
    program: str, folder: Path, photos: Sequence[Path], workspace: Path, output: Any
) -> subprocess.Popen[bytes]:
    single = len({picture_size(path, upright=False) for path in photos}) == 1
    if program == "pycolmap":
        pairs = "exhaustive" if len(photos) <= MOST_PAIRED else "sequential"
        words = [
            sys.executable,
            "-m",
            "studio.data.layouts.colmap_script",
            str(folder),
            str(workspace),
        ]
        words += [str(int(single)), pairs, *(path.name for path in photos)]
    else:
        about = subprocess.run([program, "help"], capture_output=True, text=True, errors="replace")
        words = [program, "automatic_reconstructor", "--workspace_path", str(workspace)]
        words += ["--image_path", str(folder), "--data_type", "individual", "--quality", "medium"]
        words += ["--single_camera", str(int(single)), "--dense", "0"]
        words += ["--use_gpu", "1" if "with CUDA" in about.stdout else "0"]
    return subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT)


def _watch(process: subprocess.Popen[bytes], workspace: Path, log: Path, count: int) -> None:
    said, last = "", 0.0
    while process.poll() is None:
        time.sleep(0.2)
        if time.monotonic() - last < INTERVAL_S:
            continue
        last = time.monotonic()
        if (now := _progress(workspace, log, count)) != said:
            said = now
            logger.info("  %s", said)


def _progress(workspace: Path, log: Path, count: int) -> str:
    registered = len(re.findall(r"Registering (?:image|frame)|registered \d", _read(log)))
    features, pairs = _counts(workspace / "database.db")
    if registered:
        return f"cameras: {min(registered + 1, count)} of {count} photos"
    if pairs:
        return f"matches: {pairs} pairs of photos"
    return f"features: {features} of {count} photos"


def _counts(database: Path) -> tuple[int, int]:
    """How many photos have features, and how many pairs were compared."""
    if not database.is_file():
        return 0, 0
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=1)) as opened:
            tables = ("keypoints", "two_view_geometries")
            features, pairs = (
                opened.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables
            )
            return features, pairs
    except sqlite3.Error:  # not yet made, or locked
        return 0, 0


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in _read(log).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing."
