"""Folders that are replaced in one step, whenever the writer is killed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from studio.errors import ConfigError, StudioError
from studio.io import whole_folders
from studio.io.files import temporary_name
from studio.io.whole_folders import written_whole
from studio.systems.training import check_output

POSIX = pytest.mark.skipif(os.name == "nt", reason="fork and signals")


def write(folder: Path, *names: str) -> None:
    with written_whole(folder) as new:
        for name in names:
            (new / name).write_text(name)


def held(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def exchanging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the system can exchange two names."""
    if not request.param:
        monkeypatch.setattr(whole_folders, "exchange", lambda *_: False)
    return bool(request.param)


def test_old_files_go_with_the_old_folder(tmp_path: Path, exchanging: bool) -> None:
    (tmp_path / "w").mkdir()
    for name in ("a", "b"):
        write(tmp_path / "w", name)
        assert held(tmp_path / "w") == {name} and held(tmp_path) == {"w"}


def test_a_failure_keeps_the_old_folder(tmp_path: Path, exchanging: bool) -> None:
    write(tmp_path / "w", "a")
    with pytest.raises(RuntimeError), written_whole(tmp_path / "w") as new:
        (new / "b").write_text("b")
        raise RuntimeError
    assert held(tmp_path / "w") == {"a"} and held(tmp_path) == {"w"}


def test_a_link_stays_a_link(tmp_path: Path, exchanging: bool) -> None:
    (tmp_path / "disk" / "w").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "w")
    for name in ("a", "b"):
        write(tmp_path / "link", name)
    assert (tmp_path / "link").is_symlink() and held(tmp_path / "disk" / "w") == {"b"}
    assert held(tmp_path) == {"disk", "link"} and held(tmp_path / "disk") == {"w"}


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="there is no exchange")
def test_names_are_exchanged_in_one_step_here(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x").touch()
    if not whole_folders.exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot")
    assert held(tmp_path / "b") == {"x"}


@POSIX
def test_killed_before_every_step(tmp_path: Path, exchanging: bool) -> None:
    """After the kill the folder is old or new; where names cannot be exchanged, after recovery."""
    for at in range(12):
        folder = tmp_path / f"{at}" / "w"
        write(folder, "old", "x")
        if (pid := os.fork()) == 0:
            steps = iter(range(at))

            def count(event: str, _: object, steps: object = steps) -> None:
                if event in ("os.rename", "os.rmdir", "os.remove", "os.mkdir", "ctypes.dlopen"):
                    if next(steps, None) is None:  # type: ignore[call-overload]
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(count)
            try:
                write(folder, "new", "x")
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        if exchanging:
            assert held(folder) in ({"old", "x"}, {"new", "x"})
        whole_folders.recover(folder)
        assert held(folder) in ({"old", "x"}, {"new", "x"})
        write(folder, "new", "x")
        assert held(folder) == {"new", "x"} and held(folder.parent) == {"w"}


def test_half_folders_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    living = temporary_name(tmp_path / "w")
    living.mkdir()
    dead = living.with_name(living.name.replace(f"-{os.getpid()}.", "-99999999."))
    (dead / "deep").mkdir(parents=True)
    write(tmp_path / "w", "a")
    assert held(tmp_path) == {"w", living.name}


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "w").touch()
    with pytest.raises(StudioError, match="cannot write"):
        write(tmp_path / "w", "a")
    assert held(tmp_path) == {"w"}


def test_a_folder_that_holds_no_weights_is_not_replaced(tmp_path: Path) -> None:
    for name in ("empty", "other", "weights"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    (tmp_path / "weights" / "config.json").touch()
    for name in ("", "new", "empty", "weights"):
        check_output(str(tmp_path / name) if name else "")
    for name in ("other", "other/thesis.tex"):
        with pytest.raises(ConfigError, match="would be lost"):
            check_output(str(tmp_path / name))
