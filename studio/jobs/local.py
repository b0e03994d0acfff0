"""The executor of this machine: processes that stay warm, one job per device."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from math import inf

from studio.errors import StudioError
from studio.jobs.attempt import gave_up, put_down
from studio.jobs.executor import Changed
from studio.jobs.machine import places
from studio.jobs.pool import BUSY_SECONDS, GRACE_SECONDS, Piece, Pool
from studio.jobs.process import WorkerProcess
from studio.jobs.record import FINAL, Phase, Record

LOOK_SECONDS = 0.1
"""Between two looks whether it is to end."""


class LocalExecutor(Pool):
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
        super().__init__(changed)
        self._tasks, self._places = tasks, places(workers)
        self._slots: list[_Slot] = []

    @property
    def workers(self) -> int:
        """How many jobs are worked on at a time, at most."""
        return len(self._places)

    def start(self) -> None:
        """Start all processes now, so that the first jobs do not wait for their imports."""
        with self.lock:
            while len(self._slots) < len(self._places):
                self._add_slot()

    def added(self) -> None:
        """Start a process for a new job, if there is room for one."""
        if len(self._slots) < min(self.busy, len(self._places)):
            self._add_slot()

    def close(self) -> None:
        """See `Executor`."""
        super().close()
        for slot in self._slots:
            slot.join()

    def _add_slot(self) -> None:
        device, threads = self._places[len(self._slots)]
        start = functools.partial(WorkerProcess, device, threads, self._tasks)
        slot = _Slot(self, start)
        self._slots.append(slot)
        slot.start()


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
                    self.owner.put_down(piece, Phase.FAILED, str(error))
        finally:
            self.process.kill()

    def _carry_out(self, piece: Piece) -> None:
        end, words = self._watch(piece.record)
        if end in FINAL:
            self.owner.tell(piece.record)  # it may have been over before
            self.owner.back(piece)
        elif end == "busy":
            self.owner.back(piece, BUSY_SECONDS)
        elif end == "refused":
            self.owner.put_down(piece, Phase.FAILED, words)
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
            self.owner.put_down(piece, Phase.CANCELLED)
        elif end == "timeout":
            self.owner.put_down(piece, Phase.FAILED, gave_up(job.timeout))
        elif end == "closed":
            self.owner.put_down(piece, Phase.WAITING)
        else:
            self.owner.crashed(piece, code, words)
