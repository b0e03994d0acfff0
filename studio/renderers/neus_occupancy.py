"""NeuS (Wang et al. 2021) with an occupancy grid: packed samples, scheduled sharpness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from studio.cameras import Rays
from studio.geometry.base import Geometry
from studio.ops.composite import composite, neus_alpha
from studio.ops.random import step_generator
from studio.ops.ray_march import RaySamples, march
from studio.registry import register
from studio.renderers.base import Renderer, RenderOutput
from studio.renderers.occupancy import OccupancyGrid


@register("renderer", "neus-occupancy")
class NeuSOccupancyRenderer(Renderer):
    """NeuS on an occupancy grid: unbiased SDF volume rendering, empty space skipped."""

    @dataclass
    class Config:
        """Options of the renderer; lengths are in units of half the object's cube."""

        grid_resolution: int = 64
        """Cells a side of the occupancy grid."""
        sharpness_start: float = 60.0
        """Sharpness s of the logistic density at the start of training."""
        sharpness_end: float = 250.0
        """Sharpness at the end; in between log-linear in the progress."""
        step_min: float = 0.01
        """Shortest section between samples."""
        step_max: float = 0.02
        """Longest section; in between sections are 2 / s long."""
        cosine_anneal: float = 0.25
        """Share of training in which the section slope turns from its relaxed to its exact form."""
        update_every: int = 16
        """Steps between updates of the occupancy grid in the first fifth of training."""
        update_every_late: int = 40
        """Steps between updates afterwards."""
        backend: str = "auto"
        """auto, cpu (numba kernels) or torch (reference)."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg
        self.grid = OccupancyGrid(cfg.grid_resolution)
        self.register_buffer("progress", torch.zeros((), dtype=torch.float64))

    @property
    def inv_s(self) -> float:
        """Present sharpness s."""
        start, end = math.log(self.cfg.sharpness_start), math.log(self.cfg.sharpness_end)
        return math.exp(start + float(self.progress) * (end - start))

    @property
    def section(self) -> float:
        """Present length of a section."""
        return max(self.cfg.step_min, min(self.cfg.step_max, 2.0 / self.inv_s))

    def advance(self, geometry: Geometry, progress: float, step: int) -> None:
        """Set the sharpness for a progress in [0, 1] and update the grid when it is due."""
        self.progress.fill_(min(max(progress, 0.0), 1.0))
        every = self.cfg.update_every if progress < 0.2 else self.cfg.update_every_late
        if step % every == 0:
            self.refresh(geometry)

    def refresh(self, geometry: Geometry) -> None:
        """Update the occupancy grid from the field now."""
        self.grid.update(geometry, reach=4.0 / self.inv_s + self.section)

    def restrict(self, hull: Bool[Tensor, "r r r"]) -> None:
        """Sample nowhere outside ``hull``."""
        self.grid.restrict(hull)

    def forward(
        self,
        rays: Rays,
        geometry: Geometry,
        background: Float[Tensor, "n 3"] | None = None,
        *,
        step: int = 0,
    ) -> RenderOutput:
        """Render rays; while training, samples are shifted at random (seeded by ``step``)."""
        samples = self.sample(rays, step)
        if len(samples) == 0:
            return self._nothing(rays, background)
        field = geometry(samples.points.T)
        gradient = field.gradient.T
        length = (gradient * gradient).sum(0).add(1e-12).sqrt()
        normal = gradient / length
        alpha = self.opacity(field.sdf, (gradient * samples.directions).sum(0))
        rgb = geometry.colour(samples.points.T, normal.T, samples.directions.T, field.feature)
        values = rgb.T
        if not self.training:
            values = torch.cat([values, normal, samples.t[None]])
        sums, mask, weights = composite(alpha, values, samples.offsets, backend=self.cfg.backend)
        colour = sums[:3].T
        if background is not None:
            colour = colour + (1 - mask)[:, None] * background
        blank = mask.new_zeros(3, 0)
        return RenderOutput(
            rgb=colour,
            mask=mask,
            depth=blank[0] if self.training else sums[6],
            normal=blank.T if self.training else sums[3:6].T,
            weights=weights,
            gradients=field.gradient,
            sdf=field.sdf,
            points=samples.points.T,
            samples=len(samples),
            laplacian=field.laplacian,
            ray_index=samples.ray_index,
            t=samples.t,
            sections=samples.t.new_tensor(samples.step).expand_as(samples.t),
        )

    def sample(self, rays: Rays, step: int) -> RaySamples:
        """Place the samples of a batch of rays."""
        jitter = torch.full((len(rays),), 0.5, device=rays.origins.device)
        if self.training:
            generator = step_generator(self.seed, step, stream=1)
            jitter = torch.rand(len(rays), generator=generator).to(jitter)
        return march(
            rays.origins,
            rays.directions,
            jitter,
            self.grid.state,
            self.section,
            backend=self.cfg.backend,
        )

    @property
    def hull(self) -> Bool[Tensor, "r r r"]:
        """Cells over the cube in which rays are sampled."""
        return self.grid.hull

    @torch.no_grad()
    def meets(self, rays: Rays) -> Bool[Tensor, " n"]:
        """Tell which rays pass a cell of the hull."""
        jitter = torch.full((len(rays),), 0.5, device=rays.origins.device)
        hull = self.grid.hull.to(torch.uint8)  # True is NEAR
        step = 0.5 * self.grid.cell
        first = march(
            rays.origins, rays.directions, jitter, hull, step, limit=1, backend=self.cfg.backend
        )
        return first.offsets.diff() > 0

    def opacity(self, sdf: Float[Tensor, " p"], cosine: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """NeuS opacity of the sections around samples; the slope is annealed early on."""
        exact = cosine.clamp(max=0)
        anneal = self.cfg.cosine_anneal
        ratio = 1.0 if anneal <= 0 else min(1.0, float(self.progress) / anneal)
        if ratio < 1:  # official NeuS: also rays that leave the surface see it at first
            exact = ratio * exact - (1 - ratio) * (0.5 - 0.5 * cosine).clamp(min=0)
        return neus_alpha(sdf, exact, self.section, self.inv_s, backend=self.cfg.backend)

    def _nothing(self, rays: Rays, background: Float[Tensor, "n 3"] | None) -> RenderOutput:
        """Rays that met no cell to sample see the background alone."""
        zero = rays.origins.new_zeros(len(rays))
        colour = torch.zeros_like(rays.origins) if background is None else background.clone()
        empty = zero.new_zeros(0)
        none = empty.new_zeros(0, 3)
        return RenderOutput(
            rgb=colour,
            mask=zero,
            depth=zero.clone(),
            normal=torch.zeros_like(colour),
            weights=empty,
            gradients=none,
            sdf=empty,
            points=none,
            samples=0,
        )
