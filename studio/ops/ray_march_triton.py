"""Triton ray marching through a three-state occupancy grid over the cube [-1, 1]^3.

One lane walks one ray, skipping empty cells, twice: the first walk counts samples, the second
writes them where the prefix sum says.

Checked against the twin in Triton's interpreter (TRITON_INTERPRET=1); `benchmarks/gpu_kernels.py`
repeats the comparison on a CUDA device.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 64  # rays per program


@triton.jit
def _slab(origin, direction):
    """Distances at which a ray enters and leaves the cube along one axis."""
    parallel = direction == 0.0
    inverse = tl.where(parallel, 1e20, 1.0 / tl.where(parallel, 1.0, direction))
    a, b = (-1.0 - origin) * inverse, (1.0 - origin) * inverse
    return tl.minimum(a, b), tl.maximum(a, b)


@triton.jit
def _index(x, half, last):
    """Cell of a coordinate."""
    return tl.minimum(tl.maximum(((x + 1.0) * half).to(tl.int32), 0), last)


@triton.jit
def _leave(index, half, origin, direction, far):
    """Distance at which a ray leaves its cell along one axis."""
    edge = tl.where(direction > 0.0, index + 1, index).to(origin.dtype) / half - 1.0
    along = (edge - origin) / tl.where(direction == 0.0, 1.0, direction)
    return tl.where(direction == 0.0, far, along)


@triton.jit
def _march_kernel(
    origins, directions, jitter, grid, constants, counts, offsets,
    points, directions_of, depths, ray_index, rays, samples, resolution, limit,
    FILL: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    active = n < rays
    step, half = tl.load(constants), tl.load(constants + 1)
    last = resolution - 1
    ox = tl.load(origins + 3 * n, mask=active, other=0.0)
    oy = tl.load(origins + 3 * n + 1, mask=active, other=0.0)
    oz = tl.load(origins + 3 * n + 2, mask=active, other=0.0)
    dx = tl.load(directions + 3 * n, mask=active, other=1.0)
    dy = tl.load(directions + 3 * n + 1, mask=active, other=1.0)
    dz = tl.load(directions + 3 * n + 2, mask=active, other=1.0)
    near_x, far_x = _slab(ox, dx)
    near_y, far_y = _slab(oy, dy)
    near_z, far_z = _slab(oz, dz)
    near = tl.maximum(tl.maximum(near_x, tl.maximum(near_y, near_z)), 0.0)
    far = tl.minimum(far_x, tl.minimum(far_y, far_z))
    start = near + tl.load(jitter + n, mask=active, other=0.0) * step
    k = tl.zeros((SIZE,), tl.int32)
    count = tl.zeros((SIZE,), tl.int64)
    if FILL:
        base = tl.load(offsets + n, mask=active, other=0)
    while tl.max(active.to(tl.int32), 0) > 0:
        t = start + k.to(start.dtype) * step
        active = active & (t < far) & (count < limit)
        x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
        i, j, m = _index(x, half, last), _index(y, half, last), _index(z, half, last)
        cell = (i * resolution + j).to(tl.int64) * resolution + m
        state = tl.load(grid + cell, mask=active, other=2)
        active = active & (state != 2)  # inside: the ray ends
        hit = active & (state == 1)
        if FILL:
            place = base + count
            tl.store(depths + place, t, mask=hit)
            tl.store(ray_index + place, n.to(tl.int64), mask=hit)
            tl.store(points + place, x, mask=hit)
            tl.store(points + samples + place, y, mask=hit)
            tl.store(points + 2 * samples + place, z, mask=hit)
            tl.store(directions_of + place, dx, mask=hit)
            tl.store(directions_of + samples + place, dy, mask=hit)
            tl.store(directions_of + 2 * samples + place, dz, mask=hit)
        leave = tl.minimum(_leave(i, half, ox, dx, far), _leave(j, half, oy, dy, far))
        leave = tl.minimum(tl.minimum(leave, _leave(m, half, oz, dz, far)), far)
        skip = tl.maximum(tl.ceil((leave - t) / step), 1.0)
        k += tl.where(hit, 1, tl.where(active, skip, 0.0).to(tl.int32))
        count += hit.to(tl.int64)
    if not FILL:
        tl.store(counts + n, count, mask=n < rays)


def march(
    origins: Tensor, directions: Tensor, jitter: Tensor, grid: Tensor, step: float, limit: int
) -> tuple[Tensor, ...]:
    """Sample rays where the grid says NEAR, up to the first INSIDE cell.

    Returns:
        points [3, P], directions [3, P], t [P], ray index [P], offsets [N + 1] of packed samples.
    """
    rays, resolution = len(origins), grid.shape[0]
    constants = origins.new_tensor([step, 0.5 * resolution])
    offsets = torch.zeros(rays + 1, dtype=torch.int64, device=origins.device)
    counts = offsets[1:]

    def walk(samples: int, *, fill: bool) -> tuple[Tensor, ...]:
        results = (
            origins.new_empty(3, samples),
            origins.new_empty(3, samples),
            origins.new_empty(samples),
            offsets.new_empty(samples),
        )
        if rays:
            _march_kernel[(triton.cdiv(rays, BLOCK),)](
                origins, directions, jitter, grid, constants, counts, offsets, *results,
                rays, samples, resolution, limit, FILL=fill, SIZE=BLOCK, num_warps=2,
            )  # fmt: skip
        return results

    walk(0, fill=False)
    counts.copy_(counts.cumsum(0))
    return *walk(int(offsets[-1]), fill=True), offsets
