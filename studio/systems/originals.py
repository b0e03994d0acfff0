"""The input images, as views among those that were generated from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from studio.cameras import Cameras
from studio.views import FINEST, Condition, ViewSet

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
    return [view for view in posed if 0 < float(view.object_share) < 1]


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
