"""What strangers send: pictures and archives, judged by their first bytes, under names of ours."""

from __future__ import annotations

import re
import shutil
import unicodedata
from pathlib import Path
from typing import BinaryIO

from studio.errors import DataError
from studio.io.picture_files import opened
from studio.server.archives import unpack

MOST_PICTURES = 24
MOST_FRAMES = 1000
"""Of one file; the first is taken."""
SUFFIX = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "GIF": ".gif",
    "AVIF": ".avif",
    "PPM": ".ppm",
    "HEIF": ".heic",
}
"""Of what Pillow finds a picture to be."""
LONGEST_LABEL = 80


def label(text: str) -> str:
    """Return what somebody calls something as one short line of printable characters."""
    kept = (c if c.isprintable() else " " for c in unicodedata.normalize("NFC", text[:1000]))
    line = " ".join("".join(kept).split())
    return line if len(line) <= LONGEST_LABEL else f"{line[: LONGEST_LABEL - 1]}…"


def given_name(name: str | None) -> str:
    """Return the last part of an uploaded file's name, to show it; never used as a path."""
    return label(re.split(r"[\\/]", name or "")[-1]) or "the file"


def keep_picture(
    source: BinaryIO, name: str, place: Path, most_megapixels: float
) -> tuple[Path, tuple[int, int]]:
    """Write a picture below a name of ours.

    Args:
        source: what was sent.
        name: what its sender calls it, for messages.
        place: the file, without a suffix.
        most_megapixels: that it may have; its header tells, before it is decoded.

    Returns:
        The file, and the picture's width and height in pixels.

    Raises:
        DataError: if it is no picture, or a larger one.
    """
    path = place.with_suffix(".upload")
    with path.open("xb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    try:
        with opened(path, most_pixels=most_megapixels * 1e6) as picture:
            width, height = picture.size
            kind = str(picture.format)
            frames = getattr(picture, "n_frames", 1) if kind in ("TIFF", "GIF") else 1
    except DataError as error:
        path.unlink()
        raise DataError(called(str(error), path, name)) from error
    if frames > MOST_FRAMES:
        path.unlink()
        raise DataError(f"{name} holds {frames:,} pictures.", allowed=f"up to {MOST_FRAMES:,}")
    return path.rename(path.with_suffix(SUFFIX.get(kind, ".picture"))), (width, height)


def called(text: str, path: Path, name: str) -> str:
    """Return a message that speaks of a file as its sender does."""
    return text.replace(f"picture {path}", name).replace(str(path), name)


def keep_capture(source: BinaryIO, folder: Path, most: int) -> Path:
    """Unpack the zip of a capture.

    Args:
        source: what was sent.
        folder: where it goes; new.
        most: bytes that may come out.

    Returns:
        The capture's folder.

    Raises:
        DataError: see `studio.server.archives.unpack`.
    """
    archive = folder.with_suffix(".zip")
    try:
        with archive.open("xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        return unpack(archive, folder, most)
    finally:
        archive.unlink(missing_ok=True)
