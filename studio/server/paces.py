"""How long jobs take, and still take: by how long others took here, and by the stage at work."""

from __future__ import annotations

import statistics
import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Mapping
from typing import Any

from studio.jobs import Job, State

MOST_JOBS = 256
LEAST_SECONDS = 1.0
"""That a stage is watched before its speed is believed."""


class Paces:
    """Watches stages; told of a job each time that somebody looks at it."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[str, int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def left(self, told: Mapping[str, Any], expected: float | None) -> int | None:
        """Return the seconds that a job still takes, None where nothing tells.

        Args:
            told: id, stage, done, total and seconds.
            expected: seconds that such a job takes in all, as far as it is known.
        """
        of_stage = self._of_stage(str(told["id"]), told["stage"], told["done"], told["total"])
        whole = None if expected is None else max(expected - told["seconds"], 1.0)
        known = [value for value in (of_stage, whole) if value is not None]
        return round(max(known)) if known else None

    def _of_stage(self, name: str, stage: str, done: int, total: int) -> float | None:
        now = time.monotonic()
        with self._lock:
            first = self._seen.get(name)
            if first is None or first[0] != stage or done < first[1]:
                self._seen[name] = first = stage, done, now
                while len(self._seen) > MOST_JOBS:
                    self._seen.popitem(last=False)
        spent, steps = now - first[2], done - first[1]
        if total <= 0 or steps <= 0 or spent < LEAST_SECONDS:
            return None
        return (total - done) * spent / steps


class Measured:
    """How long finished jobs took, kind by kind: beside the fit, and for each of its steps."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, float]]] = defaultdict(lambda: deque(maxlen=8))

    def add(self, job: Job, state: State, usual: int) -> None:
        """Learn from a job that is done.

        Args:
            job: what was to be done.
            state: how long it took.
            usual: steps of the fit where the job gives none.
        """
        fit, steps = state.figures.get("seconds.fit"), job.steps or usual
        if fit is not None and steps and not job.seconds:
            self._seen[_alike(job)].append((max(0.0, state.seconds - fit), fit / steps))

    def pace(self, job: Job) -> tuple[float, float] | None:
        """Return the seconds that such jobs take beside the fit, and a step; None: not known."""
        seen = self._seen.get(_alike(job))
        if not seen:
            return None
        beside, step = (statistics.median(values) for values in zip(*seen, strict=True))
        return beside, step

    def expected(self, job: Job, usual: int) -> float | None:
        """Return how many seconds such a job takes in all; None: not known."""
        pace = self.pace(job)
        return None if pace is None else pace[0] + pace[1] * (job.steps or usual)


def _alike(job: Job) -> str:
    """Jobs of which one tells how long the other takes."""
    efforts = {k: v for k, v in job.options.items() if not k.startswith("data.")}
    return f"{job.config} {sorted(efforts.items())}"
