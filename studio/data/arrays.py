"""Reading numpy's files that other programs wrote: numbers or a message, nothing else."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from studio.errors import DataError

# what np.load and zipfile raise for damaged files
BROKEN = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    SyntaxError,
    MemoryError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    UnicodeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_array(path: Path, what: str = "camera") -> Float64[np.ndarray, "..."]:
    """Read one .npy file of real numbers.

    Raises:
        DataError: if it cannot be read or holds anything else.
    """
    try:
        with path.open("rb") as file:
            return _numbers(np.lib.format.read_array(file, allow_pickle=False))
    except BROKEN as error:
        raise DataError(f"{what} {path} cannot be read: {_why(error)}.") from error


def read_arrays(path: Path, what: str = "camera file") -> dict[str, Float64[np.ndarray, "..."]]:
    """Read all arrays of real numbers of an .npz file.

    Raises:
        DataError: if it cannot be read or holds anything else.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: _numbers(file[name]) for name in file.files}
    except BROKEN as error:
        raise DataError(f"{what} {path} cannot be read: {_why(error)}.") from error


def _numbers(array: np.ndarray) -> Float64[np.ndarray, "..."]:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ValueError(f"it holds {getattr(array, 'dtype', type(array))}, no real numbers")
    return array.astype(np.float64)


def _why(error: Exception) -> str:
    """What the system or a decoder says, without the path."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.splitlines()[0] if said else type(error).__name__
