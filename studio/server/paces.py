"""How long jobs still take: by the speed of the stage at work, and by how long others took."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

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
