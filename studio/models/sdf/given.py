"""Given pictures among the views that were generated from them, as a fit is shown them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from torch.nn.functional import pad

from studio.cameras import Cameras
from studio.io.images import resize
from studio.metrics.likeness import same_camera
from studio.models.sdf.ray_pool import pixel_side
from studio.ops.visual_hull import Frame
from studio.views import ViewSet

FINER = 2.0  # pixels of a given picture per pixel of a view, along a line
AROUND = 0.15  # empty space around the object that a fit is shown, in sides of its box


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
