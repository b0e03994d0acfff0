"""What executors have in common: the queue, and what becomes of a job whose process is gone."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Self

from studio.errors import StudioError
from studio.jobs.attempt import put_down
from studio.jobs.executor import Changed
from studio.jobs.record import Phase, Record

GRACE_SECONDS = 1.0
"""How long a job that is to end may take for that before its process is killed."""
BUSY_SECONDS = 1.0
"""Until a job is looked at again that another executor works on."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Piece:
    """A job in the queue.

    Attributes:
        record: of the job.
        crashes: how many processes have died over it.
        losses: how many machines have gone with it.
        not_before: when its turn may come, on the monotonic clock.
    """

    record: Record
    crashes: int = 0
    losses: int = 0
    not_before: float = 0.0


class Pool:
    """The queue of an executor, and what is worked on; see `studio.jobs.executor.Executor`.

    Args:
        changed: see `Changed`.
    """

    def __init__(self, changed: Changed) -> None:
        self._changed = changed
        self.lock = threading.Condition()
        self._queue: deque[Piece] = deque()
        self._working: set[Piece] = set()
        self.closed = False

    # --- for those who hand jobs in -------------------------------------------------------------

    @property
    def busy(self) -> int:
        """How many jobs wait or are worked on."""
        return len(self._queue) + len(self._working)

    def submit(self, record: Record) -> None:
        """See `Executor`."""
        with self.lock:
            if self.closed:
                raise RuntimeError("the executor is closed")
            self._queue.append(Piece(record))
            self.added()
            self.lock.notify_all()

    def added(self) -> None:
        """Called, under the lock, when a job has come."""

    def cancel(self, record: Record) -> None:
        """See `Executor`; whoever works on it is free within two seconds."""
        record.cancel()
        with self.lock:
            waiting = [p for p in self._queue if p.record.folder == record.folder]
            for piece in waiting:
                self._queue.remove(piece)
            working = any(p.record.folder == record.folder for p in self._working)
        if not working:
            self.put_down(Piece(record), Phase.CANCELLED)  # unless others work on it

    def wait(self, timeout: float | None = None) -> bool:
        """See `Executor`."""
        end = time.monotonic() + timeout if timeout is not None else float("inf")
        with self.lock:
            while self.busy and time.monotonic() < end:
                self.lock.wait(min(0.2, max(0.0, end - time.monotonic())))
            return not self.busy

    def close(self) -> None:
        """See `Executor`."""
        with self.lock:
            self.closed = True
            self._queue.clear()
            self.lock.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- for those who carry jobs out -----------------------------------------------------------

    def take(self, *, wait: bool = True) -> Piece | None:
        """The next job; None: there is none (any more)."""
        with self.lock:
            while not self.closed:
                now = time.monotonic()
                ripe = next((p for p in self._queue if p.not_before <= now), None)
                if ripe is not None:
                    self._queue.remove(ripe)
                    self._working.add(ripe)
                    return ripe
                if not wait:
                    return None
                self.lock.wait(min((p.not_before - now for p in self._queue), default=None))
            return None

    def back(self, piece: Piece, again_in: float | None = None) -> None:
        """Take a job back, to be carried out again after some seconds, or for good."""
        with self.lock:
            self._working.discard(piece)
            if again_in is not None and not self.closed:
                piece.not_before = time.monotonic() + again_in
                self._queue.append(piece)
            self.lock.notify_all()

    def tell(self, record: Record) -> None:
        """Say that a job has changed."""
        try:
            self._changed(record)
        except Exception:  # a listener's mistake ends no worker
            log.exception("%s: what listens to its changes failed", record)

    def put_down(self, piece: Piece, phase: Phase, error: str = "", *, again: bool = False) -> None:
        """Note the phase of a job whose worker did not, tell it, and take the job back."""
        with contextlib.suppress(StudioError, OSError):  # its folder is gone, perhaps
            put_down(piece.record, phase, error)
        self.tell(piece.record)
        self.back(piece, 0.0 if again else None)

    def crashed(self, piece: Piece, code: int, words: str = "") -> None:
        """Have a job done again whose process died, if it may be; else it has failed.

        Args:
            piece: the job.
            code: see `death`.
            words: see `death`.
        """
        piece.crashes += 1
        if piece.crashes <= piece.record.job.retries:
            self.put_down(piece, Phase.WAITING, again=True)
        else:
            self.put_down(piece, Phase.FAILED, death(code, piece.crashes, words))


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
