"""Tasks for tests of executors: plugins in a folder of their own, for processes to find."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.plugins import discovery

TASKS = '''
import os
import signal
import time
from dataclasses import dataclass

from studio.errors import DataError
from studio.jobs.task import Outcome, Task
from studio.plugins import register
from studio.progress import StageProgress


@register("task", "nap")
class Nap(Task):
    """Sleeps in steps, and says so."""

    @dataclass
    class Config:
        lasts: float = 0.0
        deaf: bool = False
        crashes: int = 0
        how: str = "9"
        figure: float = 0.0
        mistake: str = ""

    def __init__(self, cfg):
        self.cfg = cfg

    def run(self, work):
        cfg, seen = self.cfg, work.result.parent / "seen.txt"
        with seen.open("a") as file:
            print(os.getpid(), file=file)
        print("hello from the task", flush=True)
        if cfg.crashes >= len(seen.read_text().split()):
            with StageProgress("crash"):
                os._exit(3) if cfg.how == "exit" else os.kill(os.getpid(), int(cfg.how))
        if cfg.mistake == "bug":
            raise KeyError("a bug")
        if cfg.mistake == "exit":
            raise SystemExit(5)
        if cfg.mistake:
            raise DataError(f"{work.result.parent}/{cfg.mistake} is no good.")
        if cfg.deaf:
            time.sleep(cfg.lasts)
        end = time.monotonic() + cfg.lasts
        with StageProgress("napping") as told:
            n = 0
            while time.monotonic() < end:
                time.sleep(0.01)
                told(n := n + 1, 100)
        (work.result / "nap.txt").write_text(" ".join(work.inputs) + work.job.text)
        figures = {"figure": cfg.figure, "group": {"seed": work.job.seed}}
        return Outcome(figures, ["slept"], ["too long"])
'''


@contextlib.contextmanager
def custom_tasks(folder: Path) -> Iterator[Path]:
    """Make an empty folder the one of custom plugins, with the tasks in it, meanwhile."""
    (folder / "naps.py").write_text(TASKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIO_CUSTOM", str(folder))
        discovery.reset()
        yield folder
    discovery.reset()
