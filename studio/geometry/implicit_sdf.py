"""threestudio's implicit SDF: one hash grid, separate networks for distance and features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from studio.geometry.base import Geometry, GeometryOutput
from studio.geometry.encodings import HashEncoding, differentiate
from studio.geometry.finite_differences import central_differences
from studio.geometry.mlp import VanillaMLP
from studio.ops.backend import BACKENDS
from studio.ops.hash_grid import FINEST, MOST_LEVELS, HashGridLayout, Interpolation
from studio.plugins.ranges import Length, OneOf, Range, Size, Steps, StepsOrZero, Width
from studio.plugins.registry import register

OneOrThree = Annotated[list[Size], Length(1, 1)] | Annotated[list[Size], Length(3, 3)]


@register("geometry", "implicit-sdf")
class ImplicitSDF(Geometry):
    """threestudio's SDF: hash grid plus an analytic ellipsoid, networks without biases."""

    @dataclass
    class Config:
        """Options of the geometry; the defaults are threestudio's."""

        levels: Annotated[int, Range(1, MOST_LEVELS)] = 16
        """Levels of the grid."""
        base_resolution: Annotated[int, Range(1, FINEST)] = 16
        """Cells a side of the coarsest level."""
        growth: Annotated[float, Range(1, 100)] = 1.447269237440378
        """Factor of the resolution from level to level."""
        log2_rows: Annotated[int, Range(1, 31)] = 19
        """Largest number of table rows of a level, as a power of two."""
        interpolation: Interpolation = "linear"
        """Of the grid, between the corners of a cell: linear or smoothstep."""
        start_level: StepsOrZero = 0
        """Levels open at the start; 0 opens all."""
        level_every: Steps = 1000
        """Steps from one opening to the next."""
        level_after: StepsOrZero = 0
        """Step from which openings are counted."""
        hidden: Width = 64
        """Hidden units of the networks."""
        features: Annotated[int, Range(3, 65536)] = 3
        """Numbers from the feature network; with 3 they are the colour before the sigmoid."""
        semi_axes: OneOrThree = field(default_factory=lambda: [0.5])
        """Of the ellipsoid it starts from; one number is a sphere's radius."""
        gradient: Literal["analytic", "finite-difference"] = "analytic"
        """analytic (outwards; the released code returns its negative), or finite-difference."""
        difference: Literal["fixed", "level"] = "fixed"
        """Step of the differences: fixed, or level (a cell of the finest open level)."""
        epsilon: Annotated[float, Range(1e-6, 1)] = 0.01
        """The fixed step, in units of half the cube."""
        backend: Annotated[str, OneOf(BACKENDS)] = "auto"
        """Of the hash grid: auto, cpu (numba), triton, tcnn or torch (reference)."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg
        layout = HashGridLayout(
            cfg.levels,
            cfg.base_resolution,
            cfg.growth,
            cfg.log2_rows,
            interpolation=cfg.interpolation,
        )
        self.encoding = HashEncoding(
            layout,
            first=cfg.start_level,
            every=cfg.level_every,
            after=cfg.level_after,
            backend=cfg.backend,
        )
        self.sdf_network = VanillaMLP(layout.width, 1, hidden=cfg.hidden, bias=False)
        self.feature_network = VanillaMLP(layout.width, cfg.features, hidden=cfg.hidden, bias=False)

    def advance(self, progress: float, step: int) -> None:
        """Open the levels that are due at a step."""
        self.encoding.advance(step)

    @property
    def epsilon(self) -> float:
        """Present step of the finite differences."""
        level = self.cfg.difference == "level"
        return 2.0 / self.encoding.resolution if level else self.cfg.epsilon

    def forward(self, points: Float[Tensor, "n 3"]) -> GeometryOutput:
        """Evaluate the field in [-1, 1]^3; points themselves receive no gradient."""
        points = points.detach().to(self.encoding.table.dtype)
        if self.cfg.gradient == "finite-difference":
            out, gradient, laplacian = central_differences(self._outputs, points, self.epsilon)
            feature = self.feature_network(self.encoding(points * 0.5 + 0.5))
            return GeometryOutput(out[:, 0], gradient, feature, laplacian)
        out, gradient, encoded = differentiate(self.encoding, points * 0.5 + 0.5, self._distance)
        return GeometryOutput(out[:, 0], gradient * 0.5, self.feature_network(encoded))

    def sdf(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Evaluate the signed distance alone."""
        return self._outputs(points.to(self.encoding.table.dtype))[:, 0]

    def _outputs(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 1"]:
        unit = points * 0.5 + 0.5
        return self._distance(unit, self.encoding(unit))

    def _distance(
        self, unit: Float[Tensor, "n 3"], encoded: Float[Tensor, "n w"]
    ) -> Float[Tensor, "n 1"]:
        """Network plus |x| - r, or |x / axes| - 1 for an ellipsoid (no distance, but its sign)."""
        axes = torch.tensor(list(self.cfg.semi_axes)).to(unit)
        first = ((unit * 2 - 1) / axes).square().sum(-1, keepdim=True).add(1e-12).sqrt() - 1
        if len(axes) == 1:
            first = first * axes
        return self.sdf_network(encoded) + first

    def colour(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        view_dirs: Float[Tensor, "n 3"],
        feature: Float[Tensor, "n d"],
    ) -> Float[Tensor, "n 3"]:
        """Return rgb in [0, 1]; it depends on the position alone."""
        return torch.sigmoid(feature[:, :3])
