"""A warm worker process as seen from the one that started it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[2]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class WorkerProcess:
    """Starts `studio.jobs.worker` and talks to it; used by one thread.

    Args:
        device: where it computes.
        threads: of the processor, for it alone.
        tasks: see `studio.jobs.worker.Worker`.
    """

    def __init__(self, device: str, threads: int, tasks: Sequence[str] = ()) -> None:
        environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH", "")])]
        )
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  what it says outside of jobs
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "studio.jobs.worker", device, *tasks],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
            start_new_session=True,  # a terminal's Ctrl-C is not for it; it leads what it starts
        )
        self._rest = b""
        self.ready = False
        self.gone = False

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def send(self, **words: Any) -> None:
        """Tell it something; one that is gone shows in `answers`."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(words).encode() + b"\n")
            self._process.stdin.flush()

    def answers(self, seconds: float) -> list[dict[str, Any]]:
        """What it has said, waiting for a while; `gone` is true once it can say nothing more."""
        assert self._process.stdout is not None
        waiting = select.poll()
        if self.gone:
            return []
        waiting.register(self._process.stdout, select.POLLIN)
        if not waiting.poll(1000 * seconds):
            return []
        chunk = os.read(self._process.stdout.fileno(), 1 << 16)
        self.gone = not chunk
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        said = [json.loads(line) for line in lines]
        self.ready = self.ready or any("ready" in words for words in said)
        return said

    def kill(self) -> int:
        """End it at once with all that it has started; returns its exit code (-9: killed)."""
        if self.gone:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)  # it is about to end by itself, with a code of its own
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        self.gone = True
        return code

    def last_words(self) -> str:
        """The last line that it said outside of jobs, such as why it could not start."""
        self._said.seek(0)
        lines = self._said.read()[-4000:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""
