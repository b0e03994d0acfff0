"""What is told of a job: its state, its files, how long it will take; nothing of our disk."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.io import shipped
from studio.io.reading import known_json
from studio.jobs import Record
from studio.server.wording import in_words

FORMATS = "system.exporter.formats"
"""An option that the service itself sets."""
GIVEN = "given.json"
"""Beside job.json: what the visitor called his files."""
SHOWN = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".glb": "model/gltf-binary",
    ".json": "application/json",
    ".ply": "application/octet-stream",
    ".obj": "text/plain; charset=utf-8",
    ".mtl": "text/plain; charset=utf-8",
    ".stl": "model/stl",
    ".3mf": "model/3mf",
    ".usdz": "model/vnd.usdz+zip",
    ".zip": "application/zip",
    ".txt": "text/plain; charset=utf-8",
}
"""Kinds of files that are handed out."""
MOST_FILES = 2000


def files_in(folder: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    """The files of a result that are handed out: name, path and status."""
    count = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root) / name
            if name.startswith(".") or path.suffix not in SHOWN:
                continue
            try:
                status = path.lstat()
            except OSError:  # replaced just now
                continue
            if not stat.S_ISREG(status.st_mode):
                continue
            yield path.relative_to(folder).as_posix(), path, status
            count += 1
            if count >= MOST_FILES:
                return


def report(record: Record, position: int = 0) -> dict[str, Any]:
    """Return what is told of a job.

    Args:
        record: of it.
        position: in the queue, 1 is next; 0: it does not wait.

    Raises:
        StudioError: if its folder is damaged.
    """
    job, state = record.job, record.state
    more = given(record)
    words = Words(record, more.get("names", {}))
    notes = [text for text in more.get("notes", []) if text not in state.warnings]
    return {
        "id": record.folder.name,
        "label": job.label,
        "method": job.config,
        "text": job.text,
        "options": {
            k: v for k, v in job.options.items() if not k.startswith("task.") and k != FORMATS
        },
        "steps": job.steps,
        "seed": job.seed,
        "phase": state.phase.value,
        "stage": state.stage,
        "done": state.done,
        "total": state.total,
        "seconds": round(state.seconds, 1),
        "seconds_left": None,
        "position": position,
        "error": words(state.error),
        "alarms": [words(text) for text in state.alarms],
        "warnings": [words(text) for text in (*notes, *state.warnings)],
        "figures": state.figures,
        "files": [
            {"name": name, "version": str(status.st_mtime_ns), "bytes": status.st_size}
            for name, _, status in files_in(record.result)
        ],
        "created": state.created,
    }


def given(record: Record) -> dict[str, Any]:
    """Return what is known of a job besides its record: names of its files, remarks on them."""
    return known_json(record.folder / GIVEN)


def kind_of(path: Path) -> str:
    """Return the kind of a file that is handed out."""
    return SHOWN.get(path.suffix, "application/octet-stream")


class Words:
    """Messages as a visitor may read them: his files by his names, nothing of the server's disk.

    Neither is there anything of a command line; see `studio.server.wording`.
    """

    def __init__(self, record: Record, names: Mapping[str, str] | None = None) -> None:
        folder = str(record.folder.resolve())
        names = given(record).get("names", {}) if names is None else names
        self._names = {f"{folder}/{inner}": str(name) for inner, name in names.items()}
        self._names |= {f"{record.folder}/{i}": str(name) for i, name in names.items()}
        self._folders = [folder, str(record.folder)]

    def __call__(self, text: str) -> str:
        """Return the message in those words."""
        for path, name in sorted(self._names.items(), key=lambda item: -len(item[0])):
            text = text.replace(f"picture {path}", name).replace(path, name)
        for folder in self._folders:
            text = text.replace(f"{folder}/inputs/", "").replace(f"{folder}/", "")
        return in_words(without_paths(text).replace("log.txt", "the server's log of it"))


def without_paths(text: str) -> str:
    """Return a message without paths of this machine."""
    places = {str(shipped.ROOT), str(Path.cwd()), tempfile.gettempdir(), str(Path.home())}
    for place in sorted(places - {"/"}, key=len, reverse=True):
        text = re.sub(re.escape(place) + r"(?:/[^\s:,;'\"]*)?", "(on the server)", text)
    return text
