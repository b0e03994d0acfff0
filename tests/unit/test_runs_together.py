"""Runs side by side and one after the other: locks, names, leftovers, stages, streams."""

from __future__ import annotations

import errno
import io
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.app.cli import main
from studio.app.console import Output
from studio.errors import ConfigError, StudioError, WeightsError
from studio.io.files import alive, atomic_write, write_text
from studio.plugins import discovery as plugins
from studio.runs.checkpoints import load_checkpoint
from studio.runs.choosing import choose_run
from studio.runs.folder import RUN_VARIABLE, RunFolder
from studio.runs.hashing import hash_of, source_hash
from studio.runs.lock import NAME, RunLock
from tests.conftest import REPOSITORY, environment
from tests.unit.test_cli import RUN, run_here, weights

HOLD = """
import sys
from pathlib import Path
from studio.runs.lock import RunLock
lock = RunLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


# --- one run in one folder ------------------------------------------------------------------------


def test_a_second_run_is_refused_and_the_first_one_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RUN.mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(RUN)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    assert run_here("--config", "tiny.yaml", "--train") == 2
    error = capsys.readouterr().err
    assert f"process {holder.pid} on {platform.node()}, since 20" in error
    assert [p.name for p in RUN.iterdir()] == [NAME]
    holder.kill()
    holder.wait()
    assert run_here("--config", "tiny.yaml", "--train") == 0  # of a dead process
    assert not (RUN / NAME).exists()


@pytest.mark.parametrize("locks", [True, False])
def test_locks_of_dead_processes_are_taken_over(
    tmp_path: Path, dead: int, locks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not locks:
        monkeypatch.setattr("studio.runs.lock._lock", lambda _: None)
    holder = {"pid": dead, "host": platform.node(), "since": "2026-01-01"}
    (tmp_path / NAME).write_text(json.dumps(holder))
    lock = RunLock(tmp_path).acquire()
    assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    with pytest.raises(ConfigError, match=f"process {os.getpid()} "):
        RunLock(tmp_path).acquire()
    lock.release()
    RunLock(tmp_path).acquire().release()
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_process_left_behind_does_not_hold_its_lock(tmp_path: Path, dead: int) -> None:
    orphan = RunLock(tmp_path).acquire()  # a worker that outlives its parent shares the lock
    (tmp_path / NAME).write_text(json.dumps({"pid": dead, "host": platform.node()}))
    RunLock(tmp_path).acquire().release()
    orphan.release()


def test_without_locks_the_file_of_another_machine_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.runs.lock._lock", lambda _: None)
    (tmp_path / NAME).write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "now"}))
    with pytest.raises(ConfigError, match=r"elsewhere[\s\S]*remove"):
        RunLock(tmp_path).acquire()


def test_a_lock_is_given_back_after_a_mistake(project: Path) -> None:
    RUN.mkdir(parents=True)
    assert run_here("--config", "tiny.yaml", "--train", "data.missing=true") == 2
    assert list(RUN.iterdir()) == []


def test_runs_of_one_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.runs.choosing._agreed_time", lambda: "20260101-000000")
    made = []
    for _ in range(3):
        monkeypatch.delenv(RUN_VARIABLE, raising=False)
        made.append(choose_run("toy", "a", exp_root_dir=str(tmp_path)))
    for run in made:
        run.create()
        assert os.environ[RUN_VARIABLE] == str(run.root)
        run.unlock()
    names = [run.root.name for run in made]
    assert names == ["a@20260101-000000", "a@20260101-000000-2", "a@20260101-000000-3"]
    assert all(run.ckpts.is_dir() for run in made)
    monkeypatch.setenv("WORLD_SIZE", "2")
    late = RunFolder(made[0].root, new=True)
    with pytest.raises(ConfigError, match="another run"):
        late.create()


# --- leftovers ------------------------------------------------------------------------------------


def test_temporaries_of_dead_processes_go(tmp_path: Path, dead: int) -> None:
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
        pid = str(os.getpid())
        of_dead = temporary.with_name(temporary.name.replace(f"-{pid}.", f"-{dead}."))
        elsewhere = temporary.with_name(".0123456789ab-000000-77.tmp.png")
        older, own = tmp_path / ".0123456789ab.tmp.ckpt", tmp_path / ".mine.tmp.png"
        for path in (of_dead, elsewhere, older, own):
            path.write_text("x")
        from studio.io import files

        files._cleaned.clear()
        write_text(tmp_path / "b.txt", "y")
        assert temporary.exists()
    assert not of_dead.exists() and all(p.exists() for p in (elsewhere, older, own))
    sub = tmp_path / "ckpts"
    sub.mkdir()
    (sub / ".0123456789ab.tmp.ckpt").write_text("x")
    RunFolder(tmp_path).create().unlock()
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [own.name, "a.txt", "b.txt"]
    assert list(sub.iterdir()) == []


def test_living_and_dead(dead: int) -> None:
    assert alive(os.getpid()) and not alive(dead)


def test_cmd_txt_of_any_bytes_is_kept(tmp_path: Path) -> None:
    (tmp_path / "cmd.txt").write_bytes(b"\xff\xfe\n")
    RunFolder(tmp_path).write_command(["python", "launch.py", "caf\udce9"])
    content = (tmp_path / "cmd.txt").read_bytes()
    assert content.startswith(b"\xff\xfe\n# 20") and content.endswith(b"'caf\xe9'\n")


# --- stages ---------------------------------------------------------------------------------------


def test_a_stamp_binds_what_its_files_hold_and_goes_before_its_stage_begins(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write_text(run.last_checkpoint, "armchair")
    run.stage_done("train", "key", [run.last_checkpoint])
    assert run.stage_current("train", "key")
    write_text(run.last_checkpoint, "ARMCHAIR")  # of the same name and size
    assert not run.stage_current("train", "key")
    run.stage_done("train", "key", [run.last_checkpoint])
    run.stage_begins("train")
    assert not run.stage_current("train", "key")
    run.stage_begins("train")


BASE = """
from studio.geometry.base import Geometry

class Base(Geometry):
    def forward(self, points): ...
    def sdf(self, points): ...
    def colour(self, points, normals, view_dirs, feature): ...
"""
NESTED = """
from dataclasses import dataclass
from studio.plugins import register
from studio_custom.base_shape import Base

@register("geometry", "mine")
class Mine(Base):
    @dataclass
    class Config:
        width: int = 3
"""


def test_an_edited_plugin_makes_its_stage_stale(project: Path) -> None:
    shape, base = project / "custom/shape.py", project / "custom/base_shape.py"
    base.write_text(f"{BASE}    pass\n")
    shape.write_text(NESTED)
    (project / "custom/other.py").write_text("x = 1\n")

    def now(options: dict[str, Any]) -> str:
        plugins.reset()
        plugins.load_unit(plugins.catalogue().units["custom/base_shape.py"])
        return source_hash(options, "geometry")

    options = {"geometry_type": "mine", "geometry": {"width": 4}}
    nested = {"renderer": {"coarse_geometry_type": "mine"}}
    built_in = {"geometry_type": "hash-sdf"}
    by_name = [{"guidance": {"beta_schedule": "mine"}}, {"exporter": {"formats": ["obj", "mine"]}}]
    asked = (options, nested, *by_name, built_in)
    before = [now(o) for o in asked]
    assert before == [now(o) for o in asked]  # bytecode does not count
    (project / "custom/other.py").write_text("x = 2\n")
    assert before == [now(o) for o in asked]
    shape.write_text(NESTED + "# edited\n")
    edited = [now(o) for o in asked]
    assert [a != b for a, b in zip(before, edited, strict=True)] == [True] * 4 + [False]
    base.write_text(f"{BASE}    x = 1\n")
    assert now(options) != edited[0]


def test_a_folder_of_a_plugin_counts_whole(project: Path) -> None:
    table = project / "custom/tiny-net/table.json"
    found = []
    for text in ("1", "2"):
        table.write_text(text)
        found.append(source_hash({"system_type": "tiny"}))
    assert found[0] != found[1]


def test_bytecode_is_no_content(tmp_path: Path) -> None:
    write_text(tmp_path / "a.py", "x")
    before = hash_of(tmp_path)
    write_text(tmp_path / "__pycache__" / "a.pyc", "y")
    assert hash_of(tmp_path) == before


def test_weights_of_an_interrupted_other_training_are_not_taken(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = project / "custom/tiny-net/__init__.py"
    keyed = "    def train_key(self):\n        return str(self.cfg.lr)\n\n    def export(self):"
    plugin.write_text(plugin.read_text().replace("    def export(self):", keyed))
    one, other = ("system.lr=0.01",), ("system.lr=0.02", "system.signal_at=15")
    assert run_here("--config", "tiny.yaml", "--train", *one) == 0
    fitted = weights(RUN / "ckpts/last.ckpt")
    assert run_here("--config", "tiny.yaml", "--train", *other) == 130
    assert run_here("--config", "tiny.yaml", "--export", *one) == 0
    assert "they were fitted to other views" in capsys.readouterr().out
    for done in (False, True):
        assert run_here("--config", "tiny.yaml", "--train", "--export", *one) == 0
        output = capsys.readouterr().out
        assert ("already done" in output) is done and "fitted to other" not in output
        again = weights(RUN / "ckpts/last.ckpt")
        assert all(torch.equal(again[name], fitted[name]) for name in fitted)


def test_weights_of_another_fit_are_not_gone_on_from(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = project / "custom/tiny-net/__init__.py"
    keyed = "    def train_key(self):\n        return str(self.cfg.lr)\n\n    def export(self):"
    plugin.write_text(plugin.read_text().replace("    def export(self):", keyed))
    words = ("--config", "tiny.yaml", "--train", "--export")
    assert run_here(*words, "system.lr=0.01") == 0
    for killed in (False, True):  # the other one is finished, or stopped before its end
        assert run_here(*words, "system.lr=0.02", "resume=last") == 2
        assert "fitted to other views" in capsys.readouterr().err
        more = ("system.signal_at=15",) if killed else ()
        assert run_here(*words, "system.lr=0.02", *more) == (130 if killed else 0)
        assert run_here(*words, "system.lr=0.01", "resume=last") == 2
        assert run_here(*words, "system.lr=0.01") == 0


def test_checkpoints_of_an_earlier_run_do_not_stay_among_those_of_this_one(project: Path) -> None:
    words = ("--config", "tiny.yaml", "--train", "trainer.keep_checkpoints=2")
    assert run_here(*words, "trainer.max_steps=40") == 0
    assert run_here(*words, "trainer.max_steps=20") == 0
    found = sorted(path.name for path in (RUN / "ckpts").iterdir())
    assert found == ["last.ckpt", "step=00000010.ckpt", "step=00000020.ckpt"]


def test_the_log_stays_where_nothing_is_trained(project: Path) -> None:
    assert run_here("--config", "tiny.yaml", "--train") == 0
    logged = (RUN / "logs" / "metrics.csv").read_text()
    assert run_here("--config", "tiny.yaml", "--export") == 0
    assert (RUN / "logs" / "metrics.csv").read_text() == logged
    assert run_here("--config", "tiny.yaml", "--train") == 0
    assert (RUN / "logs" / "metrics-1.csv").read_text() == logged


# --- resuming -------------------------------------------------------------------------------------


def test_nothing_to_do_where_the_checkpoint_has_all_steps(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("--config", "tiny.yaml", "--train") == 0
    for steps in ("30", "20"):
        words = ("resume=last", f"trainer.max_steps={steps}")
        assert run_here("--config", "tiny.yaml", "--train", "--export", *words) == 0
        output = capsys.readouterr()
        assert (
            f"nothing to do, {RUN / 'ckpts' / 'last.ckpt'} is at step 30 of {steps}" in output.out
        )
        assert output.out.splitlines()[-1] == str(RUN / "export" / "weights.pt")
    assert load_checkpoint(RUN / "ckpts/last.ckpt")["global_step"] == 30


def test_a_checkpoint_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {}}, path)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(WeightsError, match=r"last\.ckpt cannot be read: permission denied"):
        load_checkpoint(path)


# --- standard output ------------------------------------------------------------------------------


class Broken(io.StringIO):
    """A stream that the system refuses to write."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    def flush(self) -> None:
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.EPIPE, errno.EIO])
def test_a_reader_that_leaves_stops_nothing(code: int) -> None:
    output = Output(Broken(code), "standard output")
    for _ in range(2):
        print("step 1", file=output, flush=True)


def test_a_full_disk_under_standard_output_is_said() -> None:
    output = Output(Broken(errno.ENOSPC), "standard output")
    with pytest.raises(StudioError, match=r"cannot write standard output[\s\S]*disk is full"):
        output.flush()
    output.flush()
    Output(Broken(errno.ENOSPC)).flush()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_listing_onto_a_full_disk_or_nowhere(project: Path) -> None:
    program = f"{sys.executable} {REPOSITORY / 'launch.py'} --list"
    for redirection, code, words in ((">/dev/full", 2, "disk is full"), (">&-", 0, "")):
        answer = subprocess.run(
            ["bash", "-c", f"{program} {redirection}"],
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert answer.returncode == code
        assert words in answer.stderr and "Traceback" not in answer.stderr


def test_paths_that_are_no_text_are_written_as_they_came() -> None:
    raw = io.BytesIO()
    output = Output(io.TextIOWrapper(raw, encoding="ascii"))
    print("caf\udce9 é", file=output, flush=True)
    assert raw.getvalue() == b"caf\xe9 \\xe9\n"


# --- paths ----------------------------------------------------------------------------------------


def test_words_that_are_not_utf_8_are_refused(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--config", "tiny.yaml", "--train")
    assert run_here(*words, "exp_root_dir=caf\udce9") == 2
    assert "'exp_root_dir=caf\\udce9' is not UTF-8" in capsys.readouterr().err
    assert run_here(*words, "exp_root_dir=caf\udcc3\udca9") == 2  # é, in a terminal without UTF-8
    assert "PYTHONUTF8=1" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["exp_root_dir", "tag", "name", "checkpoint"])
def test_names_that_are_too_long_are_refused(
    project: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    assert main(["--config", "tiny.yaml", "--train", f"{key}={'x' * 300}"]) == 2
    error = capsys.readouterr().err
    assert "too long" in error or "of at most 200 bytes" in error
    assert not Path("outputs").exists()
