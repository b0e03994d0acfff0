"""Wonder3D's six orthographic views with normal maps, `rgb_000_<view>.png`, `normals_000_<view>.png`.

The pictures show [-1, 1]^2; the object's longest side is 1 where the picture's side is 1.35. Normals
are colours (n + 1) / 2 in the axes (x right, y up, z towards the viewer) of the front camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import look_at, opengl_to_opencv
from studio.data.layouts import CaptureConfig, LayoutData, existing
from studio.errors import DataError
from studio.images import picture_size
from studio.registry import register
from studio.shots import Scene, Shot, find_picture

# azimuth in degrees and distance of the centres; official: fixed_poses (diagonal ones stand further)
VIEWS = {
    "front": (270.0, 1.3),
    "front_right": (315.0, 1.3 * math.sqrt(2)),
    "right": (0.0, 1.3),
    "back": (90.0, 1.3),
    "left": (180.0, 1.3),
    "front_left": (225.0, 1.3 * math.sqrt(2)),
}
ORTHO_SCALE = 1.35  # official: picture side over the object's longest side
SYSTEMS = ("front", "self")


@register("data", "wonder3d")
class Wonder3DData(LayoutData):
    """Wonder3D's six orthographic views: colours and normal maps."""

    looks_for = "rgb_000_front.png, normals_000_front.png and the other five views"

    @dataclass
    class Config(CaptureConfig):
        """How normals are read."""

        normal_system: str = "front"
        """Axes of the normals: front (all in the front camera's) or self (each in its own)."""

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether there is a front view."""
        return _file(root, "rgb", "front") is not None

    def scene(self, split: str = "train") -> Scene | None:
        """Find the pictures; there are no test views."""
        if split != "train":
            return None
        root, system = existing(Path(self.cfg.root)), self.cfg.normal_system
        if system not in SYSTEMS:
            raise DataError(f"data.normal_system is {system!r}.", allowed=", ".join(SYSTEMS))
        shots = []
        for view in VIEWS:
            picture, normal = _file(root, "rgb", view), _file(root, "normals", view)
            if picture is None:
                raise DataError(f"{root} has no rgb_000_{view}.", allowed=self.looks_for)
            height, width = picture_size(picture)
            if height != width:
                raise DataError(f"{picture} is {width}x{height} px.", allowed="square pictures")
            k = torch.tensor([[width / 2, 0, width / 2], [0, width / 2, width / 2], [0, 0, 1.0]])
            axes = normal_axes("front" if system == "front" else view)
            masked = _file(root / "masked_colors", "rgb", view) or picture
            shots.append(
                Shot(
                    view,
                    masked,
                    view_pose(view),
                    k,
                    (height, width),
                    ortho_scale=2.0,
                    normal=normal,
                    normal_axes=axes,
                    plain=True,
                )
            )
        to_world = torch.diag(torch.tensor([ORTHO_SCALE / 2] * 3 + [1.0]))
        return Scene(root, shots, 1.0, to_world=to_world)


def _file(root: Path, kind: str, view: str) -> Path | None:
    return find_picture(root / f"{kind}_000_{view}")


def view_pose(view: str) -> Float[Tensor, "4 4"]:
    """Return a view's camera-to-world matrix, OpenCV axes."""
    azimuth, distance = VIEWS[view]
    a = math.radians(azimuth)
    return look_at(torch.tensor([[distance * math.cos(a), distance * math.sin(a), 0.0]]))[0]


def normal_axes(view: str) -> Float[Tensor, "3 3"]:
    """Return the rotation from a view's normals (OpenGL camera axes) to the world."""
    return opengl_to_opencv(view_pose(view))[:3, :3]
