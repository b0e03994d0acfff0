"""The log of a batch: a line of JSON for every item that is over, written as it goes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.io.files import refused, write_bytes
from studio.jobs.items import Item
from studio.jobs.record import Record, State

Row = dict[str, Any]


def row_of(item: Item, record: Record, state: State) -> Row:
    """What the log says of an item that is over."""
    models = sorted(record.result.glob("model.*"))
    main = next((p for p in models if p.suffix == ".glb"), models[0] if models else None)
    return {
        "name": item.name,
        "label": item.job.label,
        "state": str(state.phase),
        "seconds": round(state.seconds, 3),
        "attempts": state.attempt,
        "seed": item.job.seed,
        "config": item.job.config,
        "inputs": item.job.inputs,
        "text": item.job.text,
        "same_as": item.same_as,
        "error": state.error,
        "alarms": state.alarms,
        "warnings": state.warnings,
        "result": "" if main is None else f"{item.name}/result/{main.name}",
        "figures": state.figures,
    }


class ResultsLog:
    """A file that only grows; what a kill cut off, or what is not wanted any more, goes first.

    Args:
        path: of the file.
        wanted: whether a line that is there stays.
    """

    def __init__(self, path: Path, wanted: Callable[[Row], bool]) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        content = path.read_bytes() if path.exists() else b""
        kept = b""
        for line in content.splitlines(keepends=True):
            row = _row(line)
            if row is not None and row["name"] not in self.rows and wanted(row):
                self.rows[row["name"]] = row
                kept += line
        if kept != content:
            write_bytes(path, kept)

    def add(self, row: Row) -> None:
        """Write a line.

        Raises:
            StudioError: if the system refuses.
        """
        line = (json.dumps(row, allow_nan=False) + "\n").encode()
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise refused(error, self.path) from error
        self.rows[row["name"]] = row


def _row(line: bytes) -> Row | None:
    """A whole line of the log; None for what was cut off or is none."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("name"), str) else None
