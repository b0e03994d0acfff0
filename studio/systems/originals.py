"""The pictures that a person gave, as views among those that were generated from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn.functional import pad

from studio.cameras import Cameras
from studio.images import resize
from studio.metrics.likeness import same_camera
from studio.ops.visual_hull import Frame
from studio.systems.ray_pool import pixel_side
from studio.views import FINEST, Condition, ViewSet

FINER = 2.0  # pixels of a given picture per pixel of a view, along a line, in the fit
AROUND = 0.15  # empty space around the object that a fit is shown, in sides of its box
MOST_PIXELS = 2 * FINEST**2  # of all given pictures together


def posed_originals(condition: Condition, views: ViewSet) -> list[ViewSet]:
    """The pictures of a condition at their own resolution, posed among the views made of them.

    Pictures whose camera is not known, or whose object is not cut out, are left out.
    """
    if (found := views.meta.get("condition_cameras")) is None:
        return []
    cameras = read_cameras(found)
    count = min(len(cameras), len(condition.originals))
    finest = min(FINEST, math.isqrt(MOST_PIXELS // max(count, 1)))
    given = [original.trimmed(finest) for original in condition.originals[:count]]
    posed = [view.posed(cameras[[i]], views.bound) for i, view in enumerate(given)]
    return [view for view in posed if 0 < float((view.mask > 0.5).float().mean()) < 1]


def for_fit(original: ViewSet, views: ViewSet, frame: Frame) -> ViewSet:
    """A given picture, reduced to about the resolution of the views, with space around it."""
    h, w = original.cameras.size
    scale = min(1.0, FINER * pixel_side(original, frame) / pixel_side(views, frame))
    height, width = max(1, round(h * scale)), max(1, round(w * scale))
    cameras, image = original.cameras, original.images[0]
    if scale < 1:
        cameras, image = cameras.resized(height, width), resize(image, height, width)
    edge = math.ceil(AROUND * max(height, width))
    intrinsics = cameras.intrinsics.clone()
    intrinsics[:, :2, 2] += edge
    size, ortho = (height + 2 * edge, width + 2 * edge), cameras.ortho_scale
    ortho = None if ortho is None else ortho * size[0] / height
    cameras = Cameras(cameras.c2w, intrinsics, size, ortho)
    return replace(original, images=pad(image, (edge,) * 4)[None], cameras=cameras)


def replaced_views(views: ViewSet, originals: Sequence[ViewSet]) -> list[int]:
    """Positions of the views that a given picture shows from the same side, better."""
    found = [same_camera(views.cameras, original.cameras)[0] for original in originals]
    return [i for i in found if i is not None]


def written_cameras(cameras: Cameras) -> dict[str, Any]:
    """Cameras as plain JSON values; `read_cameras` reads them."""
    ortho = cameras.ortho_scale
    return {
        "c2w": cameras.c2w.tolist(),
        "intrinsics": cameras.intrinsics.tolist(),
        "size": list(cameras.size),
        "ortho_scale": None if ortho is None else ortho.tolist(),
    }


def read_cameras(values: Mapping[str, Any]) -> Cameras:
    """Read what `written_cameras` wrote."""
    height, width = values["size"]
    ortho = values["ortho_scale"]
    return Cameras(
        torch.tensor(values["c2w"]),
        torch.tensor(values["intrinsics"]),
        (height, width),
        None if ortho is None else torch.tensor(ortho),
    )
