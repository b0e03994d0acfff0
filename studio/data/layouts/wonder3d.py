"""Wonder3D's six orthographic views, `rgb_000_<view>.png`, with `normals_000_<view>.png`.

The pictures show [-1, 1]^2; the diagonal of the object's box is 1 where their side is 1.35.
Normals are colours (n + 1) / 2 in the axes (x right, y up, z towards the viewer) of the front
camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import look_at, opengl_to_opencv, spherical_to_cartesian
from studio.captures.files import find_picture
from studio.captures.shots import Scene, Shot
from studio.captures.transforms_cameras import rigid
from studio.data.layouts.base import CaptureConfig, LayoutData
from studio.errors import DataError
from studio.io.paths import existing
from studio.io.picture_files import picture_size
from studio.io.reading import read_text, reading
from studio.plugins.registry import register
from studio.rigs import RIGS

MOST_POSE = 1 << 16  # bytes of a file of twelve numbers

RIG = RIGS["wonder3d"]
FRONT_DEG = 270.0  # azimuth of the front camera in the world of the files; official: fixed_poses
DIAGONAL = math.sqrt(2)  # official: cameras between two sides stand so much farther away


@register("data", "wonder3d")
class Wonder3DData(LayoutData):
    """Wonder3D's six orthographic views: colours and normal maps."""

    looks_for = "rgb_000_front.png, normals_000_front.png and the other five views"
    priority = 50

    @dataclass
    class Config(CaptureConfig):
        """How normals are read."""

        normal_system: Literal["front", "self"] = "front"
        """Axes of the normals: front (all in the front camera's) or self (each in its own)."""
        poses: str | None = None
        """Folder of 000_<view>_RT.txt (3x4 world-to-camera, Blender axes); null: Wonder3D's own."""

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether there is a front view."""
        return _file(root, "rgb", "front") is not None

    def scene(self, split: str = "train") -> Scene | None:
        """Find the pictures; there are no test views."""
        if split != "train":
            return None
        root, system = existing(Path(self.cfg.root)), self.cfg.normal_system
        poses = fixed_poses() if self.cfg.poses is None else read_poses(Path(self.cfg.poses))
        shots = []
        for view, pose in poses.items():
            picture = _file(root / "masked_colors", "rgb", view) or _file(root, "rgb", view)
            if picture is None and self.cfg.poses is not None:
                continue  # a folder of poses may know more views
            if picture is None:
                raise DataError(f"{root} has no rgb_000_{view}.", allowed=self.looks_for)
            h, w = size = picture_size(picture, upright=False)
            k = torch.tensor([[w / 2, 0, w / 2], [0, h / 2, h / 2], [0, 0, 1.0]])
            shots.append(
                Shot(
                    view,
                    picture,
                    pose,
                    k,
                    size,
                    ortho_scale=2.0,
                    normal=_file(root, "normals", view),
                    normal_axes=normal_axes(poses["front"] if system == "front" else pose),
                    plain=True,
                )
            )
        to_world = torch.diag(torch.tensor([float(RIG.ortho_scale or 1) / 2] * 3 + [1.0]))
        return Scene(root, shots, 1.0, to_world=to_world)


def _file(root: Path, kind: str, view: str) -> Path | None:
    return find_picture(root / f"{kind}_000_{view}")


def fixed_poses() -> dict[str, Float[Tensor, "4 4"]]:
    """Return the six views' camera-to-world matrices, OpenCV axes."""
    azimuth = torch.tensor([(FRONT_DEG + a) % 360.0 for a in RIG.azimuth_deg])
    distance = torch.tensor([RIG.radius * (DIAGONAL if "_" in n else 1) for n in RIG.names])
    centres = spherical_to_cartesian(azimuth, torch.tensor(RIG.elevation_deg), distance)
    return dict(zip(RIG.names, look_at(centres), strict=True))


def read_poses(folder: Path) -> dict[str, Float[Tensor, "4 4"]]:
    """Read 000_<view>_RT.txt files as camera-to-world matrices, OpenCV axes.

    Raises:
        DataError: if there is none for the front, or one is no 3x4 matrix.
    """
    poses = {}
    for file in sorted(folder.glob("*_RT.txt")):
        with reading(file, "a 3x4 matrix", problem="holds no 3x4 matrix"):
            rows = [
                line.split() for line in read_text(file, MOST_POSE).splitlines() if line.strip()
            ]
            matrix = np.array(rows, dtype=np.float64).reshape(3, 4)
        w2c = rigid(torch.from_numpy(np.vstack([matrix, [0, 0, 0, 1]])), str(file))
        view = file.name.removesuffix("_RT.txt").partition("_")[2]
        poses[view] = opengl_to_opencv(torch.linalg.inv(w2c))
    if "front" not in poses:
        raise DataError(f"{folder} has no 000_front_RT.txt.")
    return poses


def normal_axes(c2w: Float[Tensor, "4 4"]) -> Float[Tensor, "3 3"]:
    """Return the rotation from normals in a camera's OpenGL axes to the world."""
    return opengl_to_opencv(c2w)[:3, :3]
