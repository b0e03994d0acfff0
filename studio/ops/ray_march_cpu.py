"""Numba ray marching through a three-state occupancy grid over the cube [-1, 1]^3."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from studio.ops.compiled import kernel, part
from studio.ops.scalars_cpu import take
from studio.ops.threads import in_threads

EMPTY, NEAR, INSIDE = 0, 1, 2
RAYS = 512  # of a task


@part
def _march_ray(origin, direction, jitter, grid, step, kept):
    """Write the lattice indices of a ray's samples to ``kept``; return how many and t_near."""
    resolution = grid.shape[0]
    real = origin.dtype.type
    one, zero, half = real(1), real(0), real(0.5 * resolution)
    near, far = zero, real(1e30)
    for d in range(3):
        inverse = one / direction[d] if direction[d] != zero else real(1e20)
        a, b = (-one - origin[d]) * inverse, (one - origin[d]) * inverse
        near, far = max(near, min(a, b)), min(far, max(a, b))
    start = near + jitter * step
    count, k = 0, np.int64(0)
    last = np.int64(resolution - 1)
    while count < kept.shape[0]:
        t = start + real(k) * step
        if t >= far:
            break
        x, y, z = (
            origin[0] + t * direction[0],
            origin[1] + t * direction[1],
            origin[2] + t * direction[2],
        )
        i = min(max(np.int64((x + one) * half), np.int64(0)), last)
        j = min(max(np.int64((y + one) * half), np.int64(0)), last)
        m = min(max(np.int64((z + one) * half), np.int64(0)), last)
        state = grid[i, j, m]
        if state == INSIDE:
            break
        if state == NEAR:
            kept[count] = k
            count += 1
            k += 1
            continue
        leave = far  # empty: go to the first lattice point behind this cell
        for d in range(3):
            c = i if d == 0 else (j if d == 1 else m)
            if direction[d] > zero:
                leave = min(leave, (real(c + 1) / half - one - origin[d]) / direction[d])
            elif direction[d] < zero:
                leave = min(leave, (real(c) / half - one - origin[d]) / direction[d])
        k += max(np.int64(1), np.int64(np.ceil((leave - t) / step)))
    return count, start


@kernel
def _march(taken, tasks, lines, jitter, grid, step, kept, counts, starts):
    origins, directions = lines
    task = take(taken)
    while task < tasks:
        for n in range(task * RAYS, min((task + 1) * RAYS, origins.shape[0])):
            line = (origins[n], directions[n], jitter[n])
            counts[n], starts[n] = _march_ray(*line, grid, step, kept[n])
        task = take(taken)


@kernel
def _pack(origins, directions, step, kept, starts, offsets, points, directions_of, t, ray_index):
    real = origins.dtype.type
    for n in range(origins.shape[0]):
        for m in range(offsets[n], offsets[n + 1]):
            depth = starts[n] + real(kept[n, m - offsets[n]]) * step
            t[m] = depth
            ray_index[m] = n
            for d in range(3):
                points[d, m] = origins[n, d] + depth * directions[n, d]
                directions_of[d, m] = directions[n, d]


def march(
    origins: Tensor, directions: Tensor, jitter: Tensor, grid: Tensor, step: float, limit: int
) -> tuple[Tensor, ...]:
    """Sample rays where the grid says NEAR, up to the first INSIDE cell.

    Returns:
        points [3, P], directions [3, P], t [P], ray index [P], offsets [N + 1] of packed samples.
    """
    lines = origins.numpy(), directions.numpy()
    count, dtype = len(origins), lines[0].dtype
    step = dtype.type(step)
    lattice = int(np.ceil(2 * 3**0.5 / step)) + 2
    kept = np.empty((count, min(limit, lattice)), np.uint16 if lattice < 2**16 else np.uint32)
    counts, starts = np.zeros(count, np.int64), np.empty(count, dtype)
    rest = (jitter.numpy(), grid.numpy(), step, kept, counts, starts)
    in_threads(_march, -(-count // RAYS), lines, *rest)
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    total = int(offsets[-1])
    points, directions_of = np.empty((3, total), dtype), np.empty((3, total), dtype)
    t, ray_index = np.empty(total, dtype), np.empty(total, np.int64)
    _pack(*lines, step, kept, starts, offsets, points, directions_of, t, ray_index)
    results = (points, directions_of, t, ray_index, offsets)
    return tuple(torch.from_numpy(array) for array in results)
