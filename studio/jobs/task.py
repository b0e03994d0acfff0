"""What a job does: the base of `task` plugins, and what one is given to work with.

A plugin of one's own is a class under `@register("task", "name")`, in custom/ or a package. Its
options are those of the job that begin with `task.`; `run` fills the job's `result/` and says what
was found.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from studio.io import shipped
from studio.io.yaml_text import Word
from studio.jobs.record import Job
from studio.progress import Listener

T = TypeVar("T")

OWN = "task."
"""What the options of the task itself begin with; the others go over the config."""


class Shelf:
    """What stays loaded between jobs: the few things that were used last.

    Args:
        places: how many.
    """

    def __init__(self, places: int = 2) -> None:
        self.places = places
        self._things: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is kept under a key, made now if it is not there."""
        if key not in self._things:
            while len(self._things) >= self.places:  # first: both at once may be too much memory
                self._things.popitem(last=False)
            self._things[key] = make()
        self._things.move_to_end(key)
        made: T = self._things[key]
        return made


@dataclass(frozen=True)
class Work:
    """What a task is given.

    Attributes:
        job: what is to be done.
        inputs: its files and folders, as absolute paths.
        result: an empty folder for what comes out.
        device: where to compute: cpu, cuda:0, ...
        tell: wants to know how far it is; `studio.progress` tells it by itself, except within calls
            that take a `progress` of their own.
        asked: whether the work is to end; see `tell`.
        shelf: keeps what the next job may need, too.
    """

    job: Job
    inputs: list[str]
    result: Path
    device: str
    tell: Listener
    asked: Callable[[], bool]
    shelf: Shelf

    @property
    def options(self) -> dict[str, Any]:
        """What goes over the config; texts mean what they mean on the command line."""
        given = {k: v for k, v in self.job.options.items() if not k.startswith(OWN)}
        return {key: shipped.placed(typed(value)) for key, value in given.items()}


@dataclass
class Outcome:
    """What came of it beside files.

    Attributes:
        figures: measured, by name; groups within groups are fine.
        warnings: what went wrong on the way, a sentence or two each.
        alarms: what contradicts the result, a sentence or two each.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)


class Task(ABC):
    """Base of what jobs do; one constructor, taking an instance of `Config`."""

    Config: ClassVar[type]
    carries_config: ClassVar[bool] = False
    """Whether it carries out the job's config, which is then checked beforehand."""

    @abstractmethod
    def run(self, work: Work) -> Outcome:
        """Do it.

        Raises:
            StudioError: if what was given cannot be used; the job has failed then.
            Cancelled: if `work.asked` said so.
        """


def typed(value: Any) -> Any:
    """A text of a job's options as the word that was typed on a command line."""
    return Word(value) if type(value) is str else value


def task_options(job: Job) -> dict[str, Any]:
    """The options of the task itself: ``{"task.judge.protocol": "studio"}`` as a group."""
    group: dict[str, Any] = {}
    for key, value in job.options.items():
        if key.startswith(OWN):
            *parents, last = key.removeprefix(OWN).split(".")
            target = group
            for parent in parents:
                target = target.setdefault(parent, {})
            target[last] = shipped.placed(typed(value))
    return group


def flat(figures: dict[str, Any], before: str = "") -> dict[str, float]:
    """The numbers of nested groups, by dotted names; lists and texts are left out."""
    found: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{name}.")
        elif isinstance(value, int | float):
            found[f"{before}{name}"] = float(value)
    return found
