"""The layout of NSVF (Synthetic-NSVF, BlendedMVS, Tanks and Temples): `rgb`, `pose`, intrinsics.

`rgb/0_name.png` has its camera in `pose/0_name.txt`, a 4x4 camera-to-world matrix with OpenCV axes.
Names that begin with 0 are trained on, those with 2 tested on (with 1, where none begins with 2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from studio.captures.shots import Scene, Shot
from studio.captures.transforms_cameras import rigid
from studio.data.layouts.base import CaptureConfig, LayoutData, pictures_in
from studio.errors import DataError
from studio.io.paths import existing
from studio.io.picture_files import picture_size
from studio.io.reading import read_text, reading
from studio.plugins.ranges import Share
from studio.plugins.registry import register
from studio.similarity import translation

FOLDERS = ("rgb", "pose")


@register("data", "nsvf")
class NSVFData(LayoutData):
    """NSVF's folders (BlendedMVS, Tanks and Temples): rgb/, pose/, intrinsics.txt, bbox.txt."""

    looks_for = "rgb/, pose/ and intrinsics.txt"
    priority = 60
    auto_up = "upright"

    @dataclass
    class Config(CaptureConfig):
        """How cameras are read."""

        pixel_centre: Share = 0.5
        """Where pixel centres lie for the intrinsics: 0.5, or 0 (OpenCV)."""

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether both folders and the intrinsics are there."""
        there = all((root / name).is_dir() for name in FOLDERS)
        return there and (root / "intrinsics.txt").is_file()

    def scene(self, split: str = "train") -> Scene | None:
        """Read poses and intrinsics of a split; None where no name says that it is for tests."""
        root = existing(Path(self.cfg.root))
        chosen = split_of(pictures_in(root / "rgb"), split)
        if chosen is None:
            return None
        shots = []
        for picture in chosen:
            size = picture_size(picture, upright=False)
            k = read_intrinsics(root / "intrinsics.txt", size)
            k[:2, 2] += 0.5 - self.cfg.pixel_centre
            pose = _matrix(root / "pose" / f"{picture.stem}.txt")
            c2w = rigid(pose, f"camera {picture.stem}.txt of {root}")
            shots.append(Shot(picture.stem, picture, c2w, k, size, plain=True))
        how = "RGBA pictures, or ones on an even background"
        scene = Scene(root, shots, how_to_mask=how)
        if not (root / "bbox.txt").is_file():
            return scene
        centre, half = read_box(root / "bbox.txt")
        return replace(scene.placed(translation(centre)), bound=half)


def split_of(pictures: list[Path], split: str) -> list[Path] | None:
    """Return the pictures of "train" or "test" by the digit that their names begin with.

    Names without such a digit are all trained on.
    """
    found = [re.match(r"([012])_", picture.name) for picture in pictures]
    if not all(found):
        return pictures if split == "train" else None
    kinds = [match[1] for match in found if match]
    last = "2" if "2" in kinds else "1"
    wanted = "0" if split == "train" else last
    chosen = [p for p, kind in zip(pictures, kinds, strict=True) if kind == wanted]
    return chosen if chosen or split == "train" else None


def read_intrinsics(path: Path, size: tuple[int, int]) -> Float[Tensor, "3 3"]:
    """Read a matrix, or a first line of focal length and principal point, in pixels.

    Args:
        path: of the file.
        size: (height, width) of the picture. Where the file states others in its last line, the
            numbers are scaled.

    Raises:
        DataError: if it holds neither.
    """
    rows = _rows(path)
    if len(rows) >= 3 and min(map(len, rows[:3])) >= 3:
        return torch.tensor([row[:3] for row in rows[:3]], dtype=torch.float64)
    if not rows or len(rows[0]) < 3:
        raise DataError(
            f"{path} holds no intrinsics.",
            allowed="a 4x4 or 3x3 matrix, or a first line `focal cx cy 0`",
        )
    f, cx, cy = rows[0][:3]
    k = torch.tensor([[f, 0, cx], [0, f, cy], [0, 0, 1]], dtype=torch.float64)
    if len(rows[-1]) == 2 and min(rows[-1]) > 1:
        height, width = rows[-1]
        k[0] *= size[1] / width
        k[1] *= size[0] / height
    return k


def read_box(path: Path) -> tuple[Float[Tensor, "3"], float]:
    """Return the middle of the box that holds the object, and half its longest side.

    Raises:
        DataError: if the file holds no box.
    """
    numbers = [x for row in _rows(path) for x in row][:6]
    low, high = torch.tensor(numbers[:3]).double(), torch.tensor(numbers[3:]).double()
    if len(numbers) < 6 or not bool((high > low).all()):
        raise DataError(f"{path} holds no box.", allowed="xmin ymin zmin xmax ymax zmax, voxel")
    return (low + high) / 2, float((high - low).max()) / 2


def _matrix(path: Path) -> Float[Tensor, "4 4"]:
    rows = _rows(path)
    if len(rows) not in (3, 4) or any(len(row) != 4 for row in rows):
        raise DataError(f"camera {path} is no 4x4 matrix.", allowed="camera-to-world, OpenCV axes")
    return torch.tensor([*rows[:3], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)


def _rows(path: Path) -> list[list[float]]:
    """The finite numbers of a text file, line by line."""
    with reading(path, "lines of numbers"):
        rows = [[float(word) for word in line.split()] for line in read_text(path).splitlines()]
        if not all(abs(x) < float("inf") for row in rows for x in row):
            raise ValueError("it holds numbers that are not finite")
        return [row for row in rows if row]
