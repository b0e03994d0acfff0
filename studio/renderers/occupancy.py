"""Three-state occupancy grid over the cube [-1, 1]^3, kept up to date from the SDF."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, UInt8
from torch import Tensor, nn

from studio.geometry.base import Geometry
from studio.ops.ray_march import EMPTY, INSIDE, NEAR

MOST_CELLS = 1024  # a side: a gigabyte for each of a grid's states


class OccupancyGrid(nn.Module):
    """Says where rays are sampled: nowhere EMPTY, at NEAR cells, and not beyond INSIDE ones.

    Cells outside the hull stay EMPTY. The state and the hull are buffers: a resumed run samples as
    the uninterrupted one would.

    Args:
        resolution: cells a side.
    """

    state: UInt8[Tensor, "r r r"]
    hull: Bool[Tensor, "r r r"]

    def __init__(self, resolution: int = 64) -> None:
        super().__init__()
        self.resolution = resolution
        shape = (resolution,) * 3
        self.register_buffer("state", torch.full(shape, NEAR, dtype=torch.uint8))
        self.register_buffer("hull", torch.ones(shape, dtype=torch.bool))

    @property
    def cell(self) -> float:
        """Side of a cell."""
        return 2.0 / self.resolution

    def restrict(self, hull: Bool[Tensor, "r r r"]) -> None:
        """Allow the cells that touch ``hull``, a grid of any resolution over the same cube."""
        ratio = hull.shape[0] / self.resolution
        if ratio >= 1:
            allowed = F.adaptive_max_pool3d(hull[None].float(), self.resolution)[0] > 0
        else:
            index = ((torch.arange(self.resolution, device=hull.device) + 0.5) * ratio).long()
            allowed = hull[index][:, index][:, :, index]
        self.hull.copy_(allowed)
        self.state.copy_(torch.where(allowed, NEAR, EMPTY))

    @torch.no_grad()
    def update(self, geometry: Geometry, reach: float, inside_margin: float = 0.02) -> None:
        """Classify every cell of the hull from the SDF at its centre.

        Args:
            geometry: the field.
            reach: distance from the surface within which samples matter, beside 0.9 of a cell.
            inside_margin: how much deeper than that a cell must lie to stop rays.
        """
        cells = self.hull.nonzero()
        if len(cells) == 0:
            return
        centres = (cells + 0.5) * self.cell - 1
        sdf = geometry.sdf_in_chunks(centres)
        near = 0.9 * self.cell + reach
        state = torch.where(sdf.abs() < near, NEAR, EMPTY)
        state = torch.where(sdf < -(near + inside_margin), INSIDE, state)
        # between the two thresholds a cell lies inside, but not safely: keep sampling it
        state = torch.where((sdf <= -near) & (state == EMPTY), NEAR, state)
        self.state[cells.unbind(1)] = state.to(torch.uint8)
