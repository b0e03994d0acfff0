"""One process beside the server for what takes a moment: preparing pictures, converting meshes.

It is started when it is first needed and keeps its imports. Whatever a file does to it, be it that
it takes for ever, all memory or the process' life, the server answers in words and starts another.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from studio.errors import StudioError
from studio.server.answers import Refusal

log = logging.getLogger(__name__)

MOST_WAITING = 8
"""Pieces of work that wait; further ones are told that it is busy."""
PIECES = 300
"""After which a new process takes over, so that no leak grows."""


class Helper:
    """Does one piece after the other in a process of its own.

    Args:
        seconds: most that a piece may take.
        most_gb: memory that the process may take above what it has after its first piece; 0: any.
    """

    def __init__(self, seconds: float = 60.0, most_gb: float = 6.0) -> None:
        self.seconds, self.most_gb = seconds, most_gb
        self._lock, self._counting = threading.Lock(), threading.Lock()
        self._waiting = 0
        self._process: Any = None
        self._line: Connection | None = None
        self._done = 0

    @property
    def pid(self) -> int | None:
        """Of the process, where there is one."""
        return None if self._process is None else self._process.pid

    def __call__(self, work: Callable[..., Any], *args: Any) -> Any:
        """Do a piece of work there and return what it returns.

        Args:
            work: a function at the top of a module.
            args: of it.

        Raises:
            StudioError: what the work said; or that it was given up.
            Refusal: if too much is waiting.
        """
        with self._counting:
            if self._waiting >= MOST_WAITING:
                raise Refusal(429, "the server is busy.", hint="Try again in a few seconds.")
            self._waiting += 1
        try:
            with self._lock:
                return self._ask(work, args)
        finally:
            with self._counting:
                self._waiting -= 1

    def close(self) -> None:
        """End the process."""
        with self._counting:
            self._stop()

    def _ask(self, work: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if self._done >= PIECES or self._process is None or not self._process.is_alive():
            self._stop()
            self._start()
        line = self._line  # another thread may close it
        assert line is not None
        self._done += 1
        try:
            line.send((work, args))
            if not line.poll(self.seconds):
                self._stop()
                raise StudioError(
                    f"this took more than {self.seconds:g} seconds and was given up.",
                    hint="Try a smaller picture or mesh.",
                )
            good, value = line.recv()
        except (EOFError, OSError) as error:
            self._stop()
            raise StudioError(
                "the file could not be worked on: it took the process down.",
                hint="Try a smaller one, or write it anew with another program.",
            ) from error
        if good:
            return value
        raise value

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, other = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(other, self.most_gb), name="studio-helper", daemon=True
        )
        self._process.start()
        other.close()
        self._done = 0

    def _stop(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            self._process.kill()
            self._process.join(5)
        self._process = self._line = None


def _serve(line: Connection, most_gb: float) -> None:
    """Work until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the server's to hear
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    _limit(most_gb)
    while True:
        try:
            work, args = line.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            answer = True, work(*args)
        except StudioError as error:
            answer = False, StudioError(str(error))
        except MemoryError:
            answer = False, StudioError("this needs more memory than the server has for it.")
        except Exception:
            log.exception("a fault in %s", getattr(work, "__name__", work))
            answer = False, StudioError("a fault of the program: its log says more.")
        with contextlib.suppress(OSError):
            line.send(answer)


def end_with_parent() -> None:
    """End this process once the one that started it is gone, however that ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def _limit(most_gb: float) -> None:
    """Let what asks for endless memory fail by itself, before the machine does."""
    if most_gb <= 0 or sys.platform == "win32":
        return
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (int(most_gb * 2**30), resource.RLIM_INFINITY))
