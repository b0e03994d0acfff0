"""Progress: quick stages say nothing, slow ones a line now and then, or one that moves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from studio import progress
from studio.data.procedural.dataset import ProceduralData
from studio.progress import StageProgress, clock


@pytest.fixture(autouse=True)
def enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "enabled", True)


def test_who_imports_the_package_is_not_talked_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    monkeypatch.setattr(progress, "enabled", False)
    with StageProgress("views", 2) as stage:
        now[0] += 9.0
        stage(1, 2)
    assert capsys.readouterr().out == ""


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until it is moved."""
    time_s = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: time_s[0])
    return time_s


def test_lines_tell_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], now: list[float]
) -> None:
    with StageProgress("views", 40) as stage:
        for done in range(1, 41):
            now[0] += 2.0
            stage(done, 40, {"train/colour": 0.5, "train/loss": torch.tensor(0.25)})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "views: 1/40  1:18 left  0.50 steps/s  loss 0.25  colour 0.5"
    assert lines[-1] == "views: 40/40  done in 1:20  0.50 steps/s  loss 0.25  colour 0.5"
    assert len(lines) == 14  # at 2 seconds, from then on after 6 each


def test_lines_of_long_stages_become_rare(
    capsys: pytest.CaptureFixture[str], now: list[float]
) -> None:
    with StageProgress("train", 36_000) as stage:
        for done in range(1, 36_001):
            now[0] += 1.0
            stage(done, 36_000)
    assert 600 < len(capsys.readouterr().out.splitlines()) < 700


def test_quick_stages_and_failed_ones_say_nothing(
    capsys: pytest.CaptureFixture[str], now: list[float]
) -> None:
    with StageProgress("surface"):
        now[0] += 1.0
    with pytest.raises(KeyError), StageProgress("unwrap"):
        now[0] += 9.0
        raise KeyError
    assert capsys.readouterr().out == ""
    with StageProgress("surface"):
        now[0] += 9.0
    assert capsys.readouterr().out == "surface  done in 0:09\n"


def test_a_stage_that_blocks_is_told_about(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(progress, "LINE_SECONDS", (0.05, 1.0))
    with StageProgress("surface"), StageProgress("compiling"):
        time.sleep(0.5)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 4
    assert all(line.startswith("compiling") for line in lines[:-1])  # the outer one waits
    assert lines[-1].startswith("surface  done in 0:0")


def test_pieces_count_together(capsys: pytest.CaptureFixture[str], now: list[float]) -> None:
    stage = StageProgress("compiling", pieces=True)
    for done in range(4):
        with stage:
            now[0] += 0.6
            stage(done, 4)
        now[0] += 60.0
    assert stage.seconds == pytest.approx(2.4)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_further_processes_are_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    monkeypatch.setenv("RANK", "1")
    with StageProgress("views", 2) as stage:
        now[0] += 9.0
        stage(1, 2)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("seconds", "text"), [(5, "0:05"), (65, "1:05"), (3661, "1:01:01")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


TERMINAL = """
import time
from studio import progress
from studio.progress import StageProgress
progress.enabled = True
progress.QUIET_SECONDS = 0.2
with StageProgress("train", 10) as stage:
    for done in range(10):
        time.sleep(0.1)
        stage(done + 1, 10)
        if done == 5:
            print("a message")
            with StageProgress("compiling"):
                time.sleep(0.6)
with StageProgress("quick"):
    pass
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_on_a_terminal_one_line_moves() -> None:
    import pty

    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-c", TERMINAL], stdout=child, stderr=child, env=environment
    ) as process:
        os.close(child)
        said = b""
        while True:
            try:
                said += os.read(parent, 4096)
            except OSError:  # the other end is closed
                break
    os.close(parent)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())
    assert text.count("\n") == 2, text  # of the message and of what stays
    assert "a message\r\n" in text and "compiling" in text and "quick" not in text
    assert "train: 10/10  done in 0:0" in text.splitlines()[-1]


def test_rendering_of_procedural_objects_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    for folder in (None, str(tmp_path)):
        data = ProceduralData(
            ProceduralData.Config(objects=3, resolution=8, supersample=1, cache_dir=folder)
        )
        monkeypatch.setattr(data, "render", lambda split, index: np.zeros((16, 8, 8, 4), np.uint8))
        data.views_array("train")
        assert "rendering train objects: 3/3" in capsys.readouterr().out


def test_compiling_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from numba.core import config, event

    from studio.ops.compiled import kernel

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))  # nothing is kept there yet

    class Slow(event.Listener):
        """Makes a compiler that is warm already take its time."""

        def on_start(self, event: event.Event) -> None:
            time.sleep(0.15)

        def on_end(self, event: event.Event) -> None:
            pass

    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LINE_SECONDS", (0.01, 0.01))

    def double(x: float) -> float:
        return 2 * x

    with event.install_listener("numba:compile", Slow()):
        assert kernel(double)(2.0) == 4.0
    assert "compiling kernels" in capsys.readouterr().out


def test_every_long_part_of_an_export_is_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.export import clock as parts

    names: list[str] = []

    class Noted(StageProgress):
        def __enter__(self) -> Noted:
            names.append(self.label)
            return super().__enter__()

    monkeypatch.setattr(parts, "StageProgress", Noted)
    clock = parts.Clock()
    with clock.stage("unwrap"):
        pass
    assert names == ["unwrapping"] and clock.laps["unwrap"] >= 0
