"""Several pictures of an object without cameras."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import torch

from studio.cameras import orbit_cameras
from studio.data.base import ConditionData
from studio.data.conditions.single_image import SingleImageData
from studio.errors import DataError
from studio.plugins.registry import register
from studio.views import Condition, ViewSet


@register("data", "images")
class UnposedImagesData(ConditionData):
    """Pictures of one object without cameras, for guidance that needs none (ViewFusion)."""

    brought = "images"

    @dataclass
    class Config(SingleImageData.Config):
        """Which pictures; each is prepared as a single one is."""

        images: list[str] = field(default_factory=list)
        """The picture files; `image` alone is a list of one."""

    def __init__(self, cfg: Config) -> None:
        """Check the options; the pictures are read by `condition`."""
        files = cfg.images or ([cfg.image] if cfg.image else [])
        if not files:
            raise DataError("data.images is not given.", hint="Add data.images=[a.png,b.png].")
        common = {f.name: getattr(cfg, f.name) for f in fields(SingleImageData.Config)}
        one = SingleImageData.Config(**{**common, "image": files[0], "prepared": None})
        self.cfg, self.files = cfg, files
        self.parts = [SingleImageData(replace(one, image=file)) for file in files]

    def condition(self) -> Condition:
        """Read and prepare the pictures; their cameras say nothing (meta "posed" is false).

        Raises:
            DataError: if one cannot be read or its object cannot be told from the background.
        """
        parts = [part.condition() for part in self.parts]
        pictures = [part.image for part in parts if part.image is not None]
        side = self.cfg.resolution
        nowhere = orbit_cameras([self.cfg.azimuth_deg], self.cfg.elevation_deg or 0.0, size=side)
        views = ViewSet(torch.stack(pictures), nowhere[[0] * len(pictures)], meta={"posed": False})
        notes = [
            f"{file}: {note}"
            for file, part in zip(self.files, parts, strict=True)
            for note in part.meta["notes"]
        ]
        originals = tuple(original for part in parts for original in part.originals)
        return Condition(
            views=views,
            elevation_deg=self.cfg.elevation_deg,
            azimuth_deg=self.cfg.azimuth_deg,
            originals=originals,
            meta={"images": self.files, "notes": notes},
        )
