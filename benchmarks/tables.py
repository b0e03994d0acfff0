"""Tables of metrics, and differences of two ways measured on the same objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np


def table(
    rows: Mapping[str, Mapping[str, float]], first: Sequence[str] = (), *, of: str = "views"
) -> str:
    """Return figures by row and column as a Markdown table.

    Args:
        rows: figures by name of the row and of the column.
        first: columns to begin with; the others follow as they occur.
        of: heading of the rows' names.
    """
    columns = list(dict.fromkeys([*first, *(column for row in rows.values() for column in row)]))
    lines = [f"| {of} | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = [f"{row[c]:.4g}" if c in row else "" for c in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def difference(more: list[float], less: list[float]) -> tuple[float, float]:
    """Return the mean of the objects' differences and its standard error (NaN of one object)."""
    each = np.subtract(more, less)
    if len(each) < 2:
        return float(each.mean()), math.nan
    return float(each.mean()), float(each.std(ddof=1) / math.sqrt(len(each)))


def cell(more: list[float], less: list[float], digits: int) -> str:
    """Return the difference as it stands in a table: ``+0.30 ± 0.09``."""
    mean, error = difference(more, less)
    return f"{mean:+.{digits}f} ± {error:.{digits}f}"
