"""The wheel brings all that the program needs, and runs where no checkout is."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, environment

pytest.importorskip("hatchling", reason="needs the extra dev")

LARGEST = 60e6  # bytes; nearly all of them are the nano weights
SHARED = ("configs", "load")


def build(target: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_brings_configs_and_weights(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    brought = {
        f"studio/share/{path.relative_to(REPOSITORY).as_posix()}": path.stat().st_size
        for folder in SHARED
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file()
    }
    assert "studio/share/configs/epidiff-neus.yaml" in brought
    assert brought.items() <= sizes.items()
    assert "studio/py.typed" in sizes
    assert {name.split("/")[0].split("-")[0] for name in sizes} == {"studio", "studio3d"}
    assert wheel.stat().st_size < LARGEST


@pytest.mark.slow
def test_the_wheel_runs_in_another_folder(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "studio", "run", "epidiff-neus", "trainer.max_steps=50"],
        cwd=tmp_path / "work",
        env=environment({"PYTHONPATH": os.fspath(tmp_path / "installed")}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    made = Path(done.stdout.splitlines()[-1])
    assert made.name == "model.glb"
    assert (tmp_path / "work" / made).stat().st_size > 10_000


@pytest.mark.slow
def test_the_sdist_holds_what_the_wheel_is_built_of(tmp_path: Path) -> None:
    made = build("sdist", tmp_path)
    with tarfile.open(made) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("studio", *SHARED):
        files = [p for p in (REPOSITORY / folder).rglob("*") if p.is_file()]
        needed = {p.relative_to(REPOSITORY).as_posix() for p in files if p.suffix != ".pyc"}
        assert needed <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "constraints.txt"} <= names
    assert made.stat().st_size < LARGEST
