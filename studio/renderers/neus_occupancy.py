"""NeuS (Wang et al. 2021) with an occupancy grid: packed samples, scheduled or learned sharpness.

The defaults are the fast ones. With ``sharpness: learned``, ``slope: unit`` and
``occupancy: opacity`` it is the renderer of instant-nsr-pl, Wonder3D and threestudio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from studio.cameras import Rays
from studio.errors import ConfigError
from studio.geometry.base import Detail, Geometry, GeometryOutput
from studio.geometry.instant_nsr_checkpoint import read_instant_nsr
from studio.ops.backend import BACKENDS
from studio.ops.composite import (
    annealed_slope,
    composite,
    neus_alpha,
    neus_alpha_reference,
    neus_sections,
)
from studio.ops.field import length
from studio.ops.packed import visible
from studio.ops.random import step_generator
from studio.ops.ray_march import RaySamples, march
from studio.plugins.ranges import Factor, Length, OneOf, Range, Share, Steps, StepsOrZero
from studio.plugins.registry import register
from studio.renderers.base import Renderer, RenderOutput, nothing_seen
from studio.renderers.learned_background import BackgroundConfig, LearnedBackground
from studio.renderers.occupancy import MOST_CELLS, OccupancyGrid
from studio.renderers.occupancy_ema import RunningOccupancy
from studio.renderers.sharpness import LearnedSharpness

Bound = Annotated[float, Range(0, 1e9)]
NoneOrThree = Annotated[list[Bound], Length(0, 0)] | Annotated[list[Bound], Length(3, 3)]


SHARPNESS, SOFTEST = 2.4, 250.0
"""Sharpness at the end per pixel across the object's cube, where it follows them, and the least."""


@register("renderer", "neus-occupancy")
class NeuSOccupancyRenderer(Renderer):
    """NeuS on an occupancy grid: unbiased SDF volume rendering, empty space skipped."""

    @dataclass
    class Config:
        """Options of the renderer; lengths are in units of half the object's cube."""

        grid_resolution: Annotated[int, Range(1, MOST_CELLS)] = 64
        """Cells a side of the occupancy grid."""
        sharpness: Literal["schedule", "learned"] = "schedule"
        """schedule (from sharpness_start to sharpness_end) or learned."""
        sharpness_start: Annotated[float, Range(1e-6, 1e6)] = 60.0
        """Sharpness s of the logistic density at the start of training."""
        sharpness_end: Annotated[float, Range(1e-6, 1e6)] | None = 250.0
        """Sharpness at the end; in between log-linear in the progress. null: by the pixels that lie across the object."""  # noqa: E501
        variance: Annotated[float, Range(-1.4, 1.4)] = 0.3
        """Learned sharpness: s = exp(10 variance) at the start."""
        sharpness_limit: NoneOrThree = field(default_factory=list)
        """Learned sharpness: none, or [start step, reach step, largest s] of a growing limit."""
        sharpness_lr_scale: Factor = 0.1
        """Learned sharpness: factor of its learning rate."""
        slope: Literal["raw", "unit"] = "raw"
        """Gradient in the section's slope: raw (NeuS) or unit (instant-nsr)."""
        step_min: Annotated[float, Range(1e-5, 2)] = 0.01
        """Shortest section between samples."""
        step_max: Annotated[float, Range(1e-5, 2)] = 0.02
        """Longest section; in between sections are 2 / s long."""
        cosine_anneal: Factor = 0.25
        """Share of training in which the section slope turns from its relaxed to its exact form."""
        update_every: Steps = 16
        """Steps between updates of the occupancy grid in the first fifth of training."""
        update_every_late: Steps = 40
        """Steps between updates afterwards."""
        occupancy: Literal["distance", "opacity"] = "distance"
        """Cells to sample: near the surface by distance, or by a running maximum of opacity."""
        occupancy_threshold: Share = 0.001
        """Opacity of a section above which a cell is sampled."""
        occupancy_decay: Share = 0.95
        """Factor of a cell's running maximum at each update."""
        occupancy_warmup: StepsOrZero = 256
        """Steps in which updates of the running maximum visit every cell."""
        visible_threshold: Share = 0.0
        """Least opacity of samples, judged before colours are computed; 0 keeps all."""
        background: BackgroundConfig = field(default_factory=BackgroundConfig)
        """What lies outside the cube, for captures without masks."""
        weights: str = ""
        """Weights of instant-nsr-pl or Wonder3D: learned sharpness, grids and background."""
        backend: Annotated[str, OneOf(BACKENDS)] = "auto"
        """auto, cpu (numba kernels) or torch (reference)."""

        def __post_init__(self) -> None:
            """Check what belongs together."""
            if self.step_max < self.step_min:
                raise ConfigError(
                    f"step_max is {self.step_max}.",
                    allowed=f"step_min, which is {self.step_min}, or more",
                )

    progress: Tensor

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg
        self.grid: OccupancyGrid | RunningOccupancy = OccupancyGrid(cfg.grid_resolution)
        if cfg.occupancy == "opacity":
            self.grid = RunningOccupancy(
                cfg.grid_resolution,
                threshold=cfg.occupancy_threshold,
                decay=cfg.occupancy_decay,
                warmup=cfg.occupancy_warmup,
            )
        learned = cfg.sharpness == "learned"
        self.sharpness = LearnedSharpness(cfg.variance, cfg.sharpness_limit) if learned else None
        self.background = LearnedBackground(cfg.background) if cfg.background.enabled else None
        self.register_buffer("progress", torch.zeros((), dtype=torch.float64))
        if cfg.weights:
            read_instant_nsr(cfg.weights, renderer=self)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the learned sharpness and background, where there are any."""
        groups: list[dict[str, Any]] = []
        if self.sharpness is not None:
            scale = self.cfg.sharpness_lr_scale
            groups.append({"params": list(self.sharpness.parameters()), "lr_scale": scale})
        if self.background is not None:
            groups.append({"params": list(self.background.parameters()), "lr_scale": 1.0})
        return groups

    @classmethod
    def follows(cls, cfg: Config, detail: Detail) -> dict[str, float]:
        """Return the sharpness at the end, if it is open: a surface as wide as a pixel or less."""
        if cfg.sharpness_end is not None:
            return {}
        return {"sharpness_end": float(round(max(SOFTEST, SHARPNESS * detail.across)))}

    @property
    def inv_s(self) -> float:
        """Present sharpness s."""
        if self.sharpness is not None:
            return float(self.sharpness().detach())
        sharpest = self.cfg.sharpness_end or SOFTEST
        start, end = math.log(self.cfg.sharpness_start), math.log(sharpest)
        return math.exp(start + float(self.progress) * (end - start))

    @property
    def section(self) -> float:
        """Present length of a section."""
        return max(self.cfg.step_min, min(self.cfg.step_max, 2.0 / self.inv_s))

    def advance(self, geometry: Geometry, progress: float, step: int) -> None:
        """Set the sharpness for a progress in [0, 1] and update the grid when it is due."""
        self.progress.fill_(min(max(progress, 0.0), 1.0))
        if self.sharpness is not None:
            self.sharpness.advance(step)
        every = self.cfg.update_every if progress < 0.2 else self.cfg.update_every_late
        if step % every == 0:
            self.refresh(geometry, step)
            if self.background is not None:
                self.background.advance(step, step_generator(self.seed, step, stream=4))

    def refresh(self, geometry: Geometry, step: int = 0) -> None:
        """Update the occupancy grid from the field now."""
        if isinstance(self.grid, OccupancyGrid):
            self.grid.update(geometry, reach=4.0 / self.inv_s + self.section)
        else:
            generator = step_generator(self.seed, step, stream=3)
            self.grid.update(lambda x: self.head_on(geometry.sdf(x)), step, generator)

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
        if self.cfg.visible_threshold > 0 and len(samples) > 0:
            samples = self.visible(samples, geometry)
        if self.background is not None:
            background, _ = self.background(rays, self._jitter(rays, step, 5), background)
        if len(samples) == 0:
            return nothing_seen(rays, background)
        return self.shade(samples, geometry, background)

    def shade(
        self, samples: RaySamples, geometry: Geometry, background: Float[Tensor, "n 3"] | None
    ) -> RenderOutput:
        """Evaluate given samples and composite them."""
        field = geometry(samples.points.T)
        alpha, normal = self.sections(field, samples)
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
            sections=torch.as_tensor(samples.step).to(samples.t).expand_as(samples.t),
        )

    def sample(self, rays: Rays, step: int) -> RaySamples:
        """Place the samples of a batch of rays."""
        return march(
            rays.origins,
            rays.directions,
            self._jitter(rays, step, 1),
            self.grid.state,
            self.section,
            backend=self.cfg.backend,
        )

    def _jitter(self, rays: Rays, step: int, stream: int) -> Float[Tensor, " n"]:
        """Shift of each ray's samples in sections: random while training, else half."""
        jitter = torch.full((len(rays),), 0.5, device=rays.origins.device)
        if self.training:
            generator = step_generator(self.seed, step, stream=stream)
            jitter = torch.rand(len(rays), generator=generator).to(jitter)
        return jitter

    @torch.no_grad()
    def visible(self, samples: RaySamples, geometry: Geometry) -> RaySamples:
        """Keep the samples that can be seen, were all surfaces seen head-on."""
        alpha = self.head_on(geometry.sdf_in_chunks(samples.points.T))
        least = self.cfg.visible_threshold
        if isinstance(self.grid, RunningOccupancy):
            least = min(least, self.grid.mean)
        return samples.kept(visible(alpha, samples.offsets, threshold=least))

    @property
    def hull(self) -> Bool[Tensor, "r r r"]:
        """Cells over the cube in which rays are sampled."""
        return self.grid.hull

    @property
    def sees_outside(self) -> bool:
        """Whether a background is learned."""
        return self.background is not None

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

    def opacity(
        self,
        sdf: Float[Tensor, " p"],
        cosine: Float[Tensor, " p"],
        section: float | Float[Tensor, " p"] | None = None,
    ) -> Float[Tensor, " p"]:
        """NeuS opacity of the sections around samples; the slope is annealed early on."""
        slope = annealed_slope(cosine, self.exactness)
        return self._alpha(sdf, slope, self.section if section is None else section)

    @property
    def exactness(self) -> float:
        """Share of the exact form in the slopes of sections; 1 once the annealing is over."""
        anneal = self.cfg.cosine_anneal
        return 1.0 if anneal <= 0 else min(1.0, float(self.progress) / anneal)

    def sections(self, field: GeometryOutput, samples: RaySamples) -> tuple[Tensor, Tensor]:
        """Opacity [P] of the sections around samples, and the unit normals [3, P] there."""
        gradient, unit = field.gradient.T, self.cfg.slope == "unit"
        if self.sharpness is None and not isinstance(samples.step, Tensor):
            return neus_sections(
                field.sdf,
                gradient,
                samples.directions,
                samples.step,
                self.inv_s,
                self.exactness,
                unit=unit,
                backend=self.cfg.backend,
            )
        normal = gradient / length(gradient)
        slope = ((normal if unit else gradient) * samples.directions).sum(0)
        return self.opacity(field.sdf, slope, samples.step), normal

    @torch.no_grad()
    def head_on(self, sdf: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """Opacity of a section that meets the surface at a right angle, never annealed.

        It is about 1 also deep inside, where both logistic values vanish.
        """
        return self._alpha(sdf, torch.full_like(sdf, -1.0), self.section)

    def _alpha(self, sdf: Tensor, slope: Tensor, section: float | Tensor) -> Tensor:
        if self.sharpness is None and not isinstance(section, Tensor):
            return neus_alpha(sdf, slope, section, self.inv_s, backend=self.cfg.backend)
        sharpness = self.inv_s if self.sharpness is None else self.sharpness()
        return neus_alpha_reference(sdf, slope, section, sharpness)
