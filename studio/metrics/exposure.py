"""Brightness and tint of pictures against each other, from what they show of common points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.metrics.agreement import outlining
from studio.metrics.consistency import carve, cast, reduced, sightings
from studio.views import ViewSet

CELLS = 64
POINTS = 20000  # of the hull's surface, spread evenly over all pictures
DARK, BURNT = 0.02, 0.98  # values beyond which a pixel says little
ROUNDS = 10  # of least squares, each with less weight on what did not fit in the one before
SCALE = 0.1  # difference of logarithms from which points do not fit: the hull is not the surface


def evened(views: ViewSet, logs: Float[Tensor, "v 3"]) -> ViewSet:
    """The views, made equally bright; ``meta`` says by which factors."""
    factors = logs.exp()
    colours = (views.images[:, :3] * factors[..., None, None].to(views.images)).clamp(0, 1)
    images = torch.cat([colours, views.images[:, 3:]], 1)
    told = [{"factors": [round(f, 4) for f in row]} for row in factors.tolist()]
    return with_corrections(replace(views, images=images), told)


def with_corrections(views: ViewSet, told: Sequence[Mapping[str, Any]]) -> ViewSet:
    """The views with what is told of each beside what their ``meta`` says was corrected."""
    rows = views.meta.get("corrections") or [{"picture": views.name(i)} for i in range(len(views))]
    rows = [{**row, **more} for row, more in zip(rows, told, strict=True)]
    return replace(views, meta={**views.meta, "corrections": rows})


@torch.no_grad()
def exposure_logs(views: ViewSet) -> Float[Tensor, "v 3"]:
    """Logarithms of the factors that make the pictures equally bright, a colour channel each.

    The same point of the surface, here of the hull of all outlines, has the same colour in all
    pictures but for the light that it reflects towards each; over many points that cancels out.

    Args:
        views: posed pictures with masks.

    Returns:
        Float32; their means over the views are 0. Views that have no point in common with the
        others keep 0.
    """
    logs = torch.zeros(len(views), 3)
    told = outlining(views)
    if len(told) < 2:
        return logs
    images, cameras = reduced(views.select(told))
    images, cameras = images.cpu(), cameras.to("cpu")
    hull = carve(images[:, 3], cameras, views.bound, CELLS)
    depth, hit, origins, directions = cast(hull, images[:, 3], cameras, views.bound)
    points = (origins + depth[..., None] * directions)[hit]
    points = points[:: max(1, -(-len(points) // POINTS))]
    near = 4.0 * views.bound / CELLS
    colours, sees = sightings(images, cameras, points, depth, hit, near)
    for channel in range(3):
        value = colours[:, channel]
        known = sees & (value > DARK) & (value < BURNT)
        logs[told, channel] = _solved(value.clamp(min=DARK).log(), known)
    logs[told] -= logs[told].mean(0)
    return logs


def _solved(logs: Float[Tensor, "v n"], known: Tensor) -> Float[Tensor, " v"]:
    """What to add to every row so that the known values of a column are equal, robustly."""
    count = len(logs)
    added, weight = logs.new_zeros(count).double(), known.double()
    for _ in range(ROUNDS):
        total = weight.sum(0).clamp(min=1e-9)
        share = weight / total
        mean = (share * (logs + added[:, None])).sum(0)
        off = (logs + added[:, None] - mean) * known
        matrix = torch.diag(weight.sum(1)) - weight @ share.T + torch.eye(count).double() * 1e-3
        added = added - torch.linalg.solve(matrix, (weight * off).sum(1))
        mean = (share * (logs + added[:, None])).sum(0)
        off = logs + added[:, None] - mean
        weight = known / (1 + (off / SCALE) ** 2)
    return added.float()
