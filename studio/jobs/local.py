"""The executor of this machine: processes that stay warm, one job per device."""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Self

from studio.errors import StudioError
from studio.jobs.attempt import gave_up, put_down
from studio.jobs.executor import Changed
from studio.jobs.machine import places
from studio.jobs.process import WorkerProcess
from studio.jobs.record import FINAL, Phase, Record

log = logging.getLogger(__name__)

GRACE_SECONDS = 1.0
"""How long a job that is to end may take for that before its process is killed."""
LOOK_SECONDS = 0.1
"""Between two looks whether it is to end."""
BUSY_SECONDS = 1.0
"""Until a job is looked at again that another executor works on."""


@dataclass(eq=False)
class Piece:
    """A job in the queue."""

    record: Record
    crashes: int = 0
    not_before: float = 0.0


class LocalExecutor:
    """Carries jobs out on this machine; see `studio.jobs.executor.Executor`.

    Processes are started when there is something to do for them, import torch and the rest once,
    and keep the weights that were used last. They end with the process that started them, however
    that ends.

    Args:
        workers: how many jobs are worked on at a time; 0: as many as `studio.jobs.machine.places`
            finds room for.
        changed: see `Changed`.
        tasks: what processes import before their first job; others are imported when they come.
    """

    def __init__(
        self,
        workers: int = 0,
        changed: Changed = lambda record: None,
        tasks: Sequence[str] = ("make",),
    ) -> None:
        self._changed, self._tasks = changed, tasks
        self._places = places(workers)
        self._lock = threading.Condition()
        self._queue: deque[Piece] = deque()
        self._working: dict[str, Piece] = {}
        self._slots: list[_Slot] = []
        self.closed = False

    # --- for those who hand jobs in -------------------------------------------------------------

    @property
    def workers(self) -> int:
        """How many jobs are worked on at a time, at most."""
        return len(self._places)

    def start(self) -> None:
        """Start all processes now, so that the first jobs do not wait for their imports."""
        with self._lock:
            while len(self._slots) < len(self._places):
                self._add_slot()

    def submit(self, record: Record) -> None:
        """See `Executor`."""
        with self._lock:
            if self.closed:
                raise RuntimeError("the executor is closed")
            self._queue.append(Piece(record))
            busy = len(self._queue) + len(self._working)
            if len(self._slots) < min(busy, len(self._places)):
                self._add_slot()
            self._lock.notify_all()

    def cancel(self, record: Record) -> None:
        """See `Executor`; whoever works on it is free within two seconds."""
        record.cancel()
        with self._lock:
            waiting = [p for p in self._queue if p.record.folder == record.folder]
            for piece in waiting:
                self._queue.remove(piece)
            self._lock.notify_all()
        if waiting:
            put_down(record, Phase.CANCELLED)
            self.tell(record)

    def wait(self, timeout: float | None = None) -> bool:
        """See `Executor`."""
        end = time.monotonic() + timeout if timeout is not None else float("inf")
        with self._lock:
            while (self._queue or self._working) and time.monotonic() < end:
                self._lock.wait(min(0.2, max(0.0, end - time.monotonic())))
            return not (self._queue or self._working)

    def close(self) -> None:
        """See `Executor`."""
        with self._lock:
            self.closed = True
            self._queue.clear()
            slots = list(self._slots)
            self._lock.notify_all()
        for slot in slots:
            slot.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- for the slots --------------------------------------------------------------------------

    def _add_slot(self) -> None:
        device, threads = self._places[len(self._slots)]
        start = functools.partial(WorkerProcess, device, threads, self._tasks)
        slot = _Slot(self, start)
        self._slots.append(slot)
        slot.start()

    def take(self) -> Piece | None:
        """Wait for the next job; None: there is none any more."""
        with self._lock:
            while not self.closed:
                now = time.monotonic()
                ripe = next((p for p in self._queue if p.not_before <= now), None)
                if ripe is not None:
                    self._queue.remove(ripe)
                    self._working[str(ripe.record.folder)] = ripe
                    return ripe
                soonest = min((p.not_before - now for p in self._queue), default=None)
                self._lock.wait(soonest)
            return None

    def back(self, piece: Piece, again_in: float | None = None) -> None:
        """Take a job back from a slot, to be carried out again after some seconds, or for good."""
        with self._lock:
            self._working.pop(str(piece.record.folder), None)
            if again_in is not None and not self.closed:
                piece.not_before = time.monotonic() + again_in
                self._queue.append(piece)
            self._lock.notify_all()

    def tell(self, record: Record) -> None:
        """Say that a job has changed."""
        try:
            self._changed(record)
        except Exception:  # a listener's mistake ends no worker
            log.exception("%s: what listens to its changes failed", record)


class _Slot(threading.Thread):
    """One worker's place: hands it jobs, watches it, replaces it when it dies."""

    def __init__(self, owner: LocalExecutor, start: Callable[[], WorkerProcess]) -> None:
        super().__init__(daemon=True, name="studio-worker")
        self.owner, self._new = owner, start
        self.process = start()

    def run(self) -> None:
        """Carry jobs out until the executor is closed."""
        try:
            while (piece := self.owner.take()) is not None:
                try:
                    self._carry_out(piece)
                except (StudioError, OSError) as error:  # the folder is gone, the disk is full
                    self._put_down(piece, Phase.FAILED, str(error))
        finally:
            self.process.kill()

    def _carry_out(self, piece: Piece) -> None:
        end, words = self._watch(piece.record)
        if end in FINAL:
            self.owner.back(piece)
        elif end == "busy":
            self.owner.back(piece, BUSY_SECONDS)
        elif end == "refused":
            self._put_down(piece, Phase.FAILED, words)
        else:
            self._killed(piece, end)

    def _watch(self, record: Record) -> tuple[str, str]:
        """Have a job carried out.

        Returns:
            The phase it is in afterwards; or "busy" (somebody else works on it), "refused" with the
            reason; or, where the process is to be replaced, "died", "cancel", "timeout", "closed".
        """
        job = record.job
        while not self.process.ready:
            self.process.answers(LOOK_SECONDS)
            if self.process.gone or self.owner.closed:
                return ("died" if self.process.gone else "closed"), ""
            if record.cancelled:
                put_down(record, Phase.CANCELLED)
                self.owner.tell(record)
                return Phase.CANCELLED, ""
        self.process.send(do=str(record.folder))
        give_up = time.monotonic() + (job.timeout + GRACE_SECONDS if job.timeout else inf)
        asked = inf
        while True:
            for said in self.process.answers(LOOK_SECONDS):
                if "over" in said:
                    return said["over"], said.get("error", "")
                self.owner.tell(record)
            if self.process.gone:
                return "died", ""
            if self.owner.closed:
                return "closed", ""
            now = time.monotonic()
            if asked == inf and record.cancelled:
                asked = now
            if now > asked + GRACE_SECONDS or now > give_up:
                return ("timeout" if now > give_up else "cancel"), ""

    def _killed(self, piece: Piece, end: str) -> None:
        """Replace the process, and say what becomes of its job."""
        started, code = self.process.ready, self.process.kill()
        words = "" if started else self.process.last_words()
        if end != "closed":
            self.process = self._new()
        job = piece.record.job
        if end == "cancel":
            self._put_down(piece, Phase.CANCELLED)
        elif end == "timeout":
            self._put_down(piece, Phase.FAILED, gave_up(job.timeout))
        elif end == "closed":
            self._put_down(piece, Phase.WAITING)
        elif piece.crashes < job.retries:
            piece.crashes += 1
            self._put_down(piece, Phase.WAITING, again=True)
        else:
            self._put_down(piece, Phase.FAILED, death(code, piece.crashes + 1, words))

    def _put_down(
        self, piece: Piece, phase: Phase, error: str = "", *, again: bool = False
    ) -> None:
        """Note the phase of a job whose worker did not, and give it back to the executor."""
        with contextlib.suppress(StudioError, OSError):  # its folder is gone, perhaps
            put_down(piece.record, phase, error)
        self.owner.tell(piece.record)
        self.owner.back(piece, 0.0 if again else None)


def death(code: int, times: int, words: str) -> str:
    """Why a job failed whose processes died.

    Args:
        code: exit code of the last process, minus the signal that ended it.
        times: how many died.
        words: what the process said, if it died before it had begun.
    """
    often = "" if times == 1 else f" {times} times"
    if words:
        return f"the process that was to work on it could not start{often}: {words}"
    if code == -signal.SIGKILL:
        how = "killed from outside, as systems do when memory runs out"
    elif code < 0:
        how = f"ended by {signal.Signals(-code).name}"
    else:
        how = f"exit code {code}"
    return f"the process that worked on it died{often} ({how}); log.txt may say more."
