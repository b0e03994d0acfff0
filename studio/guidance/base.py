"""The contract of guidance plugins: condition and cameras in, a `ViewSet` out; a training loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from studio.cameras import Cameras
from studio.errors import ConfigError
from studio.guidance.contract import ViewContract
from studio.guidance.licences import licence_of, shown_source
from studio.guidance.noise import Noise
from studio.views import Condition, ViewSet

__all__ = ["Guidance", "Noise", "Progress", "ViewContract"]

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all) during sampling."""


class Guidance(nn.Module, ABC):
    """A method that makes views; only `generate` has to be written.

    One that cannot be trained or saved leaves `training_loss`, `save_pretrained` and
    `from_pretrained` as they are: they say so.
    """

    Config: ClassVar[type]
    cfg: Any = None
    """Its options, where the constructor keeps them; `precision` among them is heeded."""
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
        noise: Tensor | Noise | None = None,
        progress: Progress | None = None,
    ) -> ViewSet:
        """Make the views that `cameras` (by default the contract's rig) see of `condition`.

        Args:
            condition: picture, pictures, text or mesh; its camera's elevation in degrees.
            cameras: target cameras (see `ViewContract.targets`).
            generator: source of all randomness that `noise` does not give.
            noise: a named source of all that is drawn, or start latents, for exact repetition
                (see `Noise.of`).
            progress: called after every denoising step.

        Returns:
            RGBA views of `contract.resolution`, in the world of `cameras`, with normals where the
            method makes them.
        """

    def condition_cameras(self, condition: Condition) -> Cameras | None:
        """Return the cameras of the condition's pictures among the views that `generate` makes.

        None where there is no picture or its camera is not known. Pictures that are posed keep
        their cameras; a single one is seen from the rig's distance and with its lens.
        """
        if condition.views is not None:
            return condition.views.cameras if condition.views.meta.get("posed", True) else None
        if condition.image is None or not self.contract.places_input:
            return None
        pose = condition.azimuth_deg, condition.elevation_deg
        return self.contract.rig.input_camera(condition.image.shape[-1], *pose)

    @classmethod
    def refuse_training(cls) -> None:
        """Refuse a method that only generates.

        Raises:
            ConfigError: if it has no `training_loss` of its own.
        """
        if cls.training_loss is Guidance.training_loss:
            raise _missing(cls, "be trained", "training_loss")

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

        Raises:
            ConfigError: if the method only generates.
        """
        raise _missing(type(self), "be trained", "training_loss")

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

    def save_pretrained(self, folder: Path | str) -> None:
        """Write safetensors and config.json.

        Raises:
            ConfigError: if the method only generates.
        """
        raise _missing(type(self), "be saved", "save_pretrained")

    @classmethod
    def from_pretrained(cls, source: Path | str) -> Self:
        """Read a folder written by `save_pretrained`.

        Raises:
            ConfigError: if the method only generates.
        """
        raise _missing(cls, "be read from a folder of weights", "from_pretrained")


def _missing(cls: type, what: str, function: str) -> ConfigError:
    return ConfigError(
        f"guidance {cls.__name__} ({cls.__module__}) only generates views; it cannot {what}.",
        hint=f"Write {cls.__name__}.{function}, or use it with system_type: image-to-3d.",
    )
