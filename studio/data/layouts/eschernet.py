"""EscherNet's folders of one object: `NNN.png` beside `NNN.npy`, 3x4 world-to-camera matrices.

`render_mvs_25` has Blender's camera axes, `render_sync_36_single` and `render_spiral_100` OpenCV's;
as every camera looks at the origin, the sign of its depth tells which. Generated views come as a
strip of tiles, the poses of which lie elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import opengl_to_opencv
from studio.captures.files import find_picture
from studio.captures.shots import Scene, Shot
from studio.captures.transforms_cameras import rigid
from studio.data.layouts.base import CaptureConfig, LayoutData, natural, pictures_in
from studio.data.layouts.fixed_rigs import BOUND, NO_CUTTING, Tile, rendered_intrinsics, tiles
from studio.data.training.arrays import read_array
from studio.errors import DataError
from studio.io.paths import existing
from studio.io.picture_files import picture_size
from studio.plugins.ranges import Share
from studio.plugins.registry import register


@register("data", "eschernet")
class EscherNetData(LayoutData):
    """EscherNet's views of an object: NNN.png with NNN.npy (render_mvs_25, render_sync_36, ...)."""

    looks_for = "NNN.png beside NNN.npy (3x4 world-to-camera), at most two folders below"
    priority = 40

    @dataclass
    class Config(CaptureConfig):
        """How pose files are read."""

        axes: Literal["auto", "blender", "opencv"] = "auto"
        """Camera axes of the matrices; auto: what makes cameras see the origin."""  # noqa: E501
        poses: str | None = None
        """Folder of the NNN.npy files, where they do not lie beside the pictures (or strip)."""
        pixel_centre: Share = 0.5
        """Where pixel centres lie: 0.5 is right for rendered pictures, the official recipe takes 0."""  # noqa: E501

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether pictures with pose files lie there or in folders below."""
        return _pose_folder(root) is not None

    def scene(self, split: str = "train") -> Scene | None:
        """Read the pose files; there are no test views."""
        if split != "train":
            return None
        cfg, root = self.cfg, existing(Path(self.cfg.root))
        folder = existing(Path(cfg.poses)) if cfg.poses else _pose_folder(root)
        if folder is None:
            raise DataError(f"{root} has no pose files.", allowed=self.looks_for)
        files = sorted(folder.glob("*.npy"), key=natural)
        c2w = read_poses(files, cfg.axes)
        shots = []
        for pose, (name, (picture, box, size)) in zip(
            c2w, _pictures(root if cfg.poses else folder, files), strict=True
        ):
            k = rendered_intrinsics(size)
            k[:2, 2] += 0.5 - cfg.pixel_centre
            shots.append(Shot(name, picture, pose, k, size, box=box, plain=True))
        return Scene(folder, shots, BOUND, how_to_mask=NO_CUTTING)


def _pose_folder(root: Path) -> Path | None:
    """The folder itself or one up to two levels below that alone holds pictures with poses."""
    if not root.is_dir():
        return None
    if _has_poses(root):
        return root
    below = [p for pattern in ("*", "*/*") for p in sorted(root.glob(pattern)) if p.is_dir()]
    found = [p for p in below if _has_poses(p)]
    if len(found) > 1:
        named = [p for p in found if "render_mvs_25" in p.parts]
        found = named or found
        if len(found) > 1:
            raise DataError(
                f"{root} holds several sets of views: "
                + ", ".join(str(p.relative_to(root)) for p in found[:5])
                + ".",
                allowed="the folder of one object's views as data.root",
            )
    return found[0] if found else None


def _has_poses(folder: Path) -> bool:
    poses = sorted(folder.glob("*.npy"))
    return bool(poses) and find_picture(poses[0].with_suffix("")) is not None


def _pictures(root: Path, poses: list[Path]) -> list[tuple[str, Tile]]:
    """Pictures named as the poses are, else a strip or as many pictures in order."""
    found: list[tuple[str, Tile]] = []
    for pose in poses:
        picture = find_picture(root / pose.stem)
        if picture is None:
            break
        found.append((pose.stem, (picture, None, picture_size(picture, upright=False))))
    if len(found) == len(poses):
        return found
    row = tiles(root, len(poses))
    if not row:
        raise DataError(
            f"{root}: {len(poses)} poses, but {len(pictures_in(root))} pictures.",
            allowed="a picture for every NNN.npy, or one strip of as many square tiles",
        )
    return [(pose.stem, tile) for pose, tile in zip(poses, row, strict=True)]


def read_poses(files: list[Path], axes: str = "auto") -> Float[Tensor, "v 4 4"]:
    """Read 3x4 world-to-camera matrices as camera-to-world, OpenCV axes.

    Raises:
        DataError: if a file is broken, or `axes` is "auto" and not all cameras face the origin.
    """
    matrices = []
    for file in files:
        matrix = read_array(file)
        if matrix.shape not in ((3, 4), (4, 4)):
            raise DataError(f"camera {file} holds {matrix.shape}.", allowed="3x4 numbers")
        stacked = torch.from_numpy(np.vstack([matrix[:3], [0, 0, 0, 1]]))
        matrices.append(rigid(stacked, f"camera {file}"))
    w2c = torch.stack(matrices)
    if axes == "auto":
        axes = _axes(w2c, files[0].parent)
    c2w = torch.linalg.inv(w2c)
    return opengl_to_opencv(c2w) if axes == "blender" else c2w


def _axes(w2c: Float[Tensor, "v 4 4"], folder: Path) -> str:
    depth = w2c[:, 2, 3] / w2c[:, :3, 3].norm(dim=1).clamp(min=1e-9)
    if (depth > 0.5).all():
        return "opencv"
    if (depth < -0.5).all():
        return "blender"
    raise DataError(
        f"{folder}: not every camera faces the origin, so its axes cannot be told.",
        hint="Say them: data.axes=blender (looks along -z) or data.axes=opencv (along +z).",
    )
