"""What every guidance plugin is: condition and cameras in, a `ViewSet` out, and a training loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from studio.cameras import CANONICAL_FOV_DEG, CANONICAL_RADIUS, Cameras, orbit_cameras
from studio.guidance.licences import licence_of, shown_source
from studio.views import Condition, ViewSet

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all) during sampling."""


@dataclass(frozen=True)
class ViewContract:
    """What a model was trained for; asking for something else warns.

    Attributes:
        inputs: which of "image", "images", "text" it takes.
        views: how many views it makes at once.
        elevation_deg: elevation of the ring of views.
        fov_deg: vertical field of view.
        radius: camera distance, the object's longest side being 1.
        resolution: picture side in pixels.
    """

    inputs: tuple[str, ...] = ("image",)
    views: int = 16
    elevation_deg: float = 30.0
    fov_deg: float = CANONICAL_FOV_DEG
    radius: float = CANONICAL_RADIUS
    resolution: int = 256

    def cameras(self, first_deg: float = 0.0) -> Cameras:
        """Return the ring of views: azimuths first_deg + k * 360 / views."""
        azimuths = [first_deg + k * 360.0 / self.views for k in range(self.views)]
        return orbit_cameras(
            azimuths, self.elevation_deg, self.radius, self.fov_deg, self.resolution
        )


class Guidance(nn.Module, ABC):
    """A multi-view diffusion method."""

    Config: ClassVar[type]
    contract: ViewContract = ViewContract()
    released_licence: ClassVar[str] = ""
    """What the authors' weights of the method are under."""

    @abstractmethod
    def generate(
        self,
        condition: Condition,
        cameras: Cameras | None = None,
        *,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
        progress: Progress | None = None,
    ) -> ViewSet:
        """Make the views that `cameras` (by default the contract's rig) see of `condition`.

        Args:
            condition: picture, pictures or text; its camera's elevation in degrees.
            cameras: target cameras.
            generator: source of all randomness that `noise` does not give.
            noise: start latents, for exact repetition.
            progress: called after every denoising step.
        """

    def condition_cameras(self, condition: Condition) -> Cameras | None:
        """Return the cameras of the condition's pictures among the views that `generate` makes.

        None where there is no picture or its camera is not known. Pictures that are posed keep
        their cameras; a single one is seen from the contract's distance and with its lens.
        """
        if condition.views is not None:
            return condition.views.cameras if condition.views.meta.get("posed", True) else None
        if condition.image is None:
            return None
        ring, side = self.contract, condition.image.shape[-1]
        pose = ([condition.azimuth_deg], condition.elevation_deg)
        return orbit_cameras(*pose, ring.radius, ring.fov_deg, side)

    @abstractmethod
    def training_loss(
        self,
        batch: dict[str, Any],
        *,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the losses of one batch; key "loss" is the one to minimise.

        Batch: images [B,V,3,H,W] in [-1,1], cond_image [B,3,H,W] in [-1,1], c2w [B,V,4,4],
        cond_c2w [B,4,4] (OpenCV axes), intrinsics [B,V,3,3] in pixels; optionally latents
        [B,V,c,h,w] and cond_latents [B,c,h,w], posterior means that replace encoding; ref_images
        [B,R,3,H,W] in [-1,1] and ref_c2w [B,R,4,4], several references; caption, B texts.
        """

    def trainable_parameters(self) -> list[dict[str, Any]]:
        """Return optimiser groups {"params", "lr_scale"}; all parameters that require gradients."""
        return [{"params": [p for p in self.parameters() if p.requires_grad], "lr_scale": 1.0}]

    def provenance(self) -> dict[str, str]:
        """Return which weights it works with and their licence, for what is made with them."""
        source = str(getattr(getattr(self, "cfg", None), "weights", ""))
        if not source:
            return {}
        return {
            "source": shown_source(source),
            "licence": licence_of(source, self.released_licence),
        }

    def save_extras(self, folder: Path) -> None:
        """Write the pictures that the last `generate` kept beside its views, if any."""

    @abstractmethod
    def save_pretrained(self, folder: Path | str) -> None:
        """Write safetensors and config.json."""

    @classmethod
    @abstractmethod
    def from_pretrained(cls, source: Path | str) -> Self:
        """Read a folder written by `save_pretrained`."""
