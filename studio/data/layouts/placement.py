"""Placement of a capture of unknown pose: object to the origin, up to +Z, size near 1.

Each function answers one question about cameras, points and masks; `placement` joins the answers to
the similarity that leads back to the capture's own world. Where the cameras leave a question open,
so that rounding would answer it, that is an error.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from studio.cameras import Cameras
from studio.captures.bounds import hull_box, look_at_point, seen_half_width
from studio.captures.object_points import object_box
from studio.errors import DataError
from studio.similarity import translation

logger = logging.getLogger(__name__)

OPEN = 0.02
"""Length of a mean, of the lengths that went into it, below which it has no direction."""
LEVEL = 1e-3
"""Distance from +-Z of an up vector that is taken as +-Z: 0.06 degrees."""
PARALLEL = 1e-4
"""Squared sine below which two viewing axes have no nearest points."""
LEVEL_ROWS = 0.1
"""Mean height that a unit step along the rows of level pictures climbs, at most."""
TIPPED = 0.5
"""Height of the pictures' up below which a world lies: 60 degrees."""
AXIS = 0.9
"""Share of a unit vector along one axis from which it is that axis: 26 degrees."""
CENTRES = ("auto", "keep", "masks", "object", "look-at", "look-at-pairs", "points", "cameras")
UPS = ("auto", "keep", "upright", "positions", "+x", "-x", "+y", "-y", "+z", "-z")


def centre_point(
    method: str,
    cameras: Cameras,
    mask: Float[Tensor, "v h w"] | None = None,
    points: Float[Tensor, "n 3"] | None = None,
    up: Float[Tensor, "3"] | None = None,
) -> Float[Tensor, "3"]:
    """Return the world point that becomes the origin.

    Args:
        method: "masks": the middle of the masks' visual hull; "look-at": the point nearest to all
            viewing axes; "look-at-pairs": the mean of the nearest points of each two consecutive
            axes (instant-nsr-pl); "object": the middle of what stands on the floor where the
            cameras look, by the sparse points; "points": robust mean of the sparse points
            between the cameras; "cameras": mean of the camera centres; "keep": the origin.
        cameras: the cameras.
        mask: needed by "masks".
        points: needed by "points" and "object".
        up: unit vector; "points" looks across it, and floors lie across it.

    Raises:
        DataError: if what the method needs is missing.
    """
    if method == "keep":
        return torch.zeros(3)
    if method == "cameras":
        return cameras.centres.mean(0)
    if method == "look-at-pairs":
        return _pairwise_look_at(cameras)
    if method in ("points", "object"):
        if points is None or len(points) == 0:
            raise DataError(f"data.centre={method}: the capture has no sparse points.")
        if method == "object":
            return _middle_of_object(cameras, points, up)
        return _middle_of_points(cameras, points, up)
    centre = look_at_point(cameras)
    if method == "look-at" or mask is None:
        return centre
    moved = cameras.placed(translation(centre))
    low, high = hull_box(mask, moved, seen_half_width(moved))
    return centre + (low + high) / 2


def _pairwise_look_at(cameras: Cameras) -> Float[Tensor, "3"]:
    origin, axis = cameras.centres, cameras.c2w[:, :3, 2]
    next_origin, next_axis = origin.roll(1, 0), axis.roll(1, 0)
    crossing = 1 - (axis * next_axis).sum(-1) ** 2 > PARALLEL
    if not bool(crossing.any()):
        raise DataError(
            "data.centre=look-at-pairs: all cameras look the same way.",
            allowed="look-at, points, cameras or keep",
        )
    origin, axis, next_origin, next_axis = (
        value[crossing] for value in (origin, axis, next_origin, next_axis)
    )
    # o + s a = o' + t a' in the least squares sense, for every two consecutive axes
    steps = torch.linalg.lstsq(
        torch.stack([axis, -next_axis], dim=-1), (next_origin - origin)[..., None]
    ).solution
    near = origin + steps[:, 0] * axis
    next_near = next_origin + steps[:, 1] * next_axis
    return torch.cat([near, next_near]).mean(0)


def _middle_of_object(
    cameras: Cameras, points: Tensor, up: Float[Tensor, "3"] | None
) -> Float[Tensor, "3"]:
    """Middle of the box around the object, in a world that is turned upright for it."""
    to_world = torch.eye(4)
    if up is not None:
        to_world[:3, :3] = rotation_to_z(up).T
    low, high = object_box(points.float() @ to_world[:3, :3], cameras.placed(to_world))
    return to_world[:3, :3] @ (low + high) / 2


def _middle_of_points(
    cameras: Cameras, points: Tensor, up: Float[Tensor, "3"] | None
) -> Float[Tensor, "3"]:
    """Mean of the points in the box of the cameras (across `up`), outliers of distance left out."""
    frame = rotation_to_z(torch.tensor([0.0, 0.0, 1.0]) if up is None else up)[:2]
    flat, where = points @ frame.T, cameras.centres @ frame.T
    between = ((flat > where.amin(0)) & (flat < where.amax(0))).all(1)
    chosen = points[between] if between.any() else points
    distance = (chosen - chosen.mean(0)).norm(dim=1)
    mean, spread = distance.mean(), 1.5 * (distance.std() if len(distance) > 1 else 0.0)
    low, high = torch.quantile(distance, torch.tensor([0.25, 0.75]))
    reach = torch.minimum(torch.as_tensor(spread), 1.5 * (high - low))
    usual = (distance - mean).abs() < reach
    return chosen[usual].mean(0) if usual.any() else chosen.mean(0)


def up_direction(
    method: str, cameras: Cameras, centre: Float[Tensor, "3"]
) -> Float[Tensor, "3"] | None:
    """Return the world's unit up vector, None where the world is kept.

    Args:
        method: "upright": the direction across all pictures' rows, so that pictures taken with
            a level camera are upright; "positions": from `centre` to the mean camera
            (instant-nsr-pl's "camera"); "+x" and so on: that axis; "keep".
        cameras: the cameras.
        centre: the scene's centre.

    Raises:
        DataError: if the cameras leave it open.
    """
    if method == "keep":
        return None
    if method == "positions":
        away = cameras.centres - centre
        mean = away.mean(0)
        if mean.norm() <= OPEN * away.norm(dim=1).mean():
            raise DataError(
                "data.up=positions: the cameras stand evenly around the centre, so that their mean "
                "position says nothing about what is up.",
                allowed="data.up=upright (pictures taken level), keep, or an axis such as +z",
            )
        return normalize(mean, dim=0)
    if method != "upright":
        axis = torch.zeros(3)
        axis["xyz".index(method[1])] = 1.0 if method[0] == "+" else -1.0
        return axis
    rows = cameras.c2w[:, :3, 0].double()
    mean = -cameras.c2w[:, :3, 1].double().mean(0)
    values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    # rows that are all parallel, or point everywhere, leave open which direction lies across them
    across = vectors[:, 0] if values[1] > 0.01 and values[0] < 0.8 * values[1] else mean
    along = float(across @ mean)
    if abs(along) <= OPEN * float(across.norm()):
        raise DataError(
            "data.up=upright: the pictures are turned against each other in such a way that they "
            "do not tell what is up.",
            allowed="data.up=positions (mean camera), keep, or an axis such as +z",
        )
    return normalize(across * along, dim=0).float()


def tells_up(cameras: Cameras) -> bool:
    """Whether pictures that were taken level would tell what is up (see `up_direction`)."""
    try:
        up_direction("upright", cameras, torch.zeros(3))
    except DataError:
        return False
    return True


def lying(cameras: Cameras) -> str | None:
    """Return the axis that pictures taken level show to be up, if it is clearly not +z."""
    if not tells_up(cameras):
        return None
    up = up_direction("upright", cameras, torch.zeros(3))
    assert up is not None
    level = (cameras.c2w[:, :3, 0] @ up).abs().mean() < LEVEL_ROWS
    longest = int(up.abs().argmax())
    if not level or up[2] > TIPPED or up[longest].abs() < AXIS:
        return None
    return ("+" if up[longest] > 0 else "-") + "xyz"[longest]


def say_if_lying(source: Path, cameras: Cameras) -> None:
    """Say so where +z is taken for up and the pictures, all level, show that another axis is."""
    if axis := lying(cameras):
        logger.warning(
            "%s: +z is taken for up, but by the pictures, which are all level, %s is: the object "
            "will lie. data.up=%s turns it upright; data.up=keep leaves it without this line.",
            *(source, axis, axis),
        )


def rotation_to_z(up: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """Return a rotation that turns `up` to +Z; the second row stays level in the old world.

    The rows are those of instant-nsr-pl, so that its captures come out turned the same way.
    """
    up = normalize(up.double(), dim=0)
    level = torch.stack([up[1], -up[0], torch.zeros_like(up[0])])
    if level.norm() < LEVEL:  # which way it points would be rounding
        signs = [1.0, 1.0, 1.0] if up[2] > 0 else [1.0, -1.0, -1.0]
        return torch.diag(torch.tensor(signs))
    level = normalize(level, dim=0)
    return torch.stack([torch.linalg.cross(level, up), level, up]).float()


def placement(
    cameras: Cameras,
    *,
    centre: str,
    up: str,
    mask: Float[Tensor, "v h w"] | None = None,
    points: Float[Tensor, "n 3"] | None = None,
    nearest: float | None = 1.0,
) -> Float[Tensor, "4 4"]:
    """Return the similarity from the new world to the present one.

    Args:
        cameras: the cameras in the present world.
        centre: see `centre_point`.
        up: see `up_direction`.
        mask: of the pictures.
        points: sparse points of the present world.
        nearest: distance of the nearest camera from the new origin; None keeps the scale.

    Raises:
        DataError: if the cameras or points do not say what is asked.
    """
    first = {"points": "cameras", "object": "look-at"}.get(centre, centre)
    start = centre_point(first, cameras, mask, points)
    z = up_direction(up, cameras, start)
    if centre != first:
        start = centre_point(centre, cameras, mask, points, z)
    rotation = torch.eye(3) if z is None else rotation_to_z(z)
    distance = (cameras.centres - start).norm(dim=1)
    if nearest and distance.min() <= 1e-3 * distance.max():
        raise DataError(
            f"camera {int(distance.argmin())} stands at the scene's centre, which the others look "
            "at or surround, so that the scene has no size.",
            hint="Leave its picture out (data.views), or choose another data.centre.",
        )
    size = distance.min().item() / nearest if nearest else 1.0
    to_world = torch.eye(4)
    to_world[:3, :3], to_world[:3, 3] = rotation.T * size, start
    return to_world
