"""A flat base for objects that are seen from above only.

No camera of a ring above an object sees its underside: the visual hull goes on below it as a cone,
and nothing in the pictures forbids that. Objects stand on something; so the mesh ends at a
horizontal plane through the lowest surface that is seen.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from studio.cameras import Cameras
from studio.renderers.base import RenderOutput


@torch.no_grad()
def lowest_seen(
    see: Callable[[Cameras], RenderOutput],
    cameras: Cameras,
    *,
    scale: float = 1.0,
    facing: float = 0.25,
    quantile: float = 0.005,
) -> float | None:
    """Return the height of the lowest surface that the cameras see, in world units.

    Surfaces seen at grazing angles do not count: along the silhouette the hull's cone and the
    object cannot be told apart.

    Args:
        see: gives what a camera sees; depths in units of ``scale``.
        cameras: that all look from above; world frame, +Z up.
        scale: world length of one unit of depth.
        facing: least cosine between the normal and the direction to the camera.
        quantile: share of the seen points that may lie below; single wrong pixels do.

    Returns:
        The height, or None if a camera lies below what is seen (there is no unseen underside then)
        or nothing is seen.
    """
    heights = []
    for i in range(len(cameras)):
        output = see(cameras[[i]])
        rays = cameras[[i]].to(output.depth.device).rays()
        normal = F.normalize(output.normal, dim=-1)
        seen = (output.mask > 0.95) & (-(normal * rays.directions).sum(-1) > facing)
        depth = output.depth / output.mask.clamp(min=1e-6) * scale
        heights.append((rays.origins[:, 2] + rays.directions[:, 2] * depth)[seen])
    z = torch.cat(heights)
    if len(z) == 0:
        return None
    lowest = float(z.sort().values[int(quantile * (len(z) - 1))])
    return None if bool((cameras.c2w[:, 2, 3] <= lowest).any()) else lowest
