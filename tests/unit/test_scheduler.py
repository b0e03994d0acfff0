"""A crash of a process of tests fails the test that it was at; the others run, nothing waits."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import environment

pytest.importorskip("xdist")

TESTS = """
import os
import time

import pytest


@pytest.fixture({scope})
def thing():
    return 1


@pytest.mark.parametrize("number", range({count}))
def test_some(number, thing):
    time.sleep(0.02)
    if number in {crashing}:
        os._exit(1)
"""


def session(folder: Path, *, count: int, crashing: set[int], scope: str = "") -> tuple[int, str]:
    """Exit code and output of a pytest session with two workers, some of whose tests crash."""
    text = TESTS.format(count=count, crashing=crashing, scope=scope)
    (folder / "test_made_up.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    words = [sys.executable, "-m", "pytest", "-p", "tests.scheduler", "-n", "2", "-rfE"]
    run = subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300
    )
    return run.returncode, run.stdout + run.stderr


@pytest.mark.parametrize("scope", ["", 'scope="module"'], ids=["one by one", "together"])
@pytest.mark.parametrize("crashing", [{0}, {5}, {0, 1, 4, 5}], ids=["first", "last", "several"])
def test_a_crash_fails_its_test_and_the_others_run(
    tmp_path: Path, crashing: set[int], scope: str
) -> None:
    code, output = session(tmp_path, count=6, crashing=crashing, scope=scope)
    assert code == 1, output
    failed = set(re.findall(r"^FAILED test_made_up.py::test_some\[(\d+)\]", output, re.MULTILINE))
    assert failed == {str(number) for number in crashing}, output
    assert f"{len(crashing)} failed, {6 - len(crashing)} passed" in output, output
