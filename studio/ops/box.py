"""Where rays pass a box."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def ray_box(
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    low: Float[Tensor, "3"],
    high: Float[Tensor, "3"],
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], Bool[Tensor, " n"]]:
    """Distances at which rays enter (at least 0) and leave a box, and whether they meet it.

    The distances of a ray that misses mean nothing.
    """
    inverse = torch.where(directions == 0, torch.full_like(directions, 1e20), 1 / directions)
    a, b = (low - origins) * inverse, (high - origins) * inverse
    near = torch.minimum(a, b).amax(-1).clamp(min=0)
    far = torch.maximum(a, b).amin(-1)
    return near, far, (far > near) & (far > 0)
