"""COLMAP's sparse model files, text and binary, as they are documented on its format page.

cameras: id, model, width, height, parameters. images: id, world-to-camera quaternion (w, x, y, z)
and translation (OpenCV axes), camera id, file name, 2-D points. points3D: id, position, ...
Pixel centres lie at half-integers. Binary files are little-endian.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.captures.files import check_name
from studio.data.layouts.colmap_cameras import MODELS, ColmapCamera
from studio.errors import DataError
from studio.io.reading import MOST_BYTES, check_count, check_file, read_bytes, read_text, reading

T = TypeVar("T")
NO_MODEL = "is no file of a COLMAP model, or cut off"
WRITE_ANEW = "Copy it again, or write the model anew with COLMAP's model_converter."


@dataclass(frozen=True)
class ColmapImage:
    """A registered picture: its file name, camera and world-to-camera pose."""

    name: str
    camera: int
    w2c: Float[Tensor, "4 4"]


@dataclass(frozen=True)
class SparseModel:
    """What a sparse model folder holds."""

    cameras: dict[int, ColmapCamera]
    images: list[ColmapImage]
    points: Float[Tensor, "n 3"]


def read_sparse(folder: Path) -> SparseModel:
    """Read a model from cameras, images and points3D, as .bin or .txt; points may be missing.

    Raises:
        DataError: if a file is missing or broken.
    """
    suffix = model_suffix(folder)
    if suffix is None:
        raise DataError(
            f"{folder} holds no COLMAP model.",
            allowed="cameras, images and points3D as .bin or .txt",
        )
    binary = suffix == ".bin"
    cameras = _parsed(folder / f"cameras{suffix}", _cameras_bin if binary else _cameras_txt)
    images = _parsed(folder / f"images{suffix}", _images_bin if binary else _images_txt)
    points_file = folder / f"points3D{suffix}"
    points = torch.zeros(0, 3, dtype=torch.float64)
    if points_file.is_file():
        points = _parsed(points_file, _points_bin if binary else _points_txt)
        points = points[points.isfinite().all(1)]
    for image in images:
        check_name(folder / f"images{suffix}", image.name)
        if image.camera not in cameras:
            raise DataError(f"{folder}: {image.name} names camera {image.camera}, which is absent.")
    return SparseModel(cameras, sorted(images, key=lambda i: i.name), points)


def model_suffix(folder: Path) -> str | None:
    """Return ".bin" or ".txt", as the folder's model has it, or None where there is no model."""
    for suffix in (".bin", ".txt"):
        if all((folder / f"{part}{suffix}").is_file() for part in ("cameras", "images")):
            return suffix
    return None


def count_images(folder: Path) -> int:
    """Return how many pictures a model holds; 0 where its file is broken."""
    suffix = model_suffix(folder)
    try:
        return (
            len(_parsed(folder / "images.txt", _images_txt))
            if suffix == ".txt"
            else (_parsed(folder / "images.bin", _count_bin))
        )
    except DataError:
        return 0


def _parsed(path: Path, parse: Callable[[Path], T]) -> T:
    with reading(path, problem=NO_MODEL, hint=WRITE_ANEW):
        check_file(path)
        return parse(path)


def pose(quaternion: Sequence[float], shift: Sequence[float]) -> Float[Tensor, "4 4"]:
    """World-to-camera matrix of a quaternion (w, x, y, z) and a translation.

    Raises:
        ValueError: if they are no finite numbers, or the quaternion is zero.
    """
    if not all(map(math.isfinite, (*quaternion, *shift))) or not any(quaternion):
        raise ValueError(f"a pose of {list(quaternion)} and {list(shift)}")
    w, x, y, z = torch.nn.functional.normalize(
        torch.tensor(quaternion, dtype=torch.float64), dim=0
    ).tolist()
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float64,
    )
    matrix[:3, 3] = torch.tensor(shift, dtype=torch.float64)
    return matrix


# --- text ---------------------------------------------------------------------------------------


def _lines(path: Path) -> list[str]:
    lines = read_text(path, MOST_BYTES).splitlines()
    return [line for line in lines if not line.startswith("#")]


def _cameras_txt(path: Path) -> dict[int, ColmapCamera]:
    found = {}
    for line in _lines(path):
        if words := line.split():
            params = tuple(float(p) for p in words[4:])
            found[int(words[0])] = ColmapCamera(words[1], int(words[2]), int(words[3]), params)
    return found


def _images_txt(path: Path) -> list[ColmapImage]:
    """A line a picture, and mostly one of its 2-D points, which may be empty or left out."""
    found = []
    for line in _lines(path):
        if _holds_points(line):
            continue
        words = line.split(maxsplit=9)
        numbers = [float(word) for word in words[1:8]]
        int(words[0])
        matrix = pose(numbers[:4], numbers[4:])
        found.append(ColmapImage(words[9].strip(), int(words[8]), matrix))
    return found


def _holds_points(line: str) -> bool:
    """Whether a line holds triples (x, y, point id); a picture's has ten words and a name."""
    words = line.split()
    try:
        return len(words) % 3 == 0 and all(math.isfinite(float(word)) for word in words)
    except ValueError:
        return False


def _points_txt(path: Path) -> Float[Tensor, "n 3"]:
    rows = [[float(v) for v in line.split()[1:4]] for line in _lines(path) if line.split()]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 3)


# --- binary -------------------------------------------------------------------------------------


def _unpack(file: BinaryIO, form: str) -> tuple[int | float, ...]:
    return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))


def _cameras_bin(path: Path) -> dict[int, ColmapCamera]:
    found = {}
    with path.open("rb") as file:
        (count,) = _unpack(file, "Q")
        for _ in range(int(count)):
            number, model, width, height = _unpack(file, "iiQQ")
            if int(model) not in MODELS:
                raise ValueError(f"camera model number {model} is of a newer COLMAP")
            name, size = MODELS[int(model)]
            params = tuple(float(p) for p in _unpack(file, f"{size}d"))
            found[int(number)] = ColmapCamera(name, int(width), int(height), params)
    return found


def _count_bin(path: Path) -> int:
    with path.open("rb") as file:
        return int(_unpack(file, "Q")[0])


def _images_bin(path: Path) -> list[ColmapImage]:
    found = []
    with path.open("rb") as file:
        (count,) = _unpack(file, "Q")
        for _ in range(int(count)):
            _, *numbers, camera = _unpack(file, "i7di")
            name = bytearray()
            while (byte := file.read(1)) != b"\0":
                if not byte:
                    raise ValueError("the file ends within a name")
                name += byte
            (points,) = _unpack(file, "Q")
            check_count(int(points), 24, path.stat().st_size, "points in one picture")
            file.seek(24 * int(points), 1)  # x, y as doubles and a 64-bit point id
            matrix = pose(numbers[:4], numbers[4:])
            found.append(ColmapImage(name.decode(), int(camera), matrix))
    return found


def _points_bin(path: Path) -> Float[Tensor, "n 3"]:
    """Position at byte 8 of every record, whose track of 8-byte entries has its length at 43."""
    data = read_bytes(path)
    (count,) = struct.unpack_from("<Q", data)
    check_count(count, 51, len(data), "points")
    positions, at = np.empty((count, 3)), 8
    for i in range(count):
        positions[i] = struct.unpack_from("<3d", data, at + 8)
        (track,) = struct.unpack_from("<Q", data, at + 43)
        check_count(track, 8, len(data) - at, "pictures that see one point")
        at += 51 + 8 * track
    if at > len(data):
        raise ValueError("the last track is incomplete")
    return torch.from_numpy(positions)
