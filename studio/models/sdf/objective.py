"""What a fit minimises: losses with weights that may change from step to step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from studio.errors import ConfigError
from studio.geometry.base import Geometry, GeometryOutput
from studio.models.sdf import losses as L
from studio.models.sdf.loss_options import TERMS, LossConfig, weights_of
from studio.models.sdf.ray_pool import RayBatch
from studio.ops.random import step_generator
from studio.renderers.base import Renderer, RenderOutput


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
        self.cfg, self.geometry, self.renderer = cfg, geometry, renderer
        self.smooth_distance = cfg.smooth_distance or cfg.smooth_pixels * pixel
        self.terms: dict[str, Callable[[Step], Tensor]] = {
            name: getattr(self, f"_{name}") for name in TERMS
        }
        self.weights = weights_of(cfg)
        self.view_weights = torch.tensor(list(view_weights)) if view_weights else None

    def __call__(
        self, output: RenderOutput, batch: RayBatch, *, seed: int, step: int, progress: float
    ) -> dict[str, Tensor]:
        """Return every loss that has a weight at this step, and their weighted sum as "loss"."""
        seen = Step(output, batch, seed, step, progress)
        losses: dict[str, Tensor] = {}
        total = output.mask.new_zeros(())
        for name, schedule in self.weights.items():
            weight = schedule(step)
            if weight != 0 and self._due(name, seen):
                losses[name] = self.terms[name](seen)
                total = total + weight * losses[name]
        losses["loss"] = total
        return losses

    def _due(self, name: str, seen: Step) -> bool:
        if name == "smooth" and seen.progress < self.cfg.smooth_from:
            return False
        return name not in ("smooth", "outside") or seen.step % self.cfg.random_every == 0

    # --- what is seen -----------------------------------------------------------------------------

    def _colour(self, seen: Step) -> Tensor:
        error = L.COLOUR_ERRORS[self.cfg.colour_norm](seen.output.rgb - seen.batch.colours)
        counts = {"mask": seen.batch.mask > 0.5, "hit": seen.output.mask > 0}
        chosen = counts.get(self.cfg.colour_rays)
        if self.cfg.colour_keep < 1:
            return L.ranked_mean(error if chosen is None else error[chosen], self.cfg.colour_keep)
        return L.mean_over(error, chosen)

    def _colour_mse(self, seen: Step) -> Tensor:
        return L.mean_over(L.COLOUR_ERRORS["mse"](seen.output.rgb - seen.batch.colours))

    def _mask(self, seen: Step) -> Tensor:
        error = L.MASK_ERRORS[self.cfg.mask_norm](seen.output.mask, seen.batch.mask)
        weight = self._weight_of(seen)
        if self.cfg.mask_keep < 1:
            return L.ranked_mean(error, self.cfg.mask_keep, weight)
        return L.mean_over(error if weight is None else error * weight)

    def _normal(self, seen: Step) -> Tensor:
        wanted = seen.batch.normals
        if wanted is None:
            raise ConfigError(
                "loss.normal needs views that carry normals; these do not.",
                hint="set system.loss.normal=0",
            )
        cosine = (wanted * seen.batch.rays.directions).sum(-1)
        error, facing = L.normal_error(seen.normal, wanted, cosine, geo_aware=True)
        counts = facing & (seen.batch.mask > 0.5)
        weight = self._weight_of(seen)
        weight = None if weight is None else weight[counts]
        return L.ranked_mean(error[counts], self.cfg.normal_keep, weight, reduce="sum")

    def _opaque(self, seen: Step) -> Tensor:
        return L.opaque(seen.output.mask)

    def _distortion(self, seen: Step) -> Tensor:
        ray, t, sections = seen.along_rays("distortion")
        return L.distortion(seen.output.weights, t, sections, ray, len(seen.output.mask))

    def _orient(self, seen: Step) -> Tensor:
        directions = seen.batch.rays.directions[seen.along_rays("orient")[0]]
        return L.orient(seen.output.weights, seen.unit_gradients, directions, seen.output.mask)

    def _weight_of(self, seen: Step) -> Tensor | None:
        if self.view_weights is None:
            return None
        return self.view_weights.to(seen.output.mask)[seen.batch.view]

    # --- the field --------------------------------------------------------------------------------

    def _eikonal(self, seen: Step) -> Tensor:
        return L.eikonal(seen.output.gradients, seen.output.eikonal_weights)

    def _sparsity(self, seen: Step) -> Tensor:
        if self.cfg.sparsity_at == "random":
            return L.sparsity(self._random_field(seen)[1].sdf, self.cfg.sparsity_scale)
        return L.sparsity(seen.output.sdf, self.cfg.sparsity_scale)

    def _curvature(self, seen: Step) -> Tensor:
        if seen.output.laplacian is None:
            raise ConfigError(
                f"loss.curvature needs second derivatives, which {type(self.geometry).__name__} "
                "does not compute as it is set.",
                hint="use a geometry with numerical gradients, or set system.loss.curvature=0",
            )
        return L.curvature(seen.output.laplacian)

    def _smooth(self, seen: Step) -> Tensor:
        generator = step_generator(seen.seed, seen.step, stream=3)
        count = self.cfg.random_points
        if self.cfg.smooth_at == "surface":
            visible = (seen.output.weights > 0.05).nonzero()[:, 0]
            if len(visible) == 0:
                return seen.output.weights.sum() * 0
            chosen = visible[torch.randint(len(visible), (count,), generator=generator).to(visible)]
            points, gradients = seen.output.points[chosen], seen.output.gradients[chosen]
        else:
            points, field = self._random_field(seen)
            gradients = field.gradient
        away = torch.randn(count, 3, generator=generator).to(points) * self.smooth_distance
        nearby = (points + away).clamp(-1, 1)
        return L.normal_smoothness(gradients, self.geometry(nearby).gradient)

    def _random_field(self, seen: Step) -> tuple[Tensor, GeometryOutput]:
        """Random points of the cube and the field there, once per step for all losses."""
        if seen.random is None:
            generator = step_generator(seen.seed, seen.step, stream=6)
            points = torch.rand(self.cfg.random_points, 3, generator=generator) * 2 - 1
            points = points.to(seen.output.points)
            seen.random = points, self.geometry(points)
        return seen.random

    def _outside(self, seen: Step) -> Tensor:
        cells = self._empty_cells
        if cells is None:
            return seen.output.mask.sum() * 0
        generator = step_generator(seen.seed, seen.step, stream=4)
        count = self.cfg.random_points
        chosen = torch.randint(len(cells), (count,), generator=generator).to(cells.device)
        where = cells[chosen] + torch.rand(count, 3, generator=generator).to(cells)
        side = 2.0 / self._hull_side
        return L.outside(self.geometry(where * side - 1).sdf, margin=0.5 * side)

    @property
    def _hull_side(self) -> int:
        return 1 if self.renderer.hull is None else self.renderer.hull.shape[0]

    @cached_property
    def _empty_cells(self) -> Float[Tensor, "m 3"] | None:
        """Lower corners of the cells outside the hull, in cells."""
        hull = self.renderer.hull
        return None if hull is None or bool(hull.all()) else (~hull).nonzero().float()


@dataclass
class Step:
    """One rendered batch, when it is, and random points that its losses share."""

    output: RenderOutput
    batch: RayBatch
    seed: int
    step: int
    progress: float
    random: tuple[Tensor, GeometryOutput] | None = None

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
