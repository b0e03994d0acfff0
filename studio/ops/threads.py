"""The tasks of a compiled loop on several threads, which are threads of Python.

The same machine code runs on one thread and on many: on each, a loop takes the next task for as
long as there are any, so that results depend on the tasks alone. A loop looks like this:

    @kernel
    def _loop(taken, tasks, ...):
        task = take(taken)
        while task < tasks:
            ...
            task = take(taken)
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch


class _Helpers:
    """Threads that wait for work, as many as were ever asked for."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._count = 0

    def call(self, work: Callable[[], None], count: int) -> None:
        """Let some of them do the same."""
        while self._count < count:
            self._count += 1
            threading.Thread(target=self._help, name="studio-kernels", daemon=True).start()
        for _ in range(count):
            self._work.put(work)

    def _help(self) -> None:
        while True:
            self._work.get()()


_helpers = functools.cache(_Helpers)
# A process that is forked has a copy of everything but of the threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)


class _Count(threading.local):
    """Threads that kernels use, where torch is kept from them."""

    kernels: int | None = None


_count = _Count()


@contextlib.contextmanager
def kernels_only() -> Iterator[None]:
    """Within this, kernels have the threads that torch had, and torch's own operations one.

    For loops that live on kernels: behind each small operation that torch shares out, its threads
    keep watch for the next for a millisecond or more, on the processors that the kernels need.
    """
    if _count.kernels is not None or (threads := torch.get_num_threads()) == 1:
        yield
        return
    _count.kernels = threads
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _count.kernels = None


def in_threads(loop: Callable[..., None], tasks: int, *arguments: Any) -> None:
    """Carry out tasks on as many threads as torch uses (or had: `kernels_only`).

    Args:
        loop: a kernel, of the form above.
        tasks: how many there are, the longest first; each is worth the time in which a thread
            wakes up, tens of microseconds.
        arguments: of the loop, behind ``taken`` and ``tasks``.
    """
    taken = np.zeros(1, np.int64)
    others = min(_count.kernels or torch.get_num_threads(), tasks) - 1
    if others <= 0:
        loop(taken, tasks, *arguments)
        return
    ends: SimpleQueue[BaseException | None] = SimpleQueue()

    def work() -> None:
        try:
            loop(taken, tasks, *arguments)
            ends.put(None)
        except BaseException as error:
            ends.put(error)

    _helpers().call(work, others)
    work()
    errors = [ends.get() for _ in range(others + 1)]
    for error in errors:
        if error is not None:
            raise error
