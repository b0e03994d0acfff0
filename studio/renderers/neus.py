"""The renderer of NeuS (Wang et al. 2021) and of the programs that grew out of it.

Samples are spread over the part of a ray near the object, then drawn to the surface in rounds
without gradient; sharpness is learned. What the published programs do differently are switches:

=====================  ==========================  ====================================
option                 NeuS, Wonder3D's NeuS       SyncDreamer, EscherNet, ViewFusion
=====================  ==========================  ====================================
radius                 1                           sqrt(3) / 2 (1.0 is the world's unit)
gate, gate_size        sphere, 1                   cube, 0.6
evaluate_outside       true                        false
last_section           coarse                      previous
eikonal_radius         1.2                         0 (every sample that is evaluated)
=====================  ==========================  ====================================

instant-nsr takes the slope along unit normals (``slope: unit``, ``colour_normal: unit``) and no
epsilon in the transmittance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from studio.cameras import Rays
from studio.errors import ConfigError
from studio.geometry.base import Geometry
from studio.geometry.neus_checkpoint import load_parts
from studio.ops.importance import refine, section_opacity, transmittance
from studio.ops.random import step_generator
from studio.registry import register
from studio.renderers.background import BackgroundNeRF, outside_depths
from studio.renderers.base import Renderer, RenderOutput
from studio.renderers.gate import Gate

CHOICES = {
    "gate": ("sphere", "cube"),
    "last_section": ("coarse", "previous"),
    "slope": ("raw", "unit"),
    "colour_normal": ("raw", "unit"),
}
POINTS = 131072
"""Samples rendered at once where no gradient is recorded."""


class LearnedSharpness(nn.Module):
    """The sharpness s = exp(10 v) of the logistic density, with one parameter v."""

    def __init__(self, start: float = 0.3) -> None:
        super().__init__()
        self.variance = nn.Parameter(torch.tensor(start))

    @property
    def inv_s(self) -> Float[Tensor, ""]:
        """Present sharpness s."""
        return torch.exp(10 * self.variance).clamp(1e-6, 1e6)


@dataclass(frozen=True)
class Sections:
    """What N rays see in their S sections; P of the N * S samples were evaluated.

    Attributes:
        middle: depth of the samples, the middles of the sections.
        length: of the sections.
        inside: which samples pass the gate.
        index: positions of the evaluated samples among all N * S.
        points: the evaluated samples.
        sdf: signed distance there.
        gradient: its derivative there, raw.
        laplacian: sum of its second derivatives, where the geometry gives it.
        cdf: sigmoid of s times the distance at the beginning of the section; 0 if not evaluated.
        weights: of the sections and of O further ones of the background.
        rgb: colour of each ray without a constant background.
    """

    middle: Float[Tensor, "n s"]
    length: Float[Tensor, "n s"]
    inside: Bool[Tensor, "n s"]
    index: Int[Tensor, " p"]
    points: Float[Tensor, "p 3"]
    sdf: Float[Tensor, " p"]
    gradient: Float[Tensor, "p 3"]
    laplacian: Float[Tensor, " p"] | None
    cdf: Float[Tensor, "n s"]
    weights: Float[Tensor, "n s+o"]
    rgb: Float[Tensor, "n 3"]


@register("renderer", "neus")
class NeuSRenderer(Renderer):
    """The official NeuS: hierarchical samples, learned sharpness, optional NeRF++ background."""

    @dataclass
    class Config:
        """Options of the renderer; lengths are in units of half the object's cube."""

        samples: int = 64
        """Samples a ray that are spread evenly."""
        importance: int = 64
        """Samples a ray that are drawn to the surface afterwards."""
        rounds: int = 4
        """Rounds in which these are placed, each with twice the sharpness of the one before."""
        round_sharpness: float = 64.0
        """Sharpness of the first round."""
        radius: float = 1.0
        """Rays are sampled that far before and behind the point nearest to the origin."""
        near: float = 0.0
        """Depth at which sampling begins, if far is given."""
        far: float = 0.0
        """Depth at which sampling ends; 0 samples around the origin instead, see radius."""
        perturb: bool = True
        """Shift the samples of a ray at random while training."""
        gate: str = "sphere"
        """Shape of the space that holds the object: sphere or cube."""
        gate_size: float = 1.0
        """Its radius or half side."""
        evaluate_outside: bool = True
        """Evaluate samples outside the gate too; otherwise they are empty."""
        last_section: str = "coarse"
        """Length of a ray's last section: coarse (2 / samples) or previous (that before it)."""
        slope: str = "raw"
        """Slope of the field along a ray, from its gradient: raw or unit."""
        colour_normal: str = "raw"
        """Gradient that the geometry's colour is given: raw or unit (hash-sdf expects unit)."""
        epsilon: float = 1e-7
        """What an opaque section still lets through."""
        eikonal_radius: float = 1.2
        """Samples within it count in the eikonal loss; 0 counts all that are evaluated."""
        anneal_steps: int = 0
        """Training steps in which slopes turn from their relaxed to their exact form."""
        variance: float = 0.3
        """Start of v in the sharpness s = exp(10 v)."""
        variance_lr_scale: float = 1.0
        """Learning rate of v, relative to the geometry's."""
        outside: int = 0
        """Samples a ray of the NeRF++ background; 0 has none. Needs a sphere as gate."""
        outside_hidden: int = 256
        """Hidden units of the background."""
        outside_layers: int = 8
        """Layers of the background."""
        outside_octaves: int = 10
        """Octaves of the background's embedding of points."""
        outside_view_octaves: int = 4
        """Octaves of the background's embedding of directions."""
        weights: str | None = None
        """Published checkpoint to take sharpness and background of; see neus-mlp."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        _check(cfg)
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
        self.gate = Gate(cfg.gate, cfg.gate_size)
        if cfg.weights is not None:
            load_parts(cfg.weights, self.neus_parts())

    def neus_parts(self) -> dict[str, nn.Module]:
        """What published checkpoints call the parts here."""
        parts: dict[str, nn.Module] = {"sharpness": self.sharpness}
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
            one = torch.ones_like(o[:, :1])
            return self.cfg.near * one, self.cfg.far * one
        middle = -(o * d).sum(1, keepdim=True) / (d * d).sum(1, keepdim=True)
        return middle - self.cfg.radius, middle + self.cfg.radius

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
            outside = outside_depths(far, cfg.outside, 1 / cfg.samples, noise)
        return even, outside

    @property
    def _coarse(self) -> float:
        return 2 / self.cfg.samples

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
            return geometry.sdf_in_chunks(_at(rays, t).flatten(0, 1)).view_as(t).to(t)

        def inside_at(t: Tensor) -> Tensor:
            return self.gate(_at(rays, t))

        options = {"rounds": cfg.rounds, "inv_s": cfg.round_sharpness, "epsilon": cfg.epsilon}
        if cfg.importance == 0:
            return depths
        return refine(depths, sdf_at, inside_at, cfg.importance, watch=watch, **options)

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
        return (points.norm(dim=1) < self.cfg.eikonal_radius).to(points)

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
        """Evaluate the field in the middles of sections and composite their colours.

        Args:
            rays: unit directions.
            geometry: the field.
            depths: where the sections begin, increasing.
            outside: depths of the background, beyond the gate.
            anneal: share of the exact form of slopes; the rest is the relaxed form, in which rays
                that leave the surface see it too.
        """
        length = depths.diff(dim=1)
        coarse = torch.full_like(depths[:, :1], self._coarse)
        last = coarse if self.cfg.last_section == "coarse" else length[:, -1:]
        length = torch.cat([length, last], dim=1)
        middle = depths + 0.5 * length
        points = _at(rays, middle)
        inside = self.gate(points)
        wanted = self.gate.in_hull(points) if self.cfg.evaluate_outside else inside
        index = wanted.flatten().nonzero()[:, 0]
        x = points.flatten(0, 1)[index]
        view = rays.directions[index // depths.shape[1]]
        field = geometry(x)
        unit = F.normalize(field.gradient, dim=1)
        slope = (view * (unit if self.cfg.slope == "unit" else field.gradient)).sum(1)
        inv_s = self.sharpness.inv_s
        alpha, cdf = section_opacity(field.sdf, slope, length.flatten()[index], inv_s, anneal)
        shown = unit if self.cfg.colour_normal == "unit" else field.gradient
        rgb = geometry.colour(x, shown, view, field.feature)
        flat = depths.new_zeros(depths.numel())
        alpha = flat.index_copy(0, index, alpha).view_as(depths)
        rgb = flat.new_zeros(len(flat), 3).index_copy(0, index, rgb).view_as(points)
        if self.background is not None:
            far_alpha, far_rgb = self.background_sections(rays, depths, outside)
            s = depths.shape[1]
            alpha = torch.cat([torch.where(inside, alpha, far_alpha[:, :s]), far_alpha[:, s:]], 1)
            near_rgb = torch.where(inside[..., None], rgb, far_rgb[:, :s])
            rgb = torch.cat([near_rgb, far_rgb[:, s:]], 1)
        weights = alpha * transmittance(alpha, self.cfg.epsilon)
        return Sections(
            middle=middle,
            length=length,
            inside=inside,
            index=index,
            points=x,
            sdf=field.sdf,
            gradient=field.gradient,
            laplacian=field.laplacian,
            cdf=flat.index_copy(0, index, cdf).view_as(depths),
            weights=weights,
            rgb=(weights[..., None] * rgb).sum(1),
        )

    def background_sections(
        self, rays: Rays, depths: Float[Tensor, "n s"], outside: Float[Tensor, "n o"]
    ) -> tuple[Float[Tensor, "n s+o"], Float[Tensor, "n s+o 3"]]:
        """Opacity and colour of the background in the sections of all depths, sorted."""
        assert self.background is not None
        size = self.cfg.gate_size  # the background's sphere has radius 1
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


def _at(rays: Rays, depths: Float[Tensor, "n s"]) -> Float[Tensor, "n s 3"]:
    return rays.origins[:, None] + rays.directions[:, None] * depths[..., None]


def _check(cfg: NeuSRenderer.Config) -> None:
    for name, allowed in CHOICES.items():
        if getattr(cfg, name) not in allowed:
            raise ConfigError(
                f"renderer.{name} is {getattr(cfg, name)!r}.", allowed=" or ".join(allowed)
            )
    if cfg.samples < 2 or cfg.importance < 0 or cfg.rounds < 1 or cfg.importance % cfg.rounds:
        raise ConfigError(
            f"renderer has {cfg.samples} samples and {cfg.importance} in {cfg.rounds} rounds.",
            allowed="two samples or more, and the same number in each round",
        )
    if cfg.outside > 0 and cfg.gate != "sphere":
        raise ConfigError(
            "renderer.outside is given with a cube as gate.", allowed="gate: sphere, or outside: 0"
        )
    if cfg.far and not cfg.near < cfg.far:
        raise ConfigError(f"renderer.near is {cfg.near}, far {cfg.far}.", allowed="near < far")
    if not math.isfinite(cfg.variance) or cfg.radius <= 0 or cfg.gate_size <= 0:
        raise ConfigError("renderer: variance, radius and gate_size.", allowed="finite, above 0")
