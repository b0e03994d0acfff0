"""Adapters for nerfacc 0.5.3: traversal of an occupancy grid, and packed scans. Needs CUDA.

Written against the public functions ``traverse_grids`` and ``exclusive_prod``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from studio.ops.packed import pack, ray_of

NEAR, INSIDE = 1, 2


def march_nerfacc(
    origins: Tensor, directions: Tensor, jitter: Tensor, grid: Tensor, step: float, limit: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Sample rays where the grid says NEAR, up to the first INSIDE cell; see `ray_march.march`.

    nerfacc knows two states: it walks through all cells that are not empty, and the samples behind
    the first inside cell are dropped afterwards. Its samples are the middles of sections that
    start at a ray's near plane, so that plane is put half a step before our lattice.
    """
    import nerfacc

    count, resolution = len(origins), grid.shape[0]
    parallel = directions == 0
    inverse = torch.where(parallel, 1e20, 1 / torch.where(parallel, 1.0, directions))
    near = torch.minimum((-1 - origins) * inverse, (1 - origins) * inverse).amax(-1).clamp(min=0)
    start = near + jitter * step
    box = origins.new_tensor([[-1, -1, -1, 1, 1, 1]])
    _, samples, _ = nerfacc.traverse_grids(
        origins,
        directions,
        (grid > 0)[None],
        box,
        near_planes=start - 0.5 * step,
        far_planes=torch.full_like(start, 1e10),
        step_size=step,
        cone_angle=0.0,
    )
    ray = samples.ray_indices.long()
    index = ((samples.vals - start[ray]) / step).round()
    t = start[ray] + index * step
    points = origins[ray] + t[:, None] * directions[ray]
    state = grid[((points + 1) * (0.5 * resolution)).long().clamp(0, resolution - 1).unbind(-1)]
    ended = _running_count(state == INSIDE, pack(ray, count), ray) > 0
    keep = (state == NEAR) & ~ended & (index >= 0)
    keep &= _running_count(keep, pack(ray, count), ray) <= limit
    ray = ray[keep]
    return (
        points[keep].T.contiguous(),
        directions[ray].T.contiguous(),
        t[keep],
        ray,
        pack(ray, count),
    )


def _running_count(flags: Tensor, offsets: Tensor, ray: Tensor) -> Tensor:
    """How many flags are set from a ray's first sample up to and with each sample."""
    total = torch.cat([offsets.new_zeros(1), flags.long().cumsum(0)])
    return total[1:] - total[offsets[ray]]


def composite_nerfacc(
    alpha: Tensor, values: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Composite packed samples with nerfacc's exclusive product; see `composite.composite`."""
    import nerfacc

    ray, rays = ray_of(offsets), len(offsets) - 1
    packed_info = torch.stack([offsets[:-1], offsets.diff()], -1)
    weights = alpha * nerfacc.exclusive_prod(1 - alpha, packed_info=packed_info)
    sums = values.new_zeros(values.shape[0], rays).index_add(1, ray, weights * values)
    return sums, weights.new_zeros(rays).index_add(0, ray, weights), weights
