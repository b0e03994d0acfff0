"""What a fit minimises: losses with weights that may change from step to step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.errors import ConfigError
from studio.geometry.base import Geometry
from studio.ops.random import step_generator
from studio.renderers.base import Renderer, RenderOutput
from studio.schedule import Schedule
from studio.systems import losses as L
from studio.systems.ray_pool import RayBatch

RAYS = ("all", "mask", "hit")


@dataclass
class LossConfig:
    """Losses. Weights are numbers or [start step, first, last, end step]; 0 costs nothing."""

    colour: Any = 1.0
    """Weight of the colour loss."""
    colour_norm: str = "l1"
    """l1, l1-sum (NeuS), mse, mse-sum, huber, or charbonnier (SyncDreamer)."""
    colour_rays: str = "all"
    """Rays that count in it: all, mask (on the object, NeuS), or hit (that meet something)."""
    colour_keep: float = 1.0
    """Share of rays that stay in it, the largest errors being left out (Wonder3D: 0.8)."""
    colour_mse: Any = 0.0
    """Weight of a mean squared colour error beside it."""
    mask: Any = 0.1
    """Weight of the error of the opacity against the mask."""
    mask_norm: str = "bce"
    """bce (cross-entropy) or mse."""
    mask_keep: float = 1.0
    """Share of rays that stay in the mask loss."""
    normal: Any = 0.0
    """Weight of the error of rendered normals, where views carry normals (Wonder3D)."""
    normal_keep: float = 1.0
    """Share of rays that stay in the normal loss."""
    eikonal: Any = 0.1
    """Weight of (|gradient| - 1)^2 at the samples."""
    curvature: Any = 0.0
    """Weight of |laplacian|, for geometries that compute it."""
    sparsity: Any = 0.0
    """Weight of exp(-sparsity_scale |sdf|)."""
    sparsity_scale: float = 1.0
    """How fast that falls off with the distance, in units of half the cube."""
    opaque: Any = 0.0
    """Weight of the entropy of the opacity."""
    distortion: Any = 0.0
    """Weight of the distortion loss of mip-NeRF 360."""
    orient: Any = 0.0
    """Weight of visible normals that look away from the camera."""
    smooth: Any = 0.05
    """Weight of changes of the normal over `smooth_distance`: against a hammered look."""
    smooth_at: str = "surface"
    """Where it is measured: surface (at visible samples) or random points (Wonder3D)."""
    smooth_distance: float = 0.03
    """Standard deviation of the step, in units of half the cube."""
    smooth_from: float = 0.3
    """Share of training after which it is measured."""
    outside: Any = 0.0
    """Weight of negative distances at random points outside the visual hull."""
    random_points: int = 512
    """Random points of the losses that need some."""
    random_every: int = 1
    """Steps between two uses of the losses at random points."""


class Objective:
    """The weighted sum of losses.

    Args:
        cfg: weights and options.
        geometry: what is fitted.
        renderer: what renders it; its hull tells where the object cannot be.
        view_weights: of each view in the mask and normal losses; empty counts all alike.
    """

    def __init__(
        self,
        cfg: LossConfig,
        geometry: Geometry,
        renderer: Renderer,
        view_weights: Sequence[float] = (),
    ) -> None:
        self.cfg, self.geometry, self.renderer = cfg, geometry, renderer
        self.terms: dict[str, Callable[[Step], Tensor]] = {
            name: getattr(self, f"_{name}") for name in TERMS
        }
        self.weights = {name: _weight(cfg, name) for name in TERMS}
        self.weights = {name: weight for name, weight in self.weights.items() if not weight.off}
        _choice("colour_norm", cfg.colour_norm, L.COLOUR_ERRORS)
        _choice("colour_rays", cfg.colour_rays, RAYS)
        _choice("mask_norm", cfg.mask_norm, L.MASK_ERRORS)
        _choice("smooth_at", cfg.smooth_at, ("surface", "random"))
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
            points = (torch.rand(count, 3, generator=generator) * 2 - 1).to(seen.output.points)
            gradients = self.geometry(points).gradient
        away = torch.randn(count, 3, generator=generator).to(points) * self.cfg.smooth_distance
        return L.normal_smoothness(gradients, self.geometry(points + away).gradient)

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


@dataclass(frozen=True)
class Step:
    """One rendered batch, and when it is."""

    output: RenderOutput
    batch: RayBatch
    seed: int
    step: int
    progress: float

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


TERMS = (
    "colour",
    "colour_mse",
    "mask",
    "normal",
    "eikonal",
    "curvature",
    "sparsity",
    "opaque",
    "distortion",
    "orient",
    "smooth",
    "outside",
)


def _weight(cfg: LossConfig, name: str) -> Schedule:
    key = f"system.loss.{name}"
    weight = Schedule.parse(getattr(cfg, name), key)
    if weight.epochs and not weight.off:
        raise ConfigError(
            f"{key} is {getattr(cfg, name)!r}: a fit has steps, not epochs.",
            allowed="an end step without decimal point",
        )
    return weight


def _choice(name: str, given: str, allowed: Any) -> None:
    if given not in allowed:
        raise ConfigError(f"system.loss.{name} is {given!r}.", allowed=", ".join(allowed))
