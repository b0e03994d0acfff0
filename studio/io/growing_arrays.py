"""Arrays that take long to make, written row after row; what a stopped process made is kept."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from studio.io.files import PLACE, alive, make_folder, refused, with_usual_permissions
from studio.progress import StageProgress

Rows = Callable[[int, int], NDArray[Any]]
"""(first, end) -> those rows of an array."""


def grow_array(
    path: Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    rows: Rows,
    *,
    label: str,
    at_once: int = 1,
) -> None:
    """Write a .npy file some rows at a time; it has its name once it is complete.

    Until then the rows stand in a hidden file beside it that names its process. When that process
    has ended, in whatever way, the next one that makes the same file goes on where it was. Two
    that run at the same time each make their own.

    Args:
        path: the file, `.npy`; its name has to change with whatever decides its content.
        shape: of the array; rows are along its first side.
        dtype: of the array.
        rows: makes rows.
        label: of the stage that is shown.
        at_once: rows asked for at a time.

    Raises:
        StudioError: when the system refuses to write; the rows so far are kept.
    """
    make_folder(path.parent)
    part = path.with_name(f".{path.stem}-{PLACE}-{os.getpid()}.part{path.suffix}")
    header, row = _header(shape, dtype), int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
    _take_over(path, part)
    try:
        with part.open("a+b") as file:
            done = _kept_rows(file, header, row)
            _check_space(part, (shape[0] - done) * row)
            with StageProgress(label, shape[0], done) as progress:
                for first in range(done, shape[0], at_once):
                    end = min(first + at_once, shape[0])
                    file.write(np.ascontiguousarray(rows(first, end), dtype).tobytes())
                    file.flush()
                    progress(end, shape[0])
        with_usual_permissions(part)
        part.replace(path)
    except OSError as error:
        raise refused(error, path) from error
    finally:
        with contextlib.suppress(OSError):  # it has its own name now
            if part.stat().st_size < len(header) + row:
                part.unlink()


def _header(shape: tuple[int, ...], dtype: DTypeLike) -> bytes:
    """What a .npy file of that array begins with."""
    text = BytesIO()
    described = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(
        text, {"descr": described, "fortran_order": False, "shape": shape}
    )
    return text.getvalue()


def _take_over(path: Path, part: Path) -> None:
    """Give the rows of a process that has ended the name of this one's, those that are most."""
    name = re.compile(rf"\.{re.escape(path.stem)}-{PLACE}-(\d+)\.part{re.escape(path.suffix)}")
    left: list[tuple[int, Path]] = []
    for other in path.parent.glob(f".{path.stem}-*.part{path.suffix}"):
        found = name.fullmatch(other.name)
        if found and other != part and not alive(int(found[1])):
            with contextlib.suppress(OSError):
                left.append((other.stat().st_size, other))
    for _, other in sorted(left, reverse=True):
        with contextlib.suppress(OSError):  # another process was faster
            if part.exists():
                other.unlink()
            else:
                other.rename(part)


def _kept_rows(file: BinaryIO, header: bytes, row: int) -> int:
    """Return the complete rows of a begun file and cut off what is behind them."""
    file.seek(0)
    if file.read(len(header)) != header:
        file.truncate(0)
        file.write(header)
        file.flush()
        return 0
    done = (file.seek(0, os.SEEK_END) - len(header)) // row
    file.truncate(len(header) + done * row)
    return int(done)


def _check_space(part: Path, size: int) -> None:
    """Say before hours of work that there is no room for it."""
    if shutil.disk_usage(part.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
