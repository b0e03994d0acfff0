"""COLMAP projects: `sparse/0` (text or binary), `images`, `masks`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from studio.captures.files import MASK_FOLDERS, find_mask, find_picture, is_picture, leave_out
from studio.captures.lens import Lens
from studio.captures.shots import Scene, Shot
from studio.data.layouts.base import CaptureConfig, LayoutData, natural
from studio.data.layouts.colmap_cameras import SUPPORTED
from studio.data.layouts.colmap_files import (
    ColmapImage,
    SparseModel,
    count_images,
    model_suffix,
    read_sparse,
)
from studio.errors import DataError
from studio.io.paths import existing
from studio.plugins.registry import register

logger = logging.getLogger(__name__)

MODEL_FOLDERS = ("sparse", "colmap/sparse", ".")  # each with 0, 1, ... or a model itself
PICTURE_FOLDERS = ("input", ".")  # where there is no folder of that name


@register("data", "colmap")
class ColmapData(LayoutData):
    """A COLMAP project: sparse model (text or binary), images and masks; lenses are undistorted."""

    looks_for = "sparse/0/cameras.bin (or .txt), images/ and masks/"
    priority = 60
    auto_centre = "masks"
    auto_up = "upright"

    @dataclass
    class Config(CaptureConfig):
        """Where things lie within the project."""

        images: str = "images"
        """Folder of the pictures."""
        mask_folder: str | None = None
        """Folder of the masks, white on the object: <name>, <name>.png, <stem>.png or <stem>_mask.png; null: masks or mask."""  # noqa: E501
        undistort: bool = True
        """Undistort the pictures; false ignores the lens, as instant-nsr-pl does."""
        model: str | None = None
        """Folder of the sparse model; null: that of sparse/*, sparse, colmap/sparse/*, colmap/sparse or the root with most pictures."""  # noqa: E501

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether there is a sparse model."""
        return bool(model_folders(root))

    def scene(self, split: str = "train") -> Scene | None:
        """Read the model; there are no test views."""
        if split != "train":
            return None
        root = existing(Path(self.cfg.root))
        return self.read_model(root, root, root / self.cfg.images)

    @property
    def _mask_folders(self) -> Sequence[str]:
        return [self.cfg.mask_folder] if self.cfg.mask_folder else MASK_FOLDERS

    def how_to_mask(self, root: Path) -> str:
        """Return what the layout offers for masks, for messages."""
        return "RGBA pictures, or white-on-black masks of the same names in " + str(
            root / self._mask_folders[0]
        )

    def read_model(self, root: Path, project: Path, images: Path) -> Scene:
        """Read the model of a project.

        Args:
            root: the capture's folder, which holds the masks.
            project: what holds the sparse models.
            images: where the pictures are looked for first.

        Raises:
            DataError: if there is no model, it is broken, or most of its pictures are missing.
        """
        cfg = self.cfg
        folder = root / cfg.model if cfg.model else _largest(project)
        model = read_sparse(folder)
        pictures = _pictures([images, *(root / name for name in PICTURE_FOLDERS)], model)
        _report(folder, root, pictures)
        masks = [root / name for name in self._mask_folders]
        shots = []
        for image in _usable(folder, model, pictures):
            camera = model.cameras[image.camera]
            shots.append(
                Shot(
                    _name(image.name),
                    pictures[image.name],
                    torch.linalg.inv(image.w2c),
                    camera.intrinsics,
                    (camera.height, camera.width),
                    camera.lens if cfg.undistort else Lens(),
                    mask=find_mask(masks, image.name),
                )
            )
        return Scene(folder, shots, points=model.points, how_to_mask=self.how_to_mask(root))


def model_folders(root: Path) -> list[Path]:
    """Return the folders of all models of a project, empty where it is none."""
    for name in MODEL_FOLDERS:
        base = root / name
        numbered = [p for p in base.iterdir() if p.name.isdigit()] if base.is_dir() else []
        found = [p for p in (*sorted(numbered, key=natural), base) if model_suffix(p)]
        if found:
            return found
    return []


def _largest(root: Path) -> Path:
    """The model with most pictures; says so where there are several."""
    folders = model_folders(root)
    if not folders:
        raise DataError(f"{root} holds no COLMAP model.", allowed=ColmapData.looks_for)
    count = {folder: count_images(folder) for folder in folders}
    largest = max(folders, key=lambda folder: count[folder])
    if len(folders) > 1:
        others = ", ".join(f"{f.relative_to(root)}: {count[f]}" for f in folders if f != largest)
        logger.warning(
            "%s: of %d models %s is used, which has most pictures, %d (%s); choose another with "
            "data_type=colmap data.model=<folder>",
            root,
            len(folders),
            largest.relative_to(root),
            count[largest],
            others,
        )
    return largest


def _pictures(folders: Sequence[Path], model: SparseModel) -> dict[str, Path]:
    """The file of every picture of the model that has one, in the first folder that has any."""
    for folder in folders:
        found = {
            image.name: find_picture(folder / image.name)
            or find_picture(folder / image.name.replace("\\", "/"))
            for image in model.images
        }
        if any(found.values()):
            return {name: path for name, path in found.items() if path is not None}
    return {}


def _report(folder: Path, root: Path, pictures: dict[str, Path]) -> None:
    """Say how many of the pictures beside those of the model are used."""
    parents = {path.parent for path in pictures.values()}
    there = {p for parent in parents for p in parent.iterdir() if is_picture(p)}
    if unused := len(there - set(pictures.values())):
        logger.warning(
            "%s has a camera for %d of the %d pictures; %d are not used",
            folder.relative_to(root) if folder.is_relative_to(root) else folder,
            len(there) - unused,
            len(there),
            unused,
        )


def _usable(folder: Path, model: SparseModel, pictures: dict[str, Path]) -> list[ColmapImage]:
    """The images that have a picture and a lens that can be undistorted here."""
    total = len(model.images)
    leave_out(
        folder,
        [image.name for image in model.images if image.name not in pictures],
        total,
        "pictures of the model do not exist",
        "Give the folder of the pictures: data_type=colmap data.images=<folder>.",
    )
    there = [image for image in model.images if image.name in pictures]
    strange = [image for image in there if not model.cameras[image.camera].is_readable]
    names = sorted({model.cameras[image.camera].model for image in strange})
    if 2 * len(strange) > len(there):
        raise DataError(
            f"{folder}: the camera model is {', '.join(names)}.",
            allowed=f"{', '.join(SUPPORTED)}; with pycolmap installed, all but EQUIRECTANGULAR",
            hint="Run COLMAP's image_undistorter and give its folder, or `pip install pycolmap`.",
        )
    what = f"pictures are of a camera that cannot be undistorted here ({', '.join(names)})"
    leave_out(folder, [image.name for image in strange], len(there), what)
    skipped = {image.name for image in strange}
    return [image for image in there if image.name not in skipped]


def _name(file: str) -> str:
    return str(Path(file.replace("\\", "/")).with_suffix("")).replace("/", "-")
