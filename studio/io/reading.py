"""Files that others wrote: one guard, and limits that are looked at before memory is taken.

What takes a file apart does so under `reading`: whatever a parser raises becomes one message that
names the file. What is read whole comes from `read_bytes`, `read_text` and `read_json`, which look
at the kind and the size of a file first; what is packed, through `inflated`. A header's counts are
held against the file by `check_count`.
"""

from __future__ import annotations

import contextlib
import json
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.errors import DataError, StudioError

MOST_BYTES = 1 << 30
"""Of a file that is read as a whole."""
MOST_TEXT = 1 << 27
"""Bytes of a JSON, YAML, CSV or text file; parsers take up to twenty times as much memory."""
MOST_LEVELS = 100
"""Of nesting in JSON."""
_TOO_DEEP = f"it is not valid JSON of up to {MOST_LEVELS} levels of nesting"
_LONGEST = 300  # characters of a library's message, and of a path, that are repeated


@contextlib.contextmanager
def reading(
    path: Path | str,
    allowed: str | None = None,
    *,
    problem: str = "cannot be read",
    error: type[StudioError] = DataError,
    hint: str | None = None,
    raised: type[Exception] = Exception,
) -> Iterator[None]:
    """Turn whatever is raised over the content of a file into one message that names it.

    Parsers raise nearly every type on files that are damaged, cut off or of another kind than their
    names: for code that does nothing but take a file apart, as a mistake in other code would look
    like one in the file.

    Args:
        path: of the file, or of the folder whose files are read.
        allowed: what it should hold.
        problem: what is wrong with it, after its name.
        error: the kind of message.
        hint: what to do, where nothing is `allowed`.
        raised: what is turned into a message; OSError where more is done than taking files apart.

    Raises:
        StudioError: of the kind `error`, for a file that is missing, may not be read, or is not
            what it should be.
    """
    try:
        yield
    except StudioError:
        raise
    except raised as caught:
        advice = hint or (None if allowed else "Copy it again, or have it written anew.")
        if isinstance(caught, OSError) and caught.strerror:
            problem = "cannot be read"
        if isinstance(caught, PermissionError):
            advice = "Check who may read the folder and its files."
        raise error(
            f"{shown(_named(caught) or path)} {problem}{_said(caught)}.",
            allowed=allowed,
            hint=advice,
        ) from caught


def _named(caught: Exception) -> Any:
    return caught.filename if isinstance(caught, OSError) else None


def _said(caught: Exception) -> str:
    if isinstance(caught, OSError) and caught.strerror:
        return f": {caught.strerror.lower()}"
    if isinstance(caught, MemoryError | RecursionError):
        return ": it asks for more memory or levels than any such file needs"
    lines = " ".join(line.strip() for line in str(caught).splitlines() if line.strip())
    if type(caught) is ValueError and lines:  # a sentence, mostly of our own
        return f": {lines[:_LONGEST].rstrip('.')}"
    return f": {type(caught).__name__}{': ' * bool(lines)}{lines[:_LONGEST].rstrip('.')}"


def shown(path: Path | str) -> str:
    """A path for messages: an endless one is cut."""
    text = str(path)
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}... ({len(text):,} characters)"


# --- sizes ----------------------------------------------------------------------------------------


def check_file(path: Path, most: int = MOST_BYTES) -> int:
    """Return the size of a regular file in bytes.

    Raises:
        OSError: if there is none.
        ValueError: if it is a pipe or device, which may have no end, or has more than `most` bytes.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(21, "it is a folder, not a file", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is a pipe or device, not a file")
    if status.st_size > most:
        raise ValueError(f"it has {status.st_size:,} bytes, and such files have up to {most:,}")
    return status.st_size


def check_count(count: int, record: int, there: int, what: str) -> None:
    """Refuse a count that a file's size contradicts, before room for it is made.

    Args:
        count: of records, as a header says.
        record: bytes that each one takes at least.
        there: bytes that the file has for them.
        what: the records, for messages.

    Raises:
        ValueError: if they cannot be there.
    """
    if count < 0 or count * record > there:
        raise ValueError(f"it speaks of {count} {what}, and has {there} bytes")


def inflated(data: bytes, most: int, *, raw: bool = False) -> bytes:
    """Undo deflate, but for no more than `most` bytes.

    Args:
        data: zlib's format.
        most: bytes that may come out of it.
        raw: without zlib's header, as zip archives have it.

    Raises:
        ValueError: if more would come out.
        zlib.error: if it is damaged.
    """
    worker = zlib.decompressobj(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS)
    out = worker.decompress(data, most + 1)
    if len(out) > most:
        raise ValueError(f"more than {most:,} bytes come out of {len(data):,}")
    if not worker.eof:
        raise zlib.error("the data are cut off")
    return out


# --- whole files ----------------------------------------------------------------------------------


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return what a regular file holds; raises as `check_file` does."""
    check_file(path, most)
    return path.read_bytes()


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """Return UTF-8 text, with or without a mark at its beginning; raises as `check_file` does."""
    return read_bytes(path, most).decode("utf-8-sig")


def read_json(
    path: Path,
    allowed: str | None = None,
    *,
    error: type[StudioError] = DataError,
    hint: str | None = None,
    kind: type = dict,
    finite: bool = False,
) -> Any:
    """Read a JSON file.

    Args:
        path: of the file.
        allowed: what it should hold, for messages.
        error: the kind of message.
        hint: what to do, where nothing is `allowed`.
        kind: what the outermost value has to be: dict, list, or object for anything.
        finite: refuse NaN and infinity, which JSON does not know and Python writes.

    Raises:
        StudioError: of the kind `error`, if it is missing, damaged, too large, nested too deeply or
            holds another value.
    """
    with reading(path, allowed, error=error, hint=hint):
        value = parse_json(read_text(path), finite=finite)
    if not isinstance(value, kind):
        raise error(
            f"{path} holds a JSON {_JSON_NAMES.get(type(value), 'value')}.",
            allowed=allowed or f"a JSON {_JSON_NAMES.get(kind, 'value')}",
        )
    return value


_JSON_NAMES: dict[type, str] = {dict: "object", list: "list", str: "text", int: "number"}


def known_json(path: Path) -> dict[str, Any]:
    """A JSON object that this program wrote for itself; empty if it is missing or damaged.

    For notes that are made again where they are not there.
    """
    try:
        return dict(read_json(path))
    except StudioError:
        return {}


def parse_json(text: str | bytes, *, finite: bool = False) -> Any:
    """Return the value of JSON of at most `MOST_LEVELS` levels.

    Raises:
        ValueError: if it is no JSON or too deep.
    """
    try:
        value = json.loads(text, parse_constant=_not_finite if finite else None)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON: {error}") from error
    except ValueError as error:
        if "digits" not in str(error):
            raise
        raise ValueError("it holds a number of thousands of digits") from error
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MOST_LEVELS):
        level = [item for outer in level for item in _items(outer)]
        if not level:
            return value
    raise ValueError(_TOO_DEEP)


def _items(value: Any) -> list[Any]:
    """The lists and objects within a list or object."""
    inner = value.values() if isinstance(value, dict) else value
    return [item for item in inner if isinstance(item, dict | list)]


def _not_finite(name: str) -> Any:
    raise ValueError(f"{name} is no number")
