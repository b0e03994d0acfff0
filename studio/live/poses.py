"""Which cameras contradict the others: they see no sparse points, or outlines that do not fit."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from studio.errors import StudioError
from studio.live.frusta import doubtful, points_seen
from studio.mesh import MeshOptions
from studio.metrics.agreement import agreement, outlining
from studio.models.hull.model import VisualHull
from studio.models.object_hull import HullOptions
from studio.views import ViewSet

CELLS = 48  # of the hull, a side
MOST_CARVING = 20  # pictures that the hull is made of, spread evenly
LEAST_IOU, LEAST_SHARE = 0.65, 0.88  # of an outline with the hull; of the median of all pictures
"""Right poses have 0.72 and more, and 0.90 of the median: `benchmarks.wrong_poses`."""
NAMED = 5  # pictures, before "and 3 more"


@dataclass(frozen=True)
class Poses:
    """What was found of the cameras of a capture before anything is fitted.

    Attributes:
        words: a few sentences.
        wrong: positions of pictures that contradict the others.
        doubtful: of those that see few sparse points.
    """

    words: tuple[str, ...] = ()
    wrong: tuple[int, ...] = ()
    doubtful: tuple[int, ...] = ()


def judged(views: ViewSet, points: Float[Tensor, "n 3"] | None) -> Poses:
    """Look for cameras that contradict the others.

    Args:
        views: posed pictures, with masks where there are any.
        points: sparse points in the world of the views, if there are any.
    """
    none, few, said = _by_points(views, points)
    outlines = outlines_overlap(views)
    usual = statistics.median(outlines.values()) if outlines else 0.0
    least = max(LEAST_IOU, LEAST_SHARE * usual)  # thin parts are lost in the hull of all pictures
    others = [i for i, iou in outlines.items() if iou < least]
    if others:
        said.append(
            f"the outlines of **{len(others)}** of {len(views)} pictures do not fit the others' "
            f"(red): {_some(views, sorted(others, key=lambda i: outlines[i]))}"
        )
    if none or few or others:
        said.append("**their poses may be wrong**")
    elif outlines:
        said.append("the outlines of all pictures fit each other")
    elif points is None or not len(points):
        said.append(
            "there are neither outlines nor sparse points that tell whether poses are right"
        )
    return Poses(tuple(said), tuple(sorted({*none, *others})), tuple(few))


def _by_points(
    views: ViewSet, points: Float[Tensor, "n 3"] | None
) -> tuple[list[int], list[int], list[str]]:
    """Which pictures see none or few of the sparse points, and what is to be said of it."""
    if points is None or not len(points):
        return [], [], []
    seen = points_seen(views.cameras, points)
    none, few = doubtful(seen)
    said = [
        f"{len(points):,} sparse points; a picture sees {int(np.median(seen)):,} of them (median)"
    ]
    for which, text in ((none, "see **no** point (red)"), (few, "see few points (orange)")):
        if which:
            said.append(f"{len(which)} of {len(views)} {text}: {_some(views, which)}")
    return none, few, said


def outlines_overlap(views: ViewSet) -> dict[int, float]:
    """How much of its outline each picture shares with the hull that most of them agree on.

    Args:
        views: of which some may have no mask that outlines something; these are passed over.

    Returns:
        IoU by position, 0 for all where no hull is agreed on; empty where fewer than three outline
        anything.
    """
    told = outlining(views)
    if len(told) < 3:
        return {}
    views = views.select(told)
    hull = VisualHull(VisualHull.Config(hull=HullOptions(resolution=CELLS)))
    every = -(-len(told) // MOST_CARVING)
    try:
        hull.begin(views.select(list(range(0, len(told), every))))
        mesh = hull.mesh(CELLS, MeshOptions(faces=4000))
    except StudioError:
        return dict.fromkeys(told, 0.0)
    compared = agreement(mesh, views)
    return {told[i]: iou for i, iou in zip(compared.index, compared.iou, strict=True)}


def _some(views: ViewSet, which: list[int]) -> str:
    names = [views.name(i) for i in which[:NAMED]]
    more = len(which) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
