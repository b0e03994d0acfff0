"""numpy files that other programs wrote: plain arrays or a message, nothing else."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float64

from studio.io.reading import check_count, check_file, reading

MOST_UNPACKED = 1 << 30
"""Bytes of all arrays of an .npz file together."""


def read_array(
    path: Path, allowed: str = "an array of real numbers (.npy)"
) -> Float64[np.ndarray, "..."]:
    """Read one .npy file of real numbers.

    Raises:
        DataError: if it cannot be read or holds anything else.
    """
    with reading(path, allowed):
        return _numbers(read_npy(path))


def read_arrays(path: Path) -> dict[str, Float64[np.ndarray, "..."]]:
    """Read all arrays of real numbers of an .npz file.

    Raises:
        DataError: if it cannot be read or holds anything else.
    """
    with reading(path, "arrays of real numbers (.npz)"):
        check_file(path)
        return {name: _numbers(array) for name, array in read_npz(path).items()}


def _numbers(array: np.ndarray) -> Float64[np.ndarray, "..."]:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"it holds {array.dtype}, no real numbers")
    return array.astype(np.float64)


# --- parts, for code that stands under `reading` ------------------------------------------------


def read_npy(path: Path) -> np.ndarray:
    """Read a .npy file of any type but objects; raises whatever numpy raises."""
    size = check_file(path)
    with path.open("rb") as file:
        return _checked(file, size)


def read_npz(source: Path | bytes) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file, or of its content; raises whatever numpy raises.

    The directory and the arrays' own headers are believed only as far as there are bytes for them.
    """
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    with zipfile.ZipFile(opened) as archive:
        members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
        total = sum(member.file_size for member in members)
        if total > MOST_UNPACKED:
            raise ValueError(f"its arrays are of {total:,} bytes, more than {MOST_UNPACKED:,}")
        arrays = {}
        for member in members:
            with archive.open(member) as file:
                arrays[member.filename[:-4]] = _checked(file, member.file_size)
        return arrays


def array_header(file: BinaryIO | Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of the array that a .npy file holds, and go to its first byte."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _checked(file: BinaryIO | Any, size: int) -> np.ndarray:
    """Read an array whose file has `size` bytes."""
    shape, dtype = array_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    if any(side < 0 for side in shape):
        raise ValueError(f"it is of shape {shape}")
    check_count(math.prod(shape), dtype.itemsize, size, "numbers")
    file.seek(0)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
