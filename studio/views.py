"""`ViewSet`, what guidance returns and geometry reads, and `Condition`, what guidance is asked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras
from studio.errors import DataError


@dataclass(frozen=True)
class ViewSet:
    """V posed pictures of one object.

    Attributes:
        images: RGBA with straight alpha in [0, 1].
        cameras: one per picture, of the pictures' size.
        bound: half the side of the axis-aligned cube around the origin that holds the object.
        meta: provenance (method, seed, timings, ...), plain JSON values.
        names: file names without suffix, one per view; numbered where empty.
        normals: unit surface normals in the world, zero where unknown.
    """

    images: Float[Tensor, "v 4 h w"]
    cameras: Cameras
    bound: float = 0.5
    meta: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    normals: Float[Tensor, "v 3 h w"] | None = None

    def __post_init__(self) -> None:
        """Check that pictures and cameras belong together.

        Raises:
            DataError: if they do not.
        """
        v, c, h, w = self.images.shape
        if c != 4 or v != len(self.cameras) or (h, w) != tuple(self.cameras.size):
            raise DataError(
                f"pictures {tuple(self.images.shape)} do not match {len(self.cameras)} cameras "
                f"of size {self.cameras.size}.",
                allowed="[V, 4, H, W] RGBA pictures and V cameras of size (H, W)",
            )
        if self.normals is not None and self.normals.shape != (v, 3, h, w):
            raise DataError(
                f"normals {tuple(self.normals.shape)} do not match the {v} pictures.",
                allowed="[V, 3, H, W]",
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def mask(self) -> Float[Tensor, "v h w"]:
        """Coverage of the object in [0, 1]."""
        return self.images[:, 3]

    @property
    def to_world(self) -> Float[Tensor, "4 4"]:
        """Similarity from the views' world to the one that the capture's files speak of."""
        given = self.meta.get("to_world")
        return torch.eye(4) if given is None else torch.tensor(given, dtype=torch.float32)

    def rgb_on(self, background: float = 1.0) -> Float[Tensor, "v 3 h w"]:
        """Return the pictures composited on a grey level (1 = white), in [0, 1]."""
        alpha = self.images[:, 3:]
        return self.images[:, :3] * alpha + background * (1 - alpha)

    def select(self, index: list[int]) -> ViewSet:
        """Return the views at these positions."""
        names = tuple(self.names[i] for i in index) if self.names else ()
        normals = None if self.normals is None else self.normals[index]
        return replace(
            self,
            images=self.images[index],
            cameras=self.cameras[index],
            names=names,
            normals=normals,
        )

    def save(self, folder: Path | str) -> Path:
        """Write `transforms.json`, RGBA PNGs and normals, as nerfstudio and instant-ngp read it."""
        from studio.transforms import write_transforms

        return write_transforms(self, Path(folder))

    @classmethod
    def load(cls, folder: Path | str) -> ViewSet:
        """Read a folder written by `save` or any supported `transforms.json` flavour."""
        from studio.transforms import read_transforms

        return read_transforms(Path(folder))


@dataclass(frozen=True)
class Condition:
    """What a guidance is asked with: a picture, several posed pictures, or a text.

    Attributes:
        image: one picture, RGBA with straight alpha in [0, 1].
        views: several posed pictures.
        text: a prompt.
        elevation_deg: elevation of the camera that took `image`.
        azimuth_deg: world azimuth at which that camera is placed.
        meta: where it came from, plain JSON values.
    """

    image: Float[Tensor, "4 h w"] | None = None
    views: ViewSet | None = None
    text: str | None = None
    elevation_deg: float = 30.0
    azimuth_deg: float = 0.0
    meta: dict[str, Any] = field(default_factory=dict)
