"""The NMR data set: 24 renderings each of 43,783 ShapeNet objects of 13 categories, 64 px.

An item is one object with target and input views drawn from the 24, as ViewFusion (Spiegl et al.,
arXiv 2402.02906) draws them. Only the views that are used are read and decoded.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from studio.cameras import Cameras
from studio.data.base import ViewPairData
from studio.data.training.nmr_archive import LISTS, Archive, open_archive
from studio.data.training.nmr_cameras import nmr_ring, read_cameras, view_angles
from studio.data.training.nmr_index import CAMERAS, VIEWS
from studio.data.training.nmr_stream import StreamedViews, shard_urls
from studio.errors import ConfigError, DataError
from studio.io.picture_files import opened
from studio.plugins.ranges import OneOf, Pixels, Range, Share
from studio.plugins.registry import register
from studio.progress import StageProgress


@register("data", "nmr")
class NMRData(ViewPairData):
    """NMR renderings of ShapeNet: original archive, its zip, or shards."""

    @dataclass
    class Config:
        """Options."""

        root: str = "data/NMR_Dataset"
        """The extracted folder, the zip file itself, or a folder of NMR-*.tar shards."""
        lists: Annotated[str, OneOf(LISTS)] = "official"
        """Splits: official (train.lst, as ViewFusion) or softras (softras_train.lst, as SRT)."""
        categories: list[str] = field(default_factory=list)
        """Categories to use, by name or synset; empty for all 13."""
        withhold: list[str] = field(default_factory=list)
        """Categories to leave out, by name or synset."""
        inputs: Annotated[int, Range(1, 24)] = 6
        """Input views per item; the method uses some or all of them."""
        targets: Annotated[int, Range(1, 24)] = 1
        """Target views per training item."""
        val_targets: Annotated[int, Range(1, 24)] = 4
        """Target views per validation item."""
        repeat_target: Share = 0.1
        """Chance that a training item's inputs are drawn from all views, the target among them."""
        stream: str = ""
        """Training shards for webdataset to stream, as https://host/NMR-train-{00..15}.tar; empty:
        by the index of `root`, which resumes exactly. Validation always reads `root`."""
        resolution: Pixels = 64
        """Height and width of the pictures in pixels."""
        cameras: Literal["ring", "file"] = "ring"
        """ring: view i at azimuth -15 i degrees, elevation 30; file: what cameras.npz says."""
        settings: Literal["right", "released"] = "right"
        """right, or released: `relative_angle` where the target is drawn anew is the released
        loader's, which does not belong to the pictures."""

        def __post_init__(self) -> None:
            """Check what belongs together."""
            for key in ("targets", "val_targets"):
                count = getattr(self, key)
                if count + self.inputs > VIEWS:
                    raise ConfigError(
                        f"{key} is {count} and inputs {self.inputs}.",
                        allowed=f"1 or more each, {VIEWS} together",
                    )

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg
        self._archive: Archive | None = None

    @property
    def archive(self) -> Archive:
        """The files, opened when first needed."""
        if self._archive is None:
            self._archive = open_archive(self.cfg.root, self.cfg.lists)
        return self._archive

    def check(self) -> None:
        """Open the archive, so that a wrong path ends before anything is written."""
        with StageProgress("reading data"):
            self.dataset("train")

    def dataset(self, split: str) -> NMRViews | StreamedViews:
        """Return the items of a split as `views` does, or the training split as a stream."""
        cfg = self.cfg
        if split != "train" or not cfg.stream:
            return self.views(split)
        wanted = self.archive.synsets(cfg.categories, cfg.withhold)
        return StreamedViews(
            shard_urls(cfg.stream), wanted, lambda one, key: NMRViews(cfg, one, [key], "train")[0]
        )

    def views(self, split: str) -> NMRViews:
        """Return the items of a split: train, val or test.

        Raises:
            DataError: if there is no such archive, category or split, or the split is empty.
        """
        keys = self.archive.keys(split, self.cfg.categories, self.cfg.withhold)
        if not keys:
            raise DataError(f"the {split} split of {self.cfg.root} has no objects that are asked.")
        return NMRViews(self.cfg, self.archive, keys, split)


class Draw(NamedTuple):
    """Random choices of an item."""

    order: Int[Tensor, " 24"]
    """Views in random order: the targets first, then the inputs."""
    again: Int[Tensor, " 24"] | None = None
    """A second shuffle, positions in `order`, before inputs are taken: of the targets, too."""


class NMRViews(Dataset[dict[str, Any]]):
    """Items of the objects of a split.

    Beside what `ViewPairData` says, an item holds ref_images [R,3,H,W] in [-1,1] and ref_c2w
    [R,4,4], the inputs, of which the first is the condition; angle [T] of the targets in radians,
    2 pi i / 24 for view i; and relative_angle [T], from each target to the first input, not
    wrapped.

    Args:
        cfg: options of the data.
        archive: the files.
        keys: the objects.
        split: train draws anew at every access, others have one draw per object for ever.
    """

    def __init__(
        self, cfg: NMRData.Config, archive: Archive, keys: Sequence[str], split: str
    ) -> None:
        self.cfg, self.archive, self.keys, self.split = cfg, archive, list(keys), split
        self.ring = nmr_ring(cfg.resolution)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the item of an object; training items draw from torch's global generator."""
        if self.split == "train":
            order = torch.randperm(VIEWS)
            repeated = float(torch.rand(())) < self.cfg.repeat_target
            return self.item(index, Draw(order, torch.randperm(VIEWS) if repeated else None))
        return self.item(index, Draw(fixed_order(self.keys[index])))

    def item(self, index: int, draw: Draw) -> dict[str, Any]:
        """Return the item of an object with a given draw."""
        cfg = self.cfg
        count = cfg.targets if self.split == "train" else cfg.val_targets
        targets = draw.order[:count]
        order = draw.order if draw.again is None else draw.order[draw.again]
        inputs = order[count : count + cfg.inputs]
        cameras, pictures = self.cameras(index), self.pictures(index, torch.cat([targets, inputs]))
        turn = inputs[:1] - targets
        if cfg.settings == "released" and draw.again is not None:
            turn = draw.again[count] - draw.again[:count]  # official: positions taken for views
        return {
            "images": pictures[:count],
            "c2w": cameras.c2w[targets],
            "intrinsics": cameras.intrinsics[targets],
            "cond_image": pictures[count],
            "cond_c2w": cameras.c2w[inputs[0]],
            "ref_images": pictures[count:],
            "ref_c2w": cameras.c2w[inputs],
            "angle": view_angles(targets),
            "relative_angle": view_angles(turn),
        }

    def cameras(self, index: int) -> Cameras:
        """Return the 24 cameras of an object."""
        if self.cfg.cameras == "ring":
            return self.ring
        key = self.keys[index]
        return read_cameras(self.archive.read(key, CAMERAS), self.cfg.resolution, key)

    def pictures(self, index: int, views: Sequence[int] | Tensor) -> Float[Tensor, "v 3 h w"]:
        """Return pictures of an object in [-1, 1]; each view is decoded once."""
        wanted = [int(v) for v in views]
        read = {v: self._picture(self.keys[index], v) for v in dict.fromkeys(wanted)}
        pixels = torch.from_numpy(np.stack([read[v] for v in wanted]))
        return pixels.permute(0, 3, 1, 2).float() / 255 * 2 - 1

    def _picture(self, key: str, view: int) -> UInt8[np.ndarray, "h w 3"]:
        side = self.cfg.resolution
        name = f"{self.archive.source}: view {view} of {key}"
        with opened(name, self.archive.read(key, view)) as stored:
            picture = stored if stored.mode == "RGB" else _on_white(stored)
            if picture.size != (side, side):
                picture = picture.resize((side, side), Image.Resampling.BOX)
            return np.asarray(picture)


def _on_white(picture: Image.Image) -> Image.Image:
    rgba = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def fixed_order(key: str) -> Int[Tensor, " 24"]:
    """Return an order of the 24 views that is a function of the object's name alone."""
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    return torch.randperm(VIEWS, generator=generator)
