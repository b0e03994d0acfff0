"""Errors that are the user's to mend: one clear message, exit code 2, no traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

LONGEST_LINE = 1500
"""Characters of a line of a message."""


class StudioError(Exception):
    """A user's mistake: says what was given, what is allowed and what to do.

    Programming errors stay `ValueError`, `TypeError` and their kin.

    Args:
        message: what was given and why it cannot be used.
        allowed: what would be accepted.
        hint: what to do about it.
    """

    def __init__(
        self, message: str, *, allowed: str | None = None, hint: str | None = None
    ) -> None:
        lines = [message]
        if allowed:
            lines.append(f"  allowed: {allowed}")
        if hint:
            lines.append(f"  {hint}")
        super().__init__("\n".join(_cut(line) for line in "\n".join(lines).splitlines()))


@contextlib.contextmanager
def about(source: object) -> Iterator[None]:
    """Name the file or folder first in errors of code that is not told what it works on."""
    try:
        yield
    except StudioError as error:
        if str(source) in str(error):
            raise
        raise type(error)(f"{source}: {error}") from error


def _cut(line: str) -> str:
    """A line without the rest of an endless value that it repeats."""
    if len(line) <= LONGEST_LINE:
        return line
    return f"{line[: LONGEST_LINE - 200]} ... ({len(line):,} characters) ... {line[-100:]}"


class ConfigError(StudioError):
    """A config file, key or value that cannot be used."""


class PluginError(StudioError):
    """A plugin that is missing, broken or registered twice."""


class DataError(StudioError):
    """A picture, view folder or dataset that cannot be used."""


class CameraError(StudioError):
    """A camera that is impossible or outside what a method accepts."""


class WeightsError(StudioError):
    """A checkpoint that is missing, truncated, unsafe or of another architecture."""


class ExportError(StudioError):
    """A mesh, video or picture that cannot be written."""


class TrainingError(StudioError):
    """A training run that cannot go on: a loss or gradient that is not finite."""


class Terminated(SystemExit):
    """The process was sent a termination signal; no plugin called `sys.exit`."""


class Cancelled(Exception):
    """Work that its caller ended (`cancel`) before it was done."""
