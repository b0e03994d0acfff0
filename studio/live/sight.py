"""What there is to see of a source at one moment; files that are read again once they change."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from jaxtyping import Float
from torch import Tensor

from studio.errors import StudioError
from studio.live.poses import Poses
from studio.live.surfaces import Surface
from studio.views import ViewSet

T = TypeVar("T")
TRIES = 3  # of a file that cannot be read: it may be half there


@dataclass(frozen=True)
class Sight:
    """What there is to see at one moment; parts that have not changed are the same objects.

    Attributes:
        words: a few lines on how far it is, in Markdown.
        views: the cameras with their pictures.
        points: sparse points, in the world of the views.
        steps: names of the fit's surfaces, from the oldest to the newest.
        result: the finished mesh.
        poses: which cameras contradict the others.
    """

    words: str = ""
    views: ViewSet | None = None
    points: Float[Tensor, "n 3"] | None = None
    steps: tuple[str, ...] = ()
    result: Surface | None = None
    poses: Poses = Poses()


class Source(ABC):
    """A folder that is looked at, again and again; nothing is ever written there.

    Attributes:
        folder: it.
        title: what people call it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.title = folder.resolve().name

    @abstractmethod
    def look(self) -> Sight:
        """See what is there now.

        Raises:
            StudioError: if it is not, and never will be, what this source is for.
        """

    def surface(self, step: str) -> Surface | None:
        """The surface of the fit at one of `Sight.steps`; None where it cannot be had (any more).

        Args:
            step: its name.
        """
        return None


class Watched(Generic[T]):
    """What a file holds, read once for each state of the file.

    Attributes:
        problem: why the present file could not be read; empty where it could.

    Args:
        read: makes something of the file; a `StudioError` leaves what was there before.
    """

    def __init__(self, read: Callable[[Path], T]) -> None:
        self._read = read
        self._mark: tuple[int, ...] | None = None
        self._failed = 0
        self._value: T | None = None
        self.problem = ""

    def __call__(self, path: Path | None) -> T | None:
        """The content of the file as it is now, None where there never was one."""
        mark = None if path is None else mark_of(path)
        if path is None or mark is None:
            return self._value
        if mark != self._mark:
            self._mark, self._failed = mark, 0
        elif not 0 < self._failed < TRIES:
            return self._value
        try:
            self._value = self._read(path)
            self._failed, self.problem = 0, ""
        except StudioError as error:
            self._failed += 1
            self.problem = str(error).splitlines()[0]
        return self._value


def mark_of(path: Path) -> tuple[int, ...] | None:
    """What tells one state of a file from the next; None where there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
