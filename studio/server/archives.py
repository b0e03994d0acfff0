"""Zips of captures from strangers: listed and judged before anything is unpacked.

The pictures of a capture are named by its other files, so names have to stay; only plain ones do.
What an entry says of its size is held to while it is unpacked.
"""

from __future__ import annotations

import errno
import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from studio.errors import DataError
from studio.io.files import make_folder
from studio.io.picture_files import SUFFIXES

MOST_FILES = 5000
MOST_LISTING = 1 << 22
"""Bytes of the list of an archive's files."""
MOST_RATIO = 100
"""Bytes that come out of one, of a whole archive; text and pictures have up to ten."""
SMALL = 1 << 20
"""Bytes of files whose ratio does not matter."""
LONGEST_NAME, LONGEST_PART, DEEPEST = 300, 120, 8
READ = (*SUFFIXES, ".gif", ".exr", ".json", ".txt", ".bin", ".npz", ".npy", ".ply", ".csv")
"""Suffixes that a capture's readers look for; other files are left out."""
_END = struct.Struct("<4s4H2LH")
_ALLOWED = "a zip of a capture's folder: pictures and their transforms.json, COLMAP model, ..."
_HINT = "Zip the capture's folder again."


def unpack(archive: Path, folder: Path, most: int) -> Path:
    """Unpack the capture in a zip file.

    Args:
        archive: the zip file.
        folder: where it goes; new.
        most: bytes that may come out.

    Returns:
        The capture's folder: `folder`, or the only one in it.

    Raises:
        DataError: if it is no zip, holds more than it may, or names that are not plain.
    """
    try:
        check_listing(archive, most)
        with zipfile.ZipFile(archive) as opened:
            entries = list(_wanted(opened, most))
            for name, entry in entries:
                _write(opened, entry, folder / name, archive)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, struct.error) as error:
        raise DataError(
            f"the zip is broken or cut off ({str(error)[:100]}).", allowed=_ALLOWED, hint=_HINT
        ) from error
    except (RuntimeError, UnicodeError, ValueError, OverflowError) as error:
        raise DataError(f"the zip cannot be read ({str(error)[:100]}).", hint=_HINT) from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise DataError("the zip is broken: a place in it does not exist.", hint=_HINT) from error
    return _inner(folder)


def check_listing(archive: Path, most: int) -> None:
    """Refuse what is no zip, or has a list of files that would fill the memory.

    Args:
        archive: the zip file.
        most: bytes that may come out of it, for the message.

    Raises:
        DataError: saying which.
    """
    with archive.open("rb") as file:
        size = file.seek(0, 2)
        start = max(0, size - _END.size - (1 << 16) - 20)
        file.seek(start)
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise DataError("the file is no zip.", allowed=_ALLOWED)
    _, _, _, _, count, listing, _, _ = _END.unpack_from(tail, at)
    large = b"PK\x06\x07" in tail  # the larger form, which may say other numbers
    if large or count > MOST_FILES or listing > MOST_LISTING:
        raise DataError(
            "the zip holds too many files.",
            allowed=f"up to {MOST_FILES:,}, of {most / 1e6:,.0f} MB in all",
        )


def _wanted(opened: zipfile.ZipFile, most: int) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """The entries that are unpacked, by the path below the folder where each goes."""
    entries = opened.infolist()
    if len(entries) > MOST_FILES:
        raise DataError("the zip holds too many files.", allowed=f"up to {MOST_FILES:,}")
    total = packed = 0
    seen: set[str] = set()
    for entry in entries:
        name = plain_name(entry)
        total, packed = total + entry.file_size, packed + entry.compress_size
        if entry.flag_bits & 1:
            raise DataError("the zip is encrypted.", hint="Zip the folder without a password.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError("the zip is packed in an unusual way.", allowed="stored or deflate")
        if total > most:
            raise DataError(
                f"more than {most / 1e6:,.0f} MB come out of the zip.",
                allowed=f"up to {most / 1e6:,.0f} MB",
                hint="Leave out what is not needed, or scale the pictures down.",
            )
        if total > SMALL and total > MOST_RATIO * max(packed, 1):
            raise DataError("far more comes out of the zip than goes in.", allowed=_ALLOWED)
        if not name:
            continue
        if (key := unicodedata.normalize("NFC", name).casefold()) in seen:
            raise DataError(f"the zip holds '{name}' twice.", hint=_HINT)
        seen.add(key)
        yield name, entry


def plain_name(entry: zipfile.ZipInfo) -> str:
    """Return where an entry goes, "" for folders and what no reader of captures looks for.

    Raises:
        DataError: if it would leave the folder, is a link or device, or cannot be a file's name.
    """
    name = entry.orig_filename.replace("\\", "/")
    shown = repr(name if len(name) <= 60 else f"{name[:57]}...")
    parts = PurePosixPath(name).parts
    kind = entry.external_attr >> 28  # of the file's mode, where Unix made it
    if kind not in (0, 4, 8):
        raise DataError(f"the zip holds a link or device, {shown}.", allowed="files and folders")
    odd = any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for c in name)
    if odd or name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise DataError(
            f"the zip holds the name {shown}, which leads out of its folder or is no file's.",
            allowed="plain names below one folder",
        )
    too_long = any(len(part.encode()) > LONGEST_PART for part in parts)
    if len(name.encode()) > LONGEST_NAME or too_long or len(parts) > DEEPEST:
        raise DataError(f"the zip holds a name that is too long, {shown}.")
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    if entry.is_dir() or name.endswith("/") or hidden or not parts:
        return ""
    return name if name.lower().endswith(READ) else ""


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, archive: Path) -> None:
    make_folder(path.parent)
    left = entry.file_size
    with opened.open(entry) as source, path.open("xb") as target:
        while piece := source.read(1 << 20):
            left -= len(piece)
            if left < 0:
                raise zipfile.BadZipFile("an entry is larger than it says")
            target.write(piece)


def _inner(folder: Path) -> Path:
    """The capture's folder: zips often hold one folder, which holds everything."""
    there = list(folder.iterdir()) if folder.is_dir() else []
    if not there:
        raise DataError("the zip holds no pictures and no cameras.", allowed=_ALLOWED)
    if len(there) == 1 and there[0].is_dir() and not _is_part(there[0]):
        return _inner(there[0])
    return folder


def _is_part(folder: Path) -> bool:
    """Whether a folder is part of a layout, as its name tells, and not a capture's folder."""
    if any(folder.glob("transforms*.json")):  # the views of a run, zipped with their folder
        return False
    return folder.name in ("sparse", "colmap", "images", "image", "dense", "train", "views")
