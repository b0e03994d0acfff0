"""Options of what a fit minimises: which losses, with what weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from studio.errors import ConfigError
from studio.ranges import Factor, Limit, OneOf, Range, Share, Steps
from studio.schedule import Schedule
from studio.systems.losses import COLOUR_ERRORS, MASK_ERRORS

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
"""The losses: each has a weight of its name in `LossConfig`."""


class WeightByStep(Limit):
    """A loss' weight, fixed or from one value to another; a fit has steps, no epochs."""

    def holds(self, value: Any) -> bool:
        """Whether it is one."""
        try:
            weight = Schedule.parse(value)
        except ConfigError:
            return False
        inside = all(0 <= w < math.inf for w in (weight.first, weight.last))
        return inside and (weight.off or not weight.epochs)

    def __str__(self) -> str:
        return "a number from 0, or [start step, first, last, end step] with a whole end step"


Weight = Annotated[Any, WeightByStep()]


@dataclass
class LossConfig:
    """Losses. Weights are numbers or [start step, first, last, end step]; 0 costs nothing."""

    colour: Weight = 1.0
    """Weight of the colour loss."""
    colour_norm: Annotated[str, OneOf(COLOUR_ERRORS)] = "l1"
    """l1, l1-sum (NeuS), mse, mse-sum, huber, or charbonnier (SyncDreamer)."""
    colour_rays: Literal["all", "mask", "hit"] = "all"
    """Rays that count in it: all, mask (on the object, NeuS), or hit (that meet something)."""
    colour_keep: Share = 1.0
    """Share of rays that stay in it, the largest errors being left out (Wonder3D: 0.8)."""
    colour_mse: Weight = 0.0
    """Weight of a mean squared colour error beside it."""
    mask: Weight = 0.1
    """Weight of the error of the opacity against the mask."""
    mask_norm: Annotated[str, OneOf(MASK_ERRORS)] = "bce"
    """bce (cross-entropy) or mse."""
    mask_keep: Share = 1.0
    """Share of rays that stay in the mask loss."""
    normal: Weight = 0.0
    """Weight of the error of rendered normals, where views carry normals (Wonder3D)."""
    normal_keep: Share = 1.0
    """Share of rays that stay in the normal loss."""
    eikonal: Weight = 0.1
    """Weight of (|gradient| - 1)^2 at the samples."""
    curvature: Weight = 0.0
    """Weight of |laplacian|, for geometries that compute it."""
    sparsity: Weight = 0.0
    """Weight of exp(-sparsity_scale |sdf|)."""
    sparsity_scale: Factor = 1.0
    """How fast that falls off with the distance, in units of half the cube."""
    sparsity_at: Literal["samples", "random"] = "samples"
    """Where it is measured: samples of the rays, or random points (Wonder3D)."""
    opaque: Weight = 0.0
    """Weight of the entropy of the opacity."""
    distortion: Weight = 0.0
    """Weight of the distortion loss of mip-NeRF 360."""
    orient: Weight = 0.0
    """Weight of visible normals that look away from the camera."""
    smooth: Weight = 0.05
    """Weight of changes of the normal over a small random step: against a hammered look."""
    smooth_at: Literal["surface", "random"] = "surface"
    """Where it is measured: surface (at visible samples) or random points (Wonder3D)."""
    smooth_pixels: Factor = 1.0
    """Standard deviation of the step, in pixels of the views as they see the cube's centre."""
    smooth_distance: Annotated[float, Range(0, 2)] = 0.0
    """The same in units of half the cube; 0 leaves it to `smooth_pixels`."""
    smooth_from: Share = 0.3
    """Share of training after which it is measured."""
    outside: Weight = 0.0
    """Weight of negative distances at random points outside the visual hull."""
    random_points: Annotated[int, Range(1, 2**24)] = 512
    """Random points of the losses that need some."""
    random_every: Steps = 1
    """Steps between two uses of the losses at random points."""


def weights_of(cfg: LossConfig) -> dict[str, Schedule]:
    """Weights of the losses that are ever on, by step."""
    weights = {name: Schedule.parse(getattr(cfg, name), f"system.loss.{name}") for name in TERMS}
    return {name: weight for name, weight in weights.items() if not weight.off}
