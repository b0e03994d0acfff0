"""The initial shape of a fit: the hull of the masks, or a sphere in the whole cube."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated

from studio.errors import ConfigError
from studio.models.object_hull import (
    SCENE_CONFIG,
    HullOptions,
    ObjectHull,
    find_object,
    whole_cube,
)
from studio.plugins.ranges import CountOrZero, Range
from studio.progress import StageProgress
from studio.views import ViewSet

logger = logging.getLogger(__name__)


@dataclass
class HullConfig(HullOptions):
    """The visual hull: where rays are sampled, and the first shape."""

    enabled: bool = True
    """Start from the visual hull of the masks; otherwise from the geometry's sphere."""
    dilation_px: Annotated[float, Range(0, 1000)] = 1.5
    """How far masks are grown for the space that is sampled."""
    fit_steps: CountOrZero = 120
    """Optimiser steps that fit the first shape to the hull."""


def object_in(views: ViewSet, cfg: HullConfig, beside_px: float = 0.0) -> ObjectHull:
    """The object's cube and hull; all of the cube where masks say nothing, or are not to.

    Args:
        views: posed masks.
        cfg: options.
        beside_px: how much further masks are grown where poses are not exact.
    """
    if not cfg.enabled:
        return whole_cube(views)
    with StageProgress("visual hull"):
        shape = find_object(views, cfg, cfg.dilation_px + beside_px)
    if shape.hull is None:
        logger.warning("the masks have no visual hull: starting from a sphere")
    return shape


def check_surroundings(views: ViewSet, sees_outside: bool, mask_loss: bool) -> None:
    """Refuse views without masks where nothing stands for what surrounds the object.

    The fit would have to explain walls and sky within the object's cube, as an opaque shell.

    Args:
        views: what is fitted.
        sees_outside: the renderer learns what lies outside the cube.
        mask_loss: the fit is asked to be opaque wherever masks are.

    Raises:
        ConfigError: naming the options.
    """
    if not bool((views.mask > 0.5).all()) or (sees_outside and not mask_loss):
        return
    missing = "system.loss.mask=0" if sees_outside else "a renderer that learns a background"
    raise ConfigError(
        f"the pictures have no masks, everything in them counts as object, and this needs "
        f"{missing}.",
        allowed="system.loss.mask=0 with system.renderer.background.enabled=true (neus-occupancy) "
        "or system.renderer.outside=32 (neus)",
        hint=f"{SCENE_CONFIG} has both; or cut the object out.",
    )
