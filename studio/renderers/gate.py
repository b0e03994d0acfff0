"""The space that can hold the object: a sphere or a cube around the origin, and a visual hull."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

CELLS = 64
"""Cells a side of the hull's grid over the cube [-1, 1]^3."""


class Gate(nn.Module):
    """Tells which points can lie on the object.

    Args:
        shape: sphere or cube.
        size: its radius or half side.
    """

    cells: Bool[Tensor, "r r r"]

    def __init__(self, shape: str = "sphere", size: float = 1.0) -> None:
        super().__init__()
        self.shape, self.size = shape, size
        self.register_buffer("cells", torch.ones((CELLS,) * 3, dtype=torch.bool))

    def forward(self, points: Float[Tensor, "*n 3"]) -> Bool[Tensor, "*n"]:
        """Tell which points lie in the shape and in the hull."""
        return self.in_shape(points) & self.in_hull(points)

    def in_shape(self, points: Float[Tensor, "*n 3"]) -> Bool[Tensor, "*n"]:
        """Tell which points lie in the sphere (its surface excluded) or in the cube."""
        if self.shape == "sphere":
            return points.norm(dim=-1) < self.size
        return (points.abs() <= self.size).all(dim=-1)

    def in_hull(self, points: Float[Tensor, "*n 3"]) -> Bool[Tensor, "*n"]:
        """Tell which points lie in the hull; beyond [-1, 1]^3 its border cells go on."""
        index = ((points + 1) * (0.5 * CELLS)).long().clamp(0, CELLS - 1)
        return self.cells[index.unbind(-1)]

    def restrict(self, hull: Bool[Tensor, "r r r"]) -> None:
        """Keep the cells that touch ``hull``, a grid over [-1, 1]^3 of any resolution."""
        size = [CELLS] * 3
        shrink = hull.shape[0] >= CELLS
        resize = F.adaptive_max_pool3d if shrink else F.interpolate
        self.cells.copy_(resize(hull[None, None].float(), size)[0, 0] > 0)

    def open_cells(self) -> Bool[Tensor, "r r r"]:
        """Cells over [-1, 1]^3 whose centres pass the gate."""
        axis = (torch.arange(CELLS, device=self.cells.device) + 0.5) * (2 / CELLS) - 1
        centres = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
        return self.cells & self.in_shape(centres)
