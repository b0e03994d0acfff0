"""The cameras of a `transforms.json`: matrices and intrinsics, checked one by one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras, opengl_to_opencv
from studio.errors import DataError

MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "ORTHOGRAPHIC")
DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
RIGID_TOLERANCE = 1e-3  # largest entry of R^T R - 1


def studio_block(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Return the "studio" block, empty in files of other programs."""
    block = document.get("studio", {})
    if not isinstance(block, dict):
        raise DataError(f'{path}: "studio" is {block!r}.', allowed="an object")
    return block


def read_cameras(
    path: Path, document: dict[str, Any], frames: list[dict[str, Any]], size: tuple[int, ...]
) -> Cameras:
    """Return the cameras of the frames for pictures of this (height, width).

    Raises:
        DataError: if a matrix is not rigid, or the lens is not a pinhole.
    """
    height, width = size
    c2w = torch.stack([_matrix(path, frame) for frame in frames])
    intrinsics = [_intrinsics(path, {**document, **frame}, height, width) for frame in frames]
    scale = studio_block(path, document).get("ortho_scale")
    if document.get("camera_model") == "ORTHOGRAPHIC":
        if not isinstance(scale, list) or len(scale) != len(frames):
            raise DataError(f"{path}: orthographic cameras need one studio.ortho_scale per frame.")
        scale = torch.tensor(scale, dtype=torch.float32)
    else:
        scale = None
    stacked = torch.tensor(intrinsics, dtype=torch.float32)
    return Cameras(opengl_to_opencv(c2w), stacked, (height, width), scale)


def _matrix(path: Path, frame: dict[str, Any]) -> Float[Tensor, "4 4"]:
    where = f"{path}: transform_matrix of {frame['file_path']}"
    try:
        matrix = torch.tensor(frame.get("transform_matrix"), dtype=torch.float64)
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
            allowed="a rigid camera-to-world matrix with OpenGL axes, without scale or mirroring",
        )
    return matrix.float()


def _intrinsics(path: Path, keys: dict[str, Any], height: int, width: int) -> list[list[float]]:
    """Return the 3x3 matrix for pictures of this size; keys of the frame go before the file's."""
    model = keys.get("camera_model", "OPENCV")
    if model not in MODELS:
        raise DataError(f"{path}: camera_model is {model}.", allowed=", ".join(MODELS))
    bent = [key for key in DISTORTION if number(path, keys, key, 0.0) != 0]
    if bent or keys.get("is_fisheye"):
        raise DataError(
            f"{path}: the lens has distortion ({', '.join(bent) or 'is_fisheye'}).",
            allowed="pinhole pictures",
            hint="Undistort them first: COLMAP's image_undistorter, then convert again.",
        )
    w, h = number(path, keys, "w", width), number(path, keys, "h", height)
    if w <= 0 or h <= 0 or abs(w * height / h - width) > 1:
        raise DataError(f"{path} says w x h = {w:g}x{h:g}, the pictures are {width}x{height} px.")
    sx, sy = width / w, height / h  # pictures may have been scaled since
    fx, fy = _focal(path, keys, "x", w), _focal(path, keys, "y", h)
    if fx is None:
        raise DataError(f"{path} gives no focal length.", allowed="fl_x or camera_angle_x")
    fy = fx if fy is None else fy
    cx, cy = number(path, keys, "cx", w / 2), number(path, keys, "cy", h / 2)
    return [[fx * sx, 0.0, cx * sx], [0.0, fy * sy, cy * sy], [0.0, 0.0, 1.0]]


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
