"""One job, and the folder that is its record: what was asked, how far it is, what came out.

    <folder>/
      job.json     what is to be done; written once
      state.json   how far it is; written anew at every change
      cancel       there, once somebody wants it to end
      log.txt      what the program said, every attempt's
      result/      what came out

Whoever may read the folder can follow the job, whoever may write there can cancel it: executors,
a batch command and a server need to know of nothing but folders.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from studio.errors import DataError
from studio.io.files import make_folder, write_bytes, write_json
from studio.io.reading import read_json
from studio.plugins.parsing import parse_config
from studio.plugins.ranges import Range, Seed, StepsOrZero


class Phase(StrEnum):
    """Where a job is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({Phase.DONE, Phase.FAILED, Phase.CANCELLED})
"""Phases that last."""


@dataclass(frozen=True)
class Job:
    """What is to be done."""

    task: str = "make"
    """Plugin of kind `task` that does it."""
    config: str = ""
    """A YAML file, or the name of one."""
    inputs: list[str] = field(default_factory=list)
    """Files and folders; those without a leading / lie in the job's folder."""
    text: str = ""
    """What is given instead of inputs, to configs that take a text."""
    options: dict[str, Any] = field(default_factory=dict)
    """Over the config, with dotted keys: {"data.elevation_deg": 20}."""
    seed: Seed = 0
    """Of all noise."""
    steps: StepsOrZero = 0
    """Of the fit; 0: as many as the config says."""
    seconds: Annotated[float, Range(0, 1e9)] = 0.0
    """Most wall seconds of the fit; 0: as many as the config says."""
    timeout: Annotated[float, Range(0, 1e9)] = 0.0
    """Wall seconds after which an attempt is given up; 0: never."""
    retries: Annotated[int, Range(0, 100)] = 1
    """Further attempts after one whose process died; a refused input is not tried again."""
    label: str = ""
    """What people call it."""


AROUND = ("timeout", "retries", "label")
"""What of a job may change without another result."""


@dataclass(frozen=True)
class State:
    """How far a job is; times are seconds since 1970."""

    phase: Phase = Phase.WAITING
    stage: str = ""
    """What is being done, in a word or two."""
    done: int = 0
    """Steps of the stage that are done."""
    total: int = 0
    """Steps of the stage in all; 0: not known."""
    attempt: int = 0
    """How often it was begun."""
    created: float = 0.0
    began: float = 0.0
    """When the last attempt began."""
    ended: float = 0.0
    changed: float = 0.0
    error: str = ""
    """Why it failed, in words for whoever gave the input."""
    warnings: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    """What contradicts the result."""
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether it will not change any more."""
        return self.phase in FINAL

    @property
    def seconds(self) -> float:
        """How long the last attempt has taken."""
        if not self.began:
            return 0.0
        return (self.ended or time.time()) - self.began


class Record:
    """The folder of one job.

    Attributes:
        folder: it.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def __repr__(self) -> str:
        return f"Record({str(self.folder)!r})"

    log = property(lambda self: self.folder / "log.txt")
    inputs = property(lambda self: self.folder / "inputs")
    result = property(lambda self: self.folder / "result")

    @classmethod
    def create(cls, folder: Path | str, job: Job) -> Record:
        """Write down a new job, or find the same one where it was written before.

        Raises:
            DataError: if the folder holds another job.
            StudioError: if the system refuses.
        """
        record = cls(folder)
        if record.exists():
            if differs := _difference(record.job, job):
                raise DataError(
                    f"{folder} holds another job: {differs}.",
                    hint="give this one a folder of its own, or remove that one",
                )
            if record.job != job:
                write_json(record.folder / "job.json", _plain(job))
            return record
        make_folder(record.folder)
        now = time.time()
        write_json(record.folder / "state.json", _plain(State(created=now, changed=now)))
        write_json(record.folder / "job.json", _plain(job))  # last: it makes the folder a record
        return record

    def exists(self) -> bool:
        """Whether a job was written down here."""
        return (self.folder / "job.json").is_file()

    @property
    def job(self) -> Job:
        """What is to be done.

        Raises:
            StudioError: if the file is damaged.
        """
        return parse_config(Job, read_json(self.folder / "job.json"), key="job")

    @property
    def state(self) -> State:
        """How far it is.

        Raises:
            StudioError: if the file is damaged.
        """
        given = read_json(self.folder / "state.json")
        return parse_config(State, given, key="state")

    def note(self, **changes: Any) -> State:
        """Change the state; only the one who carries the job out does.

        Raises:
            StudioError: if the folder is gone, which stays so, or the system refuses.
        """
        state = dataclasses.replace(self.state, **{**changes, "changed": time.time()})
        write_json(self.folder / "state.json", _plain(state), parents=False)
        return state

    def path(self, given: str) -> str:
        """Where an input lies."""
        return str(self.folder / given) if not Path(given).is_absolute() else given

    def cancel(self) -> None:
        """Ask whoever carries the job out to end it."""
        write_bytes(self.folder / "cancel", b"", parents=False)

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants it to end."""
        return (self.folder / "cancel").exists()

    def again(self) -> None:
        """Let a job that has ended without a result be done once more."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "cancel").unlink()
        self.note(phase=Phase.WAITING, stage="", done=0, total=0, error="", ended=0.0)


def _plain(value: Job | State) -> dict[str, Any]:
    return dataclasses.asdict(value)


def _difference(old: Job, new: Job) -> str:
    """What makes another result of it, in words; "" where nothing does."""
    names = [n for n in vars(new) if n not in AROUND and getattr(old, n) != getattr(new, n)]
    return ", ".join(f"{n} is {getattr(old, n)!r} there, {getattr(new, n)!r} here" for n in names)
