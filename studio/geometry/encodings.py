"""Encodings of positions in [0, 1]^3 and of directions, as the instant-nsr family uses them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from studio.ops.backend import choose_backend
from studio.ops.hash_grid import HashGridLayout, contract, encode, encode_reference
from studio.ops.nerfstudio_hash import encode_nerfstudio, scalings
from studio.ops.progressive import level_resolution, open_levels
from studio.ops.spherical_harmonics import spherical_harmonics


class FrequencyEncoding(nn.Module):
    """sin(x), cos(x), sin(2x), cos(2x), sin(4x), ... each of all three coordinates.

    Args:
        octaves: number of frequencies 1, 2, 4, ...
        open_steps: steps in which the octaves fade in one after another; 0 has all at once.
    """

    scale: Float[Tensor, " octaves"]
    share: Float[Tensor, " octaves"]

    def __init__(self, octaves: int, open_steps: int = 0) -> None:
        super().__init__()
        self.width, self.octaves, self.open_steps = 6 * octaves, octaves, open_steps
        self.register_buffer("scale", 2.0 ** torch.arange(octaves), persistent=False)
        self.register_buffer("share", torch.ones(octaves))
        self.advance(0)

    def advance(self, step: int) -> None:
        """Set each octave's share: (1 - cos(pi clamp(step / open_steps * octaves - k))) / 2."""
        if self.open_steps > 0:
            order = torch.arange(self.octaves, device=self.share.device)
            part = (step / self.open_steps * self.octaves - order).clamp(0, 1)
            self.share.copy_((1 - torch.cos(math.pi * part)) / 2)

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n w"]:
        """Encode."""
        angle = points[:, None] * self.scale.to(points)[:, None]
        waves = torch.stack([angle.sin(), angle.cos()], 2)  # [n, octave, sin | cos, 3]
        return (waves * self.share.to(points)[:, None, None]).flatten(1)


class HashEncoding(nn.Module):
    """Multiresolution hash grid whose levels may open one after another.

    Closed levels are evaluated and multiplied by 0, so their table rows receive no gradient.

    Args:
        layout: level sizes (tiny-cuda-nn's).
        first: levels open at the start; 0 opens all.
        every: steps between openings.
        after: step from which they are counted.
        backend: auto, cpu (numba, two features per level), triton, tcnn or torch (reference).
    """

    open: Tensor

    def __init__(
        self,
        layout: HashGridLayout,
        *,
        first: int = 0,
        every: int = 1000,
        after: int = 0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.layout, self.width, self.backend = layout, layout.width, backend
        self.first, self.every, self.after = first or layout.levels, every, after
        rows = torch.empty(layout.offsets[-1], layout.features).uniform_(-1e-4, 1e-4)
        self.table = nn.Parameter(rows)
        self.register_buffer("open", torch.tensor(min(self.first, layout.levels)))

    def advance(self, step: int) -> None:
        """Open the levels that are due."""
        count = open_levels(step, first=self.first, every=self.every, after=self.after)
        self.open.fill_(min(count, self.layout.levels))

    @property
    def resolution(self) -> float:
        """Cells a side of the finest open level."""
        return level_resolution(int(self.open), self.layout.base_resolution, self.layout.growth)

    @property
    def mask(self) -> Float[Tensor, " w"]:
        """1 for the features of open levels, 0 for the others."""
        level = torch.arange(self.layout.levels, device=self.table.device)
        return (level < self.open).to(self.table.dtype).repeat_interleave(self.layout.features)

    def native(self, device: torch.device) -> bool:
        """Whether native kernels can encode on a device."""
        supported = self.layout.features == 2
        return choose_backend("hash grid", self.backend, device, supported=supported) != "torch"

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n w"]:
        """Encode; points that require a gradient take the reference path."""
        if self.native(points.device) and not points.requires_grad:
            x = points.T.contiguous()
            y, _, _ = encode(x, self.table, self.layout, normals=False, backend=self.backend)
            return y.T * self.mask
        return encode_reference(points, self.table, self.layout) * self.mask


class NerfstudioHashEncoding(nn.Module):
    """nerfstudio's torch hash grid, another function than tiny-cuda-nn's."""

    scale: Float[Tensor, " levels"]

    def __init__(
        self, levels: int, min_resolution: int, max_resolution: int, log2_rows: int, features: int
    ) -> None:
        super().__init__()
        self.width = levels * features
        self.register_buffer(
            "scale", scalings(levels, min_resolution, max_resolution), persistent=False
        )
        rows = torch.empty(levels * 2**log2_rows, features).uniform_(-1e-3, 1e-3)
        self.table = nn.Parameter(rows)

    def advance(self, step: int) -> None:
        """All levels are always open."""

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n w"]:
        """Encode."""
        return encode_nerfstudio(points, self.table, self.scale)


class DirectionEncoding(nn.Module):
    """Unit directions as harmonics, frequencies of (d + 1) / 2, themselves, or nothing.

    Args:
        kind: harmonics, frequency, plain or none.
        degree: bands of the harmonics, or octaves.
    """

    def __init__(self, kind: str, degree: int) -> None:
        super().__init__()
        if kind not in ("harmonics", "frequency", "plain", "none"):
            raise ValueError(f"directions are {kind!r}: harmonics, frequency, plain or none")
        self.kind, self.degree = kind, degree
        self.waves = FrequencyEncoding(degree) if kind == "frequency" else None
        self.width = {"harmonics": degree**2, "frequency": 6 * degree, "plain": 3, "none": 0}[kind]

    def forward(self, directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n w"]:
        """Encode."""
        if self.kind == "harmonics":
            return spherical_harmonics(directions, self.degree)
        if self.waves is not None:
            return self.waves(directions * 0.5 + 0.5)
        return directions if self.kind == "plain" else directions[:, :0]


def differentiate(
    encoding: nn.Module,
    points: Float[Tensor, "n 3"],
    network: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Float[Tensor, "n f"], Float[Tensor, "n 3"], Float[Tensor, "n w"]]:
    """Evaluate a network on encoded points and differentiate its first output by the position.

    With native kernels the grid is visited once and only the network is differentiated twice.
    Gradients reach the parameters through all results, unless they are switched off.

    Args:
        encoding: of the points.
        points: in [0, 1]^3; they receive no gradient.
        network: from points and their encoding to outputs; it has to use the points.

    Returns:
        The outputs, the derivative of the first one, and the encoded points.
    """
    training, points = torch.is_grad_enabled(), points.detach()
    if isinstance(encoding, HashEncoding) and encoding.native(points.device):
        y, token, jacobian = encode(
            points.T.contiguous(),
            encoding.table,
            encoding.layout,
            normals=True,
            backend=encoding.backend,
        )
        with torch.enable_grad():
            x = points.requires_grad_()
            y = y if y.requires_grad else y.detach().requires_grad_()
            encoded = y.T * encoding.mask
            out = network(x, encoded)
            g, direct = torch.autograd.grad(out[:, 0].sum(), (y, x), create_graph=training)
        gradient = contract(g, token, jacobian).T + direct
    else:
        with torch.enable_grad():
            x = points.requires_grad_()
            encoded = encoding(x)
            out = network(x, encoded)
            (gradient,) = torch.autograd.grad(out[:, 0].sum(), x, create_graph=training)
    if not training:
        return out.detach(), gradient.detach(), encoded.detach()
    return out, gradient, encoded
