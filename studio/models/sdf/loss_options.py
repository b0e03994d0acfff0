"""Options of what a fit minimises: which losses, with what weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from studio.errors import ConfigError
from studio.models.sdf.losses import COLOUR_ERRORS, MASK_ERRORS
from studio.ranges import Factor, OneOf, Range, Share, Steps
from studio.schedule import Schedule

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


@dataclass
class LossConfig:
    """Losses. Weights are numbers or [start step, first, last, end step]; 0 costs nothing."""

    colour: Any = 1.0
    """Weight of the colour loss."""
    colour_norm: Annotated[str, OneOf(COLOUR_ERRORS)] = "l1"
    """l1, l1-sum (NeuS), mse, mse-sum, huber, or charbonnier (SyncDreamer)."""
    colour_rays: Literal["all", "mask", "hit"] = "all"
    """Rays that count in it: all, mask (on the object, NeuS), or hit (that meet something)."""
    colour_keep: Share = 1.0
    """Share of rays that stay in it, the largest errors being left out (Wonder3D: 0.8)."""
    colour_mse: Any = 0.0
    """Weight of a mean squared colour error beside it."""
    mask: Any = 0.1
    """Weight of the error of the opacity against the mask."""
    mask_norm: Annotated[str, OneOf(MASK_ERRORS)] = "bce"
    """bce (cross-entropy) or mse."""
    mask_keep: Share = 1.0
    """Share of rays that stay in the mask loss."""
    normal: Any = 0.0
    """Weight of the error of rendered normals, where views carry normals (Wonder3D)."""
    normal_keep: Share = 1.0
    """Share of rays that stay in the normal loss."""
    eikonal: Any = 0.1
    """Weight of (|gradient| - 1)^2 at the samples."""
    curvature: Any = 0.0
    """Weight of |laplacian|, for geometries that compute it."""
    sparsity: Any = 0.0
    """Weight of exp(-sparsity_scale |sdf|)."""
    sparsity_scale: Factor = 1.0
    """How fast that falls off with the distance, in units of half the cube."""
    sparsity_at: Literal["samples", "random"] = "samples"
    """Where it is measured: samples of the rays, or random points (Wonder3D)."""
    opaque: Any = 0.0
    """Weight of the entropy of the opacity."""
    distortion: Any = 0.0
    """Weight of the distortion loss of mip-NeRF 360."""
    orient: Any = 0.0
    """Weight of visible normals that look away from the camera."""
    smooth: Any = 0.05
    """Weight of changes of the normal over a small random step: against a hammered look."""
    smooth_at: Literal["surface", "random"] = "surface"
    """Where it is measured: surface (at visible samples) or random points (Wonder3D)."""
    smooth_pixels: Factor = 1.0
    """Standard deviation of the step, in pixels of the views as they see the cube's centre."""
    smooth_distance: Annotated[float, Range(0, 2)] = 0.0
    """The same in units of half the cube; 0 leaves it to `smooth_pixels`."""
    smooth_from: Share = 0.3
    """Share of training after which it is measured."""
    outside: Any = 0.0
    """Weight of negative distances at random points outside the visual hull."""
    random_points: Annotated[int, Range(1, 2**24)] = 512
    """Random points of the losses that need some."""
    random_every: Steps = 1
    """Steps between two uses of the losses at random points."""


def weights_of(cfg: LossConfig) -> dict[str, Schedule]:
    """Weights of the losses that are ever on, by step.

    Raises:
        ConfigError: for a weight that is none, or an option that does not exist.
    """
    weights = {name: _weight(cfg, name) for name in TERMS}
    return {name: weight for name, weight in weights.items() if not weight.off}


def _weight(cfg: LossConfig, name: str) -> Schedule:
    key = f"system.loss.{name}"
    weight = Schedule.parse(getattr(cfg, name), key)
    if not (0 <= weight.first < math.inf and 0 <= weight.last < math.inf):
        raise ConfigError(f"{key} is {getattr(cfg, name)!r}.", allowed="weights of 0 or more")
    if weight.epochs and not weight.off:
        raise ConfigError(
            f"{key} is {getattr(cfg, name)!r}: a fit has steps, not epochs.",
            allowed="an end step without decimal point",
        )
    return weight
