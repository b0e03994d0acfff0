"""Files of rendered views, read without torch: `NNN.npy` cameras, RGBA pictures, lists of objects.

Every error names the file and what it should hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from studio.data.training.arrays import read_npy
from studio.errors import DataError
from studio.io.picture_files import opened
from studio.io.reading import parse_json, read_text, reading

RIGID_TOLERANCE = 1e-3  # largest entry of R R^T - 1


def read_matrix(path: Path) -> Float64[np.ndarray, "3 4"]:
    """Read a rigid 3x4 world-to-camera matrix.

    Raises:
        DataError: if the file is missing or broken, or the matrix has another shape or is not
            rigid.
    """
    with reading(path, "3x4 world-to-camera matrices"):
        matrix = read_npy(path)
    if matrix.shape == (4, 4):
        raise DataError(
            f"camera {path} is a 4x4 matrix, as some renderers save camera-to-world poses.",
            allowed="3x4 world-to-camera matrices with Blender's camera axes",
            hint="Save its inverse's first three rows.",
        )
    if matrix.shape != (3, 4) or matrix.dtype.kind not in "fiu" or not np.isfinite(matrix).all():
        raise DataError(
            f"camera {path} holds an array {matrix.shape} or values that are not finite.",
            allowed="3x4 world-to-camera matrices",
        )
    matrix = matrix.astype(np.float64)
    if np.abs(matrix[:, :3] @ matrix[:, :3].T - np.eye(3)).max() > RIGID_TOLERANCE:
        raise DataError(f"camera {path} is not rigid.", allowed="a rotation and a translation")
    return matrix


def read_rgba8(path: Path) -> UInt8[np.ndarray, "h w 4"]:
    """Read an 8-bit RGBA picture, straight alpha.

    Raises:
        DataError: if the file is missing or broken or has no alpha.
    """
    with opened(path) as picture:
        pixels = np.asarray(picture)
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        raise DataError(f"picture {path} has no alpha channel.", allowed="8-bit RGBA PNG")
    return pixels


def whitened(rgba: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w 3"]:
    """Turn pixels of alpha 0 white and leave the raw colour of all others, as the authors do.

    Their floats in [0, 1] are cut, not rounded, to 8 bits, which makes some values one smaller.
    """
    values = rgba.astype(np.float32) / np.float32(255)
    values[rgba[..., 3] == 0] = 1.0
    return (values[..., :3] * np.float32(255)).astype(np.uint8)


def read_names(path: Path, *, may_be_empty: bool = False) -> list[str]:
    """Read a list of object folders or ids.

    Args:
        path: a JSON list (or an object of lists, as `--filter-views` writes them), a .npy array of
            strings, or text with one name a line.
        may_be_empty: whether a list without names will do.

    Raises:
        DataError: if the file is missing, broken or holds something else.
    """
    if not path.is_file():
        raise DataError(
            f"there is no {path}.",
            allowed="a list of object folders: .json (valid_paths.json), .npy, or text, one a line",
            hint="launch.py --filter-views <root> writes valid_paths.json.",
        )
    names = _named(path)
    wanted = isinstance(names, list) and all(isinstance(n, str) for n in names)
    if not wanted or not (names or may_be_empty):
        raise DataError(f"{path} holds no list of folder names.", allowed='["id-a", "id-b", ...]')
    return names


def _named(path: Path) -> Any:
    if path.suffix == ".npy":
        with reading(path, "an array of strings saved without pickling (dtype U or S)"):
            array = read_npy(path)
            if array.dtype.kind == "S":
                array = np.char.decode(array, "utf-8")
        return array.reshape(-1).tolist()
    with reading(path, "JSON" if path.suffix == ".json" else "UTF-8 text"):
        text = read_text(path)
    if path.suffix != ".json":
        return [line.strip() for line in text.splitlines() if line.strip()]
    with reading(path, "JSON"):
        document = parse_json(text)
    if isinstance(document, dict) and all(isinstance(v, list) for v in document.values()):
        return [name for names in document.values() for name in names]
    return document
