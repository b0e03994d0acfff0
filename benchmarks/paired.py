"""Differences of two ways that were measured on the same objects, object by object."""

from __future__ import annotations

import math

import numpy as np


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
