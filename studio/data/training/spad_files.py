"""Files of SPAD's renderings: pickled cameras, read without running what a pickle may hold.

A camera is a dict: `matrix_world`, the text of a 4x4 camera-to-world matrix with Blender's camera
axes, and `fov` in radians. numpy's `.npy` file of such an object is a pickle, which could run any
program; here only dicts, texts, numbers and plain arrays come out of it.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from studio.data.training.arrays import array_header
from studio.errors import DataError
from studio.io.reading import read_bytes, reading

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?nan|[-+]?inf", re.IGNORECASE)
NO_PLACE = 1e-6  # a camera this near the origin was never placed (official: broken renderings)
MOST_CAMERA = 1 << 20  # bytes; files of the data set have some 500
RIGID_TOLERANCE = 1e-2  # largest entry of R R^T - 1; texts of Blender hold four decimals


class _Array:
    """Stands for the class in a pickled array, so that a pickle cannot call the real one."""


_EMPTY: Any = np.empty(0).__reduce__()[0]
_SCALAR: Any = np.float64(0).__reduce__()[0]
_ADMITTED = {
    "ndarray": _Array,
    "_reconstruct": lambda *_: _EMPTY(np.ndarray, (0,), b"b"),  # filled by its state
    "scalar": _SCALAR,
    "dtype": np.dtype,
}


class _Careful(pickle._Unpickler):  # type: ignore[name-defined]
    """An unpickler that makes numpy's arrays and scalars of plain values, and nothing else.

    It is pickle's own in Python: that in C makes room for as many objects as a file says it has.
    """

    def find_class(self, module: str, name: str) -> Any:
        plain = module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
        if not plain or name not in _ADMITTED:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, which is not admitted")
        return _ADMITTED[name]


def read_pickled(path: Path) -> Any:
    """Read an object saved by `numpy.save` or `pickle`: dicts, lists, texts, numbers, arrays.

    Raises:
        DataError: if the file is missing, broken or holds anything else.
    """
    with reading(path, "a dict saved by numpy"):
        file = io.BytesIO(read_bytes(path, MOST_CAMERA))
        if file.getvalue()[:6] == b"\x93NUMPY":
            shape, dtype = array_header(file)
            if dtype != np.dtype(object) or shape != ():
                raise ValueError(f"it is an array {shape} of {dtype}")
        value = _Careful(file).load()
        return value.item() if isinstance(value, np.ndarray) and value.shape == () else value


def read_blender_camera(path: Path) -> tuple[Float64[np.ndarray, "4 4"], float]:
    """Read a camera of SPAD's data set.

    Returns:
        camera-to-world with Blender's axes, its rotation made exact, and the field of view in
        degrees. The translation is zero where the rendering is broken (see `is_placed`).

    Raises:
        DataError: if the file is missing or broken or is no such camera.
    """
    camera = read_pickled(path)
    if not isinstance(camera, dict) or not {"matrix_world", "fov"} <= set(camera):
        raise DataError(f"{path} is no camera.", allowed="a dict with matrix_world and fov")
    given, fov = camera["matrix_world"], camera["fov"]
    if isinstance(given, str):
        given = [float(n) for n in NUMBER.findall(re.sub(r"\d+x\d+", "", given))]
    with reading(path, problem="holds no camera: matrix_world or fov is no matrix or number"):
        matrix, fov = np.asarray(given, dtype=np.float64), float(fov)
        matrix = matrix.reshape(4, 4)
    rotation = matrix[:3, :3]
    if not np.isfinite(matrix).all() or not 0 < fov < math.pi:
        raise DataError(f"{path}: matrix_world is not finite or fov {fov} not in (0, pi).")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > RIGID_TOLERANCE:
        raise DataError(f"{path}: matrix_world is not rigid.", allowed="rotation and translation")
    left, _, right = np.linalg.svd(rotation)
    matrix = matrix.copy()
    matrix[:3, :3] = left @ right
    return matrix, math.degrees(fov)


def is_placed(matrix: Float64[np.ndarray, "4 4"]) -> bool:
    """Whether a camera stands anywhere but at the origin, where broken renderings have theirs."""
    return bool(np.linalg.norm(matrix[:3, 3]) > NO_PLACE)
