"""What can be told of a file of weights without torch: its kind, and whether its end is there."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import zipfile
from pathlib import Path

from studio.errors import WeightsError
from studio.io.reading import check_count, check_file, reading

PICKLED = (".ckpt", ".pt", ".pth", ".bin")
_READ_AGAIN = "Download or copy it again and compare the size with the original."


def check_readable(path: Path) -> None:
    """Refuse a file of weights that is empty, cut off or no such file, without reading them.

    Raises:
        WeightsError: as `read_tensors` does, for what the beginning and the end of the file tell.
    """
    check_kind(path)
    with whole(path, "is truncated or damaged"):
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, "numpy"):
                return
        if not is_archive(path) and not begins_pickled(path):
            raise WeightsError(f"{path} is truncated or no torch checkpoint.", hint=_READ_AGAIN)


def is_archive(path: Path) -> bool:
    """Whether a pickled checkpoint is an archive, as torch has written them since 2020.

    Raises:
        WeightsError: if its directory is damaged, or speaks of more bytes than the file has; if it
            holds a program.
    """
    with whole(path, "is truncated or damaged"):
        size = check_file(path, most=sys.maxsize)
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        for entry in entries:  # torch packs nothing: what comes out is in the file
            check_count(entry.file_size, 1, size, f"bytes of {entry.filename[:80]}")
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise WeightsError(f"{path} is a TorchScript program.", allowed="a checkpoint of tensors")
    return True


def begins_pickled(path: Path) -> bool:
    """Whether a file that is no archive begins as torch's checkpoints before 2020 do."""
    with path.open("rb") as file:
        return file.read(1) == pickle.PROTO


def check_kind(path: Path) -> None:
    """Refuse what is no file of weights: a folder, an empty file, a web page in place of one.

    Raises:
        WeightsError: saying what it is.
    """
    try:
        there = path.is_file()
    except OSError:  # the path is too long, or its folder closed
        there = False
    if not there:
        what = "is a folder, not a file" if os.path.isdir(path) else "does not exist"  # noqa: PTH112
        raise WeightsError(
            f"weights file {path} {what}.", allowed=".safetensors, " + ", ".join(PICKLED)
        )
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip().lower()
    except OSError as error:
        raise WeightsError(
            f"{path} may not be read ({error.strerror}).", hint="Check the file's permissions."
        ) from error
    if not head:
        raise WeightsError(f"{path} is an empty file.", hint=_READ_AGAIN)
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path} is a Git LFS pointer, not the weights.", hint="Run `git lfs pull`."
        )
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError(
            f"{path} is a web page, not weights.",
            hint="The download was refused or needs a login; fetch the file itself.",
        )


def whole(path: Path, problem: str) -> contextlib.AbstractContextManager[None]:
    """Let what is raised over a file of weights say that it has this problem; see `reading`."""
    return reading(path, problem=problem, error=WeightsError, hint=_READ_AGAIN)
