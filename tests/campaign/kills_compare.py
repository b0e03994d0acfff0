"""Compares what two runs have left: weights, views, meshes, stamps; names what is half or stray."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

EARLIER = re.compile(
    r"cmd\.txt|configs/config-\d+\.yaml|logs/metrics-\d+\.csv|configs/environment\.json"
)
"""Files that tell of earlier runs in the folder, or of the machine."""
UNPROVEN = "logs/stage-train.json"
"""A stamp that may be missing: a run that is resumed at its last step does not say that it did all
of them. Without it the next run fits again."""
COUNTERS = "batch_progress"
"""Lightning's count of batches, which starts anew where a run is resumed; steps go on."""
SIGNALLED = re.compile(r".*/ckpts/step=\d+\.ckpt")
"""A run that was sent a signal saves at that step, so other ones of the last few may be kept."""
TIMES = ("seconds", "_s", "time")
"""Keys of numbers that measure time."""


def files(folder: Path) -> dict[str, Path]:
    """All files below a folder by their relative names."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() or p.is_symlink())
    return {p.relative_to(folder).as_posix(): p for p in found}


def _compared(name: str) -> bool:
    inside = name.partition("/")[2].partition("/")[2].partition("/")[2]
    return not (EARLIER.fullmatch(inside) or EARLIER.fullmatch(name))


def strays(found: Path, wanted: Path) -> list[str]:
    """Names of files that an undisturbed run does not leave."""
    known = files(wanted)
    here = [n for n in files(found) if n not in known and _compared(n)]
    kept = sum(bool(SIGNALLED.fullmatch(n)) for n in files(found))
    allowed = sum(bool(SIGNALLED.fullmatch(n)) for n in known)
    return [n for n in here if not SIGNALLED.fullmatch(n) or kept > allowed]


def differences(found: Path, wanted: Path) -> list[str]:
    """Names of files that are missing or hold something else than after an undisturbed run."""
    have, differing = files(found), []
    for name, path in files(wanted).items():
        if not _compared(name) or (name.endswith(UNPROVEN) and name not in have):
            continue
        if name not in have and SIGNALLED.fullmatch(name):
            continue
        if name not in have:
            differing.append(f"{name} (missing)")
        elif not same(have[name], path):
            differing.append(name)
    return differing


def same(one: Path, other: Path) -> bool:
    """Whether two files say the same; times that were measured do not count."""
    if one.read_bytes() == other.read_bytes():
        return True
    if other.suffix in (".ckpt", ".pt"):  # torch writes the name of its temporary file into it
        return _equal(*(_load(path) for path in (one, other)))
    if other.suffix == ".npz":
        return _equal(*(_arrays(path) for path in (one, other)))
    if other.suffix == ".zip":
        return _equal(*(_members(path) for path in (one, other)))
    if other.name.startswith("stage-"):  # a checkpoint's own bytes hold times
        stamps = [json.loads(path.read_text()) for path in (one, other)]
        return _equal(*({**s, "outputs": sorted(s["outputs"])} for s in stamps))
    if other.suffix == ".json":
        return _equal(*(json.loads(path.read_text()) for path in (one, other)))
    if other.suffix == ".csv":  # of the part of the run since it was resumed
        return _row(one) == _row(other)
    return False


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _arrays(path: Path) -> dict[str, list[Any]]:
    """Arrays of an index; the stamps are the times of the files that it was made of."""
    with np.load(path) as content:
        return {key: content[key].tolist() for key in content.files if key != "stamps"}


def _members(path: Path) -> dict[str, int]:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist()}


def _row(path: Path) -> dict[str, str]:
    """The last row of a CSV file."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {k: v for k, v in rows[-1].items() if not k.endswith(TIMES)} if rows else {}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        keys = {
            k
            for k in [*one, *other]
            if not str(k).endswith(TIMES) and not str(k).endswith(COUNTERS)
        }
        return all(k in one and k in other and _equal(one[k], other[k]) for k in keys)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_equal(a, b) for a, b in pairs)
    return bool(one == other)


def halves(folder: Path) -> list[str]:
    """Names of files that cannot be read although they bear their final names."""
    found = []
    for name, path in files(folder).items():
        if ".tmp" in name or path.name.startswith("."):
            continue
        try:
            _read(path)
        except Exception as error:
            found.append(f"{name} ({type(error).__name__})")
    return found


def _read(path: Path) -> None:
    match path.suffix:
        case ".json":
            json.loads(path.read_text())
        case ".png" | ".gif":
            with Image.open(path) as picture:
                picture.load()
        case ".ckpt" | ".zip" | ".pt":
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise ValueError("damaged")
        case ".safetensors":
            with safe_open(path, "pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118 - no mapping
                    tensors.get_tensor(key)
        case ".glb":
            content = path.read_bytes()
            if content[:4] != b"glTF" or int.from_bytes(content[8:12], "little") != len(content):
                raise ValueError("cut off")
        case ".tar":
            with tarfile.open(path) as archive:
                archive.getmembers()
            if not path.read_bytes().endswith(bytes(1024)):
                raise ValueError("cut off")


def stages_hold(folder: Path) -> list[str]:
    """Names of stamps whose outputs are not what they say."""
    from studio.runs.folder import RunFolder

    bad = []
    for stamp in folder.rglob("logs/stage-*.json"):
        said = json.loads(stamp.read_text())
        run = RunFolder(stamp.parent.parent)
        with contextlib.suppress(KeyError):
            if not run.stage_current(said["stage"], said["key"]):
                bad.append(stamp.relative_to(folder).as_posix())
    return bad
