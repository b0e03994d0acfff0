"""The `views_release` layout of Zero-1-to-3's training data: 12 rendered views of every object.

`<root>/valid_paths.json` lists the object folders; each holds `000.png` .. `011.png` (RGBA with
straight alpha) and `000.npy` .. `011.npy` (3x4 world-to-camera matrices with Blender's camera axes,
world +Z up, the object's longest side 1).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from studio.cameras import CANONICAL_FOV_DEG, opengl_to_opencv, pinhole_intrinsics
from studio.data.base import ViewPairData
from studio.errors import ConfigError, DataError
from studio.images import composite, read_rgba, resize
from studio.registry import register

COMPOSITING = ("right", "released")


@register("data", "views-release")
class ViewsReleaseData(ViewPairData):
    """Zero-1-to-3's views_release folders: pairs of views of many objects."""

    @dataclass
    class Config:
        """Options."""

        root: str = "data/views_release"
        """Folder with valid_paths.json and the object folders."""
        size: int = 256
        """Picture side after resizing, in pixels."""
        total_view: int = 12
        """Views of each object that are used (the released config says 4)."""
        targets: int = 1
        """Target views per item, drawn without replacement together with the condition."""
        train_share: float = 0.99
        """Share of the list that is trained on; the rest is for validation."""
        compositing: str = "right"
        """right: by alpha on white; released: only alpha 0 becomes white, 8-bit truncation."""
        fov_deg: float = CANONICAL_FOV_DEG
        """Field of view of the renderings."""

    def __init__(self, cfg: Config) -> None:
        if cfg.compositing not in COMPOSITING:
            raise ConfigError(
                f"data.compositing is {cfg.compositing!r}.", allowed=", ".join(COMPOSITING)
            )
        if not 1 <= cfg.targets < cfg.total_view:
            raise ConfigError(
                f"data.targets is {cfg.targets} of {cfg.total_view} views.",
                allowed=f"1 to {cfg.total_view - 1}",
            )
        self.cfg = cfg
        self.paths = _listed(Path(cfg.root))

    def dataset(self, split: Literal["train", "val"]) -> ViewsReleaseDataset:
        """Return the dataset of a split: the list's first 99 % or its rest, in order.

        Raises:
            DataError: if the split is empty.
        """
        cut = math.floor(self.cfg.train_share * len(self.paths))
        paths = self.paths[:cut] if split == "train" else self.paths[cut:]
        if not paths:
            raise DataError(
                f"the {split} split of {self.cfg.root} is empty: "
                f"{len(self.paths)} objects, train_share {self.cfg.train_share}.",
                hint="Change data.train_share.",
            )
        return ViewsReleaseDataset(self.cfg, paths, fixed=split == "val")


class ViewsReleaseDataset(Dataset[dict[str, Tensor]]):
    """Items of some object folders.

    Args:
        cfg: options.
        paths: object folders below the root.
        fixed: draw the same views of an object every time.
    """

    def __init__(self, cfg: ViewsReleaseData.Config, paths: list[str], fixed: bool) -> None:
        self.cfg, self.paths, self.fixed = cfg, paths, fixed

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return the item of an object with views drawn by torch's seed (or the index)."""
        generator = torch.Generator().manual_seed(index) if self.fixed else None
        order = torch.randperm(self.cfg.total_view, generator=generator).tolist()
        return self.views(index, order[1 : self.cfg.targets + 1], order[0])

    def views(self, index: int, targets: list[int], cond: int) -> dict[str, Tensor]:
        """Return the item of an object with chosen target and condition views.

        Raises:
            DataError: if a file is missing, broken or holds another kind of matrix.
        """
        folder, size = Path(self.cfg.root) / self.paths[index], self.cfg.size
        intrinsics = pinhole_intrinsics(self.cfg.fov_deg, (size, size))
        return {
            "images": torch.stack([self._picture(folder / f"{t:03d}.png") for t in targets]),
            "cond_image": self._picture(folder / f"{cond:03d}.png"),
            "c2w": torch.stack([read_camera(folder / f"{t:03d}.npy") for t in targets]),
            "cond_c2w": read_camera(folder / f"{cond:03d}.npy"),
            "intrinsics": intrinsics.expand(len(targets), -1, -1).clone(),
        }

    def _picture(self, path: Path) -> Float[Tensor, "3 s s"]:
        size = self.cfg.size
        if self.cfg.compositing == "released":
            return released_picture(path, size)
        rgba = read_rgba(path)
        if rgba.shape[1:] != (size, size):
            rgba = resize(rgba, size, size)
        return composite(rgba, 1.0) * 2 - 1


def _listed(root: Path) -> list[str]:
    path = root / "valid_paths.json"
    if not path.is_file():
        raise DataError(
            f"there is no {path}.",
            allowed="a views_release folder with valid_paths.json, a list of object folders",
        )
    try:
        paths = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}.") from error
    if not (isinstance(paths, list) and paths and all(isinstance(p, str) for p in paths)):
        raise DataError(f"{path} holds no list of folder names.", allowed='["id-a", "id-b", ...]')
    return paths


def read_camera(path: Path) -> Float[Tensor, "4 4"]:
    """Read a 3x4 world-to-camera matrix with Blender axes as camera-to-world, OpenCV axes.

    Raises:
        DataError: if the file is missing or broken, or the matrix has another shape or is not
            rigid.
    """
    try:
        matrix = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"camera {path} cannot be read: {error}.") from error
    if matrix.shape == (4, 4):
        raise DataError(
            f"camera {path} is a 4x4 matrix, as some renderers save camera-to-world poses.",
            allowed="3x4 world-to-camera matrices with Blender's camera axes",
            hint="Save its inverse's first three rows.",
        )
    if matrix.shape != (3, 4) or not np.isfinite(matrix).all():
        raise DataError(
            f"camera {path} holds an array {matrix.shape} or values that are not finite.",
            allowed="3x4 world-to-camera matrices",
        )
    c2w = world_to_camera_inverse(torch.from_numpy(matrix.astype(np.float64)))
    if not torch.allclose(c2w[:3, :3] @ c2w[:3, :3].T, torch.eye(3).double(), atol=1e-3):
        raise DataError(f"camera {path} is not rigid.", allowed="a rotation and a translation")
    return opengl_to_opencv(c2w).float()


def world_to_camera_inverse(matrix: Float[Tensor, "*b 3 4"]) -> Float[Tensor, "*b 4 4"]:
    """Return camera-to-world matrices (same camera axes) of 3x4 rigid world-to-camera ones."""
    rotation = matrix[..., :3].transpose(-1, -2)
    centre = -rotation @ matrix[..., 3:]
    bottom = matrix.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*matrix.shape[:-2], 1, 4)
    return torch.cat([torch.cat([rotation, centre], dim=-1), bottom], dim=-2)


def released_picture(path: Path, size: int) -> Float[Tensor, "3 size size"]:
    """Read a picture as the released loader does, in [-1, 1].

    Only pixels of alpha 0 become white, others keep their raw colour; floats are cut to 8 bits
    before Pillow's bilinear resize.

    Raises:
        DataError: if the file is missing or broken or has no alpha.
    """
    try:
        with Image.open(path) as opened:
            pixels = np.asarray(opened).astype(np.float32) / np.float32(255)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise DataError(f"picture {path} cannot be read: {error}.") from error
    if pixels.ndim != 3 or pixels.shape[2] != 4:
        raise DataError(f"picture {path} has no alpha channel.", allowed="8-bit RGBA PNG")
    pixels[pixels[..., 3] == 0] = 1.0
    rgb = Image.fromarray((pixels[..., :3] * np.float32(255)).astype(np.uint8))
    resized = np.asarray(rgb.resize((size, size), Image.Resampling.BILINEAR))
    return torch.from_numpy(resized.copy()).permute(2, 0, 1).float() / 255.0 * 2 - 1
