"""Sets of views without a camera file, whose rig is fixed: SyncDreamer's 16, ViewFusion's 36.

Both are pictures of 256 px with focal length 280 (49.1 degrees), 1.5 from the middle of an object
whose longest side is 1, all at one elevation, azimuths evenly spaced from +X.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import CANONICAL_RADIUS
from studio.captures.files import is_picture
from studio.captures.foreground import foreground
from studio.captures.shots import Scene, Shot
from studio.data.layouts.base import CaptureConfig, LayoutData, pictures_in
from studio.errors import DataError
from studio.io.images import read_rgba_or_rgb
from studio.io.paths import existing
from studio.io.picture_files import picture_size
from studio.plugins.ranges import Elevation, Share, Size
from studio.plugins.registry import register
from studio.rigs import RIGS, Rig

FOCAL = 280.0 / 256.0  # of the picture's side; official: lens 35 mm on a 32 mm sensor
BOUND = RIGS["syncdreamer-16"].bound  # official: the box of SyncDreamer's mesh extraction
NO_CUTTING = "RGBA pictures, or ones on an even background"


@dataclass
class RigConfig(CaptureConfig):
    """Options of fixed rigs."""

    elevation_deg: Elevation = 30.0
    """Elevation of all cameras, in degrees."""
    distance: Size = CANONICAL_RADIUS
    """Distance of the cameras from the object's middle; its longest side is 1."""
    pixel_centre: Share = 0.5
    """Where pixel centres lie: 0.5 is right for rendered pictures, the official recipes take 0."""


class RigData(LayoutData):
    """A ring of views, as one strip of square tiles or one file a view."""

    rig: ClassVar[Rig]
    """The cameras, but for options."""

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether there is a strip of that many square tiles, or that many pictures, cut out."""
        found = tiles(root, len(cls.rig))
        return bool(found) and _is_cut_out(found[0][0])

    def scene(self, split: str = "train") -> Scene | None:
        """Find the pictures and compute the cameras; there are no test views."""
        if split != "train":
            return None
        cfg, root = self.cfg, existing(Path(self.cfg.root))
        found = tiles(root, len(self.rig))
        if not found:
            raise DataError(f"{root} is no such set of views.", allowed=self.looks_for)
        rig = replace(self.rig.at_elevation(cfg.elevation_deg), radius=cfg.distance)
        cameras = rig.cameras(found[0][2]).with_pixel_centres(cfg.pixel_centre)
        shots = [
            Shot(f"{i:03d}", file, cameras.c2w[i], cameras.intrinsics[i], size, box=box, plain=True)
            for i, (file, box, size) in enumerate(found)
        ]
        return Scene(root, shots, rig.bound, how_to_mask=NO_CUTTING)


@register("data", "syncdreamer-16")
class SyncDreamerData(RigData):
    """SyncDreamer's 16 views, 22.5 degrees apart at elevation 30: one strip, or one file a view."""

    rig = RIGS["syncdreamer-16"]
    looks_for = "one PNG strip of 16 square tiles, or 16 square pictures and nothing else"
    priority = 30

    @dataclass
    class Config(RigConfig):
        """Options."""


@register("data", "spin-36")
class Spin36Data(RigData):
    """ViewFusion's spin of 36 views, 10 degrees apart: one file a view, or one strip."""

    rig = RIGS["spin-36"]
    looks_for = "36 square pictures and nothing else, or one PNG strip of 36 square tiles"
    priority = 20

    @dataclass
    class Config(RigConfig):
        """Options."""


def _is_cut_out(path: Path) -> bool:
    """Whether a picture has alpha or an even background; a ring of other photos is no such rig."""
    picture, masked = read_rgba_or_rgb(path)
    try:
        return masked or bool(len(foreground(picture, "border")))
    except DataError:
        return False


Tile = tuple[Path, tuple[int, int, int, int] | None, tuple[int, int]]


def tiles(root: Path, count: int) -> list[Tile]:
    """Return file, box and (height, width) of each view; empty if there are not that many.

    Args:
        root: a strip, or a folder that holds one strip or `count` square pictures.
        count: views.
    """
    files = [root] if root.is_file() and is_picture(root) else pictures_in(root)
    if len(files) == count:
        sizes = [picture_size(file, upright=False) for file in files]
        square = all(h == w for h, w in sizes)
        return [(f, None, s) for f, s in zip(files, sizes, strict=True)] if square else []
    if len(files) != 1:
        return []
    height, width = picture_size(files[0], upright=False)
    if width != count * height:
        return []
    boxes = [(i * height, 0, (i + 1) * height, height) for i in range(count)]
    return [(files[0], box, (height, height)) for box in boxes]


def rendered_intrinsics(size: tuple[int, int]) -> Float[Tensor, "3 3"]:
    """Return K = [[280, 0, 128], [0, 280, 128], [0, 0, 1]] of 256 px, scaled to another size."""
    h, w = size
    return torch.tensor([[FOCAL * w, 0.0, w / 2], [0.0, FOCAL * h, h / 2], [0.0, 0.0, 1.0]])
