"""Several pictures of an object with their cameras, as references for guidance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import CANONICAL_RADIUS
from studio.captures.foreground import METHODS
from studio.data.base import ConditionData
from studio.data.layouts.capture import CaptureData
from studio.data.layouts.placement import CENTRES
from studio.errors import DataError
from studio.io.images import resize
from studio.plugins.ranges import CountOrZero, OneOf, Pixels, Share
from studio.plugins.registry import register
from studio.views import Condition, Original, ViewSet

SHARED = (
    "root",
    "centre",
    "background",
    "background_model",
    "tolerance",
    "holes",
    "invert_masks",
)  # options that are the capture's


@register("data", "posed-images")
class PosedImagesData(ConditionData):
    """Posed pictures of an object (any capture), for guidance that takes references."""

    brought = "root"

    @dataclass
    class Config:
        """Which pictures, and how they are prepared."""

        root: str = ""
        """Folder of a capture: any layout, see docs/captures.md."""
        references: list[CountOrZero] = field(default_factory=list)
        """Positions of the pictures to use, 0 is the first; empty: `count` evenly spread ones."""
        count: CountOrZero = 3
        """How many pictures are used where `references` is empty; 0: all."""
        resolution: Pixels = 256
        """Side of the prepared pictures in pixels."""
        centre: Annotated[str, OneOf(CENTRES)] = "auto"
        """What becomes the origin: see `data_type: capture`."""
        background: Annotated[str, OneOf(METHODS)] = "auto"
        """How the object is told from the background: see `data_type: capture`."""
        background_model: str | None = None
        """ONNX file on this machine for background=rembg."""
        tolerance: Share = 0.08
        """Largest colour difference, of 1, from an even background that is removed."""
        holes: bool = True
        """Enclosed areas of exactly an even background's colour are background, too."""
        invert_masks: bool | None = None
        """true: masks are white on the background; see `data_type: capture`."""
        rescale: bool = True
        """Scale the world so that the cameras stand 1.5 from the origin on average."""

    def __init__(self, cfg: Config) -> None:
        """Find the capture; its pictures are read by `condition`."""
        self.cfg = cfg
        shared = {name: getattr(cfg, name) for name in SHARED}
        self.data = CaptureData(CaptureData.Config(**shared))

    def condition(self) -> Condition:
        """Read and prepare the references.

        Raises:
            DataError: if a position is not in the capture, or a camera looks away from the object.
        """
        cfg, views = self.cfg, self.data.load()
        total = len(views.images)
        chosen = list(cfg.references)
        if not chosen:
            count = min(cfg.count or total, total)
            chosen = [k * total // count for k in range(count)]
        if outside := [k for k in chosen if not 0 <= k < total]:
            raise DataError(
                f"data.references holds {outside}; {cfg.root} has {total} pictures.",
                allowed=f"0 to {total - 1}",
            )
        if len(set(chosen)) < len(chosen):
            views = replace(views, names=())  # a picture that is given twice has one name only
        views = views.select(chosen)
        depth = views.cameras.project(torch.zeros(1, 3))[1][:, 0]
        if behind := [k for k, d in zip(chosen, depth.tolist(), strict=True) if d <= 0]:
            raise DataError(
                f"the cameras of pictures {behind} of {cfg.root} look away from the origin.",
                allowed="cameras in front of the object, which is at the origin",
                hint="Check the cameras' axes, or move the object there: data.centre=masks.",
            )
        originals = tuple(_original(image) for image in views.images)
        views = prepared(views, cfg.resolution, cfg.rescale)
        meta = {"root": cfg.root, "references": chosen}
        return Condition(views=views, originals=originals, meta=meta)


def _original(image: Float[Tensor, "4 h w"]) -> Original:
    """A picture with the square that `squared` pads it to."""
    height, width = image.shape[1:]
    side = max(height, width)
    return Original(image, -((side - width) // 2), -((side - height) // 2), side).trimmed()


def prepared(views: ViewSet, side: int, rescale: bool) -> ViewSet:
    """Return square pictures of a side in pixels and, if asked for, cameras 1.5 away on average."""
    views = squared(views)
    cameras, images = views.cameras, views.images
    if cameras.size != (side, side):
        images = torch.stack([resize(image, side, side, smooth=True) for image in images])
        cameras = cameras.resized(side, side)
    bound = views.bound
    if rescale:
        factor = CANONICAL_RADIUS / float(cameras.centres.norm(dim=1).mean())
        cameras, bound = cameras.scaled(factor), bound * factor
    return replace(views, images=images, cameras=cameras, bound=bound)


def squared(views: ViewSet) -> ViewSet:
    """Return the views with their pictures padded by transparency to squares; without normals."""
    height, width = views.cameras.size
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    pads = (left, side - width - left, top, side - height - top)
    intrinsics = views.cameras.intrinsics.clone()
    intrinsics[:, :2, 2] += intrinsics.new_tensor([left, top])
    cameras = replace(views.cameras, intrinsics=intrinsics, size=(side, side))
    images = torch.nn.functional.pad(views.images, pads)
    return replace(views, images=images, cameras=cameras, normals=None)
