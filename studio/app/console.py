"""Standard output and signals of a program that is started in all kinds of surroundings."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from studio.errors import StudioError, Terminated
from studio.io.files import refused

GONE = {errno.EPIPE, errno.EIO, errno.EBADF, errno.ECONNRESET}
"""The reader or the terminal is no more there."""


_writing = threading.RLock()
"""Standard output and standard error are often one terminal or file."""


class Output:
    """A text stream whose reader may leave: the program goes on, what it says goes nowhere.

    Lines come out whole, one after the other, whichever thread writes them (`print` writes a line
    and its end apart): what a thread has begun is held until its line ends or it flushes.

    Args:
        stream: `sys.stdout` or `sys.stderr` as Python opened it.
        name: said where the system refuses to write; without one, that passes in silence.
    """

    def __init__(self, stream: Any, name: str = "") -> None:
        self._stream, self._name = stream, name
        self._begun: dict[int, str] = {}  # by thread
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="studio")

    def write(self, text: str) -> int:
        """Write text; returns its length.

        Raises:
            StudioError: when the system refuses for another cause than that nobody reads.
        """
        with _writing:
            thread = threading.get_ident()
            lines, end, begun = (self._begun.pop(thread, "") + text).rpartition("\n")
            if begun:
                self._begun[thread] = begun
            if end:
                self._do(self._stream.write, lines + end)
        return len(text)

    def flush(self) -> None:
        """Hand on what is held of this thread's and what is buffered; raises as `write` does."""
        with _writing:
            if begun := self._begun.pop(threading.get_ident(), ""):
                self._do(self._stream.write, begun)
            self._do(self._stream.flush)

    def end(self) -> None:
        """Hand on what any thread has begun; raises as `write` does."""
        with _writing:
            begun, self._begun = self._begun, {}
            for text in begun.values():
                self._do(self._stream.write, text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _do(self, act: Callable[..., Any], *args: Any) -> None:
        try:
            act(*args)
        except OSError as error:
            self._to_nowhere()
            if self._name and error.errno not in GONE:
                raise refused(error, Path(self._name)) from error

    def _to_nowhere(self) -> None:
        """Point the stream at the null device, so that Python's own flush at exit succeeds."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self._stream.fileno())
        except (OSError, ValueError):  # no real file, as in tests
            self._stream = open(os.devnull, "w")  # noqa: PTH123, SIM115
        finally:
            os.close(nowhere)


def _as_it_came(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write a path that is no text as the bytes it is made of, anything else as its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    try:
        return part.encode(error.encoding, "surrogateescape"), error.end
    except UnicodeEncodeError:
        return part.encode("ascii", "backslashreplace"), error.end


codecs.register_error("studio", _as_it_came)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Standard streams that exist and hold, and signals that are heard and leave nothing half done.

    SIGTERM becomes `Terminated`, a `SystemExit` with the code 143, so that temporary files go.
    Where Python drops that or Ctrl-C's exception, the signal is sent once more.
    """
    for descriptor in (0, 1, 2):  # a closed one would be the number of the next file opened
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    nowhere = open(os.devnull, "w")  # noqa: PTH123, SIM115
    outputs = Output(sys.stdout or nowhere, "standard output"), Output(sys.stderr or nowhere)
    sys.stdout, sys.stderr = outputs  # type: ignore[assignment]
    main_thread = threading.current_thread() is threading.main_thread()
    ours = main_thread and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _terminate)
    hook_before, sys.unraisablehook = sys.unraisablehook, _send_again
    try:
        yield
    finally:
        sys.unraisablehook = hook_before
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.stdout, sys.stderr = (old or nowhere for old in before)
        for output in outputs:
            output.end()


def _terminate(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
    raise Terminated(128 + number)


def _send_again(dropped: sys.UnraisableHookArgs) -> None:
    """Report an exception that Python drops, as in finalizers; a signal's is raised later."""
    number = {Terminated: signal.SIGTERM, KeyboardInterrupt: signal.SIGINT}.get(dropped.exc_type)
    if number is None or threading.current_thread() is not threading.main_thread():
        sys.__unraisablehook__(dropped)
        return
    if number == signal.SIGTERM:
        signal.signal(number, _terminate)
    again = threading.Timer(0.05, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def say_stopped(text: str) -> None:
    """Say that a signal ended the work.

    What it left half made, as by numba, may complain when it goes: no news from here on.
    """
    print(text, file=sys.stderr)
    if sys.unraisablehook is _send_again:  # `guarded` puts another one back
        sys.unraisablehook = lambda _: None


def say_found(summary: list[str], warnings: list[str], alarms: list[str]) -> None:
    """Say what a person should know about a result, what contradicts it last."""
    for line in summary:
        print(line)
    for line in warnings:
        print(f"WARNING: {line}")
    for line in alarms:
        print(f"\n*** THIS RESULT CANNOT BE RIGHT ***\n{line}\n")


def check_text(words: list[str]) -> None:
    """Refuse words that are no UTF-8, which libraries that read and write files cannot take.

    Raises:
        StudioError: naming the first such word, and what to do.
    """
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            shown = word.encode(errors="backslashreplace").decode()
            try:
                os.fsencode(word).decode()
            except UnicodeDecodeError:
                raise StudioError(
                    f"'{shown}' is not UTF-8.",
                    allowed="texts and paths in UTF-8",
                    hint="rename the file or folder, for example with `convmv`, or link to it",
                ) from None
            raise StudioError(
                f"'{shown}' cannot be read: this terminal's language settings are ASCII.",
                hint="set PYTHONUTF8=1, or LC_ALL=C.UTF-8",
            ) from None
