"""Compiled kernels: the same bits from a cache as from the compiler, and work without a cache."""

from __future__ import annotations

import errno
import json
import logging
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import numba
import numpy as np
import pytest
from numba.core.caching import IndexDataCacheFile

from studio.ops import compiled, field_cpu
from tests.conftest import REPOSITORY, environment

SOURCE = """
from studio.ops.compiled import kernel, part

@part
def twice(x):
    return 2 * x

@kernel
def more(x):
    return twice(x) + 1
"""


def digests(cache: Path) -> dict[str, str]:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.kernel_bits"],
        cwd=REPOSITORY,
        env=environment({"NUMBA_CACHE_DIR": str(cache)}),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout)


def test_a_process_that_compiles_and_one_that_loads_compute_the_same_bits(tmp_path: Path) -> None:
    compiling = digests(tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb*")}
    assert len(files) > 20
    assert digests(tmp_path) == compiling
    # the second process compiled nothing
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb*")}


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    compiled._go_on_without.cache_clear()
    caplog.set_level(logging.INFO, logger=compiled.__name__)
    return caplog


def test_without_a_place_for_the_cache_kernels_run_uncached(told) -> None:
    made: dict[str, FunctionType] = {}
    exec("def first(x):\n    return x + 1\n\ndef second(x):\n    return x + 2\n", made)
    assert compiled.kernel(made["first"])(1) == 2
    assert compiled.kernel(made["second"])(1) == 3
    assert len(told.records) == 1 and "NUMBA_CACHE_DIR" in told.text


def written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> compiled.Function:
    """A kernel of a source file, read anew, whose cache is in the same folder."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder / "cache"))
    path = folder / "kernels_for_a_test.py"
    if not path.exists():
        path.write_text(SOURCE)
    names: dict[str, compiled.Function] = {"__name__": "kernels_for_a_test"}  # type: ignore
    exec(compile(SOURCE, str(path), "exec"), names)
    return names["more"]


def test_a_part_is_no_function_of_python(tmp_path, monkeypatch) -> None:
    more = written(tmp_path, monkeypatch)
    twice = more.py_func.__globals__["twice"]
    for _ in range(2):  # before and after it became a piece of the kernel
        with pytest.raises(TypeError, match="twice is a part of kernels"):
            twice(np.float32(3))
        assert more(np.float32(3)) == 7


@pytest.mark.parametrize("kind", ("nbi", "nbc"))
def test_damaged_files_of_the_cache_do_not_matter(tmp_path, monkeypatch, told, kind) -> None:
    assert written(tmp_path, monkeypatch)(np.float32(3)) == 7
    (damaged,) = (tmp_path / "cache").rglob(f"*.{kind}")
    damaged.write_bytes(damaged.read_bytes()[:50])
    assert written(tmp_path, monkeypatch)(np.float32(3)) == 7
    assert len(told.records) == 1


def test_a_full_disk_does_not_stop_a_kernel(tmp_path, monkeypatch, told) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "save", full)
    assert written(tmp_path, monkeypatch)(np.float32(3)) == 7
    assert len(told.records) == 1


def test_what_a_kernel_is_made_of_is_known_down_to_the_parts_of_its_parts() -> None:
    files = {path.name for path in compiled.sources(field_cpu._forward.py_func)}
    made_of = {"field_cpu", "field_tile_cpu", "hash_grid_chunks_cpu", "scalars_cpu", "tiles_cpu"}
    assert files == {f"{name}.py" for name in made_of}
