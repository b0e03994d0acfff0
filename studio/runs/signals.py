"""Ctrl-C and termination signals while something is trained: the step ends, then it is saved."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

from studio.progress import first_process

LAUNCHER_SECONDS = 1.0
"""A signal that comes so soon after another is no second wish: torchrun hands Ctrl-C on."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """Training stopped after a whole step because a signal asked for it.

    Attributes:
        signal: the signal's number.
        step: the step that the saved checkpoint holds.
    """

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"stopped by signal {number} after step {step}")
        self.signal = number
        self.step = step


class StopSignals:
    """Notes the first signal that asks to stop; a second one stops at once.

    Attributes:
        number: of the signal, 0 while there was none.
    """

    def __init__(self) -> None:
        self.number, self._when = 0, 0.0
        self._handlers: dict[int, Any] = {}

    def listen(self) -> None:
        """Take the signals over, in the main thread."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._on_signal)

    def give_back(self) -> None:
        """Let those have them who had them before."""
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._handlers.clear()

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.number:
            if time.monotonic() - self._when < LAUNCHER_SECONDS:
                return
            raise KeyboardInterrupt
        self.number, self._when = number, time.monotonic()
        if first_process():
            print(
                "\nfinishing this step, then saving; press Ctrl-C again to stop at once", flush=True
            )
