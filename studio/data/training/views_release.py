"""The `views_release` layout of Zero-1-to-3's training data: 12 rendered views of every object.

`<root>/valid_paths.json` (or another list) names the object folders; each holds `000.png` ..
`011.png` (RGBA with straight alpha) and `000.npy` .. `011.npy` (3x4 world-to-camera matrices with
Blender's camera axes, world +Z up, the object's longest side 1). EscherNet trains on the same
folders with several references an item.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from studio.cameras import CANONICAL_FOV_DEG, opengl_to_opencv, pinhole_intrinsics
from studio.data.base import ViewPairData
from studio.data.training.captions import read_captions
from studio.data.training.views_files import read_matrix, read_names, read_rgba8, whitened
from studio.errors import ConfigError, DataError
from studio.io.images import composite, read_rgba, resize
from studio.plugins.ranges import FieldOfView, Pixels, Range, Share
from studio.plugins.registry import register

logger = logging.getLogger(__name__)

COMPOSITING = ("right", "released")
BROKEN = ("raise", "skip")
TRIES = 100  # broken objects in a row that `broken: skip` passes over
RELEASED_ESCHERNET: dict[str, Any] = {  # official: dataset.py and the defaults of train_eschernet
    "references": 3,
    "targets": 3,
    "replacement": True,
    "fix_sample": True,
    "compositing": "released",
}


@register("data", "views-release")
class ViewsReleaseData(ViewPairData):
    """Zero-1-to-3's views_release folders: references and targets among 12 views of many objects."""  # noqa: E501

    @dataclass
    class Config:
        """Options."""

        root: str = "data/views_release"
        """Folder with the list of objects and the object folders."""
        objects: str = "valid_paths.json"
        """List of objects, in `root` or a path of its own: .json, .npy, or text with one id a line."""  # noqa: E501
        invalid: str | None = None
        """List of objects to leave out before the split, in the same forms (invalid_paths.json)."""
        size: Pixels = 256
        """Picture side after resizing, in pixels."""
        total_view: Annotated[int, Range(1, 10_000)] = 12
        """Views of each object that are used (the released config of Zero-1-to-3 says 4)."""
        targets: Annotated[int, Range(1, 10_000)] = 1
        """Target views per item."""
        references: Annotated[int, Range(0, 10_000)] = 0
        """Reference views per item, the first of which is the condition; 0: a condition alone."""
        replacement: bool = False
        """Draw the views of an item with replacement, as EscherNet does: a target may be a reference."""  # noqa: E501
        fix_sample: bool = False
        """Validate on EscherNet's fixed views instead of ones drawn once for each object."""
        train_share: Share = 0.99
        """Share of the list that is trained on; the rest is for validation."""
        compositing: Literal["right", "released"] = "right"
        """right: by alpha on white; released: only alpha 0 becomes white, 8-bit truncation."""
        fov_deg: FieldOfView = CANONICAL_FOV_DEG
        """Field of view of the renderings."""
        captions: str | None = None
        """CSV file of id,caption; items then hold the caption (empty where an object has none)."""
        broken: Literal["raise", "skip"] = "raise"
        """What an object with a missing or broken file does: raise, or skip to the next one, counted."""  # noqa: E501

        def __post_init__(self) -> None:
            """Check what belongs together."""
            given = max(self.references, 1)
            most = self.total_view if self.replacement else self.total_view - given
            if self.targets > most:
                raise ConfigError(
                    f"targets is {self.targets} and references {self.references} "
                    f"of {self.total_view} views.",
                    allowed=f"1 to {most} targets with {given} other views",
                )

    def __init__(self, cfg: Config) -> None:
        """Read the lists; no picture is opened."""
        self.cfg = cfg
        root = Path(cfg.root)
        self.paths = read_names(root / cfg.objects)
        if cfg.invalid is not None:
            left_out = set(read_names(root / cfg.invalid, may_be_empty=True))
            self.paths = [path for path in self.paths if path not in left_out]
        self.captions = None if cfg.captions is None else read_captions(root / cfg.captions)

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
        return ViewsReleaseDataset(self.cfg, paths, split == "val", self.captions)


class ViewsReleaseDataset(Dataset[dict[str, Any]]):
    """Items of some object folders.

    Attributes:
        skipped: name of every object that was passed over so far, and why (`broken: skip`). Worker
            processes count for themselves.

    Args:
        cfg: options.
        paths: object folders below the root.
        fixed: use the same views of an object every time.
        captions: by the name of the object's folder.
    """

    def __init__(
        self,
        cfg: ViewsReleaseData.Config,
        paths: list[str],
        fixed: bool,
        captions: dict[str, str] | None = None,
    ) -> None:
        self.cfg, self.paths, self.fixed, self.captions = cfg, paths, fixed, captions
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the item of an object with views drawn by torch's seed (or the index).

        Raises:
            DataError: if a file of the object is missing or broken; with `broken: skip`, if 100
                objects in a row are.
        """
        references, targets = self.draw(index)
        tries = 1 if self.cfg.broken == "raise" else min(TRIES, len(self))
        for step in range(tries):
            place = (index + step) % len(self)
            try:
                return self._item(place, targets, references)
            except DataError as error:
                if self.cfg.broken == "raise":
                    raise
                self._pass_over(self.paths[place], error)
        raise DataError(
            f"{tries} objects in a row of {self.cfg.root} cannot be read, the last one because: "
            f"{list(self.skipped.values())[-1]}",
            hint="launch.py --filter-views <root> lists the objects that can be.",
        )

    def draw(self, index: int) -> tuple[list[int], list[int]]:
        """Return the reference (or condition) and target views of an item."""
        cfg, given = self.cfg, max(self.cfg.references, 1)
        if self.fixed and cfg.fix_sample:
            return fixed_views(given, cfg.targets, cfg.total_view)
        generator = torch.Generator().manual_seed(index) if self.fixed else None
        if cfg.replacement:
            drawn = torch.randint(cfg.total_view, (given + cfg.targets,), generator=generator)
        else:
            drawn = torch.randperm(cfg.total_view, generator=generator)
        order = drawn.tolist()
        return order[:given], order[given : given + cfg.targets]

    def views(
        self, index: int, targets: Sequence[int], references: int | Sequence[int]
    ) -> dict[str, Any]:
        """Return the item of an object with chosen views.

        Args:
            index: which object.
            targets: views to be made.
            references: the condition view alone, or the R references, the first of which is the
                condition.

        Returns:
            images [T,3,s,s], cond_image [3,s,s] and ref_images [R,3,s,s] in [-1,1]; c2w [T,4,4],
            cond_c2w [4,4], ref_c2w [R,4,4], OpenCV axes; intrinsics [T,3,3]; caption.

        Raises:
            DataError: if a file is missing, broken or holds another kind of matrix.
        """
        folder, size = Path(self.cfg.root) / self.paths[index], self.cfg.size
        given = [references] if isinstance(references, int) else list(references)
        files = {view: folder / f"{view:03d}" for view in {*given, *targets}}
        pictures = {view: self._picture(file.with_suffix(".png")) for view, file in files.items()}
        poses = {view: read_camera(file.with_suffix(".npy")) for view, file in files.items()}
        intrinsics = pinhole_intrinsics(self.cfg.fov_deg, (size, size))
        item: dict[str, Any] = {
            "images": torch.stack([pictures[view] for view in targets]),
            "cond_image": pictures[given[0]],
            "c2w": torch.stack([poses[view] for view in targets]),
            "cond_c2w": poses[given[0]],
            "intrinsics": intrinsics.expand(len(targets), -1, -1).clone(),
        }
        if not isinstance(references, int):
            item["ref_images"] = torch.stack([pictures[view] for view in given])
            item["ref_c2w"] = torch.stack([poses[view] for view in given])
        if self.captions is not None:
            item["caption"] = self.captions.get(folder.name, "")
        return item

    def _item(self, index: int, targets: list[int], references: list[int]) -> dict[str, Any]:
        several = self.cfg.references > 0
        return self.views(index, targets, references if several else references[0])

    def _pass_over(self, name: str, error: DataError) -> None:
        if name not in self.skipped:
            self.skipped[name] = str(error).splitlines()[0]
            logger.warning(
                "%s: object %s is skipped, the %d. so far: %s",
                self.cfg.root,
                name,
                len(self.skipped),
                self.skipped[name],
            )

    def _picture(self, path: Path) -> Float[Tensor, "3 s s"]:
        size = self.cfg.size
        if self.cfg.compositing == "released":
            return released_picture(path, size)
        rgba = read_rgba(path)
        if rgba.shape[1:] != (size, size):
            rgba = resize(rgba, size, size)
        return composite(rgba, 1.0) * 2 - 1


def fixed_views(references: int, targets: int, total: int) -> tuple[list[int], list[int]]:
    """Return the views that EscherNet logs and validates on (official: `fix_sample`).

    One target: view 0, seen from the first references. More: references 1 .. R; targets 0, 1 and
    the last ones. The official slice for two targets takes all views beside; here it is two.
    """
    if targets == 1:
        return list(range(references)), [0]
    last = range(total - (targets - 2), total)
    return list(range(1, references + 1)), [0, 1, *last]


def read_camera(path: Path) -> Float[Tensor, "4 4"]:
    """Read a 3x4 world-to-camera matrix with Blender axes as camera-to-world, OpenCV axes.

    Raises:
        DataError: if the file is missing or broken, or the matrix has another shape or is not
            rigid.
    """
    c2w = world_to_camera_inverse(torch.from_numpy(read_matrix(path)))
    return opengl_to_opencv(c2w).float()


def world_to_camera_inverse(matrix: Float[Tensor, "*b 3 4"]) -> Float[Tensor, "*b 4 4"]:
    """Return camera-to-world matrices (same camera axes) of 3x4 rigid world-to-camera ones."""
    rotation = matrix[..., :3].transpose(-1, -2)
    centre = -rotation @ matrix[..., 3:]
    bottom = matrix.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*matrix.shape[:-2], 1, 4)
    return torch.cat([torch.cat([rotation, centre], dim=-1), bottom], dim=-2)


def released_picture(path: Path, size: int) -> Float[Tensor, "3 size size"]:
    """Read a picture as the released loaders do, in [-1, 1]: see `whitened`, bilinear.

    Raises:
        DataError: if the file is missing or broken or has no alpha.
    """
    return resized_8bit(whitened(read_rgba8(path)), size) * 2 - 1


def resized_8bit(
    rgb: UInt8[np.ndarray, "h w 3"], size: int, kind: Image.Resampling = Image.Resampling.BILINEAR
) -> Float[Tensor, "3 size size"]:
    """Return an 8-bit picture resized by Pillow, in [0, 1]."""
    resized = np.asarray(Image.fromarray(rgb).resize((size, size), kind))
    return torch.from_numpy(resized.copy()).permute(2, 0, 1).float() / 255.0
