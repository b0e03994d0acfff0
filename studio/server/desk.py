"""The desk: takes jobs, hands them to the executor, knows whose they are, clears away old ones.

Everything is in the folders `<jobs>/<visitor>/<job>/`; what is kept in memory is which of them are
not over yet. So a restart loses nothing: what waited or was being worked on is taken up again.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from studio.errors import StudioError
from studio.io.files import make_folder, write_json
from studio.jobs import FINAL, Job, Phase, Record, State
from studio.server.answers import Refusal
from studio.server.folders import GONE, ID, linked, new_name, records_in, to_go, visitors_in
from studio.server.methods import usual_steps
from studio.server.paces import Measured, Paces
from studio.server.report import GIVEN, given, report
from studio.server.settings import ServerConfig
from studio.server.visitors import folder_of

log = logging.getLogger(__name__)

SCRATCH = ".scratch"
"""Folder for what is looked at and not kept."""
LEAST_FREE = 1 << 30
"""Bytes of disk space below which nothing new is taken."""
MOST_ATTEMPTS = 5
"""Of a job that is never finished, as when it takes the machine down each time."""
MOST_REMEMBERED = 1000
"""Finished jobs of which it is remembered what was told."""


class Executor(Protocol):
    """Carries jobs out; see `studio.jobs`."""

    def submit(self, record: Record) -> None:
        """Take a job; it is carried out when its turn comes."""

    def cancel(self, record: Record) -> None:
        """End a job, whether it waits or is being carried out."""

    def close(self) -> None:
        """End all work and let the processes go."""


class Desk:
    """Where jobs are handed in and asked about.

    Args:
        config: the service's options.
        executor: that carries them out.

    Raises:
        StudioError: if the folder cannot be made.
    """

    def __init__(self, config: ServerConfig, executor: Executor) -> None:
        self.config, self.executor = config, executor
        self.folder = make_folder(config.jobs)
        shutil.rmtree(self.folder / SCRATCH, ignore_errors=True)
        self._open: dict[str, Record] = {}  # not over, in the order in which they came
        self._lock = threading.RLock()
        self._over: dict[str, tuple[int, dict[str, Any]]] = {}  # what was told of those that are
        self._paces = Paces()
        self.measured = Measured()
        self.closing = False  # whoever waits for news is to stop waiting
        self.taken_up = self._take_up()

    # --- looking --------------------------------------------------------------------------------

    def all(self, visitor: str) -> list[Record]:
        """Return a visitor's jobs, newest first."""
        return sorted(
            records_in(self.folder / folder_of(visitor)), key=lambda r: r.folder.name, reverse=True
        )

    def one(self, visitor: str, name: str) -> Record:
        """Return a visitor's job.

        Raises:
            Refusal: 404 if there is none of that name, or it is somebody else's.
        """
        record = Record(self.folder / folder_of(visitor) / name) if ID.fullmatch(name) else None
        if record is None or not record.exists() or (record.folder / GONE).exists():
            raise Refusal(404, "there is no such job.", hint="It may have been removed.")
        return record

    def report(self, record: Record) -> dict[str, Any]:
        """Return what is told of a job; see `studio.server.report`."""
        told = self.reports([record])
        if not told:
            raise Refusal(404, "there is no such job.", hint="It may have been removed.")
        return told[0]

    def reports(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """Return what is told of several jobs; one that was removed just now is left out."""
        waiting = [record.folder.name for record in self._waiting()]
        told = []
        for record in records:
            name = record.folder.name
            position = waiting.index(name) + 1 if name in waiting else 0
            with contextlib.suppress(StudioError):
                told.append(self._told(record, position))
        return told

    def _told(self, record: Record, position: int) -> dict[str, Any]:
        try:
            stamp = (record.folder / "state.json").stat().st_mtime_ns
        except OSError:
            stamp = 0
        name = record.folder.name
        if (known := self._over.get(name)) and known[0] == stamp:
            return known[1]
        told = report(record, position)
        if told["phase"] == Phase.RUNNING:
            job = record.job
            expected = self.measured.expected(job, usual_steps(job.config))
            told["seconds_left"] = self._paces.left(told, expected)
        if told["phase"] in FINAL:  # nothing of it changes any more
            while len(self._over) >= MOST_REMEMBERED:
                del self._over[next(iter(self._over))]
            self._over[name] = stamp, told
        return told

    @property
    def waiting(self) -> int:
        """How many jobs are not being worked on yet."""
        return len(self._waiting())

    # --- doing ----------------------------------------------------------------------------------

    def check_room(self) -> None:
        """Refuse further jobs while the queue or the disk is full.

        Raises:
            Refusal: 429, or 507.
        """
        if (waiting := self.waiting) >= self.config.queue:
            raise Refusal(
                429, f"the server is busy: {waiting} jobs wait.", hint="Try again in some minutes."
            )
        if shutil.disk_usage(self.folder).free < LEAST_FREE + 5 * self.config.most_bytes:
            raise Refusal(507, "the server's disk is full.", hint="Its owner has to make room.")

    @contextlib.contextmanager
    def draft(self, visitor: str) -> Iterator[Record]:
        """Yield the folder of a new job, to put inputs into; it goes if the block fails."""
        folder = make_folder(self.folder / folder_of(visitor) / new_name())
        try:
            yield Record(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Record]:
        """Yield a folder that is gone after the block."""
        folder = make_folder(self.folder / SCRATCH / new_name())
        try:
            yield Record(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def hand_in(
        self, record: Record, job: Job, names: Mapping[str, str], notes: Sequence[str] = ()
    ) -> None:
        """Make a draft a job and put it into the queue.

        Args:
            record: of the draft.
            job: what is to be done.
            names: what the visitor calls the files, by their paths in the folder.
            notes: what he should know of them.

        Raises:
            Refusal: if the queue is full by now.
        """
        with self._lock:
            self.check_room()
            write_json(record.folder / GIVEN, {"names": dict(names), "notes": list(notes)})
            Record.create(record.folder, job)
            self._open[record.folder.name] = record
            self.executor.submit(record)
        self.clear(record.folder.parent)

    def again(self, visitor: str, name: str, seed: int | None) -> Record:
        """Hand in a job with the inputs of another one.

        Args:
            visitor: whose they are.
            name: of the other job.
            seed: of the new one; None: the next number.

        Raises:
            Refusal: see `one` and `hand_in`.
        """
        old = self.one(visitor, name)
        job = old.job
        job = replace(job, seed=(job.seed + 1) % 2**31 if seed is None else seed)
        with self.draft(visitor) as record:
            if old.inputs.is_dir():
                shutil.copytree(old.inputs, record.inputs, copy_function=linked)
            known = given(old)
            self.hand_in(record, job, known.get("names", {}), known.get("notes", []))
        return record

    def cancel(self, visitor: str, name: str) -> Record:
        """End a job, if it is not over.

        Raises:
            Refusal: see `one`.
        """
        record = self.one(visitor, name)
        if not record.state.over:
            self.executor.cancel(record)
        return record

    def remove(self, visitor: str, name: str) -> None:
        """Remove a job and its files; one that is worked on is ended first.

        Raises:
            Refusal: see `one`.
        """
        record = self.one(visitor, name)
        (record.folder / GONE).touch()
        if not record.state.over:
            self.executor.cancel(record)
        self.clear(record.folder.parent)

    def clear(self, folder: Path | None = None) -> int:
        """Remove what is to go: removed jobs, old ones, those beyond `keep`, drafts left behind.

        Args:
            folder: of one visitor; None: of all.

        Returns:
            How many folders went.
        """
        gone = 0
        with self._lock:
            self._forget_over()
            for place in [folder] if folder else visitors_in(self.folder):
                for old in list(to_go(place, self._open, self.config)):
                    shutil.rmtree(old, ignore_errors=True)
                    gone += 1
                with contextlib.suppress(OSError):
                    place.rmdir()  # only where nothing is left
        return gone

    # --- parts ----------------------------------------------------------------------------------

    def _waiting(self) -> list[Record]:
        with self._lock:
            self._forget_over()
            return [r for r in self._open.values() if r.state.phase == Phase.WAITING]

    def _forget_over(self) -> None:
        """Leave out of the open jobs those that have ended, and learn how long they took."""
        for name, record in list(self._open.items()):
            try:
                state = record.state
            except StudioError:
                del self._open[name]
                continue
            if state.over:
                del self._open[name]
                if state.phase == Phase.DONE:
                    self._learn(record.job, state)

    def _learn(self, job: Job, state: State) -> None:
        self.measured.add(job, state, usual_steps(job.config))

    def _take_up(self) -> int:
        """Hand in again what was not over when the last server ended; learn from what was."""
        found = []
        for place in visitors_in(self.folder):
            for record in records_in(place):
                try:
                    state, job = record.state, record.job
                except StudioError as error:
                    log.warning("%s cannot be read: %s", record.folder, error)
                    continue
                if not state.over and state.attempt >= MOST_ATTEMPTS:
                    words = f"it was begun {state.attempt} times, and never came to an end."
                    record.note(phase=Phase.FAILED, stage="", error=words, ended=time.time())
                elif not state.over:
                    found.append((state.created, record))
                elif state.phase == Phase.DONE:
                    self._learn(job, state)
        for _, record in sorted(found, key=lambda item: item[0]):
            self._open[record.folder.name] = record
            self.executor.submit(record)
        self.clear()
        return len(found)
