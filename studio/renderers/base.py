"""What a renderer is: rays and a geometry in, pictures out."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from studio.cameras import Rays
from studio.geometry.base import Detail, Geometry


@dataclass(frozen=True)
class RenderOutput:
    """What N rays see.

    Attributes:
        rgb: colour over the background, in [0, 1].
        mask: opacity in [0, 1].
        depth: distance from the ray's origin, summed with the weights (not divided by the mask).
        normal: unit gradients, summed with the weights.
        weights: weight of each of the P samples.
        gradients: SDF gradients at the samples, for the eikonal loss.
        sdf: signed distance at the samples.
        points: the samples.
        samples: how many samples were evaluated.
        laplacian: sum of the SDF's second derivatives at the samples, where the geometry has one.
        eikonal_weights: share of each sample in the eikonal loss; None counts all alike.
        ray_index: ray of each sample, ascending, where losses along rays are to be possible.
        t: distance of each sample from its ray's origin; likewise.
        sections: length of the section around each sample; likewise.
    """

    rgb: Float[Tensor, "n 3"]
    mask: Float[Tensor, " n"]
    depth: Float[Tensor, " n"]
    normal: Float[Tensor, "n 3"]
    weights: Float[Tensor, " p"]
    gradients: Float[Tensor, "p 3"]
    sdf: Float[Tensor, " p"]
    points: Float[Tensor, "p 3"]
    samples: int
    laplacian: Float[Tensor, " p"] | None = None
    eikonal_weights: Float[Tensor, " p"] | None = None
    ray_index: Int[Tensor, " p"] | None = None
    t: Float[Tensor, " p"] | None = None
    sections: Float[Tensor, " p"] | None = None


class Renderer(nn.Module):
    """Base of all renderers; rays live in the geometry's frame, the cube [-1, 1]^3.

    Attributes:
        seed: of the sampling noise, together with the step.
    """

    Config: ClassVar[type]
    seed: int = 0

    @classmethod
    def follows(cls, cfg: Any, detail: Detail) -> dict[str, Any]:
        """Return values of the options that are left open, for pictures that show so much."""
        return {}

    @abstractmethod
    def forward(
        self,
        rays: Rays,
        geometry: Geometry,
        background: Float[Tensor, "n 3"] | None = None,
        *,
        step: int = 0,
    ) -> RenderOutput:
        """Render rays.

        Args:
            rays: unit directions, origins in the geometry's frame.
            geometry: the field to render.
            background: colour behind each ray; None is black.
            step: number of the training step; seeds the sampling noise while training.
        """

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return optimiser groups {"params", "lr_scale"}: a learned sharpness, a background."""
        parameters = list(self.parameters())
        return [{"params": parameters, "lr_scale": 1.0}] if parameters else []

    def advance(self, geometry: Geometry, progress: float, step: int) -> None:
        """Prepare for a training step: schedules and acceleration structures."""

    def restrict(self, hull: Bool[Tensor, "r r r"]) -> None:
        """Tell which cells of a grid over the cube can hold the object (True where they can)."""

    @property
    def hull(self) -> Bool[Tensor, "r r r"] | None:
        """Cells over the cube in which rays are sampled; None means everywhere."""
        return None

    @property
    def sees_outside(self) -> bool:
        """Whether something stands for what lies outside the cube (captures without masks)."""
        return False

    @contextlib.contextmanager
    def object_alone(self) -> Iterator[None]:
        """Leave out, within a block, what stands for the outside: the module `background`."""
        outside = getattr(self, "background", None)
        if outside is not None:
            self.background = None
        try:
            yield
        finally:
            if outside is not None:
                self.background = outside

    def meets(self, rays: Rays) -> Bool[Tensor, " n"]:
        """Tell which rays can meet the object."""
        return torch.ones(len(rays), dtype=torch.bool, device=rays.origins.device)

    @torch.no_grad()
    def render_in_chunks(
        self, rays: Rays, geometry: Geometry, background: float = 1.0, chunk: int = 8192
    ) -> RenderOutput:
        """Render many rays without gradients on a grey background, in bounded memory."""
        parts = []
        for start in range(0, len(rays), chunk):
            part = Rays(rays.origins[start : start + chunk], rays.directions[start : start + chunk])
            colour = torch.full_like(part.origins, background)
            parts.append(self(part, geometry, colour))
        names = ("rgb", "mask", "depth", "normal", "weights", "gradients", "sdf", "points")
        joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        return RenderOutput(**joined, samples=sum(part.samples for part in parts))


def nothing_seen(rays: Rays, background: Float[Tensor, "n 3"] | None) -> RenderOutput:
    """What rays see that meet nothing to sample: the background (None is black) alone."""
    zero = rays.origins.new_zeros(len(rays))
    colour = torch.zeros_like(rays.origins) if background is None else background.clone()
    empty = zero.new_zeros(0)
    none = empty.new_zeros(0, 3)
    return RenderOutput(
        rgb=colour,
        mask=zero,
        depth=zero.clone(),
        normal=torch.zeros_like(colour),
        weights=empty,
        gradients=none,
        sdf=empty,
        points=none,
        samples=0,
    )
