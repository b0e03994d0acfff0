"""Arrays that grow in a file: what a stopped process made is gone on with."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from studio.errors import StudioError
from studio.io.growing_arrays import grow_array

SHAPE = (7, 2, 3)


def rows(first: int, end: int) -> np.ndarray:
    return np.arange(first * 6, end * 6, dtype=np.float32).reshape(-1, 2, 3)


WHOLE = rows(0, 7)


def test_the_file_is_the_array_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    grow_array(path, SHAPE, np.float32, rows, label="rows", at_once=3)
    assert np.array_equal(np.load(path), WHOLE)
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_process_leaves_its_rows_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    program = f"""
import os, signal, sys
from pathlib import Path
import numpy as np
from studio.io.growing_arrays import grow_array
from tests.unit.test_growing_arrays import SHAPE, rows

def some(first, end):
    if first == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return rows(first, end)

grow_array(Path({str(path)!r}), SHAPE, np.float32, some, label="rows")
"""
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root).returncode == -signal.SIGKILL
    assert not path.exists() and len(list(tmp_path.iterdir())) == 1
    asked: list[int] = []

    def noted(first: int, end: int) -> np.ndarray:
        asked.append(first)
        return rows(first, end)

    grow_array(path, SHAPE, np.float32, noted, label="rows")
    assert asked == [4, 5, 6]
    assert np.array_equal(np.load(path), WHOLE) and list(tmp_path.iterdir()) == [path]


def test_half_a_row_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"

    def fails(first: int, end: int) -> np.ndarray:
        if first == 2:
            raise KeyboardInterrupt
        return rows(first, end)

    with pytest.raises(KeyboardInterrupt):
        grow_array(path, SHAPE, np.float32, fails, label="rows")
    (part,) = tmp_path.iterdir()
    with part.open("ab") as file:
        file.write(b"half a row")
    grow_array(path, SHAPE, np.float32, rows, label="rows")
    assert np.array_equal(np.load(path), WHOLE) and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("shape", [(8, 2, 3), (7, 3, 3)])
def test_rows_of_another_shape_are_no_beginning(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "a.npy"

    def fails(first: int, end: int) -> np.ndarray:
        if first:
            raise KeyboardInterrupt
        return np.ones((end - first, *shape[1:]), np.float32)

    with pytest.raises(KeyboardInterrupt):
        grow_array(path, shape, np.float32, fails, label="rows")
    grow_array(path, SHAPE, np.float32, rows, label="rows")
    assert np.array_equal(np.load(path), WHOLE)


def test_another_living_process_keeps_its_rows(tmp_path: Path) -> None:
    from studio.io.files import PLACE

    path, theirs = tmp_path / "a.npy", tmp_path / f".a-{PLACE}-{os.getppid()}.part.npy"
    theirs.write_bytes(b"x")
    grow_array(path, SHAPE, np.float32, rows, label="rows")
    assert theirs.read_bytes() == b"x" and np.array_equal(np.load(path), WHOLE)


def test_too_small_a_disk_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(StudioError, match="the disk is full"):
        grow_array(tmp_path / "a.npy", SHAPE, np.float32, rows, label="rows")
    assert not list(tmp_path.iterdir())
