"""Hashes of big files: kept, and only as long as the file is the same."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest

from studio.errors import WeightsError
from studio.io import file_hash as module
from studio.io.file_hash import file_hash
from studio.runs.hashing import hash_of


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read whole; everything above 100 bytes is big."""
    seen: list[str] = []
    whole = module._hashed

    def noted(path: Path) -> bytes:
        seen.append(path.name)
        return whole(path)

    monkeypatch.setattr(module, "_hashed", noted)
    monkeypatch.setattr(module, "BIG", 100)
    monkeypatch.setattr(module, "_RECENT_NS", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return seen


def made(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    time.sleep(0.02)  # coarser than the clock of any file system here
    return path


def test_big_files_are_read_once(tmp_path: Path, reads: list[str]) -> None:
    path = made(tmp_path / "w.ckpt", b"a" * 1000)
    truth = hashlib.sha256(b"a" * 1000).digest()
    assert [file_hash(path) for _ in range(3)] == [truth] * 3
    assert reads == ["w.ckpt"]
    small = made(tmp_path / "small", b"b")
    assert file_hash(small) == hashlib.sha256(b"b").digest()
    assert reads == ["w.ckpt"]
    link = tmp_path / "link.ckpt"
    link.symlink_to(path)
    assert file_hash(link) == truth and reads == ["w.ckpt"]


@pytest.mark.parametrize("how", ["write", "replace", "cp -p", "one byte"])
def test_other_content_of_the_same_size_and_time_is_noticed(
    how: str, tmp_path: Path, reads: list[str]
) -> None:
    path = made(tmp_path / "w.ckpt", b"a" * 1000)
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    first = hash_of(path)
    other = made(tmp_path / "other", b"b" * 1000)
    os.utime(other, ns=times)
    if how == "write":
        path.write_bytes(b"b" * 1000)
    elif how == "replace":
        other.replace(path)
    elif how == "cp -p":
        shutil.copy2(other, path)
    else:
        with path.open("r+b") as file:
            file.seek(500)
            file.write(b"b")
    os.utime(path, ns=times)
    assert path.stat().st_mtime_ns == times[1]
    assert hash_of(path) != first
    assert len(reads) == 2


def test_a_file_that_has_just_changed_is_not_remembered(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RECENT_NS", 10**10)
    path = made(tmp_path / "w.ckpt", b"a" * 1000)
    assert file_hash(path) == file_hash(path)
    assert len(reads) == 2


@pytest.mark.parametrize("content", [b"", b"[", b"[]", b'{"identity": 3}', b"\xff", b"null"])
def test_damaged_notes_are_read_over(content: bytes, tmp_path: Path, reads: list[str]) -> None:
    path = made(tmp_path / "w.ckpt", b"a" * 1000)
    first = file_hash(path)
    for note in (tmp_path / "cache").rglob("*.json"):
        note.write_bytes(content)
    assert file_hash(path) == first and len(reads) == 2


def test_without_a_place_for_notes(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "w.ckpt", b"a" * 1000)
    (tmp_path / "cache").write_bytes(b"a file is in the way")
    assert file_hash(path) == file_hash(path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda text: text)  # a user without a home
    assert file_hash(path) == file_hash(path)
    assert len(reads) == 4


def test_damage_in_the_hubs_cache_is_noticed(tmp_path: Path, reads: list[str]) -> None:
    (tmp_path / "blobs").mkdir()
    content = b"a" * 1000
    blob = made(tmp_path / "blobs" / hashlib.sha256(content).hexdigest(), content)
    assert file_hash(blob).hex() == blob.name
    blob.write_bytes(content[:-1] + b"b")
    with pytest.raises(WeightsError, match="is damaged"):
        file_hash(blob)
