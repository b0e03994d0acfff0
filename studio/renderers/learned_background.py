"""A learned background on a hash grid of all of space (instant-nsr-pl, captures without masks)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from studio.cameras import Rays
from studio.errors import ConfigError
from studio.geometry.density import DensityField, contract_sphere
from studio.geometry.encodings import DirectionEncoding, HashEncoding
from studio.geometry.mlp import VanillaMLP
from studio.ops.box import ray_box
from studio.ops.composite import composite
from studio.ops.hash_grid import FINEST, MOST_LEVELS, HashGridLayout, Interpolation
from studio.ops.packed import density_alpha, pack
from studio.plugins.ranges import Factor, Range, Size, Width
from studio.renderers.occupancy import MOST_CELLS
from studio.renderers.occupancy_ema import RunningOccupancy


@dataclass
class BackgroundConfig:
    """Options of the learned background; lengths are in units of half the object's cube."""

    enabled: bool = False
    """Learn what lies outside the object's cube."""
    levels: Annotated[int, Range(1, MOST_LEVELS)] = 16
    """Levels of its hash grid."""
    base_resolution: Annotated[int, Range(1, FINEST)] = 32
    """Cells a side of the coarsest level."""
    growth: Annotated[float, Range(1, 100)] = 1.3195079107728942
    """Factor of the resolution from level to level."""
    log2_rows: Annotated[int, Range(1, 31)] = 19
    """Largest number of table rows of a level, as a power of two."""
    interpolation: Interpolation = "linear"
    """Of the grid, between the corners of a cell: linear or smoothstep."""
    hidden: Width = 64
    """Hidden units of its networks."""
    features: Width = 8
    """Outputs of the density network."""
    sections: Annotated[int, Range(1, 65536)] = 64
    """Sections of a ray between distance 1 and `far`; they grow with the distance."""
    near: Size = 0.1
    """Where rays that miss the cube begin."""
    far: Annotated[float, Range(0, 1e9, above=True)] = 1000.0
    """Where rays end."""
    shortest: Size = 0.01
    """Shortest section."""
    grid_resolution: Annotated[int, Range(1, MOST_CELLS)] = 256
    """Cells a side of its occupancy grid, over contracted space."""
    threshold: Factor = 0.01
    """Density times `shortest` above which a cell is sampled."""

    def __post_init__(self) -> None:
        """Check what belongs together."""
        if self.far <= self.near:
            raise ConfigError(
                f"far is {self.far}.", allowed=f"more than near, which is {self.near}"
            )


class LearnedBackground(nn.Module):
    """Renders what lies behind the object's cube from a density field of contracted space."""

    def __init__(self, cfg: BackgroundConfig) -> None:
        super().__init__()
        self.cfg = cfg
        layout = HashGridLayout(
            cfg.levels,
            cfg.base_resolution,
            cfg.growth,
            cfg.log2_rows,
            interpolation=cfg.interpolation,
        )
        network = VanillaMLP(layout.width, cfg.features, hidden=cfg.hidden)
        self.field = DensityField(HashEncoding(layout), network)
        self.directions = DirectionEncoding("harmonics", 4)
        inputs = cfg.features + self.directions.width
        self.texture = VanillaMLP(inputs, 3, hidden=cfg.hidden, layers=2)
        self.grid = RunningOccupancy(cfg.grid_resolution, threshold=cfg.threshold)
        self._forget_outside()

    def _forget_outside(self) -> None:
        """Cells outside the ball that contracted space fills are never sampled."""
        every = torch.arange(len(self.grid.values))
        centres = self.grid.points(every, torch.full((len(every), 3), 0.5))
        ball = centres.norm(dim=-1) <= 1 + self.grid.cell
        self.grid.values[~ball] = -1.0

    def advance(self, step: int, generator: torch.Generator) -> None:
        """Update the occupancy grid, which lies in contracted space."""
        self.grid.update(
            lambda x: self.field(x * 0.5 + 0.5)[0] * self.cfg.shortest, step, generator
        )

    def edges(self, rays: Rays, jitter: Float[Tensor, " n"]) -> Float[Tensor, "n s+1"]:
        """Borders of the sections: from where a ray leaves the cube, growing with the distance.

        Args:
            rays: in the frame of the cube [-1, 1]^3.
            jitter: shift of each ray's sections in units of the first one, in [0, 1).
        """
        cfg, one = self.cfg, torch.ones(3).to(rays.origins)
        _, leave, met = ray_box(rays.origins, rays.directions, -one, one)
        t = torch.where(met, leave, torch.full_like(leave, cfg.near)).clamp(min=cfg.near)
        cone = cfg.far ** (1 / cfg.sections) - 1
        t = t + jitter * (t * cone).clamp(min=cfg.shortest)
        borders = [t]
        while float(t.min()) < cfg.far:
            t = t + (t * cone).clamp(min=cfg.shortest)
            borders.append(t)
        return torch.stack(borders, 1)

    def forward(
        self, rays: Rays, jitter: Float[Tensor, " n"], behind: Float[Tensor, "n 3"] | None
    ) -> tuple[Float[Tensor, "n 3"], int]:
        """Colour of each ray beyond the cube, over the colour ``behind``, and how many samples."""
        t = self.edges(rays, jitter)
        middle, length = (t[:, 1:] + t[:, :-1]) / 2, t.diff(dim=1)
        points = rays.origins[:, None] + rays.directions[:, None] * middle[..., None]
        u = contract_sphere(points.reshape(-1, 3))
        occupied, _ = self.grid.query(u * 2 - 1)
        keep = occupied.view_as(middle) & (middle < self.cfg.far)
        ray = keep.nonzero()[:, 0]
        count = len(ray)
        if count == 0:
            return (torch.zeros_like(rays.origins) if behind is None else behind), 0
        density, feature = self.field(u[keep.flatten()])
        seen = self.directions(rays.directions[ray])
        rgb = torch.sigmoid(self.texture(torch.cat([feature, seen], 1)))
        alpha = density_alpha(density, length[keep])
        sums, opacity, _ = composite(alpha, rgb.T, pack(ray, len(rays)))
        colour = sums.T
        return (colour if behind is None else colour + (1 - opacity)[:, None] * behind), count
