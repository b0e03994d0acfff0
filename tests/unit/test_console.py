"""Lines of several threads come out whole, on one stream and on two that are one terminal."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from studio import progress
from studio.app.console import Output


class Slow(io.StringIO):
    """A stream whose every write lets other threads write."""

    def write(self, text: str) -> int:
        time.sleep(0.001)
        return super().write(text)


def test_lines_of_threads_do_not_mix() -> None:
    terminal = Slow()
    outputs = [Output(terminal), Output(terminal)]
    ready = threading.Barrier(4)

    def say(k: int) -> None:
        ready.wait()
        for i in range(20):
            print("thread", k, i, file=outputs[k % 2], flush=i % 3 == 0)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(say, range(4)))
    lines = terminal.getvalue().splitlines()
    assert sorted(lines) == sorted(f"thread {k} {i}" for k in range(4) for i in range(20))


def test_a_line_that_is_begun_is_seen_once_it_is_flushed_or_all_ends() -> None:
    stream = io.StringIO()
    output = Output(stream)
    print("one", end="", file=output)
    assert stream.getvalue() == ""
    print(" two", end="", file=output, flush=True)
    assert stream.getvalue() == "one two"
    other = threading.Thread(target=lambda: print(" three", end="", file=output))
    other.start()
    other.join()
    output.end()
    assert stream.getvalue() == "one two three"


def test_a_stage_is_told_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[str] = []
    stream = io.StringIO()
    monkeypatch.setattr(stream, "write", pieces.append)
    monkeypatch.setattr("sys.stdout", stream)
    with progress.StageProgress("kernels") as stage:
        stage._print("kernels  running for 0:02")
    assert pieces[0] == "kernels  running for 0:02\n"
