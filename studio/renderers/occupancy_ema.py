"""Occupancy grid with a running maximum, after nerfacc (Li et al. 2023) and Instant-NGP."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from studio.ops.ray_march import EMPTY, NEAR


class RunningOccupancy(nn.Module):
    """Says where rays are sampled: at cells whose decaying largest occupancy passes a threshold.

    Values below 0 mark cells that are never sampled nor updated: outside the hull, or unseen. All
    is kept in buffers, so a resumed run samples as the uninterrupted one would.

    Args:
        resolution: cells a side over [-1, 1]^3; flat indices run fastest along z.
        threshold: occupancy above which a cell is sampled, if the mean is not smaller.
        decay: factor of a cell's value at each of its updates.
        warmup: steps in which updates visit every cell; later a quarter, and as many occupied ones.
    """

    values: Float[Tensor, " cells"]
    binary: Bool[Tensor, "r r r"]

    def __init__(
        self, resolution: int, *, threshold: float = 0.01, decay: float = 0.95, warmup: int = 256
    ) -> None:
        super().__init__()
        self.resolution, self.threshold = resolution, threshold
        self.decay, self.warmup = decay, warmup
        self.register_buffer("values", torch.zeros(resolution**3))
        self.register_buffer("binary", torch.ones((resolution,) * 3, dtype=torch.bool))

    @property
    def cell(self) -> float:
        """Side of a cell."""
        return 2.0 / self.resolution

    @property
    def hull(self) -> Bool[Tensor, "r r r"]:
        """Cells that may be sampled at all."""
        return (self.values >= 0).view_as(self.binary)

    @property
    def state(self) -> UInt8[Tensor, "r r r"]:
        """What `march` wants to know; no cell counts as inside."""
        return torch.where(self.binary & self.hull, NEAR, EMPTY).to(torch.uint8)

    @property
    def mean(self) -> float:
        """Mean value of the cells that count."""
        known = self.values[self.values >= 0]
        return float(known.mean()) if len(known) else 0.0

    def restrict(self, hull: Bool[Tensor, "h h h"]) -> None:
        """Allow only the cells that touch ``hull``, a grid of any resolution over the same cube."""
        ratio = hull.shape[0] / self.resolution
        if ratio >= 1:
            allowed = F.adaptive_max_pool3d(hull[None].float(), self.resolution)[0] > 0
        else:
            index = ((torch.arange(self.resolution, device=hull.device) + 0.5) * ratio).long()
            allowed = hull[index][:, index][:, :, index]
        self.values.copy_(torch.where(allowed.flatten(), self.values.clamp(min=0), -1.0))

    def points(
        self, cells: Int[Tensor, " c"], jitter: Float[Tensor, "c 3"]
    ) -> Float[Tensor, "c 3"]:
        """Points in cells, ``jitter`` in [0, 1) from their lower corners."""
        index = torch.stack(torch.unravel_index(cells, self.binary.shape), -1)
        return (index + jitter) * self.cell - 1

    def cells(self, step: int, uniform: Int[Tensor, " u"], pick: Callable[[int], Tensor]) -> Tensor:
        """Cells that an update visits.

        Args:
            step: of the training.
            uniform: random cells, for steps after the warm-up.
            pick: draws ``len(uniform)`` random numbers below its argument; asked where more cells
                are occupied than that.
        """
        known = self.values >= 0
        if step < self.warmup:
            return known.nonzero()[:, 0]
        occupied = (self.binary.flatten() & known).nonzero()[:, 0]
        if len(occupied) > len(uniform):
            occupied = occupied[pick(len(occupied))]
        return torch.cat([uniform[known[uniform]], occupied])

    @torch.no_grad()
    def take(self, cells: Int[Tensor, " c"], occupancy: Float[Tensor, " c"]) -> None:
        """Enter new occupancies; of a cell that is named twice, the last one counts."""
        order = torch.arange(len(cells), device=cells.device)
        last = torch.full((len(self.values),), -1, device=cells.device)
        keep = last.scatter_reduce(0, cells, order, "amax")[cells] == order
        cells, occupancy = cells[keep], occupancy[keep].to(self.values)
        self.values[cells] = torch.maximum(self.values[cells] * self.decay, occupancy)
        limit = min(self.mean, self.threshold)
        self.binary.copy_((self.values > limit).view_as(self.binary))

    @torch.no_grad()
    def update(
        self, occupancy: Callable[[Tensor], Tensor], step: int, generator: torch.Generator
    ) -> None:
        """Visit the cells that are due.

        Args:
            occupancy: of points, [n, 3] to [n].
            step: of the training.
            generator: of the random cells and points.
        """
        count, device = len(self.values), self.values.device
        uniform = torch.randint(count, (count // 4,), generator=generator).to(device)
        pick = lambda n: torch.randint(n, (count // 4,), generator=generator).to(device)  # noqa: E731
        cells = self.cells(step, uniform, pick)
        if len(cells) == 0:
            return
        jitter = torch.rand(len(cells), 3, generator=generator).to(device)
        parts = self.points(cells, jitter).split(65536)
        self.take(cells, torch.cat([occupancy(part) for part in parts]))

    def query(self, points: Float[Tensor, "n 3"]) -> tuple[Bool[Tensor, " n"], Bool[Tensor, " n"]]:
        """Tell which points lie in sampled cells, and which in the cube at all."""
        inside = (points.abs() <= 1).all(-1)
        index = ((points + 1) / self.cell).long().clamp(0, self.resolution - 1)
        return self.binary[index.unbind(-1)] & inside, inside

    @torch.no_grad()
    def mark_unseen(
        self,
        w2c: Float[Tensor, "v 4 4"],
        intrinsics: Float[Tensor, "v 3 3"],
        size: tuple[int, int],
        near: float,
    ) -> None:
        """Never sample cells that no camera sees, or that are nearer to one than ``near``.

        Args:
            w2c: world to camera, OpenCV axes, the world being the grid's cube.
            intrinsics: in pixels.
            size: height and width in pixels.
            near: least depth.
        """
        height, width = size
        every = torch.arange(len(self.values), device=self.values.device)
        index = torch.stack(torch.unravel_index(every, self.binary.shape), -1)
        points = index / (self.resolution - 1) * 2 - 1
        seen = torch.zeros(len(every), dtype=torch.bool, device=every.device)
        close = seen.clone()
        for pose, camera in zip(w2c.to(points), intrinsics.to(points), strict=True):
            x, y, depth = ((points @ pose[:3, :3].T + pose[:3, 3]) @ camera.T).unbind(-1)
            u, v = x / depth, y / depth
            pictured = (depth >= 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
            seen |= pictured & (depth >= near)
            close |= pictured & (depth < near)
        self.values.copy_(torch.where(seen & ~close, self.values.clamp(min=0), -1.0))
