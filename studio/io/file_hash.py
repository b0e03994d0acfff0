"""Hashes of files; those of big ones are kept, so that gigabytes of weights are read once.

A kept hash counts while the system says that the file is the same: its number, size, and the times
of the last change of content and of attributes to the nanosecond. The last of these is set by the
system whenever content changes and cannot be set back by `touch` or `cp -p`. What is not noticed:
damage below the file system, and changes where it keeps no such times.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from pathlib import Path

from studio.errors import StudioError, WeightsError
from studio.io.files import write_json
from studio.io.reading import known_json

BIG = 1 << 26  # bytes: 64 MiB are hashed in a tenth of a second
_BLOCK = 1 << 20
_RECENT_NS = 2_000_000_000  # a later change within the clock's step would have the same time
_BLOB = re.compile(r"[0-9a-f]{64}")


def file_hash(path: Path) -> bytes:
    """Return the SHA-256 of a file's content.

    Raises:
        WeightsError: if a file in the hub's cache, which is called by its hash, has another one.
    """
    if path.stat().st_size < BIG:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    real = path.resolve()
    before = _identity(real)
    note = _note_of(real)
    if note is not None and (known := _kept(note, before)) is not None:
        return known
    found = _hashed(real)
    if real.parent.name == "blobs" and _BLOB.fullmatch(real.name) and found.hex() != real.name:
        raise WeightsError(
            f"{path} is damaged: its content is not what the hub's cache calls it by.",
            hint=f"Remove {real}; system.guidance.allow_download=true fetches it again.",
        )
    settled = time.time_ns() - max(before[-2:]) > _RECENT_NS
    if note is not None and settled and _identity(real) == before:
        with contextlib.suppress(StudioError, OSError):  # one can live without it
            write_json(note, {"file": str(real), "identity": before, "sha256": found.hex()})
    return found


def _identity(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _note_of(path: Path) -> Path | None:
    """Where the hash of a file is kept; None for a user without a home."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    if caches.startswith("~"):
        return None
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
    return Path(caches) / "studio" / "hashes" / f"{name}.json"


def _kept(note: Path, identity: list[int]) -> bytes | None:
    saved = known_json(note)
    with contextlib.suppress(ValueError):
        if saved.get("identity") == identity:
            digest = bytes.fromhex(str(saved.get("sha256")))
            return digest if len(digest) == 32 else None
    return None


def _hashed(path: Path) -> bytes:
    from studio.progress import StageProgress  # which needs to know the run, and that the hashes

    digest, total = hashlib.sha256(), max(path.stat().st_size >> 20, 1)
    block = memoryview(bytearray(_BLOCK))
    with (
        path.open("rb", buffering=0) as stream,
        StageProgress(f"hashing {path.name}", total) as progress,
    ):
        while read := stream.readinto(block):
            digest.update(block[:read])
            progress(min(stream.tell() >> 20, total), total)
    return digest.digest()
