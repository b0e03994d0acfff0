"""The cameras of a `transforms.json`: matrices and intrinsics, checked one by one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import opengl_to_opencv
from studio.captures.files import is_turned
from studio.captures.lens import Lens
from studio.errors import DataError
from studio.io.picture_files import picture_size

# all are OpenCV's model with some coefficients zero
MODELS = (
    "OPENCV",
    "PINHOLE",
    "SIMPLE_PINHOLE",
    "SIMPLE_RADIAL",
    "RADIAL",
    "FULL_OPENCV",
    "ORTHOGRAPHIC",
)
DISTORTION = ("k1", "k2", "k3", "p1", "p2")
REFUSED = ("k4", "k5", "k6")
RIGID_TOLERANCE = 5e-3  # largest entry of R^T R - 1; three decimals stay below 1.8e-3
FACING = 0.97  # cosine to the common point: a camera that looks at it within 14 degrees
MOST_PIXELS = 1e7  # larger numbers of pixels are no focal length, centre or side


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
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise DataError(f"{where} is no matrix of numbers.") from error
    if matrix.shape == (3, 4):
        matrix = torch.cat([matrix, matrix.new_tensor([[0, 0, 0, 1]])])
    if matrix.shape != (4, 4):
        raise DataError(f"{where} has shape {tuple(matrix.shape)}.", allowed="4x4 (or 3x4)")
    matrix = rigid(matrix, where)
    return matrix if "from_na" in keys else opengl_to_opencv(matrix)


def rigid(matrix: Float[Tensor, "4 4"], where: str) -> Float[Tensor, "4 4"]:
    """Return the matrix with the nearest rotation, which mends what rounding did to it.

    Three decimals put R^T R off by up to 1.8e-3; up to 5e-3 is mended.

    Args:
        matrix: float64.
        where: what it is, for messages.

    Raises:
        DataError: if it is not rotation and translation.
    """
    if not torch.isfinite(matrix).all():
        raise DataError(f"{where} holds a NaN or an infinite value.")
    rotation = matrix[:3, :3]
    residual = (rotation.T @ rotation - torch.eye(3)).abs().max().item()
    affine = torch.allclose(matrix[3], matrix.new_tensor([0, 0, 0, 1]))
    if residual > RIGID_TOLERANCE or torch.linalg.det(rotation) < 0 or not affine:
        raise DataError(
            f"{where} is not rotation and translation (R^T R is off by {residual:.2g}, "
            f"det R = {torch.linalg.det(rotation):.3g}, last row {matrix[3].tolist()}).",
            allowed=f"a rigid matrix without scale or mirroring, R^T R within {RIGID_TOLERANCE:g}",
        )
    if residual < 1e-5:
        return matrix  # as exact as float32
    left, _, right = torch.linalg.svd(rotation)
    mended = matrix.clone()
    mended[:3, :3] = left @ right
    return mended


def check_direction(path: Path, c2w: Float[Tensor, "v 4 4"]) -> None:
    """Refuse poses that only make sense when read the other way.

    Raises:
        DataError: if most cameras look at no common point as given, while all of them do when the
            matrices are inverted or have OpenCV's axes.
    """
    if len(c2w) < 3 or _facing(c2w) >= 0.5:
        return
    stored = opengl_to_opencv(c2w)
    inverse = torch.linalg.inv(stored)  # of world-to-camera matrices with OpenCV or OpenGL axes
    if max(_facing(inverse), _facing(opengl_to_opencv(inverse))) >= 0.9:
        raise DataError(
            f"{path}: the matrices look like world-to-camera: inverted, the {len(c2w)} cameras "
            "look at one point; as given, they do not.",
            allowed="camera-to-world matrices with OpenGL axes",
            hint="Invert them when writing the file (numpy.linalg.inv).",
        )
    if _facing(stored) >= 0.9:
        raise DataError(
            f"{path}: the matrices look like camera-to-world with OpenCV axes: every camera has "
            "the point that they look at behind it.",
            allowed="camera-to-world matrices with OpenGL axes (the camera looks along -z)",
            hint='Negate the second and third column, or add "from_na": true to the file.',
        )


def _facing(c2w: Float[Tensor, "v 4 4"]) -> float:
    """Share of the cameras that look at the point nearest to all viewing axes."""
    axis, centre = c2w[:, :3, 2], c2w[:, :3, 3]
    across = torch.eye(3).double() - axis[:, :, None] * axis[:, None, :]
    matrix = across.sum(0)
    if torch.linalg.eigvalsh(matrix)[0] < 1e-3 * len(c2w):
        return 0.0  # parallel
    target = torch.linalg.solve(matrix, (across @ centre[:, :, None]).sum(0))[:, 0]
    away = target - centre
    distance = away.norm(dim=1)
    spread = (centre - centre.mean(0)).norm(dim=1).mean()
    near = torch.maximum(0.05 * spread, 1e-6 * centre.norm(dim=1).max())  # at the point itself
    cosine = (away * axis).sum(1) / distance.clamp(min=1e-12)
    return ((cosine > FACING) & (distance > near)).double().mean().item()


def frame_lens(path: Path, keys: dict[str, Any]) -> Lens:
    """Return the lens of a frame.

    k4 and higher mean different things to different programs and are refused.

    Raises:
        DataError: if it is of a kind that cannot be undistorted.
    """
    model = str(keys.get("camera_model", "OPENCV")).upper()
    bent = [key for key in REFUSED if number(path, keys, key, 0.0) != 0]
    if model not in MODELS or bent or keys.get("is_fisheye"):
        what = model if model not in MODELS else ", ".join(bent) or "is_fisheye"
        raise DataError(
            f"{path}: the lens cannot be undistorted here (camera_model is {model}; {what}).",
            allowed=f"{', '.join(MODELS)} with {', '.join(DISTORTION)}",
            hint="Undistort the pictures first: COLMAP's image_undistorter, then convert again.",
        )
    return Lens(**{key: number(path, keys, key, 0.0) for key in DISTORTION})


def frame_size(path: Path, keys: dict[str, Any], picture: Path) -> tuple[int, int]:
    """Return (height, width) of a frame's picture, turned by its EXIF tag where w and h ask for it.

    Raises:
        DataError: if w and h have another shape than the picture.
    """
    height, width = picture_size(picture, upright=False)
    size = _side(path, keys, "h", height), _side(path, keys, "w", width)
    return (width, height) if is_turned(path, picture, size) else (height, width)


def _side(path: Path, keys: dict[str, Any], key: str, default: int) -> float:
    side = number(path, keys, key, default)
    if not 0 < side <= MOST_PIXELS:
        raise DataError(f"{path}: {key} is {side:g}.", allowed="a number of pixels")
    return side


def frame_intrinsics(
    path: Path, keys: dict[str, Any], height: int, width: int
) -> Float[Tensor, "3 3"]:
    """Return the matrix for pictures of this size; keys of the frame go before the file's.

    Raises:
        DataError: if there is no focal length, or one that no camera has.
    """
    w, h = _side(path, keys, "w", width), _side(path, keys, "h", height)
    scale = torch.tensor([width / w, height / h, 1.0]).double()[:, None]  # scaled since
    if "intrinsic_matrix" in keys:  # NeuS2
        return scale * _intrinsic_matrix(path, keys["intrinsic_matrix"])
    fx, fy = _focal(path, keys, "x", w), _focal(path, keys, "y", h)
    if fx is None:
        raise DataError(f"{path} gives no focal length.", allowed="fl_x or camera_angle_x")
    fy = fx if fy is None else fy
    cx, cy = number(path, keys, "cx", w / 2), number(path, keys, "cy", h / 2)
    if max(fx, fy, abs(cx), abs(cy)) > MOST_PIXELS:
        raise DataError(
            f"{path}: focal length {fx:g}, {fy:g} or centre {cx:g}, {cy:g} is no number of pixels.",
            allowed=f"at most {MOST_PIXELS:g}",
        )
    return scale * torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]).double()


def _intrinsic_matrix(path: Path, given: Any) -> Float[Tensor, "3 3"]:
    try:
        matrix = torch.tensor(given, dtype=torch.float64)[:3, :3]
    except (TypeError, ValueError, RuntimeError, IndexError, OverflowError) as error:
        raise DataError(f"{path}: intrinsic_matrix is no matrix of numbers.") from error
    fits = matrix.shape == (3, 3) and bool((matrix.abs() <= MOST_PIXELS).all())
    if not fits or min(matrix[0, 0], matrix[1, 1]) <= 0 or matrix[2, 2] != 1:
        raise DataError(f"{path}: intrinsic_matrix is {given!r}.", allowed="3x3 or 4x4, in pixels")
    return matrix


def _focal(path: Path, keys: dict[str, Any], axis: str, side: float) -> float | None:
    if f"fl_{axis}" in keys:
        focal = number(path, keys, f"fl_{axis}", 0.0)
    elif f"camera_angle_{axis}" in keys:
        angle = number(path, keys, f"camera_angle_{axis}", 0.0)
        if not 0 < angle < math.pi:
            degrees = " It looks like degrees." if math.pi <= angle < 180 else ""
            raise DataError(
                f"{path}: camera_angle_{axis} is {angle:g}.{degrees}",
                allowed="radians between 0 and 3.14",
            )
        focal = 0.5 * side / math.tan(0.5 * angle)
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
    try:
        real = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        real = math.nan
    if not math.isfinite(real):
        shown = repr(value)
        shown = shown if len(shown) <= 40 else f"{shown[:40]}..."
        raise DataError(f"{path}: {key} is {shown}.", allowed="a finite number")
    return real


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
