"""The losses of a fit: registered functions, each with its options beside it.

A loss takes what one step has seen and its options, and returns a scalar, or None in a step in
which it does not count. `system.loss.<name>` is its weight, `system.loss.<name>_<option>` sets an
option, and `system.loss.<name>: {weight: …, <option>: …}` says the same. The formulas are in
`studio.models.sdf.losses`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from studio.errors import ConfigError
from studio.models.sdf import losses as L
from studio.models.sdf.loss_options import LossOptions, Weight
from studio.models.sdf.objective import Seen
from studio.ops.random import step_generator
from studio.plugins.ranges import Factor, OneOf, Range, Share
from studio.plugins.registry import register

SEEN = 0.05
"""Least weight of a sample, in what its ray sees, that counts as visible."""

# --- what is seen ---------------------------------------------------------------------------------


@dataclass
class ColourOptions(LossOptions):
    """Options of the colour loss."""

    weight: Weight = 1.0
    """Weight of the colour loss."""
    norm: Annotated[str, OneOf(L.COLOUR_ERRORS)] = "l1"
    """l1, l1-sum (NeuS), mse, mse-sum, huber, or charbonnier (SyncDreamer)."""
    rays: Literal["all", "mask", "hit"] = "all"
    """Rays that count in it: all, mask (on the object, NeuS), or hit (that meet something)."""
    keep: Share = 1.0
    """Share of rays that stay in it, the largest errors being left out (Wonder3D: 0.8)."""


@register("loss", "colour")
def colour(seen: Seen, cfg: ColourOptions) -> Tensor:
    """Error of the colours."""
    error = L.COLOUR_ERRORS[cfg.norm](seen.output.rgb - seen.batch.colours)
    counts = {"mask": seen.batch.mask > 0.5, "hit": seen.output.mask > 0}
    chosen = counts.get(cfg.rays)
    if cfg.keep < 1:
        return L.ranked_mean(error if chosen is None else error[chosen], cfg.keep)
    return L.mean_over(error, chosen)


@dataclass
class ColourMseOptions(LossOptions):
    """Options of the mean squared colour error."""

    weight: Weight = 0.0
    """Weight of a mean squared colour error beside the colour loss."""


@register("loss", "colour_mse")
def colour_mse(seen: Seen, cfg: ColourMseOptions) -> Tensor:
    """Mean squared error of the colours."""
    return L.mean_over(L.COLOUR_ERRORS["mse"](seen.output.rgb - seen.batch.colours))


@dataclass
class MaskOptions(LossOptions):
    """Options of the mask loss."""

    weight: Weight = 0.1
    """Weight of the error of the opacity against the mask."""
    norm: Annotated[str, OneOf(L.MASK_ERRORS)] = "bce"
    """bce (cross-entropy) or mse."""
    keep: Share = 1.0
    """Share of rays that stay in the mask loss."""


@register("loss", "mask")
def mask(seen: Seen, cfg: MaskOptions) -> Tensor:
    """Error of the opacity against the mask."""
    error = L.MASK_ERRORS[cfg.norm](seen.output.mask, seen.batch.mask)
    if cfg.keep < 1:
        return L.ranked_mean(error, cfg.keep, seen.view_weight)
    return L.mean_over(error if seen.view_weight is None else error * seen.view_weight)


@dataclass
class NormalOptions(LossOptions):
    """Options of the normal loss."""

    weight: Weight = 0.0
    """Weight of the error of rendered normals, where views carry normals (Wonder3D)."""
    keep: Share = 1.0
    """Share of rays that stay in the normal loss."""


@register("loss", "normal")
def normal(seen: Seen, cfg: NormalOptions) -> Tensor:
    """Error of rendered normals against those of the views."""
    wanted = seen.batch.normals
    if wanted is None:
        raise ConfigError(
            "loss.normal needs views that carry normals; these do not.",
            hint="set system.loss.normal=0",
        )
    cosine = (wanted * seen.batch.rays.directions).sum(-1)
    error, facing = L.normal_error(seen.normal, wanted, cosine, geo_aware=True)
    counts = facing & (seen.batch.mask > 0.5)
    weight = None if seen.view_weight is None else seen.view_weight[counts]
    return L.ranked_mean(error[counts], cfg.keep, weight, reduce="sum")


# --- the field ------------------------------------------------------------------------------------


@dataclass
class EikonalOptions(LossOptions):
    """Options of the eikonal loss."""

    weight: Weight = 0.1
    """Weight of (|gradient| - 1)^2 at the samples."""


@register("loss", "eikonal")
def eikonal(seen: Seen, cfg: EikonalOptions) -> Tensor:
    """Distances grow by one per unit of length."""
    return L.eikonal(seen.output.gradients, seen.output.eikonal_weights)


@dataclass
class CurvatureOptions(LossOptions):
    """Options of the curvature loss."""

    weight: Weight = 0.0
    """Weight of |laplacian|, for geometries that compute it."""


@register("loss", "curvature")
def curvature(seen: Seen, cfg: CurvatureOptions) -> Tensor:
    """Curvature of the level sets (Neuralangelo)."""
    if seen.output.laplacian is None:
        raise ConfigError(
            f"loss.curvature needs second derivatives, which {type(seen.geometry).__name__} "
            "does not compute as it is set.",
            hint="use a geometry with numerical gradients, or set system.loss.curvature=0",
        )
    return L.curvature(seen.output.laplacian)


@dataclass
class SparsityOptions(LossOptions):
    """Options of the sparsity loss."""

    weight: Weight = 0.0
    """Weight of exp(-scale |sdf|)."""
    scale: Factor = 1.0
    """How fast that falls off with the distance, in units of half the cube."""
    at: Literal["samples", "random"] = "samples"
    """Where it is measured: samples of the rays, or random points (Wonder3D)."""


@register("loss", "sparsity")
def sparsity(seen: Seen, cfg: SparsityOptions) -> Tensor:
    """Surfaces that nothing asks for shrink away."""
    if cfg.at == "random":
        return L.sparsity(seen.random_field[1].sdf, cfg.scale)
    return L.sparsity(seen.output.sdf, cfg.scale)


@dataclass
class OpaqueOptions(LossOptions):
    """Options of the opacity's entropy."""

    weight: Weight = 0.0
    """Weight of the entropy of the opacity."""


@register("loss", "opaque")
def opaque(seen: Seen, cfg: OpaqueOptions) -> Tensor:
    """Rays hit or miss."""
    return L.opaque(seen.output.mask)


@dataclass
class DistortionOptions(LossOptions):
    """Options of the distortion loss."""

    weight: Weight = 0.0
    """Weight of the distortion loss of mip-NeRF 360."""


@register("loss", "distortion")
def distortion(seen: Seen, cfg: DistortionOptions) -> Tensor:
    """Samples of a ray lie together (mip-NeRF 360)."""
    ray, t, sections = seen.along_rays("distortion")
    return L.distortion(seen.output.weights, t, sections, ray, len(seen.output.mask))


@dataclass
class OrientOptions(LossOptions):
    """Options of the orientation loss."""

    weight: Weight = 0.0
    """Weight of visible normals that look away from the camera."""


@register("loss", "orient")
def orient(seen: Seen, cfg: OrientOptions) -> Tensor:
    """Visible normals face the camera (Ref-NeRF)."""
    directions = seen.batch.rays.directions[seen.along_rays("orient")[0]]
    return L.orient(seen.output.weights, seen.unit_gradients, directions, seen.output.mask)


@dataclass
class SmoothOptions(LossOptions):
    """Options of the smoothness loss."""

    weight: Weight = 0.05
    """Weight of changes of the normal over a small random step: against a hammered look."""
    at: Literal["surface", "random"] = "surface"
    """Where it is measured: surface (at visible samples) or random points (Wonder3D)."""
    pixels: Factor = 1.0
    """Standard deviation of the step, in pixels of the views as they see the cube's centre."""
    distance: Annotated[float, Range(0, 2)] = 0.0
    """The same in units of half the cube; 0 leaves it to `pixels`."""
    from_: Share = 0.3
    """Share of training after which it is measured."""


@register("loss", "smooth")
def smooth(seen: Seen, cfg: SmoothOptions) -> Tensor | None:
    """Normals change little over a small step."""
    if seen.progress < cfg.from_ or not seen.random_due:
        return None
    generator = step_generator(seen.seed, seen.step, stream=3)
    if cfg.at == "surface":
        visible = (seen.output.weights > SEEN).nonzero()[:, 0]
        chosen = some_of(visible, seen.random_points, generator)
        if chosen is None:
            return seen.output.weights.sum() * 0
        points = seen.output.points.index_select(0, chosen)
        gradients = seen.output.gradients.index_select(0, chosen)
    else:
        points, field = seen.random_field
        gradients = field.gradient
    nearby = a_step_away(points, cfg.distance or cfg.pixels * seen.pixel, generator)
    return L.normal_smoothness(gradients, seen.geometry(nearby).gradient)


def some_of(
    indices: Int[Tensor, " n"], count: int, generator: torch.Generator
) -> Int[Tensor, " m"] | None:
    """Some of them at random; None if there are none."""
    if len(indices) == 0:
        return None
    chosen = torch.randint(len(indices), (count,), generator=generator)
    return indices.index_select(0, chosen.to(indices.device))


def a_step_away(
    points: Float[Tensor, "n 3"], distance: float, generator: torch.Generator
) -> Float[Tensor, "n 3"]:
    """Points of the cube a random step away, of standard deviation ``distance``."""
    away = torch.randn(len(points), 3, generator=generator).to(points) * distance
    return (points + away).clamp(-1, 1)


@dataclass
class GlossOptions(LossOptions):
    """Options of the gloss loss."""

    weight: Weight = 0.0
    """Weight of the mean light that visible surfaces mirror, for geometries that tell it apart."""


@register("loss", "gloss")
def gloss(seen: Seen, cfg: GlossOptions) -> Tensor | None:
    """What can be seen without gloss is seen without."""
    if not seen.random_due:
        return None
    generator = step_generator(seen.seed, seen.step, stream=8)
    ray, _, _ = seen.along_rays("gloss")
    chosen = some_of((seen.output.weights > SEEN).nonzero()[:, 0], seen.random_points, generator)
    if chosen is None:
        return seen.output.weights.sum() * 0
    points = seen.output.points.index_select(0, chosen)
    along = seen.batch.rays.directions.index_select(0, ray.index_select(0, chosen))
    field = seen.geometry(points)
    normals = torch.nn.functional.normalize(field.gradient, dim=-1)
    found = seen.geometry.gloss(points, normals, along, field.feature)
    if found is None:
        raise ConfigError(
            f"loss.gloss needs to know what is mirrored, which {type(seen.geometry).__name__} "
            "does not tell as it is set.",
            hint="set system.geometry.gloss=true (of hash-sdf), or system.loss.gloss=0",
        )
    return L.mean_over(found.abs())


@dataclass
class OutsideOptions(LossOptions):
    """Options of the loss outside the hull."""

    weight: Weight = 0.0
    """Weight of negative distances at random points outside the visual hull."""


@register("loss", "outside")
def outside(seen: Seen, cfg: OutsideOptions) -> Tensor | None:
    """Nothing is solid outside the visual hull."""
    if not seen.random_due:
        return None
    cells = seen.empty_cells
    if cells is None or seen.hull is None:
        return seen.output.mask.sum() * 0
    generator = step_generator(seen.seed, seen.step, stream=4)
    chosen = torch.randint(len(cells), (seen.random_points,), generator=generator).to(cells.device)
    where = cells[chosen] + torch.rand(len(chosen), 3, generator=generator).to(cells)
    side = 2.0 / len(seen.hull)
    return L.outside(seen.geometry(where * side - 1).sdf, margin=0.5 * side)
