"""The cameras of a `transforms.json`: matrices and intrinsics, checked one by one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import opengl_to_opencv
from studio.errors import DataError
from studio.lens import Lens

MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "ORTHOGRAPHIC")
DISTORTION = ("k1", "k2", "k3", "p1", "p2")
REFUSED = ("k4", "k5", "k6")
RIGID_TOLERANCE = 1e-3  # largest entry of R^T R - 1


def studio_block(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Return the "studio" block, empty in files of other programs."""
    block = document.get("studio", {})
    if not isinstance(block, dict):
        raise DataError(f'{path}: "studio" is {block!r}.', allowed="an object")
    return block


def frame_pose(path: Path, keys: dict[str, Any]) -> Float[Tensor, "4 4"]:
    """Return a frame's camera-to-world matrix, OpenCV axes; keys of the frame and of the file.

    Files have OpenGL axes; those of NeuS2 with the key "from_na" have OpenCV's.

    Raises:
        DataError: if the matrix is missing or not rigid.
    """
    where = f"{path}: transform_matrix of {keys['file_path']}"
    try:
        matrix = torch.tensor(keys.get("transform_matrix"), dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{where} is no matrix of numbers.") from error
    if matrix.shape == (3, 4):
        matrix = torch.cat([matrix, matrix.new_tensor([[0, 0, 0, 1]])])
    if matrix.shape != (4, 4):
        raise DataError(f"{where} has shape {tuple(matrix.shape)}.", allowed="4x4 (or 3x4)")
    if not torch.isfinite(matrix).all():
        raise DataError(f"{where} holds a NaN or an infinite value.")
    rotation = matrix[:3, :3]
    residual = (rotation.T @ rotation - torch.eye(3)).abs().max().item()
    upright = torch.allclose(matrix[3], matrix.new_tensor([0, 0, 0, 1]))
    if residual > RIGID_TOLERANCE or torch.linalg.det(rotation) < 0 or not upright:
        raise DataError(
            f"{where} is not rotation and translation (R^T R is off by {residual:.2g}, "
            f"det R = {torch.linalg.det(rotation):.3g}, last row {matrix[3].tolist()}).",
            allowed="a rigid camera-to-world matrix without scale or mirroring",
        )
    return matrix if "from_na" in keys else opengl_to_opencv(matrix)


def frame_lens(path: Path, keys: dict[str, Any]) -> Lens:
    """Return the lens of a frame.

    k4 and higher mean different things to different programs and are refused.

    Raises:
        DataError: if it is of a kind that cannot be undistorted.
    """
    model = keys.get("camera_model", "OPENCV")
    bent = [key for key in REFUSED if number(path, keys, key, 0.0) != 0]
    if model not in MODELS or bent or keys.get("is_fisheye"):
        what = model if model not in MODELS else ", ".join(bent) or "is_fisheye"
        raise DataError(
            f"{path}: the lens cannot be undistorted here (camera_model is {model}; {what}).",
            allowed=f"{', '.join(MODELS)} with {', '.join(DISTORTION)}",
            hint="Undistort the pictures first: COLMAP's image_undistorter, then convert again.",
        )
    return Lens(**{key: number(path, keys, key, 0.0) for key in DISTORTION})


def frame_intrinsics(
    path: Path, keys: dict[str, Any], height: int, width: int
) -> Float[Tensor, "3 3"]:
    """Return the matrix for pictures of this size; keys of the frame go before the file's.

    Raises:
        DataError: if there is no focal length, or the file speaks of another picture shape.
    """
    w, h = number(path, keys, "w", width), number(path, keys, "h", height)
    if w <= 0 or h <= 0 or abs(w * height / h - width) > 1:
        raise DataError(f"{path} says w x h = {w:g}x{h:g}, the pictures are {width}x{height} px.")
    scale = torch.tensor([width / w, height / h, 1.0]).double()[:, None]  # scaled since
    if "intrinsic_matrix" in keys:  # NeuS2
        return scale * _intrinsic_matrix(path, keys["intrinsic_matrix"])
    fx, fy = _focal(path, keys, "x", w), _focal(path, keys, "y", h)
    if fx is None:
        raise DataError(f"{path} gives no focal length.", allowed="fl_x or camera_angle_x")
    fy = fx if fy is None else fy
    cx, cy = number(path, keys, "cx", w / 2), number(path, keys, "cy", h / 2)
    return scale * torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]).double()


def _intrinsic_matrix(path: Path, given: Any) -> Float[Tensor, "3 3"]:
    try:
        matrix = torch.tensor(given, dtype=torch.float64)[:3, :3]
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise DataError(f"{path}: intrinsic_matrix is no matrix of numbers.") from error
    if matrix.shape != (3, 3) or min(matrix[0, 0], matrix[1, 1]) <= 0 or matrix[2, 2] != 1:
        raise DataError(f"{path}: intrinsic_matrix is {given!r}.", allowed="3x3 or 4x4, in pixels")
    return matrix


def _focal(path: Path, keys: dict[str, Any], axis: str, side: float) -> float | None:
    if f"fl_{axis}" in keys:
        focal = number(path, keys, f"fl_{axis}", 0.0)
    elif f"camera_angle_{axis}" in keys:
        angle = number(path, keys, f"camera_angle_{axis}", 0.0)
        focal = 0.5 * side / math.tan(0.5 * angle) if 0 < angle < math.pi else 0.0
    else:
        return None
    if focal <= 0:
        raise DataError(f"{path}: the focal length along {axis} is not positive.")
    return focal


def number(path: Path, keys: dict[str, Any], key: str, default: float) -> float:
    """Return a finite number.

    Raises:
        DataError: if the key holds anything else.
    """
    value = keys.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{path}: {key} is {value!r}.", allowed="a finite number")
    return float(value)


def ngp_cube(path: Path, document: dict[str, Any]) -> tuple[Float[Tensor, " 3"], float] | None:
    """Return centre and half side of instant-ngp's render box, in the file's world.

    Only where the file itself says "scale" or "offset": aabb_scale alone is a rough default.
    In instant-ngp a point x lies at scale * x + offset, its box is 0.5 +- aabb_scale / 2.

    Raises:
        DataError: if a value cannot be used.
    """
    if "scale" not in document and "offset" not in document:
        return None
    given = document.get("offset", 0.5)
    offset = torch.tensor(
        [number(path, {"offset": o}, "offset", 0.5) for o in given]
        if isinstance(given, list)
        else [number(path, document, "offset", 0.5)] * 3,
        dtype=torch.float64,
    )
    scale, aabb = number(path, document, "scale", 0.33), number(path, document, "aabb_scale", 1.0)
    if scale <= 0 or aabb <= 0 or len(offset) != 3:
        raise DataError(
            f"{path}: scale {scale:g}, aabb_scale {aabb:g}, offset {given}.",
            allowed="positive scales and one or three offsets",
        )
    return (0.5 - offset) / scale, aabb / (2 * scale)
