"""The geometry of NeuS (Wang et al. 2021): a deep SDF network and a colour network.

Published checkpoints of NeuS, SyncDreamer and Wonder3D's NeuS fit in, see `neus_checkpoint`.
Difference: distance, gradient and feature come from one evaluation instead of two, with the same
numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from studio.errors import ConfigError
from studio.geometry.base import Geometry, GeometryOutput
from studio.geometry.neus_checkpoint import load_parts
from studio.geometry.neus_networks import ColourNetwork, SDFNetwork, embedding_width
from studio.plugins.ranges import Factor, Range, Size, Width
from studio.plugins.registry import register

CHUNK = 16384  # points evaluated at once where no gradient is recorded


@register("geometry", "neus-mlp")
class NeuSMLP(Geometry):
    """The official NeuS networks: slow on a CPU, no grid and no table."""

    @dataclass
    class Config:
        """Options of the networks; the defaults are the published ones."""

        hidden: Width = 256
        """Hidden units of the SDF network."""
        layers: Annotated[int, Range(1, 64)] = 8
        """Hidden layers of the SDF network."""
        features: Width = 256
        """Numbers handed from the SDF network to the colour network."""
        skips: list[Annotated[int, Range(1, 64)]] = field(default_factory=lambda: [4])
        """Layers of the SDF network that see the embedded point again."""
        octaves: Annotated[int, Range(0, 32)] = 6
        """Octaves of the positional embedding of points."""
        radius: Factor = 0.5
        """Radius of the sphere it roughly starts from; the object's cube is [-1, 1]."""
        scale: Size = 1.0
        """Points are multiplied by it on their way into the network."""
        scale_sdf: bool = True
        """Whether distances are divided by scale in return."""
        geometric_start: bool = True
        """Start roughly as a sphere; otherwise at random."""
        inside_out: bool = False
        """Start as a room: positive inside the sphere."""
        weight_norm: bool = True
        """Split weights into direction and length (checkpoints then hold weight_g, weight_v)."""
        colour_hidden: Width = 256
        """Hidden units of the colour network."""
        colour_layers: Annotated[int, Range(1, 64)] = 4
        """Hidden layers of the colour network."""
        colour_octaves: Annotated[int, Range(0, 32)] = 4
        """Octaves of the embedding of directions."""
        colour_mode: Literal["idr", "no_view_dir", "no_normal", "reflected"] = "idr"
        """Inputs of the colour network: idr, no_view_dir, no_normal or reflected (SyncDreamer)."""
        colour_sigmoid: bool = True
        """Squeeze colours into [0, 1]."""
        colour_lr_scale: Factor = 1.0
        """Learning rate of the colour network, relative to the SDF network's."""
        weights: str | None = None
        """Checkpoint of NeuS (.pth), SyncDreamer or Wonder3D's NeuS (.ckpt) to start from."""

        def __post_init__(self) -> None:
            """Check what belongs together."""
            if not all(1 <= i <= self.layers for i in self.skips):
                raise ConfigError(
                    f"skips is {self.skips}.", allowed=f"layers from 1 to {self.layers}"
                )
            embedded = embedding_width(3, self.octaves)
            if self.skips and self.hidden <= embedded:
                raise ConfigError(
                    f"hidden is {self.hidden}.",
                    allowed=f"more than {embedded}, the width of the embedded point, or skips: []",
                )

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg
        self.sdf_network = SDFNetwork(
            cfg.hidden,
            cfg.layers,
            cfg.features,
            octaves=cfg.octaves,
            skips=cfg.skips,
            radius=cfg.radius,
            scale=cfg.scale,
            scale_sdf=cfg.scale_sdf,
            geometric_start=cfg.geometric_start,
            inside_out=cfg.inside_out,
            weight_norm=cfg.weight_norm,
        )
        self.colour_network = ColourNetwork(
            cfg.colour_hidden,
            cfg.colour_layers,
            cfg.features,
            octaves=cfg.colour_octaves,
            mode=cfg.colour_mode,  # type: ignore[arg-type]
            sigmoid=cfg.colour_sigmoid,
            weight_norm=cfg.weight_norm,
        )
        if cfg.weights is not None:
            load_parts(cfg.weights, self.neus_parts())

    def neus_parts(self) -> dict[str, torch.nn.Module]:
        """What published checkpoints call the networks here."""
        return {"sdf": self.sdf_network, "colour": self.colour_network}

    def forward(self, points: Float[Tensor, "n 3"]) -> GeometryOutput:
        """Evaluate the field with its exact gradient; points themselves receive no gradient."""
        learning = torch.is_grad_enabled()
        if not learning and len(points) > CHUNK:
            parts = [self(part) for part in points.split(CHUNK)]
            names = ("sdf", "gradient", "feature")
            return GeometryOutput(*(torch.cat([getattr(p, n) for p in parts]) for n in names))
        with torch.enable_grad():
            x = points.detach().to(self._dtype).requires_grad_()
            out = self.sdf_network(x)
            (gradient,) = torch.autograd.grad(out[:, 0].sum(), x, create_graph=learning)
        if not learning:
            out = out.detach()
        return GeometryOutput(out[:, 0], gradient, out[:, 1:])

    def sdf(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Evaluate the signed distance alone."""
        return self.sdf_network(points.to(self._dtype))[:, 0]

    def colour(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        view_dirs: Float[Tensor, "n 3"],
        feature: Float[Tensor, "n d"],
    ) -> Float[Tensor, "n 3"]:
        """Return rgb in [0, 1]; ``normals`` were raw gradients in the published trainings."""
        return self.colour_network(points, normals, view_dirs, feature)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return one group for each network."""
        return [
            {"params": list(self.sdf_network.parameters()), "lr_scale": 1.0},
            {
                "params": list(self.colour_network.parameters()),
                "lr_scale": self.cfg.colour_lr_scale,
            },
        ]

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype
