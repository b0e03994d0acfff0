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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from studio.cameras import Cameras, opengl_to_opencv, pinhole_intrinsics
from studio.data.training.arrays import array_header
from studio.data.training.exr import read_exr
from studio.errors import DataError, about
from studio.io.images import composite, read_rgba, resize
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


DEPTH_SCALE = 10.0  # official: stored depths are a tenth


@dataclass(frozen=True)
class SpadObject:
    """The intact views of one object.

    Attributes:
        folder: of the object.
        numbers: of the views.
        c2w: OpenCV axes.
        fov_deg: of every view.
        broken: numbers of the views that are left out, whose cameras stand at the origin.
    """

    folder: Path
    numbers: tuple[int, ...]
    c2w: Float[Tensor, "v 4 4"]
    fov_deg: tuple[float, ...]
    broken: tuple[int, ...] = ()

    def cameras(self, views: list[int], size: int) -> Cameras:
        """Return the cameras of some views (positions in `numbers`)."""
        lenses = [pinhole_intrinsics(self.fov_deg[view], (size, size)) for view in views]
        with about(self.folder):
            return Cameras(self.c2w[views], torch.stack(lenses), (size, size))

    def picture(self, view: int, size: int) -> Float[Tensor, "3 size size"]:
        """Return a view on white, in [-1, 1].

        Raises:
            DataError: if the file is missing or broken or not square.
        """
        path = self.folder / "images" / f"{self.numbers[view]}.png"
        rgba = read_rgba(path)
        if rgba.shape[1] != rgba.shape[2]:
            raise DataError(f"picture {path} is not square.", allowed="square renderings")
        return composite(resize(rgba, size, size)) * 2 - 1

    def depth(self, view: int, size: int) -> Float[Tensor, "size size"]:
        """Return depth along the viewing axis in world units, the nearest pixel's."""
        stored = read_exr(self.folder / "depths" / f"{self.numbers[view]}.exr")[..., 0]
        rows, columns = (((np.arange(size) + 0.5) * n / size).astype(int) for n in stored.shape)
        return torch.from_numpy(stored[rows[:, None], columns] * DEPTH_SCALE)


def read_object(folder: Path) -> SpadObject:
    """Read all cameras of an object.

    Raises:
        DataError: if there are no views or a camera is missing or cannot be read.
    """
    numbers = sorted(int(p.stem) for p in (folder / "images").glob("*.png") if p.stem.isdigit())
    cameras = {n: read_blender_camera(folder / "cameras" / f"{n}.npy") for n in numbers}
    intact = tuple(n for n in numbers if is_placed(cameras[n][0]))
    if not intact:
        raise DataError(
            f"{folder} holds no view that can be used.",
            allowed="images/<k>.png with cameras/<k>.npy, k from 0 on",
        )
    matrices = torch.from_numpy(np.stack([cameras[n][0] for n in intact]))
    fov = tuple(cameras[n][1] for n in intact)
    broken = tuple(n for n in numbers if n not in intact)
    return SpadObject(folder, intact, opengl_to_opencv(matrices).float(), fov, broken)
