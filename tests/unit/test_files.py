"""Atomic writes: all or nothing, and one clear message when the system refuses."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from studio.errors import StudioError
from studio.io.files import atomic_write, make_folder, remove, write_json, write_text
from studio.io.weights import write_tensors
from studio.io.whole_folders import written_whole


def test_writers_of_every_kind_go_through(tmp_path: Path) -> None:
    tensor = {"a": torch.arange(4.0)}
    with atomic_write(tmp_path / "new" / "a.safetensors") as temporary:
        save_file(tensor, temporary)
    with atomic_write(tmp_path / "a.ckpt") as temporary:
        torch.save(tensor, temporary)
    with atomic_write(tmp_path / "a.png") as temporary:
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(temporary)
    write_json(tmp_path / "a.json", {"x": 1.5})
    assert torch.equal(load_file(tmp_path / "new" / "a.safetensors")["a"], tensor["a"])
    assert torch.equal(torch.load(tmp_path / "a.ckpt", weights_only=True)["a"], tensor["a"])
    assert Image.open(tmp_path / "a.png").size == (2, 2)
    assert (tmp_path / "a.json").read_text() == '{\n  "x": 1.5\n}\n'
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ckpt", "a.json", "a.png", "new"]


def test_failure_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(KeyError), atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyError("stop")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
    ],
)
def test_refusals_are_explained(tmp_path: Path, code: int, words: str) -> None:
    with pytest.raises(StudioError, match=words) as caught, atomic_write(tmp_path / "b.bin") as t:
        t.write_bytes(b"half")
        raise OSError(code, os.strerror(code))
    assert str(tmp_path / "b.bin") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_reported_by_safetensors(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="disk is full"), atomic_write(tmp_path / "b") as _:
        raise RuntimeError("Error while serializing: I/O error: No space left (os error 28)")


def test_full_disk_reported_by_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("usage", (), {"free": 0})
    monkeypatch.setattr("studio.io.files.shutil.disk_usage", lambda _: usage)
    with pytest.raises(StudioError, match="disk is full"), atomic_write(tmp_path / "b") as _:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598")


def test_a_file_that_cannot_be_read_inside_is_not_blamed_on_writing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "b") as temporary:
        temporary.write_bytes((tmp_path / "missing").read_bytes())


def test_path_that_is_a_folder_or_runs_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StudioError, match="a folder of that name"):
        write_text(tmp_path / "folder", "x")
    with pytest.raises(StudioError, match="cannot write"):
        write_text(tmp_path / "file" / "x.txt", "x")
    with pytest.raises(StudioError, match="is in the way"):
        make_folder(tmp_path / "file")


def test_new_files_have_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_text("x")
    write_text(tmp_path / "ours", "x")
    write_tensors(tmp_path / "weights.safetensors", {"a": torch.zeros(2)})
    with written_whole(tmp_path / "folder") as new:
        save_file({"a": torch.zeros(2)}, new / "private.safetensors")
    for name in ("ours", "weights.safetensors", "folder/private.safetensors"):
        assert (tmp_path / name).stat().st_mode == (tmp_path / "ordinary").stat().st_mode, name


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    tmp_path.chmod(0o500)
    with pytest.raises(StudioError, match="permission"):
        write_text(tmp_path / "y", "y")
    with pytest.raises(StudioError, match="permission"):
        remove(tmp_path / "x")
