"""What carries jobs out: the contract of executors, here and on other machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self

from studio.jobs.record import Record

Changed = Callable[[Record], None]
"""Called after every change of a job's state, from a thread of the executor."""


class Executor(Protocol):
    """Carries jobs out, in the order in which they come.

    A job that is over is left as it is (see `Record.again`). Of executors that share a folder, one
    does a job; the others wait for it, or take it over if that one dies.
    """

    def submit(self, record: Record) -> None:
        """Take a job; it is carried out when its turn comes."""

    def cancel(self, record: Record) -> None:
        """End a job, whether it waits or is worked on; it does not wait for that."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; False if the time was over first."""

    def close(self) -> None:
        """End all work and all processes; jobs that were worked on wait for another executor."""

    def __enter__(self) -> Self:
        """Be closed at the end of a block."""

    def __exit__(self, *_: object) -> None:
        """Close."""
