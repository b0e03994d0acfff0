"""OpenEXR pictures: scan lines of half or float channels, uncompressed, RLE, ZIP or ZIPS.

That is what renderers write by default and RTMV's frames are. Other compressions and tiles are read
by the package OpenEXR where it is installed. Format: openexr.com, "OpenEXR File Layout".
"""

from __future__ import annotations

import importlib
import importlib.util
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from studio.errors import DataError
from studio.io.reading import check_count, inflated, read_bytes, reading

MAGIC = 20000630
MOST_PIXELS = 1 << 28
TILED, LONG_NAMES, DEEP, MULTIPART = 0x200, 0x400, 0x800, 0x1000
DTYPES: dict[int, np.dtype[Any]] = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
ROWS = {0: 1, 1: 1, 2: 1, 3: 16}  # scan lines of a block: none, RLE, ZIPS, ZIP
NAMES = ("none", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "B44A", "DWAA", "DWAB")
Box = tuple[int, int, int, int]  # first x, first y, last x, last y


@dataclass(frozen=True)
class Channel:
    """A channel as the header lists it."""

    name: str
    dtype: np.dtype[Any]
    subsampled: bool


def read_exr(path: Path) -> Float32[np.ndarray, "h w 4"]:
    """Read R, G, B and A (1 where there is none) of an EXR file, linear values as they are.

    Raises:
        DataError: if the file is missing, broken or of a kind that cannot be read here.
    """
    with reading(path):
        data = read_bytes(path)
        version, attributes, start = _header(data)
        kind = attributes["compression"][0]
        channels = _channels(attributes["channels"])
        if version & (TILED | DEEP | MULTIPART) or kind not in ROWS:
            return _by_package(path, "tiles or parts" if kind in ROWS else NAMES[kind])
        if any(channel.subsampled for channel in channels):
            raise DataError(f"{path} has channels of reduced size.", allowed="R, G, B and A alike")
        window, display = (
            struct.unpack("<4i", attributes[f"{name}Window"]) for name in ("data", "display")
        )
        for left, top, right, bottom in (window, display):
            width, height = right - left + 1, bottom - top + 1
            if min(width, height) < 1 or width * height > MOST_PIXELS:
                raise DataError(
                    f"{path} is {width} x {height} px.", allowed=f"1 to {MOST_PIXELS} pixels"
                )
        planes = _scan_lines(data, start, kind, channels, window)
        return _displayed(_rgba(planes), window, display)


def _header(data: bytes) -> tuple[int, dict[str, bytes], int]:
    """Version word, attributes and the position of the table of offsets."""
    magic, version = struct.unpack_from("<2i", data)
    if magic != MAGIC:
        raise ValueError("it does not begin as an EXR file")
    at, attributes = 8, {}
    while data[at]:
        name, at = _string(data, at)
        _, at = _string(data, at)
        (size,) = struct.unpack_from("<i", data, at)
        attributes[name] = data[at + 4 : at + 4 + size]
        at += 4 + size
    return version, attributes, at + 1


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode("utf-8"), end + 1


def _channels(block: bytes) -> list[Channel]:
    channels, at = [], 0
    while block[at]:
        name, at = _string(block, at)
        kind, x, y = struct.unpack_from("<i4xii", block, at)
        channels.append(Channel(name, DTYPES[kind], (x, y) != (1, 1)))
        at += 16
    return channels


def _scan_lines(
    data: bytes, table: int, kind: int, channels: list[Channel], window: Box
) -> dict[str, np.ndarray]:
    """All channels as pictures of the data window."""
    left, top, right, bottom = window
    width, height, rows = right - left + 1, bottom - top + 1, ROWS[kind]
    check_count(-(-height // rows), 16, len(data) - table, "blocks of scan lines")
    planes = {c.name: np.zeros((height, width), c.dtype) for c in channels}
    line = sum(width * c.dtype.itemsize for c in channels)
    for offset in struct.unpack_from(f"<{-(-height // rows)}Q", data, table):
        y, size = struct.unpack_from("<2i", data, offset)
        count = min(rows, bottom + 1 - y)
        block = data[offset + 8 : offset + 8 + size]
        if len(block) < size or not 0 <= y - top < height:
            raise ValueError("it is cut off or its blocks are damaged")
        raw = block if size >= count * line else _unpacked(block, kind, count * line)
        at = 0
        for row in range(y - top, y - top + count):
            for c in channels:
                planes[c.name][row] = np.frombuffer(raw, c.dtype, width, at)
                at += width * c.dtype.itemsize
    return planes


def _unpacked(block: bytes, kind: int, size: int) -> bytes:
    """Undo RLE or deflate, then the difference of neighbours, then the split of odd and even."""
    packed = b"".join(_runs(block)) if kind == 1 else inflated(block, size)
    if len(packed) != size:
        raise ValueError("a block has another length than its scan lines")
    steps = np.frombuffer(packed, np.uint8).astype(np.int64) - 128
    steps[0] += 128
    values = np.cumsum(steps).astype(np.uint8)
    whole = np.empty(size, np.uint8)
    half = (size + 1) // 2
    whole[0::2], whole[1::2] = values[:half], values[half:]
    return whole.tobytes()


def _runs(block: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(block):
        (count,) = struct.unpack_from("<b", block, at)
        if count < 0:  # that many bytes as they are
            yield block[at + 1 : at + 1 - count]
            at += 1 - count
        else:  # one byte again and again
            yield block[at + 1 : at + 2] * (count + 1)
            at += 2


def _rgba(planes: dict[str, np.ndarray]) -> Float32[np.ndarray, "h w 4"]:
    if "Y" in planes and "R" not in planes:
        planes = planes | {name: planes["Y"] for name in "RGB"}
    if missing := [name for name in "RGB" if name not in planes]:
        raise ValueError(f"channel {missing[0]} is missing; it has {', '.join(planes)}")
    alpha = planes.get("A", np.ones_like(planes["R"]))
    return np.stack([planes["R"], planes["G"], planes["B"], alpha], axis=-1).astype(np.float32)


def _displayed(
    rgba: Float32[np.ndarray, "h w 4"], window: Box, display: Box
) -> Float32[np.ndarray, "h2 w2 4"]:
    """Put the data window into the display window; outside is nothing."""
    if window == display:
        return rgba
    left, top = (max(a, b) for a, b in zip(window[:2], display[:2], strict=True))
    right, bottom = (min(a, b) for a, b in zip(window[2:], display[2:], strict=True))
    size = (display[3] - display[1] + 1, display[2] - display[0] + 1, 4)
    out = np.zeros(size, np.float32)
    if right >= left and bottom >= top:
        part = rgba[top - window[1] : bottom + 1 - window[1], left - window[0] :]
        part = part[:, : right + 1 - left]
        y, x = top - display[1], left - display[0]
        out[y : y + part.shape[0], x : x + part.shape[1]] = part
    return out


def _by_package(path: Path, what: str) -> Float32[np.ndarray, "h w 4"]:
    if importlib.util.find_spec("OpenEXR") is None:
        raise DataError(
            f"{path} is an EXR file with {what}.",
            allowed="scan lines, uncompressed or with RLE, ZIPS or ZIP",
            hint="pip install -e '.[exr]' (the package OpenEXR) reads all kinds.",
        )
    library = importlib.import_module("OpenEXR")
    with library.File(str(path), separate_channels=True) as file:
        planes = {name: channel.pixels for name, channel in file.channels().items()}
    return _rgba(planes)
