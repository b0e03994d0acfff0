"""Example plugin: a signed distance field made of sine layers (SIREN, Sitzmann et al. 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from studio.geometry.base import Geometry, GeometryOutput
from studio.plugins import register
from studio.plugins.ranges import Range, Width


class Sine(nn.Module):
    """A linear layer and a sine, initialised as in the paper's section 3.2."""

    def __init__(self, inputs: int, outputs: int, omega: float, *, first: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.omega = omega
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / omega
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        """Return sin(omega (W x + b))."""
        return torch.sin(self.omega * self.linear(x))


@register("geometry", "siren-sdf")
class SirenSDF(Geometry):
    """A sphere plus a small network of sine layers: smooth, and tiny on disk (example plugin)."""

    @dataclass
    class Config:
        """Options; YAML sets them under `geometry:`, the command line with dotted words.

        What stands beside a type is checked wherever the option is given (`studio.plugins.ranges`).
        """

        hidden: Width = 64
        """Units of each layer."""
        layers: Annotated[int, Range(1, 32)] = 3
        """Sine layers."""
        features: Width = 16
        """Numbers handed to the colour network."""
        omega: Annotated[float, Range(0, 1000, above=True)] = 15.0
        """Frequency of the layers; higher follows finer detail and is harder to fit."""
        radius: Annotated[float, Range(0, 2, above=True)] = 0.6
        """Radius of the sphere it starts from; the object's cube is [-1, 1]."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg
        widths = [3] + [cfg.hidden] * cfg.layers
        self.body = nn.Sequential(
            *(
                Sine(a, b, cfg.omega, first=i == 0)
                for i, (a, b) in enumerate(zip(widths[:-1], widths[1:], strict=True))
            )
        )
        self.head = nn.Linear(cfg.hidden, 1 + cfg.features)
        nn.init.zeros_(self.head.weight[:1])  # the field starts as the exact sphere
        nn.init.zeros_(self.head.bias[:1])
        self.colour_net = nn.Sequential(
            nn.Linear(cfg.features + 9, cfg.hidden), nn.ReLU(), nn.Linear(cfg.hidden, 3)
        )

    def _field(
        self, points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        sphere = (points.square().sum(-1) + 1e-12).sqrt() - self.cfg.radius
        out = self.head(self.body(points))
        return sphere + out[:, 0], out[:, 1:]

    def forward(self, points: Float[Tensor, "n 3"]) -> GeometryOutput:
        """Evaluate the field; normals are its exact derivative."""
        training = torch.is_grad_enabled()
        with torch.enable_grad():
            points = points.detach().requires_grad_()
            sdf, feature = self._field(points)
            (gradient,) = torch.autograd.grad(sdf.sum(), points, create_graph=training)
        if not training:
            return GeometryOutput(sdf.detach(), gradient.detach(), feature.detach())
        return GeometryOutput(sdf, gradient, feature)

    def sdf(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Evaluate the signed distance alone."""
        return self._field(points)[0]

    def colour(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        view_dirs: Float[Tensor, "n 3"],
        feature: Float[Tensor, "n d"],
    ) -> Float[Tensor, "n 3"]:
        """Return rgb in [0, 1]."""
        x = torch.cat([points, normals, view_dirs, feature], dim=-1)
        return torch.sigmoid(self.colour_net(x))
