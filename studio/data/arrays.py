"""Reading numpy's files that other programs wrote: real numbers or a message, nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from studio.files import parsing


def read_array(path: Path) -> Float64[np.ndarray, "..."]:
    """Read one .npy file of real numbers.

    Raises:
        DataError: if it cannot be read or holds anything else.
    """
    with parsing(path, "an array of real numbers (.npy)"), path.open("rb") as file:
        return _numbers(np.lib.format.read_array(file, allow_pickle=False))


def read_arrays(path: Path) -> dict[str, Float64[np.ndarray, "..."]]:
    """Read all arrays of real numbers of an .npz file.

    Raises:
        DataError: if it cannot be read or holds anything else.
    """
    with parsing(path, "arrays of real numbers (.npz)"), path.open("rb") as opened:
        with np.load(opened, allow_pickle=False) as file:
            return {name: _numbers(file[name]) for name in file.files}


def _numbers(array: np.ndarray) -> Float64[np.ndarray, "..."]:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ValueError(f"it holds {getattr(array, 'dtype', type(array))}, no real numbers")
    return array.astype(np.float64)
