"""The objective of a fit: a sum of registered losses, and what these are shown of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from studio.errors import ConfigError
from studio.geometry.base import Geometry, GeometryOutput
from studio.models.sdf.loss_options import LossConfig, weights_of
from studio.models.sdf.ray_pool import RayBatch
from studio.ops.random import step_generator
from studio.plugins.discovery import find
from studio.renderers.base import Renderer, RenderOutput

Loss = Callable[["Seen", Any], Tensor | None]
"""What `@register("loss", name)` stands above; the last parameter is annotated with options."""


class Objective:
    """The weighted sum of losses.

    Args:
        cfg: weights and options.
        geometry: what is fitted.
        renderer: what renders it; its hull tells where the object cannot be.
        view_weights: of each view in the mask and normal losses; empty counts all alike.
        pixel: side of a pixel at the object, in units of half the cube.
    """

    def __init__(
        self,
        cfg: LossConfig,
        geometry: Geometry,
        renderer: Renderer,
        view_weights: Sequence[float] = (),
        pixel: float = 0.02,
    ) -> None:
        self.cfg, self.geometry, self.renderer, self.pixel = cfg, geometry, renderer, pixel
        self.weights = weights_of(cfg)
        self.losses = {
            name: (self._function(name), cfg.options(name), weight)
            for name, weight in self.weights.items()
        }
        self.view_weights = torch.tensor(list(view_weights)) if view_weights else None

    @staticmethod
    def _function(name: str) -> Loss:
        found: Any = find("loss", name)
        function: Loss = found
        return function

    def __call__(
        self, output: RenderOutput, batch: RayBatch, *, seed: int, step: int, progress: float
    ) -> dict[str, Tensor]:
        """Return every loss that has a weight at this step, and their weighted sum as "loss"."""
        seen = Seen(output, batch, seed, step, progress, self)
        losses: dict[str, Tensor] = {}
        total = output.mask.new_zeros(())
        for name, (function, options, schedule) in self.losses.items():
            weight = schedule(step)
            value = function(seen, options) if weight != 0 else None
            if value is not None:
                losses[name] = value
                total = total + weight * value
        losses["loss"] = total
        return losses

    @cached_property
    def empty_cells(self) -> Float[Tensor, "m 3"] | None:
        """Lower corners of the cells outside the hull, in cells; None if there are none."""
        hull = self.renderer.hull
        return None if hull is None or bool(hull.all()) else (~hull).nonzero().float()


@dataclass
class Seen:
    """One rendered batch and when it is, for the losses.

    Attributes:
        output: what the renderer returned.
        batch: the rays and what they had to see.
        seed: of all noise.
        step: number of the step; a loss's noise is a function of (seed, step).
        progress: share of the fit that is done.
        of: whose losses are asked.
    """

    output: RenderOutput
    batch: RayBatch
    seed: int
    step: int
    progress: float
    of: Objective

    @property
    def geometry(self) -> Geometry:
        """What is fitted."""
        return self.of.geometry

    @property
    def pixel(self) -> float:
        """Side of a pixel at the object, in units of half the cube."""
        return self.of.pixel

    @property
    def hull(self) -> Bool[Tensor, "r r r"] | None:
        """Cells of the cube that may hold the object; None if nothing is known."""
        return self.of.renderer.hull

    @property
    def empty_cells(self) -> Float[Tensor, "m 3"] | None:
        """Lower corners of the cells outside the hull, in cells; None if there are none."""
        return self.of.empty_cells

    @property
    def random_points(self) -> int:
        """How many random points a loss takes."""
        return self.of.cfg.random_points

    @property
    def random_due(self) -> bool:
        """Whether losses at random points have their turn in this step."""
        return self.step % self.of.cfg.random_every == 0

    @cached_property
    def random_field(self) -> tuple[Float[Tensor, "n 3"], GeometryOutput]:
        """Random points of the cube and the field there, the same for all losses of the step."""
        generator = step_generator(self.seed, self.step, stream=6)
        points = torch.rand(self.random_points, 3, generator=generator) * 2 - 1
        points = points.to(self.output.points)
        return points, self.geometry(points)

    @cached_property
    def view_weight(self) -> Float[Tensor, " n"] | None:
        """Weight of each ray's view; None where all count alike."""
        if self.of.view_weights is None:
            return None
        return self.of.view_weights.to(self.output.mask)[self.batch.view]

    @cached_property
    def unit_gradients(self) -> Float[Tensor, "p 3"]:
        """Normals at the samples."""
        g = self.output.gradients.T
        return (g / (g * g).sum(0).add(1e-12).sqrt()).T

    def along_rays(self, loss: str) -> tuple[Tensor, Tensor, Tensor]:
        """Ray, distance and section of the samples.

        Raises:
            ConfigError: if the renderer does not tell.
        """
        output = self.output
        if output.ray_index is None or output.t is None or output.sections is None:
            raise ConfigError(
                f"loss.{loss} needs to know which samples belong to which ray, which this "
                "renderer does not tell.",
                hint=f"set system.loss.{loss}=0 or use another renderer_type",
            )
        return output.ray_index, output.t, output.sections

    @cached_property
    def normal(self) -> Float[Tensor, "n 3"]:
        """Unit gradients summed with the weights along each ray."""
        if len(self.output.normal) == len(self.output.mask):
            return self.output.normal
        ray, _, _ = self.along_rays("normal")
        sums = self.output.mask.new_zeros(len(self.output.mask), 3)
        return sums.index_add(0, ray, self.output.weights[:, None] * self.unit_gradients)
