"""EpiDiff's data set as a plugin: training items and rings of views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from studio.cameras import Cameras
from studio.data.training.epidiff_layout import ObjectViews, read_index
from studio.data.training.ring_views import RingData, RingViews
from studio.errors import DataError, about
from studio.plugins.ranges import CountOrZero, Length, Pixels, Range, Share
from studio.plugins.registry import register

RING = tuple(6 * a + 4 for a in range(16))  # the views at elevation 30
REFERENCE = 64  # official: azimuth 225, elevation 30 degrees
_GREYS = {"white": 1.0, "black": 0.0, "gray": 0.5}
Views = Annotated[list[CountOrZero], Length(1, 1000)]


@register("data", "epidiff-views")
class EpiDiffViews(RingData):
    """EpiDiff's rendered objects: <shard>/<id>/render_####.webp with meta.json, 96 views each."""

    @dataclass
    class Config:
        """Where the objects are and which views are taken."""

        root: str = ""
        """Folder of the shards and caption files."""
        caption_train: str = "caption_train.txt"
        """List of training objects, within `root` or a path of its own."""
        caption_val: str = "caption_val.txt"
        """List of validation objects."""
        resolution: Pixels = 256
        """Height and width of the pictures in pixels."""
        views: Annotated[list[CountOrZero], Length(1, 1000)] = field(
            default_factory=lambda: list(RING)
        )
        """Target views; the default is the ring at elevation 30 (released)."""
        random_views: CountOrZero = 0
        """Take that many random target views instead (paper: 16); 0: those of `views`."""
        reference: Annotated[int, Range(-1, 1_000_000)] = REFERENCE
        """Condition view; -1: a random one of all views."""
        background: Literal["white", "black", "gray", "random", "random_gray"] | Share = "white"
        """A colour, drawn for each object where it is random, or a grey level."""

    def __init__(self, cfg: Config) -> None:
        """Check the options; files are read when a split is asked for."""
        if not Path(cfg.root).is_dir():
            raise DataError(
                f"data.root {cfg.root!r} is no folder.",
                allowed="a folder of <shard>/<object id>/ and caption files",
            )
        self.cfg = cfg

    def objects(self, split: str) -> list[ObjectViews]:
        """Return the objects of a split."""
        name = self.cfg.caption_train if split == "train" else self.cfg.caption_val
        return read_index(Path(self.cfg.root), Path(self.cfg.root) / name)

    def dataset(self, split: Literal["train", "val"]) -> EpiDiffDataset:
        """Return training items without the batch axis."""
        return EpiDiffDataset(self.objects(split), self.cfg)

    def ring_views(self, split: Literal["train", "val"]) -> RingViews:
        """Return all objects of a split, seen by the views of `views`, for training by step number.

        Raises:
            DataError: if these views are no evenly spaced ring that starts at azimuth 0.
        """
        side, things = self.cfg.resolution, self.objects(split)
        cameras = _cameras(things[0], self.cfg.views, side)
        azimuth, elevation, _ = cameras.spherical()
        even = torch.arange(len(azimuth)) * (360.0 / len(azimuth))
        apart = (azimuth - even + 180) % 360 - 180
        if apart.abs().max() > 0.5 or (elevation - elevation[0]).abs().max() > 0.5:
            raise DataError(
                f"data.views {list(self.cfg.views)} are no ring.",
                allowed="evenly spaced views of one elevation, in order, from azimuth 0",
            )
        images = np.stack(
            [[thing.rgba(v, (side, side)) for v in self.cfg.views] for thing in things]
        )
        return RingViews(images, cameras)


class EpiDiffDataset(Dataset[dict[str, Any]]):
    """Items of `EpiDiffViews`; random choices are drawn anew at every access."""

    def __init__(self, objects: list[ObjectViews], cfg: EpiDiffViews.Config) -> None:
        self.objects, self.cfg = objects, cfg

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: int) -> dict[str, Any]:
        thing, cfg = self.objects[index], self.cfg
        views, reference = list(cfg.views), cfg.reference
        if cfg.random_views:
            views = torch.randperm(len(thing.files))[: cfg.random_views].tolist()
        if reference < 0:
            reference = int(torch.randint(len(thing.files), ()))
        size, background = (cfg.resolution, cfg.resolution), _background(cfg.background)
        cameras = _cameras(thing, views, cfg.resolution)
        return {
            "images": torch.stack([thing.picture(v, size, background) for v in views]),
            "cond_image": thing.picture(reference, size, background),
            "c2w": cameras.c2w,
            "cond_c2w": thing.c2w[reference],
            "intrinsics": cameras.intrinsics,
            "caption": thing.caption,
        }


def _cameras(thing: ObjectViews, views: Sequence[int], side: int) -> Cameras:
    unknown = [v for v in views if not 0 <= v < len(thing.files)]
    if unknown:
        raise DataError(
            f"{thing.folder} has no view {unknown[0]}.", allowed=f"0 to {len(thing.files) - 1}"
        )
    c2w = thing.c2w[list(views)]
    with about(thing.folder):
        return Cameras(c2w, thing.intrinsics(side, side).expand(len(c2w), 3, 3), (side, side))


def _background(given: str | float) -> float | list[float]:
    """Return the grey level or colour of a background; random ones are drawn."""
    if given == "random":
        return torch.rand(3).tolist()
    if given == "random_gray":
        return float(torch.rand(()))
    return _GREYS[given] if isinstance(given, str) else given
