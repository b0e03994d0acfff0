"""The SDF of instant-nsr-pl, Wonder3D and Neuralangelo: hash grid, softplus network, radiance.

Weights are interchangeable with instant-nsr-pl's (`studio.geometry.instant_nsr_checkpoint`). The
authors' world is the cube [-radius, radius]^3; here it is scaled to [-1, 1]^3, distances included,
so gradients are the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from studio.errors import ConfigError
from studio.geometry.base import Geometry, GeometryOutput
from studio.geometry.encodings import (
    DirectionEncoding,
    FrequencyEncoding,
    HashEncoding,
    NerfstudioHashEncoding,
    differentiate,
)
from studio.geometry.finite_differences import central_differences
from studio.geometry.mlp import FusedMLP, VanillaMLP
from studio.ops.backend import BACKENDS
from studio.ops.hash_grid import FINEST, MOST_LEVELS, HashGridLayout, Interpolation
from studio.ops.progressive import smooth_resolution
from studio.plugins.ranges import Factor, Layers, OneOf, Range, Size, Steps, StepsOrZero, Width
from studio.plugins.registry import register


@register("geometry", "instant-nsr")
class InstantNSR(Geometry):
    """Hash-grid SDF of instant-nsr-pl, Wonder3D and Neuralangelo; takes their weights."""

    @dataclass
    class Config:
        """Options of the geometry; the defaults are instant-nsr-pl's for NeuS."""

        encoding: Literal["hash", "nerfstudio-hash", "frequency"] = "hash"
        """Of positions: hash (tiny-cuda-nn's), nerfstudio-hash or frequency."""
        levels: Annotated[int, Range(1, MOST_LEVELS)] = 16
        """Levels of the grid."""
        base_resolution: Annotated[int, Range(1, FINEST)] = 32
        """Cells a side of the coarsest level."""
        growth: Annotated[float, Range(1, 100)] = 1.3195079107728942
        """Factor of the resolution from level to level."""
        log2_rows: Annotated[int, Range(1, 31)] = 19
        """Largest number of table rows of a level, as a power of two."""
        level_features: Annotated[int, Range(1, 64)] = 2
        """Features per level; the numba kernels need 2."""
        interpolation: Interpolation = "linear"
        """Of the grid, between the corners of a cell: linear or smoothstep."""
        octaves: Annotated[int, Range(1, 32)] = 6
        """Octaves of the frequency encoding."""
        start_level: StepsOrZero = 0
        """Levels open at the start; 0 opens all."""
        level_every: Steps = 1000
        """Steps from one opening to the next."""
        level_after: StepsOrZero = 0
        """Step from which openings are counted."""
        hidden: Width = 64
        """Hidden units of the SDF network."""
        layers: Layers = 1
        """Hidden layers of the SDF network."""
        features: Width = 13
        """Outputs of the SDF network; the first is the distance, the texture gets all."""
        sphere_radius: Annotated[float, Range(0, 2)] = 0.5
        """Radius of the sphere it starts from, in [-1, 1]; 0: random, rectifiers, no softplus."""
        weight_norm: bool = True
        """Directions and lengths of the SDF network's weights apart."""
        radius: Size = 1.0
        """Half side of the authors' world: what the network's distances are measured in."""
        gradient: Literal["analytic", "finite-difference"] = "analytic"
        """analytic, or finite-difference (central, six taps, with a Laplacian)."""
        difference: Literal["fixed", "level", "smooth"] = "fixed"
        """Step of the differences: fixed, level (a cell of the finest open level) or smooth."""
        epsilon: Annotated[float, Range(1e-9, 1e6)] = 1e-3
        """The fixed step, in units of `radius`'s world."""
        border: Literal["exact", "released"] = "exact"
        """Taps at the cube's faces: exact divides by the real spacing; released does not."""
        directions: Literal["harmonics", "frequency", "plain", "none"] = "harmonics"
        """What the texture sees of the viewing direction: harmonics, frequency, plain or none."""
        direction_degree: Annotated[int, Range(1, 8)] = 4
        """Bands of the harmonics, or octaves."""
        texture: Literal["vanilla", "fused"] = "vanilla"
        """Texture network: vanilla (biases) or fused (tiny-cuda-nn's, without)."""
        texture_hidden: Width = 64
        """Hidden units of the texture network."""
        texture_layers: Layers = 2
        """Hidden layers of the texture network."""
        geometry_lr_scale: Factor = 1.0
        """Factor of the learning rate of everything but the texture."""
        weights: str = ""
        """Weights of instant-nsr-pl or Wonder3D (a Lightning checkpoint) to start from."""
        backend: Annotated[str, OneOf(BACKENDS)] = "auto"
        """Of the hash grid: auto, cpu (numba), triton, tcnn or torch (reference)."""

        def __post_init__(self) -> None:
            """Check what belongs together."""
            if self.difference != "fixed" and self.encoding != "hash":
                raise ConfigError(
                    f"difference is {self.difference!r}.",
                    allowed=f"fixed, with encoding: {self.encoding}",
                )
            if self.interpolation != "linear" and self.encoding == "nerfstudio-hash":
                raise ConfigError(
                    f"interpolation is {self.interpolation!r}.",
                    allowed="linear, with encoding: nerfstudio-hash",
                )

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg
        self.encoding = position_encoding(cfg)
        self.network = VanillaMLP(
            3 + self.encoding.width,
            cfg.features,
            hidden=cfg.hidden,
            layers=cfg.layers,
            sphere_radius=cfg.sphere_radius or None,
            weight_norm=cfg.weight_norm,
        )
        self.direction_encoding = DirectionEncoding(cfg.directions, cfg.direction_degree)
        inputs = cfg.features + self.direction_encoding.width + 3
        make = FusedMLP if cfg.texture == "fused" else VanillaMLP
        self.texture = make(inputs, 3, hidden=cfg.texture_hidden, layers=cfg.texture_layers)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        if cfg.weights:
            from studio.geometry.instant_nsr_checkpoint import read_instant_nsr

            read_instant_nsr(cfg.weights, self)

    step: Tensor

    def advance(self, progress: float, step: int) -> None:
        """Open the levels that are due at a step."""
        self.step.fill_(step)
        self.encoding.advance(step)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the field and the texture apart."""
        field = [*self.encoding.parameters(), *self.network.parameters()]
        scale = self.cfg.geometry_lr_scale
        return [
            {"params": field, "lr_scale": scale},
            {"params": list(self.texture.parameters()), "lr_scale": 1.0},
        ]

    @property
    def epsilon(self) -> float:
        """Present step of the finite differences, in the authors' world."""
        cfg, grid, side = self.cfg, self.encoding, 2 * self.cfg.radius
        if cfg.difference == "fixed" or not isinstance(grid, HashEncoding):
            return cfg.epsilon
        if cfg.difference == "level":
            return side / grid.resolution
        finest = cfg.base_resolution * cfg.growth ** (cfg.levels - 1)
        cells = smooth_resolution(
            int(self.step),
            base=cfg.base_resolution,
            growth=cfg.growth,
            every=cfg.level_every,
            limit=finest,
        )
        return 0.5 * side / cells  # Neuralangelo as sdfstudio has it: half a cell

    def forward(self, points: Float[Tensor, "n 3"]) -> GeometryOutput:
        """Evaluate the field in [-1, 1]^3; points themselves receive no gradient."""
        points = points.detach().to(next(self.network.parameters()).dtype)
        out = self.in_world(points * self.cfg.radius)
        unit = 1.0 / self.cfg.radius
        laplacian = None if out.laplacian is None else out.laplacian * self.cfg.radius
        return GeometryOutput(out.sdf * unit, out.gradient, out.feature, laplacian)

    def in_world(self, points: Float[Tensor, "n 3"]) -> GeometryOutput:
        """Evaluate the field in the authors' world, [-radius, radius]^3; distances are its own."""
        if self.cfg.gradient == "finite-difference":
            out, gradient, laplacian = central_differences(
                self._outputs,
                points,
                self.epsilon,
                bound=self.cfg.radius,
                exact=self.cfg.border == "exact",
            )
            return GeometryOutput(out[:, 0], gradient, out, laplacian)
        out, gradient, _ = differentiate(self.encoding, self._unit(points), self._network)
        return GeometryOutput(out[:, 0], gradient / (2 * self.cfg.radius), out)

    def _unit(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return (points + self.cfg.radius) / (2 * self.cfg.radius)

    def _network(self, unit: Float[Tensor, "n 3"], encoded: Float[Tensor, "n w"]) -> Tensor:
        """Raw outputs; the network sees the position in [-1, 1] and its encoding."""
        return self.network(torch.cat([unit * 2 - 1, encoded], 1))

    def _outputs(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        unit = self._unit(points)
        return self._network(unit, self.encoding(unit))

    def sdf(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Evaluate the signed distance alone."""
        points = points.to(next(self.network.parameters()).dtype) * self.cfg.radius
        return self._outputs(points)[:, 0] / self.cfg.radius

    def colour(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        view_dirs: Float[Tensor, "n 3"],
        feature: Float[Tensor, "n d"],
    ) -> Float[Tensor, "n 3"]:
        """Return rgb in [0, 1]; the position enters through the feature alone."""
        seen = self.direction_encoding(view_dirs)
        return torch.sigmoid(self.texture(torch.cat([feature, seen, normals], 1)))


def position_encoding(
    cfg: InstantNSR.Config,
) -> HashEncoding | FrequencyEncoding | NerfstudioHashEncoding:
    """Build the encoding that the options name."""
    if cfg.encoding == "frequency":
        opening = cfg.level_every * cfg.octaves if cfg.start_level else 0
        return FrequencyEncoding(cfg.octaves, opening)
    layout = HashGridLayout(
        cfg.levels,
        cfg.base_resolution,
        cfg.growth,
        cfg.log2_rows,
        cfg.level_features,
        cfg.interpolation,
    )
    if cfg.encoding == "nerfstudio-hash":
        finest = round(cfg.base_resolution * cfg.growth ** (cfg.levels - 1))
        return NerfstudioHashEncoding(
            cfg.levels, cfg.base_resolution, finest, cfg.log2_rows, cfg.level_features
        )
    return HashEncoding(
        layout,
        first=cfg.start_level,
        every=cfg.level_every,
        after=cfg.level_after,
        backend=cfg.backend,
    )
