"""One attempt at a job, in this process: its lock, log, progress, and the state it ends in."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from studio.errors import Cancelled, ConfigError, StudioError
from studio.evaluation import finite
from studio.io.files import make_folder, write_json
from studio.jobs.record import FINAL, Phase, Record, State
from studio.jobs.task import Outcome, Shelf, Task, Work, flat, task_options
from studio.plugins.discovery import find
from studio.plugins.options import build
from studio.progress import listening
from studio.runs.lock import RunLock

WRITE_SECONDS = 0.3
"""Between two notes of how far a stage is; a new stage is noted at once."""
LOOK_SECONDS = 0.1
"""Between two looks whether the job is to end."""


@contextlib.contextmanager
def held(record: Record) -> Iterator[bool]:
    """Be the one who works on a job, if nobody else is.

    Yields:
        Whether that is so.

    Raises:
        StudioError: if the system refuses.
    """
    lock = RunLock(record.folder)
    try:
        lock.acquire()
    except ConfigError:  # somebody else is
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def put_down(record: Record, phase: Phase, error: str = "") -> None:
    """Note the phase of a job whose worker did not; nothing if it is over, or others work on it."""
    with held(record) as ours:
        if ours and not record.state.over:
            ended = time.time() if phase in FINAL else 0.0
            record.note(phase=phase, stage="", error=error, ended=ended)


def attempt(
    record: Record,
    *,
    device: str,
    shelf: Shelf,
    changed: Callable[[], None] = lambda: None,
) -> Phase | None:
    """Carry a job out, unless it is over.

    Args:
        record: of the job.
        device: where to compute.
        shelf: what stays loaded.
        changed: called after every change of the state.

    Returns:
        The phase that it is in now; None if another process works on it.

    Raises:
        StudioError: if the record is damaged, or the system refuses.
    """
    with held(record) as ours:
        if not ours:
            return None
        state = record.state
        if state.over:
            return state.phase
        if record.cancelled:
            ended = record.note(phase=Phase.CANCELLED, stage="", ended=time.time())
            changed()
            return ended.phase
        again = state.attempt + 1
        fresh = State(created=state.created, attempt=again, began=time.time())
        record.note(**{**vars(fresh), "phase": Phase.RUNNING, "stage": "starting"})
        changed()
        with logged(record.log, f"attempt {again}"):
            ends = _carried_out(record, device, shelf, changed)
        record.note(stage="", ended=time.time(), **ends)
        changed()
        return Phase(ends["phase"])


def _carried_out(
    record: Record,
    device: str,
    shelf: Shelf,
    changed: Callable[[], None],
) -> dict[str, Any]:
    """Do what is to be done; returns what becomes of the state."""
    job = record.job
    follower = _Follower(record, job.timeout, changed)
    try:
        shutil.rmtree(record.result, ignore_errors=True)
        with listening(follower.tell, follower.asked):
            outcome = _run(record, device, shelf, follower)
        figures = {**outcome.figures, "seconds": follower.seconds()}
        write_json(record.result / "figures.json", finite(figures), parents=False)
        return {
            "phase": Phase.DONE,
            "figures": flat(figures),
            "warnings": [_inside(record, line) for line in outcome.warnings],
            "alarms": [_inside(record, line) for line in outcome.alarms],
        }
    except Cancelled:
        if not follower.late:
            return {"phase": Phase.CANCELLED}
        return {"phase": Phase.FAILED, "error": gave_up(job.timeout)}
    except StudioError as error:
        print(f"{type(error).__name__}: {error}")
        return {"phase": Phase.FAILED, "error": _inside(record, str(error))}
    except (Exception, SystemExit) as error:  # a plugin does not end the worker
        traceback.print_exc()
        return {"phase": Phase.FAILED, "error": _fault(error)}


def _run(record: Record, device: str, shelf: Shelf, follower: _Follower) -> Outcome:
    job = record.job
    task: Task = build("task", job.task, task_options(job), key="task")
    make_folder(record.result, parents=False)
    inputs = [record.path(given) for given in job.inputs]
    work = Work(job, inputs, record.result, device, follower.tell, follower.asked, shelf)
    return task.run(work)


def gave_up(seconds: float) -> str:
    """Why a job failed that took too long."""
    return f"it was given up after {seconds:g} s, as its timeout says."


def _inside(record: Record, text: str) -> str:
    """A message without where the job's folder lies."""
    return text.replace(f"{record.folder}{os.sep}", "")


def _fault(error: BaseException) -> str:
    if isinstance(error, MemoryError) or "not enough memory" in str(error):
        return "there is not enough memory for it; log.txt says where it ran out."
    line = str(error).splitlines()[0][:300] if str(error) else ""
    return f"the program made a mistake ({type(error).__name__}: {line}); log.txt says where."


class _Follower:
    """Notes how far a job is, now and then, and finds out whether it is to end."""

    def __init__(
        self,
        record: Record,
        timeout: float,
        changed: Callable[[], None],
    ) -> None:
        self.record, self.changed = record, changed
        self.deadline = time.monotonic() + timeout if timeout else float("inf")
        self.late = False
        self._ends = False
        self._looked = self._wrote = 0.0
        self._stage, self._since = "starting", time.monotonic()
        self._laps: dict[str, float] = {}

    def tell(self, done: int, total: int, label: str) -> None:
        """Listen to the program's progress."""
        now, fresh = time.monotonic(), label != self._stage
        if fresh:
            self._lap(now)
            self._stage = label
        if fresh or now - self._wrote >= WRITE_SECONDS:
            self._wrote = now
            self.record.note(stage=label, done=done, total=total)
            self.changed()

    def asked(self) -> bool:
        """Whether to end: somebody wants it, or the time is over."""
        now = time.monotonic()
        if not self._ends and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self.late = now > self.deadline
            self._ends = self.late or self.record.cancelled
        return self._ends

    def seconds(self) -> dict[str, float]:
        """How long every stage took, and all together."""
        self._lap(time.monotonic())
        laps = {name: round(spent, 3) for name, spent in self._laps.items()}
        return {**laps, "total": round(sum(self._laps.values()), 3)}

    def _lap(self, now: float) -> None:
        self._laps[self._stage] = self._laps.get(self._stage, 0.0) + now - self._since
        self._since = now


@contextlib.contextmanager
def logged(path: Path, title: str) -> Iterator[None]:
    """Let what is printed within, by libraries too, go to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        file.write(f"--- {title}: {now}, process {os.getpid()} on {platform.node()}\n")
        file.flush()
        kept = [os.dup(number) for number in (1, 2)]
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)


def warm_up(tasks: Sequence[str]) -> None:
    """Import what tasks need, which takes seconds; one that does not load says so in its jobs."""
    for name in tasks:
        with contextlib.suppress(StudioError):
            find("task", name)
