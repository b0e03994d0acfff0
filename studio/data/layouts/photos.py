"""Plain photos of an object, without any camera: COLMAP finds the cameras, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from studio.captures.files import find_mask
from studio.captures.pictures import read_shots
from studio.captures.shots import Scene, Shot
from studio.data.layouts.base import pictures_in
from studio.data.layouts.colmap import ColmapData
from studio.data.layouts.colmap_run import commands, find_colmap, is_done, run_colmap
from studio.errors import DataError
from studio.io.paths import existing
from studio.io.picture_files import picture_size
from studio.plugins.registry import register

FEWEST = 3
FOLDERS = (".", "images", "photos", "input")


@register("data", "photos")
class PhotosData(ColmapData):
    """A folder of plain photos; COLMAP (the program or pycolmap) finds their cameras, once."""

    looks_for = "3 or more photos, whose cameras COLMAP then finds"
    priority = 10  # other layouts hold photos, too

    @dataclass
    class Config(ColmapData.Config):
        """How cameras are found."""

        images: str = "."
        """Folder of the photos; where it holds none: images, photos or input."""
        colmap: str = "auto"
        """What finds the cameras: auto, pycolmap, or the path of the program colmap."""
        workspace: str = "studio-colmap"
        """Folder, in the root, where COLMAP's files stay and are found the next time."""

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether there are photos."""
        return root.is_dir() and any(len(pictures_in(root / f)) >= FEWEST for f in FOLDERS)

    def has_cameras(self) -> bool:
        """Whether COLMAP has found them before."""
        root = existing(Path(self.cfg.root))
        return is_done(root / self.cfg.workspace, pictures_in(self._photos(root)))

    def scene(self, split: str = "train") -> Scene | None:
        """Find the cameras, or read those found before; there are no test views."""
        if split != "train":
            return None
        root = existing(Path(self.cfg.root))
        folder = self._photos(root)
        photos, workspace = pictures_in(folder), root / self.cfg.workspace
        if not is_done(workspace, photos):
            self._check_masks(root, photos[0])
            program = find_colmap(self.cfg.colmap)
            if program is None:
                raise DataError(
                    f"{folder} holds {len(photos)} photos without cameras, and COLMAP, which "
                    "finds them, is not installed.",
                    allowed="photos where COLMAP is installed, or a capture with its cameras "
                    "(docs/captures.md)",
                    hint="Install it and run this again:\n  pip install pycolmap\nor run it "
                    f"elsewhere and copy the folder back:\n  {commands(folder)}",
                )
            run_colmap(program, folder, photos, workspace)
        return self.read_model(root, workspace, folder)

    def _photos(self, root: Path) -> Path:
        for name in (self.cfg.images, *FOLDERS):
            if len(pictures_in(root / name)) >= FEWEST:
                return root / name
        raise DataError(f"{root} has no photos.", allowed=self.looks_for)

    def _check_masks(self, root: Path, photo: Path) -> None:
        """Say what is missing before COLMAP takes its minutes."""
        size, eye = picture_size(photo, upright=False), torch.eye(4, dtype=torch.float64)
        mask = find_mask([root / name for name in self._mask_folders], photo.name)
        shot = Shot(photo.stem, photo, eye, eye[:3, :3], size, mask=mask)
        scene = Scene(root, [shot], how_to_mask=self.how_to_mask(root))
        read_shots(scene, resolution=256, cutting=self._cutting)
