"""The log of a run: logs/metrics.csv, a row for every step that is logged."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from studio.io.files import write_text


def kept_log(folder: Path) -> Path:
    """Return where a new log goes; that of an earlier run gets another name."""
    current = folder / "metrics.csv"
    if current.is_file():
        earlier = len(list(folder.glob("metrics-*.csv")))
        current.replace(folder / f"metrics-{earlier + 1}.csv")
    return current


class CsvLog:
    """Collects rows and writes them together; like Lightning's, it has `log_metrics`.

    Args:
        folder: of the log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path: Path | None = None
        self._rows: list[dict[str, float]] = []

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Note values of a step."""
        if not self._rows or self._rows[-1]["step"] != step:
            self._rows.append({"step": step})
        self._rows[-1] |= {name: float(value) for name, value in values.items()}

    def save(self) -> None:
        """Write what has been noted."""
        if not self._rows:
            return
        self._path = self._path or kept_log(self.folder)
        names = sorted({name for row in self._rows for name in row} - {"step"})
        text = io.StringIO()
        writer = csv.DictWriter(text, ["step", *names], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self._path, text.getvalue())
