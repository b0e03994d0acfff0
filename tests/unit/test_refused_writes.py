"""Whole commands on disks that are full or read-only: one message, exit code 2, nothing half."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from studio.app.cli import main
from studio.data.procedural.dataset import ProceduralData
from studio.errors import StudioError
from studio.io.files import atomic_write
from studio.io.images import save_png
from studio.runs.checkpoints import load_checkpoint
from tests.conftest import REPOSITORY, environment

Disk = Callable[[str], Path]


@pytest.fixture
def disk(project: Path) -> Iterator[Disk]:
    """Mount a small memory disk with the options given, where the system permits it."""
    folder = project / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            refused = subprocess.run(command, capture_output=True).returncode
        except FileNotFoundError:
            refused = 1
        if refused:
            pytest.skip("mounting a memory disk is not permitted here")
        return folder

    yield mount
    subprocess.run(["umount", "-l", str(folder)], capture_output=True)


def train(*words: str) -> int:
    os.environ.pop("STUDIO_RUN_DIR", None)
    try:
        return main(["--config", "tiny.yaml", "--train", "trainer.max_steps=2", *words])
    finally:
        os.environ.pop("STUDIO_RUN_DIR", None)


def test_a_full_disk_under_the_cache_of_rendered_objects_is_one_message(disk: Disk) -> None:
    folder = disk("size=1m")
    data = ProceduralData(ProceduralData.Config(objects=40, resolution=64, cache_dir=str(folder)))
    with pytest.raises(StudioError) as raised:
        data.views_array("train")
    assert "the disk is full" in str(raised.value) and not list(folder.iterdir())


def one_message(text: str) -> str:
    """Check that a program's error output is one message without a traceback."""
    assert "Traceback" not in text
    assert sum(line.startswith("StudioError: ") for line in text.splitlines()) == 1
    return text


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".tmp" in path.name]


def test_a_read_only_disk(disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    folder = disk("size=1m,ro")
    assert train(f"exp_root_dir={folder}") == 2
    error = one_message(capsys.readouterr().err)
    assert f"cannot write {folder}" in error and "the file system is read-only" in error
    assert list(folder.iterdir()) == []


def test_a_file_where_the_folder_should_be(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("outputs").write_text("a file")
    assert train() == 2
    error = one_message(capsys.readouterr().err)
    assert "cannot write outputs/tiny/run" in error and "is a file, not a folder" in error
    assert Path("outputs").read_text() == "a file"


def test_a_disk_that_is_full_before_training(
    disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = disk("size=40k")  # folders, config and command fit, the copy of the code does not
    assert train(f"exp_root_dir={folder}") == 2
    error = one_message(capsys.readouterr().err)
    assert "code.zip" in error and "the disk is full" in error
    assert not (folder / "tiny/run/configs/code.zip").exists()
    assert leftovers(folder) == []


def test_a_disk_that_is_full_when_a_checkpoint_is_due(
    disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = disk("size=6m")
    words = (f"exp_root_dir={folder}", "trainer.checkpoint_every=1", "system.width=50000")
    assert train(*words) == 2  # 3.6 MB each: the first fits, the second does not
    error = one_message(capsys.readouterr().err)
    assert "step=00000002.ckpt" in error and "the disk is full" in error
    assert leftovers(folder) == []
    kept = sorted((folder / "tiny/run/ckpts").iterdir())
    assert [path.name for path in kept] == ["last.ckpt", "step=00000001.ckpt"]
    assert kept[0].samefile(kept[1])
    assert load_checkpoint(kept[0])["global_step"] == 1


def test_a_disk_too_small_for_any_checkpoint(
    disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = disk("size=2m")
    assert train(f"exp_root_dir={folder}", "system.width=50000") == 2
    error = one_message(capsys.readouterr().err)
    assert "step=00000002.ckpt" in error and "the disk is full" in error
    assert leftovers(folder) == [] and list((folder / "tiny/run/ckpts").iterdir()) == []


def test_a_copy_that_does_not_fit(tmp_path: Path) -> None:
    """shutil names the source first and the file it could not write second."""
    with pytest.raises(StudioError, match="cannot write .*copy.ckpt[\\s\\S]*disk is full"):
        with atomic_write(tmp_path / "copy.ckpt") as temporary:
            raise OSError(errno.ENOSPC, "No space left", "source.ckpt", None, str(temporary))
    with pytest.raises(OSError, match="source"):  # a source that cannot be read is not our file
        with atomic_write(tmp_path / "copy.ckpt"):
            raise OSError(errno.EACCES, "Permission denied", "source.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_a_result_larger_than_files_may_be(project: Path) -> None:
    """An evaluation under `ulimit -f`: the earlier result stays as it was."""
    for name in ("a", "b"):
        save_png(f"{name}/x.png", torch.ones(4, 32, 32))
    Path("evaluation.json").write_text('{"earlier": 1}')
    command = [sys.executable, str(REPOSITORY / "launch.py"), "--evaluate", "pred=a", "reference=b"]
    answer = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200)),
    )
    assert answer.returncode == 2, answer.stderr
    assert "cannot write evaluation.json" in one_message(answer.stderr)
    assert "larger than the system allows" in answer.stderr
    assert json.loads(Path("evaluation.json").read_text()) == {"earlier": 1}
    assert leftovers(project) == []


def test_tensors_larger_than_files_may_be(tmp_path: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path; from studio.io.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as temporary:\n"
        "    torch.save(torch.zeros(100_000), temporary)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.pt")],
        capture_output=True,
        text=True,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert "StudioError: cannot write" in answer.stderr
    assert "larger than the system allows" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_working_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["--list"]) == 2
    assert "the working folder does not exist any more" in capsys.readouterr().err
