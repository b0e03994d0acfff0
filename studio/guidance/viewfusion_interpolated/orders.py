"""The order in which views are generated, and the conditions of each.

A pose is [azimuth_deg, elevation_deg, distance] of a camera that looks at the origin. Earlier views
become conditions of later ones: a spin goes around the object on both sides at once, a path leads
from the nearest input to one target in small steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras, spherical_to_cartesian
from studio.guidance.viewfusion_interpolated.weights import (
    Fusion,
    fusion_weights,
    share_by_angle,
    share_by_order,
)

PATH_STEP_DEG = 10.0  # official: largest change of an angle from one view of a path to the next
SAME_DEG, SAME_DISTANCE = 0.05, 1e-3  # below these two poses are one


@dataclass(frozen=True)
class PlannedView:
    """One view and what it is made from.

    Attributes:
        view: its position among the plan's poses.
        conditions: positions of earlier views.
        weights: theirs, with sum 1.
    """

    view: int
    conditions: list[int]
    weights: Float[Tensor, " n"]


@dataclass(frozen=True)
class ViewPlan:
    """All views that are made for some cameras.

    Attributes:
        poses: of the inputs, then of the views in the order in which they are made.
        inputs: how many inputs there are.
        views: what is made, in this order.
        targets: position of every camera's view; an input where the camera stands there.
    """

    poses: Float[Tensor, "n 3"]
    inputs: int
    views: list[PlannedView]
    targets: list[int]

    @property
    def conditions(self) -> int:
        """Conditions of all views together: what a run costs."""
        return sum(len(view.conditions) for view in self.views)

    @property
    def centres(self) -> Float[Tensor, "n 3"]:
        """Camera centres of all poses in the world."""
        return spherical_to_cartesian(*self.poses.unbind(-1))


def make_plan(
    inputs: Float[Tensor, "i 3"],
    targets: Float[Tensor, "t 3"],
    order: str | Sequence[Sequence[float]] = "spin",
    fusion: Fusion | None = None,
) -> ViewPlan:
    """Decide what is made when, and from what.

    A target that repeats another one, or an input, is not made again.

    Args:
        inputs: poses of the given pictures.
        targets: poses of the wanted views.
        order: "spin" makes the target nearest to the first input first, on the left before the
            right; "path" goes to each target on its own, from the nearest input; a list of poses
            [azimuth_deg, elevation_deg, distance] is made first, wanted or not, then the rest as in
            a spin.
        fusion: window and temperatures.
    """
    fusion = fusion or Fusion()
    inputs, targets = inputs.double(), targets.double()
    listed = listed_poses(order, float(inputs[0, 2]))
    new = _distinct(targets, torch.cat([inputs, listed]))
    if order == "path":
        chains = [path_poses(nearest(inputs, target), target) for target in new]
    else:
        chains = [torch.cat([_distinct(listed, inputs), nearest_first(inputs[0], new)])]
    poses = torch.cat([inputs, *chains])
    made, ends, first = [], list(range(len(inputs))), len(inputs)
    for chain in chains:
        views = list(range(first, first + len(chain)))
        made += _planned(poses, len(inputs), views, order == "path", fusion)
        ends += views[-1:] if order == "path" else views
        first += len(chain)
    return ViewPlan(poses, len(inputs), made, [_position(poses, ends, t) for t in targets])


def _planned(
    poses: Float[Tensor, "n 3"], inputs: int, views: list[int], path: bool, fusion: Fusion
) -> list[PlannedView]:
    """Conditions and weights of a chain of views; other chains are not looked at."""
    planned = []
    for place, view in enumerate(views):
        earlier = [*range(inputs), *views[:place]]
        distance = angular_distance(poses[earlier], poses[view])
        if path:
            share = share_by_angle(float(distance[:inputs].min()), fusion.input_temperature)
        else:
            share = share_by_order(place, len(views), inputs, fusion.input_temperature)
        kept, weights = fusion_weights(distance, inputs, share, fusion)
        planned.append(PlannedView(view, [earlier[k] for k in kept], weights))
    return planned


def angular_distance(
    poses: Float[Tensor, "*n 3"], target: Float[Tensor, "*n 3"]
) -> Float[Tensor, "*n"]:
    """Return the sum of the differences in azimuth (the short way) and elevation, in degrees."""
    turn = (poses[..., 0] - target[..., 0]) % 360.0
    return torch.minimum(turn, 360.0 - turn) + (poses[..., 1] - target[..., 1]).abs()


def turned(start: Float[Tensor, "*n 3"], end: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    """Return the azimuth to go from `start` to `end`, in (-180, 180] degrees."""
    return 180.0 - (180.0 - (end[..., 0] - start[..., 0])) % 360.0


def nearest(poses: Float[Tensor, "n 3"], target: Float[Tensor, " 3"]) -> Float[Tensor, " 3"]:
    """Return the pose nearest to the target."""
    return poses[int(angular_distance(poses, target).argmin())]


def nearest_first(start: Float[Tensor, " 3"], poses: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Sort poses by their distance to `start`, counter-clockwise before clockwise."""
    distance, turn = angular_distance(poses, start).tolist(), turned(start, poses).tolist()
    return poses[sorted(range(len(poses)), key=lambda i: (round(distance[i], 4), turn[i] < 0))]


def path_poses(
    start: Float[Tensor, " 3"], end: Float[Tensor, " 3"], step_deg: float = PATH_STEP_DEG
) -> Float[Tensor, "n 3"]:
    """Return even steps from `start` (left out) to `end`, in angles and distance; one at least."""
    offset = torch.stack([turned(start, end), *(end - start)[1:]])
    count = max(1, math.ceil(float(offset[:2].abs().max()) / step_deg))
    return start + offset * (torch.arange(1, count + 1).double() / count)[:, None]


def camera_poses(cameras: Cameras) -> Float[Tensor, "v 3"]:
    """Return the poses of cameras; roll and the point looked at are left out.

    Float32 matrices know angles to about a thousandth of a degree, to which they are rounded, so
    that the order of a ring does not hang on the last digit.
    """
    return torch.stack(cameras.to("cpu").spherical(), -1).double().round(decimals=3)


def listed_poses(order: str | Sequence[Sequence[float]], distance: float) -> Float[Tensor, "n 3"]:
    """Return the poses that an order lists, none for an order with a name.

    Args:
        order: see `make_plan`.
        distance: of poses that give none.
    """
    poses = [] if isinstance(order, str) else [[*pose, distance][:3] for pose in order]
    return torch.tensor(poses, dtype=torch.float64).reshape(-1, 3)


def _same(poses: Float[Tensor, "n 3"], pose: Float[Tensor, " 3"]) -> list[int]:
    near = (angular_distance(poses, pose) < SAME_DEG) & (
        (poses[:, 2] - pose[2]).abs() < SAME_DISTANCE
    )
    return near.nonzero()[:, 0].tolist()


def _distinct(poses: Float[Tensor, "n 3"], besides: Float[Tensor, "m 3"]) -> Float[Tensor, "k 3"]:
    """Leave out poses that repeat one of `besides` or an earlier one."""
    kept: list[int] = []
    for i, pose in enumerate(poses):
        if not _same(besides, pose) and not _same(poses[kept], pose):
            kept.append(i)
    return poses[kept]


def _position(poses: Float[Tensor, "n 3"], ends: list[int], pose: Float[Tensor, " 3"]) -> int:
    return ends[_same(poses[ends], pose)[0]]
