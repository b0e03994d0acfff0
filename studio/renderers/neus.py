"""The renderer of NeuS (Wang et al. 2021) and of the programs that grew out of it.

Samples are spread over the part of a ray near the object, then drawn to the surface in rounds
without gradient; sharpness is learned. What the published programs do differently are switches:

================  ======  ==================================
option            NeuS    SyncDreamer, EscherNet, ViewFusion
================  ======  ==================================
radius            1       sqrt(3) / 2
gate              sphere  cube
gate_size         1       0.6
evaluate_outside  true    false
last_section      coarse  previous
eikonal_radius    1.2     0: every sample that is evaluated
================  ======  ==================================

Lengths are in the programs' own units: give ``scale`` here and to the geometry. Wonder3D's NeuS
samples between fixed depths (``near`` 0.2, ``far`` 2.4) and is otherwise the official one.
instant-nsr takes the slope along unit normals (``slope: unit``, ``colour_normal: unit``) and no
epsilon in the transmittance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from studio.cameras import Rays
from studio.errors import ConfigError
from studio.geometry.base import Geometry
from studio.geometry.neus_checkpoint import load_parts
from studio.ops.importance import refine
from studio.ops.random import step_generator
from studio.plugins.ranges import Factor, Range, Size, StepsOrZero
from studio.plugins.registry import register
from studio.renderers.background import BackgroundNeRF, outside_depths
from studio.renderers.base import Renderer, RenderOutput
from studio.renderers.gate import Gate
from studio.renderers.neus_sections import (
    SectionRules,
    Sections,
    points_at,
    render_sections,
)
from studio.renderers.sharpness import LearnedSharpness

POINTS = 131072
"""Samples rendered at once where no gradient is recorded."""


@register("renderer", "neus")
class NeuSRenderer(Renderer):
    """The official NeuS: hierarchical samples, learned sharpness, optional NeRF++ background."""

    @dataclass
    class Config(SectionRules):
        """Options of the renderer; the defaults are the published ones."""

        scale: Size = 1.0
        """Turns half sides of the object's cube into the unit of lengths and sharpness here."""
        samples: Annotated[int, Range(2, 65536)] = 64
        """Samples a ray that are spread evenly."""
        importance: Annotated[int, Range(0, 65536)] = 64
        """Samples a ray that are drawn to the surface afterwards."""
        rounds: Annotated[int, Range(1, 64)] = 4
        """Rounds in which these are placed, each with twice the sharpness of the one before."""
        round_sharpness: Size = 64.0
        """Sharpness of the first round."""
        radius: Size = 1.0
        """Rays are sampled that far before and behind the point nearest to the origin."""
        near: Annotated[float, Range(-1e6, 1e6)] = 0.0
        """Depth at which sampling begins, if far is given."""
        far: Factor = 0.0
        """Depth at which sampling ends; 0 samples around the origin instead, see radius."""
        perturb: bool = True
        """Shift the samples of a ray at random while training."""
        eikonal_radius: Factor = 1.2
        """Samples within it count in the eikonal loss; 0 counts all that are evaluated."""
        anneal_steps: StepsOrZero = 0
        """Training steps in which slopes turn from their relaxed to their exact form."""
        variance: Annotated[float, Range(-1.4, 1.4)] = 0.3
        """Start of v in the sharpness s = exp(10 v)."""
        variance_lr_scale: Factor = 1.0
        """Learning rate of v, relative to the geometry's."""
        outside: Annotated[int, Range(0, 65536)] = 0
        """Samples a ray of the NeRF++ background; 0 has none. Needs a sphere as gate."""
        outside_hidden: Annotated[int, Range(2, 65536)] = 256
        """Hidden units of the background."""
        outside_layers: Annotated[int, Range(2, 64)] = 8
        """Layers of the background."""
        outside_octaves: Annotated[int, Range(0, 32)] = 10
        """Octaves of the background's embedding of points."""
        outside_view_octaves: Annotated[int, Range(0, 32)] = 4
        """Octaves of the background's embedding of directions."""
        weights: str | None = None
        """Published checkpoint to take sharpness and background of; see neus-mlp."""

        def __post_init__(self) -> None:
            """Check what belongs together."""
            if self.importance % self.rounds:
                raise ConfigError(
                    f"importance is {self.importance}, in {self.rounds} rounds.",
                    allowed="the same number in each round",
                )
            if self.outside > 0 and self.gate != "sphere":
                raise ConfigError(
                    f"outside is {self.outside} with a cube as gate.",
                    allowed="gate: sphere, or outside: 0",
                )
            if self.far and not self.near < self.far:
                raise ConfigError(f"near is {self.near}, far {self.far}.", allowed="near < far")

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg
        self.sharpness = LearnedSharpness(cfg.variance)
        self.background: BackgroundNeRF | None = None
        if cfg.outside > 0:
            self.background = BackgroundNeRF(
                cfg.outside_hidden,
                cfg.outside_layers,
                skips=(cfg.outside_layers // 2,),
                octaves=cfg.outside_octaves,
                view_octaves=cfg.outside_view_octaves,
            )
        self.unit = 1 / cfg.scale
        self.gate = Gate(cfg.gate, cfg.gate_size * self.unit)
        if cfg.weights is not None:
            load_parts(cfg.weights, self.neus_parts())

    def neus_parts(self) -> dict[str, nn.Module]:
        """What published checkpoints call the parts here."""
        variance = nn.ParameterDict({"variance": self.sharpness.variance})
        parts: dict[str, nn.Module] = {"sharpness": variance}
        return parts if self.background is None else {**parts, "background": self.background}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return a group for the sharpness and one for the background."""
        scale = self.cfg.variance_lr_scale
        groups = [{"params": list(self.sharpness.parameters()), "lr_scale": scale}]
        if self.background is not None:
            groups.append({"params": list(self.background.parameters()), "lr_scale": 1.0})
        return groups

    # --- where the object can be ----------------------------------------------------------------

    def restrict(self, hull: Bool[Tensor, "r r r"]) -> None:
        """Take samples outside ``hull`` for empty; the NeuS programs know no hull."""
        self.gate.restrict(hull)

    @property
    def sees_outside(self) -> bool:
        """Whether a background is learned."""
        return self.background is not None

    @property
    def hull(self) -> Bool[Tensor, "r r r"] | None:
        """Cells whose samples are evaluated; None means everywhere."""
        if not self.cfg.evaluate_outside:
            return self.gate.open_cells()
        return None if bool(self.gate.cells.all()) else self.gate.cells

    # --- where rays are sampled -----------------------------------------------------------------

    def span(self, rays: Rays) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 1"]]:
        """Depths between which rays are sampled; they may be negative."""
        o, d = rays.origins, rays.directions
        if self.cfg.far > 0:
            unit = torch.full_like(o[:, :1], self.unit)
            return self.cfg.near * unit, self.cfg.far * unit
        middle = -(o * d).sum(1, keepdim=True) / (d * d).sum(1, keepdim=True)
        radius = self.cfg.radius * self.unit
        return middle - radius, middle + radius

    def depths(
        self,
        span: tuple[Float[Tensor, "n 1"], Float[Tensor, "n 1"]],
        step: int = 0,
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n o"]]:
        """Place the even samples and those of the background; at random while training."""
        near, far = span
        cfg, n = self.cfg, len(near)
        shift, noise = None, None
        if self.training and cfg.perturb:
            generator = step_generator(self.seed, step, stream=1)
            shift = torch.rand(n, 1, generator=generator).to(near) - 0.5
            noise = torch.rand(n, cfg.outside, generator=generator).to(near)
        share = torch.linspace(0, 1, cfg.samples, dtype=near.dtype, device=near.device)
        even = near + (far - near) * share
        if shift is not None:
            even = even + shift * self._coarse  # official: a length of 2, whatever the span's
        outside = even[:, :0]
        if cfg.outside > 0:
            outside = outside_depths(far, cfg.outside, 0.5 * self._coarse, noise)
        return even, outside

    @property
    def _coarse(self) -> float:
        return 2 / self.cfg.samples * self.unit

    @torch.no_grad()
    def refine(
        self,
        rays: Rays,
        geometry: Geometry,
        depths: Float[Tensor, "n s"],
        watch: Callable[..., None] | None = None,
    ) -> Float[Tensor, "n s+i"]:
        """Add samples near the surface; see `studio.ops.importance.refine`."""
        cfg = self.cfg

        def sdf_at(t: Tensor) -> Tensor:
            return geometry.sdf_in_chunks(points_at(rays, t).flatten(0, 1)).view_as(t).to(t)

        def inside_at(t: Tensor) -> Tensor:
            return self.gate(points_at(rays, t))

        if cfg.importance == 0:
            return depths
        return refine(
            depths,
            sdf_at,
            inside_at,
            cfg.importance,
            rounds=cfg.rounds,
            inv_s=cfg.round_sharpness * cfg.scale,
            epsilon=cfg.epsilon,
            watch=watch,
        )

    # --- what rays see --------------------------------------------------------------------------

    def forward(
        self,
        rays: Rays,
        geometry: Geometry,
        background: Float[Tensor, "n 3"] | None = None,
        *,
        step: int = 0,
    ) -> RenderOutput:
        """Render rays; while training, samples are shifted at random (seeded by ``step``)."""
        even, outside = self.depths(self.span(rays), step)
        depths = self.refine(rays, geometry, even)
        seen = self.sections(rays, geometry, depths, outside, anneal=self.anneal(step))
        rgb = seen.rgb if background is None else self.over(seen, background)
        ray = seen.index // depths.shape[1]
        weights = seen.weights[:, : depths.shape[1]].flatten()[seen.index]
        if self.background is not None:
            weights = weights * seen.inside.flatten()[seen.index]  # the object's share alone
        zero = depths.new_zeros(len(rays))
        normals = weights[:, None] * F.normalize(seen.gradient, dim=1)
        middle = seen.middle.flatten()[seen.index]
        return RenderOutput(
            rgb=rgb,
            mask=zero.index_add(0, ray, weights).clamp(max=1),
            depth=zero.index_add(0, ray, weights * middle),
            normal=torch.zeros_like(rgb).index_add(0, ray, normals),
            weights=weights,
            gradients=seen.gradient,
            sdf=seen.sdf,
            points=seen.points,
            samples=len(seen.index),
            laplacian=seen.laplacian,
            eikonal_weights=self.eikonal_weights(seen.points),
            ray_index=ray,
            t=middle,
            sections=seen.length.flatten()[seen.index],
        )

    @staticmethod
    def over(seen: Sections, background: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Colours of rays in front of a constant background."""
        return seen.rgb + (1 - seen.weights.sum(1, keepdim=True)) * background

    def eikonal_weights(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, " p"] | None:
        """Say which samples count in the eikonal loss; None means all."""
        if self.cfg.eikonal_radius <= 0:
            return None
        return (points.norm(dim=1) < self.cfg.eikonal_radius * self.unit).to(points)

    def anneal(self, step: int) -> float:
        """Share of the exact form of slopes at a training step; evaluation takes them exactly."""
        if not self.training or self.cfg.anneal_steps <= 0:
            return 1.0
        return min(1.0, step / self.cfg.anneal_steps)

    def sections(
        self,
        rays: Rays,
        geometry: Geometry,
        depths: Float[Tensor, "n s"],
        outside: Float[Tensor, "n o"],
        *,
        anneal: float = 1.0,
    ) -> Sections:
        """Evaluate the field in the middles of sections; see `render_sections`."""
        inv_s, coarse = self.sharpness() * self.cfg.scale, self._coarse
        behind = None
        if self.background is not None:
            behind = self.background_sections(rays, depths, outside)
        return render_sections(
            rays, geometry, depths, behind, self.cfg, self.gate, inv_s, coarse, anneal
        )

    def background_sections(
        self, rays: Rays, depths: Float[Tensor, "n s"], outside: Float[Tensor, "n o"]
    ) -> tuple[Float[Tensor, "n s+o"], Float[Tensor, "n s+o 3"]]:
        """Opacity and colour of the background in the sections of all depths, sorted."""
        assert self.background is not None
        size = self.gate.size  # the background's sphere has radius 1
        scaled = Rays(rays.origins / size, rays.directions)
        both = torch.cat([depths, outside], dim=1).sort(dim=1).values / size
        return self.background.render(scaled, both, self._coarse / size)

    def render_in_chunks(
        self, rays: Rays, geometry: Geometry, background: float = 1.0, chunk: int = 8192
    ) -> RenderOutput:
        """Render many rays without gradients on a grey background, in bounded memory."""
        each = self.cfg.samples + self.cfg.importance + self.cfg.outside
        chunk = max(1, min(chunk, POINTS // each))
        return super().render_in_chunks(rays, geometry, background, chunk)
