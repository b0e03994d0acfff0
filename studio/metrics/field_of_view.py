"""Whether outlines agree better under another field of view than the cameras are said to have.

A wrong one leaves every single pose plausible, as a smaller or larger object explains the size of
the outlines; but its near parts are drawn too large, or too small, for the far ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from studio.cameras import Cameras
from studio.metrics.agreement import outlining
from studio.metrics.consistency import view_consistency
from studio.views import ViewSet

FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.7, 2.0)
"""Focal lengths that are tried, in those of the cameras."""
MOST = 16
"""Views that are looked at, spread evenly."""
CELLS = 48


@dataclass(frozen=True)
class FocalLength:
    """The focal length under which outlines agree best.

    Attributes:
        factor: in the cameras' own.
        agreement: mean overlap of the outlines with their common hull, in [0, 1].
        as_given: the same with the cameras as they are.
    """

    factor: float
    agreement: float
    as_given: float


def focal_length(views: ViewSet) -> FocalLength | None:
    """Look for the focal length, common to all views, under which their outlines agree best.

    Args:
        views: posed masks of perspective cameras; None is returned for others, or fewer than 3.
    """
    told = outlining(views)
    if views.cameras.ortho_scale is not None or len(told) < 3:
        return None
    some = views.select(told[:: -(-len(told) // MOST)])
    found = {factor: _agreement(some, factor) for factor in FACTORS}
    best = max(found, key=lambda factor: found[factor])
    return FocalLength(best, found[best], found[1.0])


def _agreement(views: ViewSet, factor: float) -> float:
    """Overlap of the outlines with their hull, were focal lengths that much longer."""
    intrinsics = views.cameras.intrinsics.clone()
    intrinsics[:, :2, :2] *= factor
    cameras: Cameras = replace(views.cameras, intrinsics=intrinsics)
    changed = replace(views, cameras=cameras, bound=views.bound / factor)
    return view_consistency(changed, CELLS).silhouette_iou
