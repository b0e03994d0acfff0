"""The frames of a `transforms.json`: its JSON, which frames a split has, what files they name."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

from studio.captures.files import (
    MASK_FOLDERS,
    check_name,
    find_mask,
    find_picture,
    is_picture,
)
from studio.errors import DataError
from studio.io.reading import read_json


def load_json(path: Path) -> dict[str, Any]:
    """Return the file's object.

    Raises:
        DataError: if it cannot be read or is no JSON object.
    """
    document: dict[str, Any] = read_json(path, 'an object with "frames"')
    return document


def read_frames(path: Path, document: dict[str, Any], split: str | None) -> list[dict[str, Any]]:
    """Return the frames of a split (or all), "file_path" without "./" and with slashes.

    Raises:
        DataError: if there is none, or one names no file.
    """
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames:
        raise DataError(f"{path} has no frames.", allowed='"frames": a list with one or more views')
    for index, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise DataError(f'{path}: frame {index} has no "file_path".')
    frames = [{**frame, "file_path": _plain(frame["file_path"])} for frame in frames]
    chosen = document.get(f"{split}_filenames") if split else None
    if isinstance(chosen, list):
        names = {_plain(name) for name in chosen if isinstance(name, str)}
        frames = [frame for frame in frames if frame["file_path"] in names]
    if not frames:
        raise DataError(f"{path}: no frame is listed in {split}_filenames.")
    return frames


def _plain(given: str) -> str:
    """A path without "./" and with slashes, however it was written."""
    return posixpath.normpath(given.replace("\\", "/"))


def within_folder(given: str) -> str:
    """Return a picture's path within the folder of all pictures: the first part left out."""
    parts = Path(given).parts
    return str(Path(*parts[1:])) if len(parts) > 1 else given


def named_file(path: Path, frame: dict[str, Any], key: str) -> tuple[Path | None, bool]:
    """Return the file that a frame names, and whether it names one."""
    given = frame.get(key)
    if not given:
        return None, False
    if not isinstance(given, str):
        raise DataError(f"{path}: {key} of {frame['file_path']} is {given!r}.", allowed="a path")
    return find_picture(path.parent / _plain(check_name(path, given))), True


def mask_beside(root: Path, given: str, picture: Path) -> Path | None:
    """Return the mask of a picture that names none, or None.

    Args:
        root: the capture's folder, in which masks lie in `masks` or `mask`.
        given: the picture's path as the frame has it.
        picture: its file; the masks of `train` may also lie in `train_mask` (Stanford-ORB).
    """
    found = find_mask([root / folder for folder in MASK_FOLDERS], within_folder(given))
    if found is not None or picture.parent == root:
        return found
    return find_mask([picture.parent.with_name(f"{picture.parent.name}_mask")], picture.name)


def frame_names(frames: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return file names without suffix, with their folders where the names alone are not unique."""
    paths = [Path(frame["file_path"]) for frame in frames]
    stems = [p.stem if is_picture(p) else p.name for p in paths]
    if len(set(stems)) == len(stems):
        return tuple(stems)
    parents = [[part for part in p.parts[:-1] if part not in (".", "..", "/")] for p in paths]
    return tuple("-".join([*some, stem]) for some, stem in zip(parents, stems, strict=True))
