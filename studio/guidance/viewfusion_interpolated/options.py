"""Options of ViewFusion's interpolated denoising, beside those of Zero-1-to-3."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from studio.cameras import CANONICAL_RADIUS
from studio.guidance.zero123.options import RELEASED as ZERO123
from studio.guidance.zero123.options import Zero123Config
from studio.plugins.ranges import Factor, Limit, Size

RELEASED: dict[str, Any] = {**ZERO123, "views": 36, "view_temperature": 1.0}
"""What the authors' script for real pictures runs with, where it differs from the defaults."""


class Pose(Limit):
    """A pose of a camera."""

    def holds(self, value: list[float]) -> bool:
        """Whether it is one that can be made."""
        if not 2 <= len(value) <= 3 or not all(map(math.isfinite, value)):
            return False
        return abs(value[1]) < 89.9 and all(distance > 0 for distance in value[2:])

    def __str__(self) -> str:
        return (
            "[azimuth_deg, elevation_deg] or [azimuth_deg, elevation_deg, distance], with "
            "elevations between -89.9 and 89.9"
        )


@dataclass
class ViewFusionInterpolatedConfig(Zero123Config):
    """Options of ViewFusion-interpolated; the defaults are the nano model's."""

    order: Literal["spin", "path"] | list[Annotated[list[float], Pose()]] = "spin"
    """spin (all views, nearest to the input first), path (each view by steps from the input), or
    poses to make first, as a list."""
    noise: Literal["shared", "independent"] = "shared"
    """Fresh noise while sampling (eta > 0): shared by all conditions of a view, or independent,
    whose mean has less spread (the authors' evaluation)."""
    window_deg: Factor = 125.0
    """Made views serve as conditions of views less than this far away, in degrees."""
    input_temperature: Size = 0.5
    """How slowly the input's weight falls along the order (tau of the condition)."""
    view_temperature: Size = 0.5
    """How evenly made views share the rest of the weight (released: 0.5 in a spin, else 1)."""
    input_distance: Size = CANONICAL_RADIUS
    """Distance of the camera that took the picture, the object's longest side being 1."""
