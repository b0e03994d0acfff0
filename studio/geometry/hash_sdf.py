"""SDF on a multiresolution hash grid: Instant-NGP's encoding (Müller et al. 2022) for NeuS.

The field is an analytic sphere plus a small network on the encoded position. Normals are exact
derivatives. On the CPU they come from a single encode (`studio.ops.hash_grid`); elsewhere the
reference twin differentiates twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from studio.geometry.base import Detail, Geometry, GeometryOutput
from studio.ops.backend import BACKENDS, choose_backend
from studio.ops.field import colour_network, hash_distance, hash_field, length, squareplus
from studio.ops.hash_grid import (
    FINEST,
    MOST_LEVELS,
    HashGridLayout,
    Interpolation,
    encode,
    growth_for,
)
from studio.plugins.ranges import OneOf, Range, Width
from studio.plugins.registry import register

SMALL = Detail(across=90, observed=60_000, views=16)
"""What options that are left open follow where no pictures are known: 16 views of 128 px."""
CELLS, COARSEST, FINEST_CHOSEN, GROWTH = 2.4, 256, 2048, 1.45
"""Finest cells per pixel, the least and most of them along the cube, and the growth per level."""
AREA, SEEN, ROWS = 1.5, 4, (15, 19)
"""Pixels of a surface per square of those across, how often each is to be seen to count, and the
logarithms between which rows lie: fewer save no time, more leave the processor's cache."""

MATT = -4.0
"""Gloss before its sigmoid, at the start."""


@register("geometry", "hash-sdf")
class HashSDF(Geometry):
    """Hash-grid SDF with exact normals: fast on a CPU, detailed after seconds."""

    @dataclass
    class Config:
        """Options of the hash-grid geometry."""

        levels: Annotated[int, Range(1, MOST_LEVELS)] | None = 8
        """Levels of the grid; null: as many as lead from the coarsest to the finest one by steps of 1.45."""  # noqa: E501
        base_resolution: Annotated[int, Range(1, FINEST)] = 16
        """Cells a side of the coarsest level."""
        max_resolution: Annotated[int, Range(1, FINEST)] | None = 256
        """Cells a side of the finest level; null: by the pixels that lie across the object."""
        log2_rows: Annotated[int, Range(1, 31)] | None = 15
        """Largest number of table rows of a level, as a power of two; null: by the pixels that show the object."""  # noqa: E501
        interpolation: Interpolation = "linear"
        """Of the grid, between the corners of a cell: linear or smoothstep."""
        hidden: Width = 64
        """Hidden units of the SDF and of the colour network."""
        features: Annotated[int, Range(0, 65536)] = 15
        """Numbers handed from the SDF network to the colour network."""
        radius: Annotated[float, Range(0, 2)] = 0.6
        """Radius of the sphere it starts from; the object's cube is [-1, 1]."""
        view_dependent: bool = True
        """Whether colours may depend on the viewing direction."""
        gloss: bool = False
        """Tell mirrored light from colours, for shiny objects: textures leave it out. See loss.gloss."""  # noqa: E501
        backend: Annotated[str, OneOf(BACKENDS)] = "auto"
        """auto, cpu (numba kernels) or torch (reference)."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg
        sizes = {**vars(cfg), **self.follows(cfg, SMALL)}
        growth = growth_for(sizes["levels"], cfg.base_resolution, sizes["max_resolution"])
        self.layout = HashGridLayout(
            sizes["levels"],
            cfg.base_resolution,
            growth,
            sizes["log2_rows"],
            interpolation=cfg.interpolation,
        )
        width, hidden, outputs = self.layout.width, cfg.hidden, 1 + cfg.features
        self.table = nn.Parameter(torch.empty(self.layout.offsets[-1], 2).uniform_(-1e-4, 1e-4))
        self.w1 = nn.Parameter(torch.randn(hidden, width) * math.sqrt(2 / width))
        self.b1 = nn.Parameter(torch.empty(hidden).uniform_(-0.1, 0.1))
        w2 = torch.randn(outputs, hidden) * math.sqrt(2 / hidden)
        w2[0] = 0  # the field starts as the exact sphere
        self.w2 = nn.Parameter(w2)
        self.b2 = nn.Parameter(torch.zeros(outputs))
        self.colour_net = nn.ModuleList([nn.Linear(cfg.features + 6, hidden), nn.Linear(hidden, 3)])
        self.gloss_net: nn.ModuleList | None = None
        if cfg.gloss:
            layers = [nn.Linear(cfg.features + 4, hidden), nn.Linear(hidden, 3)]
            nn.init.constant_(layers[1].bias, MATT)
            self.gloss_net = nn.ModuleList(layers)

    @classmethod
    def follows(cls, cfg: Config, detail: Detail) -> dict[str, int]:
        """Return the sizes of the grid that are left open.

        The finest cell is smaller than a pixel, as a surface is known more finely than the pixels
        of any one picture; rows are as many as pixels that the surface could fill, as far as the
        pictures show it often enough.
        """
        found: dict[str, int] = {}
        finest = cfg.max_resolution
        if finest is None:
            finest = found["max_resolution"] = round(
                min(FINEST_CHOSEN, max(COARSEST, CELLS * detail.across))
            )
        if cfg.levels is None:
            ratio = max(1.0, finest / cfg.base_resolution)
            found["levels"] = 1 + round(math.log(ratio) / math.log(GROWTH))
        if cfg.log2_rows is None:
            wanted = min(AREA * detail.across**2, detail.observed / SEEN)
            low, high = ROWS
            found["log2_rows"] = min(high, max(low, round(math.log2(max(wanted, 1)))))
        return found

    def backend(self, device: torch.device) -> str:
        """Return what evaluates the field on a device; ``torch`` is the reference."""
        return choose_backend("hash-sdf", self.cfg.backend, device)

    @property
    def weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of the field's network."""
        return self.w1, self.b1, self.w2, self.b2

    def forward(self, points: Float[Tensor, "n 3"]) -> GeometryOutput:
        """Evaluate the field in [-1, 1]^3; points themselves receive no gradient."""
        points = points.detach().to(self.table.dtype)
        sdf, gradient, feature = hash_field(
            points.T.contiguous(),  # a view where the points are stored feature-major
            self.table,
            self.weights,
            self.layout,
            self.cfg.radius,
            backend=self.backend(points.device),
        )
        return GeometryOutput(sdf, gradient.T, feature.T)

    def sdf(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Evaluate the signed distance alone."""
        x = points.to(self.table.dtype).T.contiguous()
        backend = self.backend(points.device)
        if backend == "cpu":
            return hash_distance(x, self.table, self.weights, self.layout, self.cfg.radius)
        y, _, _ = encode(x * 0.5 + 0.5, self.table, self.layout, normals=False, backend=backend)
        hidden = squareplus(torch.addmm(self.b1[:, None], self.w1, y))
        return (self.w2[:1] @ hidden)[0] + (length(x) + (self.b2[0] - self.cfg.radius))

    def colour(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        view_dirs: Float[Tensor, "n 3"],
        feature: Float[Tensor, "n d"],
    ) -> Float[Tensor, "n 3"]:
        """Return rgb in [0, 1]; the position enters through the feature alone."""
        if self.gloss_net is None:
            seen = view_dirs if self.cfg.view_dependent else -normals
            return self._network(self.colour_net, feature, normals, seen)
        own, mirrored = self._own_and_mirrored(normals, view_dirs, feature)
        return own + mirrored * (1 - own)

    def gloss(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        view_dirs: Float[Tensor, "n 3"],
        feature: Float[Tensor, "n d"],
    ) -> Float[Tensor, "n 3"] | None:
        """Return what mirrored light adds to a colour that is the same from everywhere."""
        if self.gloss_net is None:
            return None
        own, mirrored = self._own_and_mirrored(normals, view_dirs, feature)
        return mirrored * (1 - own)

    def _own_and_mirrored(
        self, normals: Tensor, view_dirs: Tensor, feature: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The colour without gloss, and the light that comes from where the ray is mirrored to.

        Highlights of lamps far away are functions of the mirrored direction (Ref-NeRF, Verbin et
        al. 2022), which a unit of the network tells a spot of.
        """
        own = self._network(self.colour_net, feature, normals, -normals)
        along = (normals * view_dirs).sum(-1, keepdim=True)
        mirrored = view_dirs - 2 * along * normals
        return own, self._network(self.gloss_net, feature, mirrored, along)

    def _network(self, layers: Any, *inputs: Float[Tensor, "n k"]) -> Float[Tensor, "n 3"]:
        weights = [layer.get_parameter(n) for layer in layers for n in ("weight", "bias")]
        backend = self.backend(inputs[0].device)
        return colour_network(tuple(x.T for x in inputs), weights, backend=backend).T
