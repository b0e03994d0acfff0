"""Progress of a stage: a line that moves on a terminal, a line now and then anywhere else.

Quick stages say nothing. A stage that blocks is told about by a thread, so that nobody waits before
a silent program.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from studio.errors import Cancelled, ConfigError, StudioError

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""What torchrun, Lightning and SLURM number processes and machines by."""
QUIET_SECONDS = 1.5
"""How long a stage says nothing."""
LINE_SECONDS = (5.0, 60.0)
"""Seconds between two lines where there is no terminal: at first, and in stages of hours."""
BAR_SECONDS = 0.2
"""Seconds between two updates of the bar."""

enabled = False
"""Whether stages are shown: the command line wants it; who imports this package may not."""

Listener = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, what is done); 0 in all where that is not known."""

_listener: contextvars.ContextVar[Listener | None] = contextvars.ContextVar("tell", default=None)
_cancel: contextvars.ContextVar[Callable[[], bool] | None]
_cancel = contextvars.ContextVar("cancel", default=None)

_lock = threading.RLock()
_active: list[StageProgress] = []  # the innermost last


def first_process() -> bool:
    """Whether this process of a job is the one that prints; known before processes connect."""
    return all(int(os.environ.get(name) or 0) == 0 for name in RANK_VARIABLES)


@contextlib.contextmanager
def listening(
    tell: Listener | None = None, cancel: Callable[[], bool] | None = None
) -> Iterator[None]:
    """Tell of every stage of what is done within; the thread's own, so many can run side by side.

    Args:
        tell: called when a stage begins and after each of its steps.
        cancel: asked at the same moments; once it says True, `Cancelled` is raised there.

    Raises:
        ConfigError: if one of them is no function.
    """
    for name, given, signature in (
        ("progress", tell, "(done, total, label)"),
        ("cancel", cancel, "()"),
    ):
        if given is not None and not callable(given):
            raise ConfigError(f"{name} is {given!r}.", allowed=f"a function {name}{signature}")
    told, asked = _listener.set(tell), _cancel.set(cancel)
    try:
        yield
    finally:
        _listener.reset(told)
        _cancel.reset(asked)


def _tell(done: int, total: int, label: str) -> None:
    if (tell := _listener.get()) is not None:
        tell(done, total, label)
    if (cancel := _cancel.get()) is not None and cancel():
        raise Cancelled(f"cancelled: {label}.")


class StageProgress:
    """Shows one stage: `with StageProgress("views", 25) as show: show(done, total)`.

    Without a number of steps it shows the seconds that pass: `with StageProgress("unwrap"):`. It
    can be handed to `Guidance.generate(progress=...)` as it is. Of stages within each other, a
    terminal shows the innermost.

    Args:
        label: name of the stage.
        total: number of steps; 0 where that is not known.
        done: steps already done before (a resumed run).
        unit: what is counted: "" for steps, "s" for the seconds of a time budget.
        pieces: entered many times, for pieces of one work: its end is not told.
    """

    def __init__(
        self, label: str, total: int = 0, done: int = 0, unit: str = "", *, pieces: bool = False
    ) -> None:
        self.label = label
        self.total = total
        self.done = done
        self.unit = unit
        self.pieces = pieces
        self._silent = True
        self._values: Mapping[str, Any] = {}
        self._marks: deque[tuple[float, int]] = deque(maxlen=64)
        self._spent = 0.0  # by earlier pieces
        self._said = 0.0  # seconds after which the last line was printed
        self._done = False
        self._task: Any = None
        self._over = threading.Event()

    def __enter__(self) -> Self:
        _tell(self.done, self.total, self.label)
        self._silent = not (enabled and first_process())
        self._began = time.monotonic()
        self._marks.append((self._began, self.done))
        self._over = threading.Event()
        with _lock:
            _active.append(self)
        if not self._silent:
            threading.Thread(target=self._watch, args=(self._over,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _lock:
            self._over.set()
            _active.remove(self)
            self._spent, self._began = self.seconds, 0.0
            self._done = error is None and not self.pieces
            if self._task is not None:
                _terminal.close(self)
            elif self._done and not self._silent and self._told_or_slow:
                self._print(self.text)

    def __call__(self, done: int, total: int, values: Mapping[str, Any] | None = None) -> None:
        """Note that `done` of `total` steps are done; `values`, numbers or words, are shown too."""
        with _lock:
            self.done, self.total, self._values = done, total, values or {}
            now = time.monotonic()
            if now - self._marks[-1][0] >= BAR_SECONDS or done >= total:
                if done != self._marks[-1][1]:
                    self._marks.append((now, done))
                if self._task is not None:
                    _terminal.update(self)
            if self._due() <= 0 and done < total:
                self._show()
        _tell(done, total, self.label)

    @property
    def seconds(self) -> float:
        """How long the stage has lasted."""
        return self._spent + (time.monotonic() - self._began if self._began else 0.0)

    def rate(self) -> float:
        """Steps a second, over the last few updates."""
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        return (last - first) / (end - start) if end > start else 0.0

    @property
    def text(self) -> str:
        """How far it is, in words: steps, values, speed and time left, as far as they are known."""
        unit = f" {self.unit}" if self.unit else ""
        shown = [f"{self.label}: {self.done}/{self.total}{unit}" if self.total else self.label]
        rate, left = self.rate(), self.total - self.done
        if self._done:
            shown.append(f"done in {clock(self.seconds)}")
        elif self.unit == "s":
            shown.append(f"{clock(left)} left")
        elif rate > 0 and left > 0:
            shown.append(f"{clock(left / rate)} left")
        else:
            shown.append(f"running for {clock(self.seconds)}")
        if rate > 0 and self.unit != "s":
            shown.append(f"{rate:.2f} steps/s" if rate >= 0.1 else f"{1 / rate:.1f} s/step")
        values = {k.removeprefix("train/"): v for k, v in self._values.items()}
        for k in sorted(values, key="loss".__ne__):
            v = values[k]
            shown.append(f"{k} {v}" if isinstance(v, str) else f"{k} {float(v):.4g}")
        return "  ".join(shown)

    @property
    def _told_or_slow(self) -> bool:
        return self._said > 0 or self.seconds >= QUIET_SECONDS

    def _due(self) -> float:
        """Seconds until it has to be shown; 0 or less: now."""
        if not self._said:
            return QUIET_SECONDS - self.seconds
        first, most = LINE_SECONDS
        return self._said + min(max(first, 0.05 * self._said), most) - self.seconds

    def _watch(self, over: threading.Event) -> None:
        """Show a stage whose steps are long or none, until it is over or a terminal shows it."""
        while not over.wait(max(self._due(), 0.05)):
            with _lock:
                if over.is_set() or self._task is not None:
                    return
                if self._due() <= 0 and _active[-1] is self:
                    try:
                        self._show()
                    except (OSError, StudioError):  # the program finds out by itself
                        return

    def _show(self) -> None:
        if self._silent or self._task is not None:
            return
        if _terminal.moving or sys.stdout.isatty():
            self._task = _terminal.open(self)
        else:
            self._print(self.text)

    def _print(self, text: str) -> None:
        self._said = max(self.seconds, 1e-9)
        print(f"{text}\n", end="", flush=True)  # in one piece: other threads write, too


class _Terminal:
    """The one line of this process that moves: the innermost of the stages that are shown."""

    def __init__(self) -> None:
        self._bars: Any = None
        self._stages: list[StageProgress] = []

    @property
    def moving(self) -> bool:
        """Whether it is there; standard output is a stand-in then, which is no terminal."""
        return self._bars is not None

    def open(self, stage: StageProgress) -> Any:
        if self._bars is None:
            from rich.progress import BarColumn, Progress, TextColumn
            from rich.table import Column

            self._bars = Progress(
                BarColumn(bar_width=16),
                TextColumn(
                    "{task.fields[stage].text}",
                    markup=False,
                    table_column=Column(no_wrap=True, overflow="ellipsis"),
                ),
                refresh_per_second=5,
            )
            self._bars.start()
        if self._stages:
            self._bars.update(self._stages[-1]._task, visible=False)
        self._stages.append(stage)
        return self._bars.add_task("", total=stage.total or None, completed=stage.done, stage=stage)

    def update(self, stage: StageProgress) -> None:
        self._bars.update(stage._task, completed=stage.done, total=stage.total or None)

    def close(self, stage: StageProgress) -> None:
        """Take a stage away; the outermost one stays to be read, with its last figures."""
        self._stages.remove(stage)
        task, stage._task = stage._task, None
        if self._stages:
            self._bars.remove_task(task)
            self._bars.update(self._stages[-1]._task, visible=True)
        else:
            whole = stage.total or 1
            done = stage.done if stage.total else int(stage._done)
            self._bars.update(task, completed=done, total=whole)
            self._bars.stop()
            self._bars = None


_terminal = _Terminal()


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    whole = round(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
