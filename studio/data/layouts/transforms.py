"""Posed pictures in a folder with `transforms.json`: captures, NeRF-synthetic, or our own views."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from studio.captures.bounds import SNUG
from studio.captures.files import check_name
from studio.captures.shots import Scene
from studio.captures.transforms import has_split, read_scene
from studio.captures.transforms_frames import load_json
from studio.data.layouts.base import CaptureConfig, LayoutData
from studio.io.reading import check_file, reading
from studio.plugins.registry import register

CLOUDS = ("sparse_pc.ply", "points3d.ply")
"""Names of files of sparse points, by nerfstudio and by Gaussian splatting."""


@register("data", "transforms")
class TransformsData(LayoutData):
    """Posed RGBA pictures in a transforms.json folder (nerfstudio, instant-ngp, NeRF-synthetic)."""

    looks_for = "transforms.json or transforms_train.json"
    priority = 80  # before colmap: its projects may hold a transforms.json made of them
    snug = SNUG

    @dataclass
    class Config(CaptureConfig):
        """Where the pictures are and how they are used."""

        split: str = "train"
        """Split to learn from; transforms.json serves where it has no file of its own."""
        test_split: str | None = "test"
        """Held-out split to measure on, null for none; ignored where it has no file."""

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether there is a transforms file."""
        if root.is_file():
            return root.suffix == ".json"
        return any((root / f"transforms{end}.json").is_file() for end in ("", "_train"))

    def scene(self, split: str = "train") -> Scene | None:
        """Read the file of a split; None where there are no test views."""
        cfg, root = self.cfg, Path(self.cfg.root)
        if split == "train":
            return read_scene(root, cfg.split)
        if cfg.test_split is None or not has_split(root, cfg.test_split):
            return None
        return read_scene(root, cfg.test_split)

    def cloud(self) -> Float[Tensor, "n 3"] | None:
        """Sparse points, from the PLY file that nerfstudio or Gaussian splatting keep beside it."""
        if self._scene is None:
            return None
        path = find_cloud(self._scene.source)
        if path is None:
            return None
        points, to_world = read_cloud(path), self._scene.to_world
        if to_world is None:
            return points
        back = torch.linalg.inv(to_world.double())
        return points @ back[:3, :3].T + back[:3, 3]


def find_cloud(transforms: Path) -> Path | None:
    """The file of sparse points that a transforms file names ("ply_file_path") or has beside it."""
    named = load_json(transforms).get("ply_file_path")
    names = [check_name(transforms, named)] if isinstance(named, str) else CLOUDS
    found = (transforms.parent / name for name in names)
    return next((path for path in found if path.is_file()), None)


def read_cloud(path: Path) -> Float[Tensor, "n 3"]:
    """Read the points of a PLY file, those that are finite.

    Raises:
        DataError: if it is broken.
    """
    import trimesh

    with reading(path, problem="is no PLY file of points, or broken"):
        check_file(path)
        points = torch.tensor(trimesh.load(path, process=False).vertices, dtype=torch.float64)
        return points[points.isfinite().all(1)]
