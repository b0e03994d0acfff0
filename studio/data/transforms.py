"""Posed pictures in a folder with `transforms.json`: captures, NeRF-synthetic, or our own views."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from studio.data.base import SceneData
from studio.errors import DataError
from studio.images import resize
from studio.registry import register
from studio.transforms import find_transforms, read_transforms
from studio.views import ViewSet


@register("data", "transforms")
class TransformsData(SceneData):
    """Posed RGBA pictures in a transforms.json folder (nerfstudio, instant-ngp, NeRF-synthetic)."""

    @dataclass
    class Config:
        """Where the pictures are and how they are used."""

        root: str = ""
        """Folder with transforms.json or transforms_train.json, or such a file."""
        split: str = "train"
        """Split to learn from; transforms.json serves where it has no file of its own."""
        test_split: str | None = "test"
        """Held-out split to measure on, null for none; ignored where it has no file."""
        resolution: int | None = None
        """Longer picture side in pixels after scaling down; null keeps the size."""
        bound: float | None = None
        """Half side of the cube around the origin that holds the object; null: from the file or guessed."""  # noqa: E501
        recentre: bool = False
        """Move the point that all cameras look at to the origin."""
        views: list[int] | None = None
        """Positions of the training views to use; null for all."""

    def __init__(self, cfg: Config) -> None:
        """Remember the config; nothing is read before `load`."""
        if not cfg.root:
            raise DataError("data.root is not given.", allowed="a folder with transforms.json")
        if cfg.resolution is not None and cfg.resolution < 8:
            raise DataError(f"data.resolution is {cfg.resolution}.", allowed="8 px or more")
        self.cfg = cfg
        self._frame: tuple[float, torch.Tensor | None] | None = None

    def load(self) -> ViewSet:
        """Read the training views."""
        cfg = self.cfg
        centre: Literal["look-at"] | None = "look-at" if cfg.recentre else None
        views = read_transforms(Path(cfg.root), cfg.split, bound=cfg.bound, centre=centre)
        origin = torch.tensor(views.meta["origin"]) if cfg.recentre else None
        self._frame = views.bound, origin
        if cfg.views is not None:
            views = _selected(views, cfg.views)
        return _scaled_down(views, cfg.resolution)

    def test(self) -> ViewSet | None:
        """Read the held-out views, in the frame and with the bound of the training views."""
        cfg = self.cfg
        root = Path(cfg.root)
        if cfg.test_split is None or not (root / f"transforms_{cfg.test_split}.json").is_file():
            return None
        if self._frame is None:
            self.load()
        assert self._frame is not None
        bound, origin = self._frame
        path = find_transforms(root, cfg.test_split)
        return _scaled_down(read_transforms(path, bound=bound, centre=origin), cfg.resolution)


def _selected(views: ViewSet, index: list[int]) -> ViewSet:
    wrong = [i for i in index if not 0 <= i < len(views)]
    if wrong or not index:
        raise DataError(f"data.views is {index}.", allowed=f"one or more of 0 to {len(views) - 1}")
    return views.select(index)


def _scaled_down(views: ViewSet, resolution: int | None) -> ViewSet:
    """Average over the area of each new pixel, weighted by alpha; never enlarge."""
    height, width = views.cameras.size
    if resolution is None or max(height, width) <= resolution:
        return views
    scale = resolution / max(height, width)
    height, width = round(height * scale), round(width * scale)
    images = torch.stack([resize(picture, height, width) for picture in views.images])
    return replace(views, images=images, cameras=views.cameras.resized(height, width))
