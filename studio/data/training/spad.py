"""SPAD's renderings of Objaverse as training data: several views of an object with its caption.

`<root>/<object>/{images,cameras,depths}/<k>.{png,npy,exr}`, k from 0 to 11: RGBA with straight
alpha, pickled cameras (`studio.data.training.spad_files`), depth along the viewing axis over 10 in
the first channel. All cameras stand 3.5 units from the object; the twelve are three random azimuths
and elevations, each with the views 90, 180 and 270 degrees further round. A share of the training
steps may be made of single pictures with captions instead
(`studio.data.training.captioned_pictures`), as the authors mix in a part of LAION.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from studio.data.base import ViewPairData
from studio.data.training.batches import ItemBatches, MixedBatches, OwnBatches, Parts, StepBatches
from studio.data.training.captioned_pictures import CaptionedPictures
from studio.data.training.captions import read_captions, without_3d
from studio.data.training.spad_files import SpadObject, read_object
from studio.data.training.views_files import read_names
from studio.errors import ConfigError, DataError
from studio.plugins.ranges import Count, Pixels, Range, Share
from studio.plugins.registry import register

logger = logging.getLogger(__name__)

SETUPS = ("random", "orthogonal", "both")
BROKEN = ("raise", "skip")
TRIES = 100  # unreadable objects in a row that `broken: skip` passes over


def orthogonal_groups(
    c2w: Float[Tensor, "v 4 4"], tolerance_deg: float = 1.0
) -> list[tuple[int, ...]]:
    """Return the sets of views of one elevation whose azimuths differ by multiples of 90 degrees.

    Views are in the order of their azimuth, from the first one's on.
    """
    x, y, z = c2w[:, :3, 3].unbind(-1)
    azimuth = torch.rad2deg(torch.atan2(y, x)).tolist()
    elevation = torch.rad2deg(torch.atan2(z, torch.hypot(x, y))).tolist()
    groups: list[list[int]] = []
    for view in range(len(c2w)):
        for group in groups:
            turn = (azimuth[view] - azimuth[group[0]] + 45) % 90 - 45
            if max(abs(turn), abs(elevation[view] - elevation[group[0]])) < tolerance_deg:
                group.append(view)
                break
        else:
            groups.append([view])
    return [
        tuple(sorted(g, key=lambda v: round((azimuth[v] - azimuth[g[0]]) % 360))) for g in groups
    ]


@register("data", "spad")
class SpadData(ViewPairData):
    """SPAD's folders of rendered objects: any cameras, Cap3D's captions."""

    @dataclass
    class Config:
        """Options."""

        root: str = "data/samples"
        """Folder of the object folders."""
        objects: str | None = None
        """List of objects, in `root` or a path of its own (filtered_objaverse.txt: one id a line); null: all folders."""  # noqa: E501
        captions: str | None = None
        """CSV file of id,caption, in `root` or a path of its own; items then hold the caption (empty where an object has none)."""  # noqa: E501
        drop_3d: bool = True
        """Take mentions of 3D out of captions, as the authors do."""
        size: Pixels = 256
        """Picture side after resizing, in pixels."""
        views: Annotated[int, Range(1, 12)] = 2
        """Views per item (released models: 2 and 4)."""
        setup: Literal["random", "orthogonal", "both"] = "random"
        """random views; orthogonal: views of one elevation 90 degrees apart; both: either, evenly (released: four views)."""  # noqa: E501
        pictures: str | None = None
        """Folder of single pictures with captions, <name>.jpg beside <name>.txt (authors: a part of LAION), in `root` or a path of its own; null: none."""  # noqa: E501
        pictures_share: Share = 0.1
        """Share of the training steps that are made of them, drawn by the step's number."""
        pictures_batch: Count = 60
        """Pictures in such a step, where others have system.batch_size objects."""
        depths: bool = False
        """Give depth maps [V,H,W] as well, along the viewing axis in world units."""
        train_share: Share = 0.99
        """Share of the list that is trained on; the rest is for validation."""
        broken: Literal["raise", "skip"] = "raise"
        """What an object with a missing or broken file or too few views does: raise, or skip to the next one, with a warning."""  # noqa: E501

        def __post_init__(self) -> None:
            """Check what belongs together."""
            if self.views > 4 and self.setup != "random":
                raise ConfigError(
                    f"views is {self.views} with setup {self.setup}.", allowed="1 to 4"
                )

    def __init__(self, cfg: Config) -> None:
        """Read the lists; no picture is opened."""
        root = Path(cfg.root)
        if not root.is_dir():
            raise DataError(f"data.root {cfg.root!r} is no folder.", allowed="<object>/images/ ...")
        self.cfg = cfg
        if cfg.objects is None:
            self.names = sorted(p.parent.name for p in root.glob("*/images"))
        else:
            self.names = read_names(root / cfg.objects)
        self.captions = None if cfg.captions is None else read_captions(root / cfg.captions)
        self.pictures = None
        if cfg.pictures is not None:
            folder, skip = root / cfg.pictures, cfg.broken == "skip"
            self.pictures = CaptionedPictures(folder, cfg.size, skip)

    def dataset(self, split: Literal["train", "val"]) -> SpadDataset:
        """Return the dataset of a split: the list's first 99 % or its rest, in order.

        Raises:
            DataError: if the split is empty.
        """
        cut = math.floor(self.cfg.train_share * len(self.names))
        names = self.names[:cut] if split == "train" else self.names[cut:]
        if not names:
            raise DataError(
                f"the {split} split of {self.cfg.root} is empty: "
                f"{len(self.names)} objects, train_share {self.cfg.train_share}.",
                hint="Change data.train_share.",
            )
        if split == "val":
            return SpadDataset(self.cfg, names, self.captions, fixed=True)
        return SpadDataset(self.cfg, names, self.captions, self.pictures)


class SpadDataset(Dataset[dict[str, Any]], OwnBatches):
    """Items of some objects, with views drawn by torch's generator.

    Args:
        cfg: options.
        names: object folders below the root.
        captions: by object; None: items hold none.
        pictures: single ones for some of the training steps.
        fixed: draw the same views of an object every time.
    """

    def __init__(
        self,
        cfg: SpadData.Config,
        names: list[str],
        captions: dict[str, str] | None = None,
        pictures: CaptionedPictures | None = None,
        fixed: bool = False,
    ) -> None:
        self.cfg, self.names, self.captions = cfg, names, captions
        self.pictures, self.fixed = pictures, fixed
        self._told: set[str] = set()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the item of an object; its first view is the condition, too.

        Raises:
            DataError: if the object cannot be used; with `broken: skip`, if 100 in a row cannot.
        """
        generator = torch.Generator()
        generator.manual_seed(index if self.fixed else int(torch.randint(2**62, ())))
        tries = min(TRIES, len(self)) if self.cfg.broken == "skip" else 1
        for step in range(tries):
            name = self.names[(index + step) % len(self)]
            try:
                return self._item(name, generator)
            except DataError as error:
                if self.cfg.broken == "raise":
                    raise
                self._tell(name, f"object {name} is skipped: {str(error).splitlines()[0]}")
        raise DataError(f"{tries} objects of {self.cfg.root} in a row cannot be used.")

    def batches(
        self, batch: int, seed: int, first_step: Callable[[], int], parts: Parts | None = None
    ) -> StepBatches:
        """Return the stream of training batches: of objects, some of single pictures instead."""
        objects = ItemBatches(self, batch, seed, first_step, parts)
        if self.pictures is None:
            return objects
        alone = ItemBatches(self.pictures, self.cfg.pictures_batch, seed, first_step, parts)
        return MixedBatches(objects, alone, self.cfg.pictures_share)

    def draw(self, thing: SpadObject, generator: torch.Generator) -> list[int]:
        """Choose views (positions in `numbers`) of an object.

        Raises:
            DataError: if it has too few for the setup.
        """
        cfg, setup = self.cfg, self.cfg.setup
        groups = [g for g in orthogonal_groups(thing.c2w) if len(g) >= cfg.views]
        if setup == "both":
            coin = bool(torch.randint(2, (), generator=generator))
            setup = "orthogonal" if groups and coin else "random"
        if setup == "orthogonal" and groups:
            group = groups[int(torch.randint(len(groups), (), generator=generator))]
            first = int(torch.randint(len(group), (), generator=generator))
            return [group[(first + i) % len(group)] for i in range(cfg.views)]
        count = len(thing.numbers)
        if setup == "orthogonal" or count < cfg.views:
            raise DataError(
                f"{thing.folder} has {count} intact views, which do not give {cfg.views} views "
                f"of setup {setup}.",
                hint="Lower data.views, or data.broken=skip.",
            )
        return torch.randperm(count, generator=generator)[: cfg.views].tolist()

    def _tell(self, name: str, message: str) -> None:
        """Warn once of every object."""
        if name not in self._told:
            self._told.add(name)
            logger.warning(message)

    def _item(self, name: str, generator: torch.Generator) -> dict[str, Any]:
        thing, size = read_object(Path(self.cfg.root) / name), self.cfg.size
        if thing.broken:
            lost = ", ".join(map(str, thing.broken))
            self._tell(name, f"{thing.folder}: view {lost} left out, its camera has no place")
        views = self.draw(thing, generator)
        cameras = thing.cameras(views, size)
        pictures = torch.stack([thing.picture(view, size) for view in views])
        item: dict[str, Any] = {
            "images": pictures,
            "cond_image": pictures[0],
            "c2w": cameras.c2w,
            "cond_c2w": cameras.c2w[0],
            "intrinsics": cameras.intrinsics,
        }
        if self.captions is not None:
            caption = self.captions.get(name, "")
            item["caption"] = without_3d(caption) if self.cfg.drop_3d else caption
        if self.cfg.depths:
            item["depths"] = torch.stack([thing.depth(view, size) for view in views])
        return item
