"""The object's place, from the masks of the views: its cube and its visual hull."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Bool
from torch import Tensor

from studio.errors import DataError
from studio.ops.visual_hull import (
    Frame,
    agreed_hull,
    cell_centres,
    hull_distance,
    tight_frame,
    visual_hull,
)
from studio.plugins.ranges import Range, Share
from studio.views import ViewSet

logger = logging.getLogger(__name__)

COARSE = 48
"""Cells a side of the first look at the whole cube."""
FULL = 0.995
"""Share of a picture from which on a mask is full and says nothing."""
SCENE_CONFIG = "configs/reconstruct-scene.yaml"
NO_HULL = "or, with reconstruction_type sdf, set system.hull.enabled=false: no hull is needed then"


@dataclass
class HullOptions:
    """The visual hull of the masks."""

    agreement: Annotated[float, Range(0.5, 1)] = 1.0
    """Share of the views that must see a cell; 1 for captures, about 0.8 for generated views."""
    coverage: Share = 0.9
    """Share of the masks the hull has to fill; below it, the agreement is relaxed."""
    resolution: Annotated[int, Range(8, 1024)] = 96
    """Cells a side of the hull."""


@dataclass(frozen=True)
class ObjectHull:
    """The object's cube, the cells of it that may hold the object, and its hull.

    Attributes:
        frame: place of the local cube [-1, 1]^3.
        around: cells outside of which nothing is; None where the masks do not tell.
        hull: cells in the masks of enough views; None where the masks do not tell.
        lost: views that contradict it, as their masks are empty: nothing is learned from them.
    """

    frame: Frame
    around: Bool[Tensor, "q q q"] | None = None
    hull: Bool[Tensor, "r r r"] | None = None
    lost: tuple[int, ...] = ()


def whole_cube(views: ViewSet) -> ObjectHull:
    """All of the views' cube, a little larger: what is known without masks."""
    return ObjectHull(Frame(torch.zeros(3), float(views.bound) * 1.04))


def find_object(views: ViewSet, cfg: HullOptions, dilation_px: float = 0.0) -> ObjectHull:
    """Carve the object's cube by the masks.

    Views with an empty mask contradict all others, full masks say nothing: neither carves. Where
    less than half of the views agree on anything, there is no hull, and the cube is the whole one.

    Args:
        views: posed masks.
        cfg: how much the views have to agree, and how fine the hull is.
        dilation_px: how far masks are grown for the cells that may hold the object.

    Raises:
        DataError: if the masks say nothing, or the cameras and the cube do not fit together.
    """
    whole = whole_cube(views).frame
    given, views = views, _useful(views)
    frame, agreement = _locate(views, whole, cfg)
    if agreement == 0:
        _explain(views, whole)
        return ObjectHull(whole)
    if agreement < cfg.agreement:
        logger.warning(
            "the masks agree only in part: visual hull from %.0f %% of the views", 100 * agreement
        )
    around = visual_hull(
        views, frame, 64, agreement=agreement, dilation_px=dilation_px, cover_cells=True
    )
    hull = visual_hull(views, frame, cfg.resolution, agreement=agreement, within=around)
    _refuse_cameras_inside(given, frame, hull)
    if len(views) < 3:
        logger.warning("%d view(s): the shape of what no view shows is a guess", len(views))
    lost = [i for i in range(len(given)) if not bool((given.mask[i] > 0.5).any())]
    return ObjectHull(frame, around, hull, tuple(lost))


def _useful(views: ViewSet) -> ViewSet:
    """The views whose masks outline something.

    Raises:
        DataError: if there is none.
    """
    share = views.object_share
    if len(views) == 0 or float(share.max()) == 0:
        raise DataError(
            f"every mask of these {len(views)} views is empty.",
            allowed="views with an alpha channel that shows the object",
        )
    full = share > FULL
    if bool(full.all()):
        raise DataError(
            f"the masks of all {len(views)} views are full: nothing tells object from background.",
            allowed="pictures whose alpha channel outlines the object",
            hint=f"cut the object out (data that removes backgrounds), {NO_HULL}: {SCENE_CONFIG} "
            "reconstructs everything that the pictures show",
        )
    empty = (share == 0).nonzero()[:, 0].tolist()
    if empty:
        logger.warning(
            "%d view(s) show no object and are left out: %s",
            len(empty),
            _named(views, empty),
        )
    outlines = ((share > 0) & ~full).nonzero()[:, 0].tolist()
    return views.select(outlines) if len(outlines) < len(views) else views


def _named(views: ViewSet, index: list[int]) -> str:
    """Names or numbers of a few views."""
    names = [views.names[i] if views.names else str(i) for i in index[:8]]
    return ", ".join([*names, "..."] if len(index) > 8 else names)


def _locate(views: ViewSet, frame: Frame, cfg: HullOptions) -> tuple[Frame, float]:
    """Find the object's bounding cube, and the agreement of the masks on it (0: none)."""
    agreement = 0.0
    for _ in range(5):  # each look at a small object is closer
        look = (views, frame, COARSE, cfg.agreement, cfg.coverage)
        hull, agreement = agreed_hull(*look)
        if hull is None:  # it may be so small that it lies between the cells' centres
            hull, agreement = agreed_hull(*look, cover_cells=True)
        if hull is None:
            break
        last, frame = frame, tight_frame(hull, frame)
        if frame.half > 0.25 * last.half:
            break
    return frame, agreement


def _explain(views: ViewSet, whole: Frame) -> None:
    """Refuse cameras and cubes that cannot belong together.

    Raises:
        DataError: if no camera sees the cube, the cube is lost inside the object, or the cameras
            stand inside the cube.
    """
    points = whole.to_world(cell_centres(16))
    h, w = views.cameras.size
    uv, depth = views.cameras.project(points)
    seen = (uv >= 0).all(-1) & (uv < uv.new_tensor([w, h])).all(-1) & (depth > 0)
    scale = f"the object's cube reaches to {views.bound:g} from the origin"
    if not bool(seen.any()):
        raise DataError(
            f"none of the {len(views)} cameras looks at the object: {scale}.",
            hint="check the cameras' axes (OpenCV or OpenGL), units and the bound",
        )
    near = (views.cameras.centres.abs() < whole.half).all(-1)
    if views.cameras.ortho_scale is None and bool(near.float().mean() > 0.5):
        raise DataError(
            f"{int(near.sum())} of {len(views)} cameras stand inside the object's cube, and their "
            f"masks outline nothing in common: {scale}.",
            hint="check the units of the cameras' positions, or make the bound smaller",
        )
    if float(visual_hull(views, whole, 16, agreement=0.5).float().mean()) > 0.9:
        raise DataError(
            f"the object is larger than its cube: {scale}, and lies within nearly all masks.",
            hint="check the units of the cameras' positions, or enlarge the bound",
        )


def _refuse_cameras_inside(views: ViewSet, frame: Frame, hull: Bool[Tensor, "r r r"]) -> None:
    if views.cameras.ortho_scale is not None:
        return
    local = frame.to_local(views.cameras.centres)
    cell = ((local + 1) * (0.5 * len(hull))).long().clamp(0, len(hull) - 1)
    deep = hull_distance(hull)[cell.unbind(-1)] < -0.05
    inside = (deep & (local.abs() < 1).all(-1)).nonzero()[:, 0].tolist()
    if inside:
        raise DataError(
            f"{len(inside)} of {len(views)} cameras stand inside the object that the masks "
            f"outline: {_named(views, inside)}.",
            hint=f"check the units of their positions and the bound ({views.bound:g}), {NO_HULL}",
        )
