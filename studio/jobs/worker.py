"""A process that stays warm and carries out one job after another (python -m studio.jobs.worker).

It reads lines of JSON from standard input, {"do": folder}, and answers on standard output:
{"ready": true}, {"changed": true}, {"over": phase}, with "busy" or "refused" for a phase. When
standard input ends, which it does however the process that started it ends, this one ends at once,
with all that it has started.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from studio import progress
from studio.errors import StudioError
from studio.jobs.record import Record


class Worker:
    """Talks to the process that started this one.

    Args:
        device: where to compute.
        tasks: that jobs are going to be of; what they need is imported first.
    """

    def __init__(self, device: str, tasks: Sequence[str]) -> None:
        self.device, self.tasks = device, tasks
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)  # what is printed between jobs is nobody's answer
        os.close(nowhere)
        self._jobs: queue.Queue[str] = queue.Queue()
        for watch in (self._listen, _company):
            threading.Thread(target=watch, daemon=True).start()

    def _listen(self) -> None:
        try:
            for line in sys.stdin:
                self._jobs.put(json.loads(line)["do"])
        finally:
            end_all()

    def say(self, **answer: Any) -> None:
        """Answer; whoever is gone ends this process by that."""
        try:
            print(json.dumps(answer), file=self._answers, flush=True)
        except OSError:
            end_all()

    def serve(self) -> None:
        """Carry out jobs until the other side is gone."""
        from studio.jobs.attempt import attempt, warm_up
        from studio.jobs.task import Shelf

        warm_up(self.tasks)
        shelf = Shelf()
        self.say(ready=True)
        while True:
            folder = self._jobs.get()
            try:
                phase = attempt(
                    Record(folder),
                    device=self.device,
                    shelf=shelf,
                    changed=lambda: self.say(changed=True),
                )
                self.say(over=phase or "busy")
            except StudioError as error:
                self.say(over="refused", error=str(error))
            gc.collect()  # models and pipelines point at each other


def _company() -> None:
    """End with the process that started this one, should others keep standard input open."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1.0)
    end_all()


def end_all() -> None:
    """End this process and those that it has started: its group, which it leads."""
    with contextlib.suppress(OSError, AttributeError):
        if os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Serve the process at the other end of the pipes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who started this
    worker = Worker(sys.argv[1], sys.argv[2:])
    faulthandler.enable()
    from studio.runs.trainer import quiet_libraries, show_own_messages

    quiet_libraries()
    show_own_messages()
    progress.enabled = True
    worker.serve()


if __name__ == "__main__":
    main()
