"""Starts `launch.py` commands by forking a process that has imported everything already."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MODULES = (
    "pytorch_lightning", "diffusers", "transformers", "imageio", "studio.app.experiment",
    "studio.systems.image_to_3d", "studio.systems.guidance_training", "studio.export.exporter",
    "studio.guidance.epidiff.guidance", "studio.guidance.zero123.guidance",
    "studio.data.procedural.dataset", "studio.data.training.nmr_shards",
    "studio.data.training.filter_views",
)  # fmt: skip
EVENTS = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree",
    "shutil.copyfile", "shutil.move", "os.listxattr", "subprocess.Popen",
}  # fmt: skip
"""Python's audit events that change files; opening a file for writing counts, too."""
LAST_MOMENTS = 0.2
"""Seconds before its end in which a process need not hear a signal any more."""
PATIENCE = 300.0
"""Seconds after which a process that was told to end is called hung."""


@dataclass(frozen=True)
class Kill:
    """When a process is killed and how.

    Attributes:
        number: the signal.
        event: before which of its changes to files, from 1; 0: by time.
        seconds: after which time from its start.
    """

    number: int
    event: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: exit code, negative for a signal.
        seconds: that it ran.
        said: its standard output and error.
        events: changes to files that it made, where it came to its end.
        reached: whether a signal came before its last moments.
    """

    code: int
    seconds: float
    said: str
    events: int = 0
    reached: bool = False


def preload() -> None:
    """Import what commands need, on one thread."""
    import torch

    torch.set_num_threads(1)
    for name in MODULES:
        importlib.import_module(name)


def run(words: Sequence[str], folder: Path, kill: Kill | None = None) -> Ended:
    """Run a command in a folder to its end, or to its kill."""
    log, counted = folder.parent / "log.txt", folder.parent / "events.txt"
    counted.unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    readable, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(words, folder, log, counted, kill, ready)
    os.close(ready)
    os.read(readable, 1)  # the child is at the command now
    os.close(readable)
    began = time.monotonic()
    code, after_signal = _wait(pid, began, kill)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)  # helpers such as ffmpeg
    events = int(counted.read_text() or 0) if counted.exists() else 0
    said = log.read_text(errors="replace")
    if kill is None:
        reached = False
    elif kill.event:
        reached = code != 0 or events >= kill.event
    else:
        reached = after_signal > (LAST_MOMENTS if code == 0 else 0)
    return Ended(code, time.monotonic() - began, said, events, reached)


def _wait(pid: int, began: float, kill: Kill | None) -> tuple[int, float]:
    """Wait for its end; returns its code, and how long it ran after a signal sent from here."""
    sent = math.inf
    due = kill.seconds if kill is not None and not kill.event else math.inf
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), time.monotonic() - sent
        passed = time.monotonic() - began
        if kill is not None and passed >= due:
            os.kill(pid, kill.number)
            sent, due = time.monotonic(), math.inf
        if passed > PATIENCE:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"process {pid} did not end within {PATIENCE:g} s")
        time.sleep(0.005)


def _become(
    words: Sequence[str],
    folder: Path,
    log: Path,
    counted: Path,
    kill: Kill | None,
    ready: int,
) -> None:
    """In the child: be the command, then leave without the parent's clean-up."""
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == 2 else signal.SIG_DFL)
        out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(folder)
        os.environ["TMPDIR"] = str(folder.parent / "tmp")
        os.environ.pop("STUDIO_RUN_DIR", None)
        count = _count_events(folder, kill)
        from studio.app.cli import main

        os.write(ready, b"x")
        code = main(list(words))
        for number in (signal.SIGINT, signal.SIGTERM):  # the command is over
            signal.signal(number, signal.SIG_IGN)
        sys.stdout.flush()
        counted.write_text(str(count()))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _count_events(folder: Path, kill: Kill | None) -> Callable[[], int]:
    """Count changes to files below a folder from now on; kills before the one that is wanted."""
    place, seen, busy = os.fspath(folder), 0, False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen, busy
        if busy or not _changes(event, arguments, place):
            return
        seen += 1
        if kill is not None and seen == kill.event:
            busy = True
            os.kill(os.getpid(), kill.number)
            busy = False

    sys.addaudithook(hook)
    return lambda: seen


def _changes(event: str, arguments: tuple[object, ...], place: str) -> bool:
    if event == "open":
        path, mode, flags = arguments
        writing = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not writing:
            return False
    elif event not in EVENTS:
        return False
    else:
        path = arguments[0]
    if event == "subprocess.Popen":
        return True
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
    return text.startswith(place) or (bool(text) and not text.startswith("/"))
