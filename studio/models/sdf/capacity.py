"""What a fit's size follows from: how much its pictures show of the object.

Geometry and renderer say which of their options are open (`follows`); the steps that suit the views
are said here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from studio.geometry.base import Detail, Geometry
from studio.models.object_hull import ObjectHull
from studio.models.sdf.ray_pool import pixel_side
from studio.renderers.base import Renderer
from studio.views import ViewSet

logger = logging.getLogger(__name__)

STEPS, OBSERVED, POWER = 4000, 60_000, 0.35
"""Steps for so many pixels that show the object, and the power by which they grow with these."""
FEWEST, MOST = 2000, 40_000


def detail_of(views: ViewSet, shape: ObjectHull) -> Detail:
    """Say how much views show of the object in a cube; those that are lost do not count."""
    used = [i for i in range(len(views)) if i not in shape.lost]
    observed = int((views.mask[used] > 0.5).sum())
    return Detail(2.0 / pixel_side(views, shape.frame), observed, len(used))


def steps_for(detail: Detail) -> int:
    """Return the steps that suit views, in hundreds."""
    wanted = STEPS * (max(1, detail.observed) / OBSERVED) ** POWER
    return round(min(MOST, max(FEWEST, wanted)) / 100) * 100


Part = tuple[type[Geometry] | type[Renderer], Any]
"""A class and the options that were given to it."""


def chosen(parts: Mapping[str, Part], detail: Detail) -> dict[str, Any]:
    """Return what the open options of a fit become, by their keys, and the steps that suit it."""
    values = {name: cls.follows(cfg, detail) for name, (cls, cfg) in parts.items()}
    found = {f"{name}.{key}": v for name, some in values.items() for key, v in some.items()}
    return {**found, "steps": steps_for(detail)}


def say(detail: Detail, choices: dict[str, Any]) -> None:
    """Tell in a line what was chosen; nothing where all options are given."""
    named = ", ".join(f"{k} {v:g}" for k, v in choices.items() if k != "steps")
    if named:
        logger.info(
            "%d views show the object %.0f px across: %s; %s steps suit them",
            *(detail.views, detail.across, named, f"{choices['steps']:,}"),
        )
