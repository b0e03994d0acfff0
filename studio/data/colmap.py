"""COLMAP projects: `sparse/0` (text or binary), `images`, `masks`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from studio.data.colmap_files import read_sparse
from studio.data.layouts import CaptureConfig, LayoutData, existing
from studio.errors import DataError
from studio.lens import Lens
from studio.registry import register
from studio.shots import SUFFIXES, Scene, Shot

MODEL_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", ".")


@register("data", "colmap")
class ColmapData(LayoutData):
    """A COLMAP project: sparse model (text or binary), images and masks; lenses are undistorted."""

    looks_for = "sparse/0/cameras.bin (or .txt), images/ and masks/"
    auto_centre = "masks"
    auto_up = "upright"

    @dataclass
    class Config(CaptureConfig):
        """Where things lie within the project."""

        images: str = "images"
        """Folder of the pictures."""
        mask_folder: str = "masks"
        """Folder of the masks, white on the object: <name>, <name>.png or <stem>.png."""
        undistort: bool = True
        """Undistort the pictures; false ignores the lens, as instant-nsr-pl does."""
        model: str | None = None
        """Folder of the sparse model; null: sparse/0, sparse, colmap/sparse/0 or the root."""

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether there is a sparse model."""
        return _model_folder(root) is not None

    def scene(self, split: str = "train") -> Scene | None:
        """Read the model; there are no test views."""
        if split != "train":
            return None
        cfg, root = self.cfg, existing(Path(self.cfg.root))
        folder = root / cfg.model if cfg.model else _model_folder(root)
        if folder is None:
            raise DataError(f"{root} holds no COLMAP model.", allowed=self.looks_for)
        model = read_sparse(folder)
        masks = root / cfg.mask_folder
        shots = []
        for image in model.images:
            camera = model.cameras[image.camera]
            picture = root / cfg.images / image.name
            if not picture.is_file():
                raise DataError(
                    f"{folder} names {image.name}, but {picture} does not exist.",
                    hint="Give the folder of the pictures with data.images=<folder>.",
                )
            shots.append(
                Shot(
                    _name(image.name),
                    picture,
                    torch.linalg.inv(image.w2c),
                    camera.intrinsics,
                    (camera.height, camera.width),
                    camera.lens if cfg.undistort else Lens(),
                    mask=_mask(masks, image.name),
                    upright=False,  # COLMAP works on pictures as they are stored
                )
            )
        how = f"RGBA pictures, or white-on-black masks of the same names in {masks}"
        return Scene(folder, shots, points=model.points, how_to_mask=how)


def _model_folder(root: Path) -> Path | None:
    for name in MODEL_FOLDERS:
        for suffix in (".bin", ".txt"):
            files = (root / name / f"cameras{suffix}", root / name / f"images{suffix}")
            if all(file.is_file() for file in files):
                return root / name
    return None


def _name(file: str) -> str:
    return str(Path(file).with_suffix("")).replace("/", "-")


def _mask(folder: Path, name: str) -> Path | None:
    stem = Path(name).with_suffix("")
    candidates = [Path(name), Path(f"{name}.png"), *(Path(f"{stem}{s}") for s in SUFFIXES)]
    return next((folder / c for c in candidates if (folder / c).is_file()), None)
