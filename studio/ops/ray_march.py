"""Packed ray samples from an occupancy grid: EMPTY cells are skipped, INSIDE ones stop a ray."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from studio.ops.backend import choose_backend, kernels, ready
from studio.ops.packed import pack

EMPTY, NEAR, INSIDE = 0, 1, 2
NO_LIMIT = 2**15


_Packed = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # all but the step of RaySamples


@dataclass(frozen=True)
class RaySamples:
    """Samples of N rays, packed: those of ray n are ``offsets[n]:offsets[n + 1]``, front to back.

    Attributes:
        points: sample positions (mid points of sections), feature-major.
        directions: unit direction of each sample's ray, feature-major.
        t: distance from the ray's origin.
        ray_index: ray of each sample.
        offsets: first sample of each ray, and the number of samples last.
        step: length of a section.
    """

    points: Float[Tensor, "3 p"]
    directions: Float[Tensor, "3 p"]
    t: Float[Tensor, " p"]
    ray_index: Int[Tensor, " p"]
    offsets: Int[Tensor, " n+1"]
    step: float

    def __len__(self) -> int:
        return self.t.shape[0]

    def kept(self, keep: Bool[Tensor, " p"]) -> RaySamples:
        """Return some of the samples."""
        ray = self.ray_index[keep]
        return RaySamples(
            points=self.points[:, keep],
            directions=self.directions[:, keep],
            t=self.t[keep],
            ray_index=ray,
            offsets=pack(ray, len(self.offsets) - 1),
            step=self.step,
        )


def march_reference(
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    jitter: Float[Tensor, " n"],
    grid: UInt8[Tensor, "r r r"],
    step: float,
    limit: int = NO_LIMIT,
) -> RaySamples:
    """Dense tensor form of `march`: evaluates every lattice point of every ray."""
    resolution = grid.shape[0]
    inverse = torch.where(directions == 0, torch.full_like(directions, 1e20), 1 / directions)
    a, b = (-1 - origins) * inverse, (1 - origins) * inverse
    near = torch.minimum(a, b).amax(-1).clamp(min=0)
    far = torch.maximum(a, b).amin(-1)
    lattice = torch.arange(math.ceil(2 * 3**0.5 / step) + 2, device=origins.device).to(
        origins.dtype
    )
    t = (near + jitter * step)[:, None] + lattice * step
    points = origins[:, None] + t[..., None] * directions[:, None]
    cell = ((points + 1) * (0.5 * resolution)).long().clamp(0, resolution - 1)
    state = torch.where(t < far[:, None], grid[cell.unbind(-1)], INSIDE)
    keep = (state == NEAR) & ((state == INSIDE).cumsum(-1) == 0)
    keep &= keep.cumsum(-1) <= limit
    ray_index = torch.arange(len(origins), device=origins.device)[:, None].expand_as(keep)[keep]
    offsets = torch.cat([keep.new_zeros(1, dtype=torch.long), keep.sum(-1).cumsum(0)])
    return RaySamples(points[keep].T, directions[ray_index].T, t[keep], ray_index, offsets, step)


def march(
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    jitter: Float[Tensor, " n"],
    grid: UInt8[Tensor, "r r r"],
    step: float,
    *,
    limit: int = NO_LIMIT,
    backend: str = "auto",
) -> RaySamples:
    """Place samples on each ray's lattice ``t_near + (jitter + k) step`` where the grid says NEAR.

    Args:
        origins: ray origins; the grid covers [-1, 1]^3.
        directions: unit directions.
        jitter: offset of each ray's lattice in steps, in [0, 1).
        grid: state of each cell, indexed [x, y, z].
        step: distance of the lattice points.
        limit: most samples of a ray.
        backend: ``auto``, ``cpu`` or ``triton`` (skip empty cells), ``nerfacc``, ``torch`` (dense).
    """
    backend = choose_backend("ray_march", backend, origins.device)
    if backend == "torch":
        return march_reference(origins, directions, jitter, grid, step, limit)
    rays = ready("origins", origins), ready("directions", directions), ready("jitter", jitter)
    if backend == "nerfacc":
        from studio.ops.nerfacc import march_nerfacc

        found = march_nerfacc(*rays, grid=grid, step=step, limit=limit)
        return RaySamples(*found, step=step)
    packed: _Packed = kernels("ray_march", backend).march(*rays, grid.contiguous(), step, limit)
    return RaySamples(*packed, step=step)
