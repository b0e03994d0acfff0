"""How long the parts of an export take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from studio.progress import StageProgress


class Clock:
    """Seconds per stage, for the log; shows what takes long."""

    SAID = {
        "files": "writing files",
        "unwrap": "unwrapping",
        "bake": "baking the texture",
        "details": "baking further maps",
        "levels": "levels of detail",
        "views": "colours from the views",
    }

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what is done within, under a name that `SAID` may put into words."""
        began = time.perf_counter()
        with StageProgress(self.SAID.get(name, name)):
            yield
        self.laps[name] = round(time.perf_counter() - began, 3)

    def __str__(self) -> str:
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.laps.items())
