"""Ctrl-C and termination signals: heard at every moment, said, and with the right exit code."""

from __future__ import annotations

import os
import signal
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.app.console import guarded
from studio.io.files import atomic_write
from studio.plugins import discovery as plugins
from studio.runs.callbacks.checkpointing import Checkpointing
from studio.runs.callbacks.snapshot import Snapshot
from tests.unit.test_cli import RUN, assert_same_weights, run_here

NUMBERS = [signal.SIGINT, signal.SIGTERM]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_signals_are_as_before_after_training(project: Path) -> None:
    before = [signal.getsignal(n) for n in NUMBERS]
    assert run_here("--config", "tiny.yaml", "--train", "trainer.max_steps=1") == 0
    assert [signal.getsignal(n) for n in NUMBERS] == before


def test_a_termination_signal_ends_whatever_is_done(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught, guarded(), atomic_write(tmp_path / "model.glb") as t:
        t.write_text("half")
        send(signal.SIGTERM)
        signal.pause()
    assert caught.value.code == 143
    assert list(tmp_path.iterdir()) == []


# --- while training -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_before_the_first_step_is_said(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    before = [signal.getsignal(n) for n in NUMBERS]
    monkeypatch.setattr(Snapshot, "on_fit_start", lambda *_: send(number))
    assert run_here("--config", "tiny.yaml", "--train") == 128 + number
    said = capsys.readouterr().err.strip()
    assert said.startswith("stopped before the first checkpoint.") and f"resume={RUN}" in said
    assert [signal.getsignal(n) for n in NUMBERS] == before


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_while_the_last_step_is_saved_stops_before_the_export(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    assert run_here("--config", "tiny.yaml", "--train", "tag=whole") == 0
    save = Checkpointing.save

    def save_and_send(self: Checkpointing, trainer: Any) -> None:
        save(self, trainer)
        if trainer.global_step == trainer.max_steps:
            send(number)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpointing, "save", save_and_send)
        assert run_here("--config", "tiny.yaml", "--train", "--export") == 128 + number
    last = RUN / "ckpts" / "last.ckpt"
    assert f"resume={last}" in capsys.readouterr().err
    assert not (RUN / "export" / "weights.pt").exists()
    assert run_here("--config", "tiny.yaml", "--train", "--export", "resume=last") == 0
    assert_same_weights(last, Path("outputs/tiny/whole/ckpts/last.ckpt"))
    assert (RUN / "export" / "weights.pt").is_file()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_while_measuring_is_said(
    project: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    assert run_here("--config", "tiny.yaml", "--train", "trainer.max_steps=1") == 0
    plugin = project / "custom/tiny-net/__init__.py"
    measuring = f"""
    def val_dataloader(self):
        return [torch.zeros(8, 4)]

    def validation_step(self, x, _):
        os.kill(os.getpid(), {number})

    def configure_optimizers"""
    plugin.write_text(plugin.read_text().replace("    def configure_optimizers", measuring[1:], 1))
    plugins.reset()
    capsys.readouterr()
    assert run_here("--config", "tiny.yaml", "--validate") == 128 + number
    assert capsys.readouterr().err.strip() == "stopped."


# --- where exceptions are dropped -----------------------------------------------------------------


def finalizer(number: int) -> None:
    class Thing:
        def __del__(self) -> None:
            send(number)

    Thing()


def weak_callback(number: int) -> None:
    class Thing: ...

    thing = Thing()
    reference = weakref.ref(thing, lambda _: send(number))
    del thing
    assert reference() is None


@pytest.mark.parametrize("act", [finalizer, weak_callback])
@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_where_python_drops_exceptions_is_not_lost(
    capsys: pytest.CaptureFixture[str],
    act: Callable[[int], None],
    number: int,
    kind: type[BaseException],
) -> None:
    with pytest.raises(kind), guarded():
        act(number)
        time.sleep(5)
    assert "Exception ignored" not in capsys.readouterr().err


def test_other_exceptions_that_python_drops_are_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Thing:
        def __del__(self) -> None:
            raise ValueError("of the finalizer")

    with guarded():
        Thing()
    assert "ValueError: of the finalizer" in capsys.readouterr().err


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("place", ["def prepare(self, data):", "def train_dataloader(self):"])
def test_what_a_signal_leaves_half_made_does_not_complain(
    project: Path, capsys: pytest.CaptureFixture[str], number: int, place: str
) -> None:
    plugin = project / "custom/tiny-net/__init__.py"
    half_made = f"""
class HalfMade:
    def __init__(self):
        os.kill(os.getpid(), {number})
        self.handle = 1

    def __del__(self):
        del self.handle


@register("system", "tiny")"""
    text = plugin.read_text().replace('@register("system", "tiny")', half_made[1:], 1)
    assert place in text
    plugin.write_text(text.replace(place, f"{place}\n        HalfMade()", 1))
    plugins.reset()
    assert run_here("--config", "tiny.yaml", "--train") == 128 + number
    error = capsys.readouterr().err
    assert error.startswith("stopped before the first") or error == "\nstopped.\n"
    assert "Exception ignored" not in error


def test_a_termination_signal_is_not_a_plugin_that_ends_the_program(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = project / "custom/tiny-net/__init__.py"
    text = plugin.read_text()
    sent = "os.kill(os.getpid(), 15)"
    built = text.replace("        self.cfg = cfg\n", f"        self.cfg = cfg\n        {sent}\n", 1)
    for changed in (built, text.replace("import os\n", f"import os\n{sent}\n", 1)):
        plugin.write_text(changed)
        plugins.reset()
        assert run_here("--config", "tiny.yaml", "--train") == 143
        assert capsys.readouterr().err.strip() == "stopped."
