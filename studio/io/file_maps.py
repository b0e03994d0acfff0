"""Memory that is a file: tensors that a reader has mapped, and giving their pages back.

Mapped tensors cost nothing until they are touched; then their pages count as this process's memory
until the map goes. Who copies them one after the other needs each page only once.
"""

from __future__ import annotations

import bisect
import ctypes
import mmap
from pathlib import Path

from torch import Tensor

_MAPS = Path("/proc/self/maps")
_DONT_NEED = 4  # madvise: read it from the file again when it is touched


class FileMaps:
    """The private maps of files that this process has now; none where the system does not say."""

    def __init__(self) -> None:
        ranges = []
        for line in _MAPS.read_text(errors="replace").splitlines() if _MAPS.exists() else ():
            place, rights, _, _, inode = line.split(maxsplit=5)[:5]
            if inode != "0" and rights.endswith("p"):
                start, end = (int(number, 16) for number in place.split("-"))
                ranges.append((start, end))
        self._starts = [start for start, _ in ranges]
        self._ends = [end for _, end in ranges]

    def release(self, tensor: Tensor) -> None:
        """Give back the pages of a contiguous tensor, if it is mapped; it must not be changed."""
        if tensor.is_meta or tensor.device.type != "cpu" or not tensor.is_contiguous():
            return
        page = mmap.PAGESIZE
        start = -(-tensor.data_ptr() // page) * page
        end = (tensor.data_ptr() + tensor.nbytes) // page * page
        place = bisect.bisect_right(self._starts, start) - 1
        if end > start and place >= 0 and end <= self._ends[place]:
            libc = ctypes.CDLL(None)
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONT_NEED)
