"""Captions of objects: CSV files of `id,caption`, as Cap3D publishes them for Objaverse."""

from __future__ import annotations

import csv
from pathlib import Path

from studio.errors import DataError


def read_captions(path: Path | str) -> dict[str, str]:
    """Read a CSV file of `id,caption`; a first row with these words is left out.

    Raises:
        DataError: if the file is missing, holds no rows, or a row has no two fields.
    """
    captions: dict[str, str] = {}
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if not row or (number == 1 and [w.strip() for w in row] == ["id", "caption"]):
                    continue
                if len(row) != 2:
                    raise DataError(
                        f"{path}, row {number}: {len(row)} fields.",
                        allowed='two, id,caption; a caption with commas stands in "quotes"',
                    )
                captions[row[0].strip()] = row[1].strip()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"captions {path} cannot be read: {error}.") from error
    if not captions:
        raise DataError(f"{path} holds no captions.", allowed="a CSV file of id,caption")
    return captions
