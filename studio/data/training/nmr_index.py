"""The index of the NMR renderings: where each file lies in the zip, or in tar shards.

An index is built once by looking through the archives and kept beside them; afterwards a picture is
one read at a known place, in any process, without a list of all entries in memory.
"""

from __future__ import annotations

import logging
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from studio.data.training.arrays import read_npz
from studio.errors import DataError, StudioError
from studio.io.files import atomic_write
from studio.io.reading import check_file, inflated, reading

log = logging.getLogger(__name__)

VIEWS = 24
CAMERAS = VIEWS
"""Number of the member that holds an object's cameras; 0 to 23 are its pictures."""
MEMBERS = VIEWS + 1
MOST_TEXT = 1 << 26
"""Bytes of a list; the largest of the archive has some 100 kB."""
MOST_MEMBER = 1 << 26
"""Bytes of a picture or of an object's cameras, which have some 10 kB."""

_VIEW = r"(00[01]\d|002[0-3])\.png"
_IN_ZIP = re.compile(rf"(?:.*/)?(\w+)/([^/]+)/(?:image/{_VIEW}|cameras\.npz)")
_IN_TAR = re.compile(rf"(?:\./)?(\w+-[^/.]+)\.(?:{_VIEW}|cameras)")
_TEXTS = re.compile(r"(?:.*/)?((?:metadata\.yaml)|(?:\w+/\w+\.lst))")
_LOCAL_HEADER = 30  # bytes of a zip entry's local header before name and extra field


@dataclass(frozen=True)
class Index:
    """Places of all members of N objects.

    Attributes:
        files: names of the archive files, in one folder.
        keys: "<synset>-<object>" of every object, in the order of files.
        file: which file an object is in.
        offset: first byte of a member; in a zip, of its local header.
        size: stored bytes of a member; 0 where there is none.
        deflated: whether a member is compressed.
        texts: contents of metadata.yaml and of the lists, where the archive has them.
    """

    files: tuple[str, ...]
    keys: tuple[str, ...]
    file: Int[np.ndarray, " n"]
    offset: Int[np.ndarray, "n 25"]
    size: Int[np.ndarray, "n 25"]
    deflated: Bool[np.ndarray, "n 25"]
    texts: dict[str, str]

    def save(self, path: Path, stamps: list[list[int]]) -> None:
        """Write one .npz file of plain arrays; `stamps` tell later whether it is out of date."""
        columns: dict[str, Any] = {
            "files": np.array(self.files, dtype=str),
            "stamps": np.array(stamps, dtype=np.int64),
            "keys": np.array(self.keys, dtype=str),
            "in_file": self.file,
            "offset": self.offset,
            "size": self.size,
            "deflated": np.packbits(self.deflated),
            "text_names": np.array(list(self.texts), dtype=str),
            "texts": np.array(list(self.texts.values()), dtype=str),
        }
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **columns)

    @classmethod
    def load(cls, path: Path, stamps: list[list[int]]) -> Index | None:
        """Read what `save` wrote; None if it is missing, damaged or of other files."""
        try:
            with reading(path):
                check_file(path)
                stored = read_npz(path)
                if stored["stamps"].tolist() != stamps:
                    return None
                size = stored["size"]
                deflated = np.unpackbits(stored["deflated"], count=size.size).astype(bool)
                return cls(
                    tuple(stored["files"].tolist()),
                    tuple(stored["keys"].tolist()),
                    stored["in_file"],
                    stored["offset"],
                    size,
                    deflated.reshape(size.shape),
                    dict(zip(stored["text_names"].tolist(), stored["texts"].tolist(), strict=True)),
                )
        except DataError:
            return None


class _Table:
    """An index in the making."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.file: list[int] = []
        self.numbers: list[np.ndarray] = []

    def add(self, key: str, file: int, member: int, place: tuple[int, int, bool]) -> int:
        """Note where a member is; returns the file that the object's first one was in."""
        row = self.rows.setdefault(key, len(self.rows))
        if row == len(self.numbers):
            self.file.append(file)
            self.numbers.append(np.zeros((MEMBERS, 3), np.int64))
        self.numbers[row][member] = place
        return self.file[row]

    def index(self, files: Sequence[str], texts: dict[str, str]) -> Index:
        """Return what has been noted."""
        empty = np.zeros((0, MEMBERS, 3), np.int64)
        numbers = np.stack(self.numbers) if self.numbers else empty
        return Index(
            tuple(files),
            tuple(self.rows),
            np.array(self.file, np.int32),
            numbers[..., 0],
            numbers[..., 1],
            numbers[..., 2].astype(bool),
            texts,
        )


def index_zip(path: Path) -> Index:
    """Look through the original zip; takes about 1 kB of memory per entry while it runs.

    Raises:
        DataError: if it is no zip, or packed in a way that is not read.
    """
    table, texts = _Table(), {}
    with reading(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if found := _IN_ZIP.fullmatch(entry.filename):
                    member = CAMERAS if found[3] is None else int(found[3])
                    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                        raise DataError(f"{path}: {entry.filename} is packed in an unusual way.")
                    place = (entry.header_offset, entry.compress_size, bool(entry.compress_type))
                    table.add(f"{found[1]}-{found[2]}", 0, member, place)
                elif text := _TEXTS.fullmatch(entry.filename):
                    if entry.file_size > MOST_TEXT:
                        raise DataError(f"{path}: {entry.filename} has {entry.file_size} bytes.")
                    texts[text[1]] = archive.read(entry).decode()
    return table.index([path.name], texts)


def index_shards(folder: Path, names: Sequence[str]) -> Index:
    """Look through tar shards; those without an end mark are read, empty files are left out.

    Raises:
        DataError: if one is damaged or cut short.
    """
    table = _Table()
    for number, name in enumerate(names):
        path = folder / name
        if path.stat().st_size == 0:  # the authors' writer leaves such a file behind
            continue
        for entry in _entries(path):
            found = _IN_TAR.fullmatch(entry.name)
            if found is None:
                continue
            member = CAMERAS if found[2] is None else int(found[2])
            place = (entry.offset_data, entry.size, False)
            if table.add(found[1], number, member, place) != number:
                raise DataError(f"{folder} holds {found[1]} in two shards.")
    return table.index(names, {})


def _entries(path: Path) -> Iterator[tarfile.TarInfo]:
    length = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as archive:
            while (entry := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # keeps them all, otherwise
                if entry.offset_data + entry.size > length:
                    raise DataError(f"{path} is cut short, in {entry.name}.")
                if entry.isfile():
                    yield entry
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path} cannot be read as a tar file: {error}.") from error


def kept_index(path: Path, files: Sequence[Path], build: Callable[[], Index]) -> Index:
    """Return the index kept at `path` if these files are as they were then, else build and keep it.

    Where it cannot be written it is built every time.
    """
    stamps = [[f.stat().st_size, f.stat().st_mtime_ns] for f in files]
    known = Index.load(path, stamps)
    if known is not None and known.files == tuple(f.name for f in files):
        return known
    log.info("looking through %s", files[0] if len(files) == 1 else f"{len(files)} files")
    index = build()
    try:
        index.save(path, stamps)
    except StudioError as error:
        log.info("%s; the index is made anew each time", str(error).splitlines()[0])
    return index


class IndexedFiles:
    """Reads members by index; files are opened when first used, by every process for itself.

    Args:
        folder: of the archive files.
        index: of their contents.
    """

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder, self.index = folder, index
        self.rows = {key: row for row, key in enumerate(index.keys)}
        self._open: tuple[int, dict[int, Any]] = (0, {})

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": (0, {})}

    def require(self, keys: Iterable[str]) -> None:
        """Refuse objects that are not complete.

        Raises:
            DataError: naming the first one and what it lacks.
        """
        complete = np.all(self.index.size > 0, axis=1)
        for key in keys:
            if key not in self.rows:
                raise DataError(f"{self.folder / self.index.files[0]} holds no file of {key}.")
            if not complete[self.rows[key]]:
                missing = np.flatnonzero(self.index.size[self.rows[key]] == 0)
                raise self._missing(key, int(missing[0]))

    def _missing(self, key: str, member: int) -> DataError:
        name = self.index.files[self.index.file[self.rows[key]]]
        what = "cameras" if member == CAMERAS else f"view {member}"
        return DataError(f"{self.folder / name} holds no {what} of {key}.")

    def read(self, key: str, member: int) -> bytes:
        """Return the bytes of a member: a view's number, or `CAMERAS`.

        Raises:
            DataError: if there is no such member, or it cannot be read.
        """
        row, index = self.rows[key], self.index
        offset, size = int(index.offset[row, member]), int(index.size[row, member])
        name = index.files[index.file[row]]
        if size == 0:
            raise self._missing(key, member)
        if not 0 < size <= MOST_MEMBER or offset < 0:
            raise DataError(f"{self.folder / name}: {key}, {member} has {size:,} bytes.")
        stream = self._stream(int(index.file[row]))
        if name.endswith(".zip"):
            header = _at(stream, offset, _LOCAL_HEADER)
            offset += _LOCAL_HEADER + int.from_bytes(header[26:28], "little")
            offset += int.from_bytes(header[28:30], "little")
        data = _at(stream, offset, size)
        with reading(f"{self.folder / name}: {key}, {member}"):
            return inflated(data, MOST_MEMBER, raw=True) if index.deflated[row, member] else data

    def _stream(self, number: int) -> Any:
        if self._open[0] != os.getpid():  # a forked process must not share positions in files
            self._open = (os.getpid(), {})
        streams = self._open[1]
        if number not in streams:
            path = self.folder / self.index.files[number]
            try:
                streams[number] = path.open("rb", buffering=0)
            except OSError as error:
                raise DataError(f"{path} cannot be opened: {error.strerror}.") from error
        return streams[number]


def _at(stream: Any, offset: int, size: int) -> bytes:
    stream.seek(offset)
    parts, left = [], size
    while left and (part := stream.read(left)):  # the system may return less than asked for
        parts.append(part)
        left -= len(part)
    if left:
        raise DataError(f"{stream.name} is cut short.")
    return b"".join(parts)
