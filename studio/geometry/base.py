"""What a geometry is: a signed distance field with features, and colours on it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class GeometryOutput:
    """Values of a field at N points of the cube [-1, 1]^3.

    Attributes:
        sdf: signed distance, negative inside.
        gradient: its derivative by the position, not normalised; points outwards.
        feature: what `Geometry.colour` wants to know of the point.
        laplacian: sum of the second derivatives, where the geometry computes one.
    """

    sdf: Float[Tensor, " n"]
    gradient: Float[Tensor, "n 3"]
    feature: Float[Tensor, "n d"]
    laplacian: Float[Tensor, " n"] | None = None


@dataclass(frozen=True)
class Detail:
    """How much the pictures of a fit show.

    Attributes:
        across: pixels along the side of the object's cube: the median view's, at its middle.
        observed: pixels that show the object, in all views together.
        views: how many there are.
    """

    across: float
    observed: int
    views: int


class Geometry(nn.Module):
    """Base of all geometries; they live in the cube [-1, 1]^3 (systems scale to and from it)."""

    Config: ClassVar[type]
    cfg: Any

    @classmethod
    def follows(cls, cfg: Any, detail: Detail) -> dict[str, Any]:
        """Return values of the options that are left open, for pictures that show so much."""
        return {}

    @abstractmethod
    def forward(self, points: Float[Tensor, "n 3"]) -> GeometryOutput:
        """Evaluate the field; gradients reach the parameters through all three results."""

    @abstractmethod
    def sdf(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Evaluate the signed distance alone."""

    @abstractmethod
    def colour(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        view_dirs: Float[Tensor, "n 3"],
        feature: Float[Tensor, "n d"],
    ) -> Float[Tensor, "n 3"]:
        """Return rgb in [0, 1] seen along unit ``view_dirs`` (from the camera to the point)."""

    def gloss(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        view_dirs: Float[Tensor, "n 3"],
        feature: Float[Tensor, "n d"],
    ) -> Float[Tensor, "n 3"] | None:
        """Return the part of `colour` that is mirrored light; None where the two are not told."""
        return None

    def advance(self, progress: float, step: int) -> None:
        """Prepare for a training step: levels that open, differences that shrink.

        Args:
            progress: share of training that is done, in [0, 1].
            step: number of the training step.
        """

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return optimiser groups {"params", "lr_scale"}."""
        return [{"params": list(self.parameters()), "lr_scale": 1.0}]

    @torch.no_grad()
    def sdf_in_chunks(
        self, points: Float[Tensor, "n 3"], chunk: int = 65536
    ) -> Float[Tensor, " n"]:
        """Evaluate many points without gradients in bounded memory."""
        return torch.cat([self.sdf(part) for part in points.split(chunk)])
