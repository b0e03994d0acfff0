"""What the sections of rays show: the middle of NeuS's renderer, with the switches of its kin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from studio.cameras import Rays
from studio.geometry.base import Geometry
from studio.ops.importance import section_opacity, transmittance
from studio.plugins.ranges import Share, Size
from studio.renderers.gate import Gate


@dataclass
class SectionRules:
    """Where the published programs differ."""

    gate: Literal["sphere", "cube"] = "sphere"
    """Shape of the space that holds the object: sphere or cube."""
    gate_size: Size = 1.0
    """Its radius or half side."""
    evaluate_outside: bool = True
    """Evaluate samples outside the gate too; otherwise they are empty."""
    last_section: Literal["coarse", "previous"] = "coarse"
    """Length of a ray's last section: coarse (2 / samples) or previous (that before it)."""
    slope: Literal["raw", "unit"] = "raw"
    """Slope of the field along a ray, from its gradient: raw or unit."""
    colour_normal: Literal["raw", "unit"] = "raw"
    """Gradient that the geometry's colour is given: raw or unit (hash-sdf expects unit)."""
    epsilon: Share = 1e-7
    """What an opaque section still lets through."""


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


def points_at(rays: Rays, depths: Float[Tensor, "n s"]) -> Float[Tensor, "n s 3"]:
    """Points on rays."""
    return rays.origins[:, None] + rays.directions[:, None] * depths[..., None]


def render_sections(
    rays: Rays,
    geometry: Geometry,
    depths: Float[Tensor, "n s"],
    behind: tuple[Float[Tensor, "n s+o"], Float[Tensor, "n s+o 3"]] | None,
    rules: SectionRules,
    gate: Gate,
    inv_s: Float[Tensor, ""],
    coarse: float,
    anneal: float = 1.0,
) -> Sections:
    """Evaluate the field in the middles of sections and composite their colours.

    Args:
        rays: unit directions.
        geometry: the field.
        depths: where the sections begin, increasing.
        behind: opacity and colour of a background, which holds outside the gate and further on.
        rules: see there.
        gate: where the object can be.
        inv_s: sharpness of the surface.
        coarse: length of the last section, if the rules want that.
        anneal: share of the exact form of slopes; see `section_opacity`.
    """
    n, s = depths.shape
    length = depths.diff(dim=1)
    end = torch.full_like(depths[:, :1], coarse)
    length = torch.cat([length, end if rules.last_section == "coarse" else length[:, -1:]], dim=1)
    middle = depths + 0.5 * length
    points = points_at(rays, middle)
    inside = gate(points)
    wanted = gate.in_hull(points) if rules.evaluate_outside else inside
    index = wanted.flatten().nonzero()[:, 0]
    x, view = points.flatten(0, 1)[index], rays.directions[index // s]
    field = geometry(x)
    unit = F.normalize(field.gradient, dim=1)
    slope = (view * (unit if rules.slope == "unit" else field.gradient)).sum(1)
    opacity, begin = section_opacity(field.sdf, slope, length.flatten()[index], inv_s, anneal)
    shown = unit if rules.colour_normal == "unit" else field.gradient
    colour = geometry.colour(x, shown, view, field.feature)
    empty = depths.new_zeros(n * s)  # what is not evaluated is empty
    alpha = empty.index_copy(0, index, opacity).view(n, s)
    rgb = empty.new_zeros(n * s, 3).index_copy(0, index, colour).view(n, s, 3)
    if behind is not None:
        far_alpha, far_rgb = behind
        alpha = torch.cat([torch.where(inside, alpha, far_alpha[:, :s]), far_alpha[:, s:]], 1)
        rgb = torch.where(inside[..., None], rgb, far_rgb[:, :s])
        rgb = torch.cat([rgb, far_rgb[:, s:]], 1)
    weights = alpha * transmittance(alpha, rules.epsilon)
    return Sections(
        middle=middle,
        length=length,
        inside=inside,
        index=index,
        points=x,
        sdf=field.sdf,
        gradient=field.gradient,
        laplacian=field.laplacian,
        cdf=empty.index_copy(0, index, begin).view(n, s),
        weights=weights,
        rgb=(weights[..., None] * rgb).sum(1),
    )
