"""The networks of NeuS (Wang et al. 2021, section 3.3), built on IDR's (Yariv et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

ColourMode = Literal["idr", "no_view_dir", "no_normal", "reflected"]


def embedding_width(dimensions: int, octaves: int) -> int:
    """Numbers that `positional_embedding` makes of one point."""
    return dimensions * (1 + 2 * octaves)


def positional_embedding(x: Float[Tensor, "n d"], octaves: int) -> Float[Tensor, "n e"]:
    """Append sin(2^k x) and cos(2^k x) to x, octave by octave, without the factor pi."""
    if octaves == 0:
        return x
    frequencies = 2.0 ** torch.arange(octaves, dtype=x.dtype, device=x.device)
    angles = x[:, None] * frequencies[:, None]
    waves = torch.stack([angles.sin(), angles.cos()], dim=2)  # [n, octaves, 2, d]
    return torch.cat([x, waves.flatten(1)], dim=1)


class WeightNormLinear(nn.Module):
    """Linear layer with W = g v / |v| row by row (Salimans and Kingma 2016).

    The parameters are called ``weight_g`` and ``weight_v``, as in published checkpoints.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        linear = nn.Linear(inputs, outputs)
        self.bias = linear.bias
        self.weight_g = nn.Parameter(torch.empty(outputs, 1))
        self.weight_v = linear.weight
        self.set_weight(linear.weight.detach().clone())

    @torch.no_grad()
    def set_weight(self, weight: Float[Tensor, "outputs inputs"]) -> None:
        """Make ``weight`` the matrix of the layer."""
        self.weight_v.copy_(weight)
        self.weight_g.copy_(weight.norm(dim=1, keepdim=True))

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        """Apply the layer."""
        scale = self.weight_g / self.weight_v.norm(dim=1, keepdim=True)
        return F.linear(x, self.weight_v * scale, self.bias)


def _linear(inputs: int, outputs: int, weight_norm: bool) -> WeightNormLinear | nn.Linear:
    return WeightNormLinear(inputs, outputs) if weight_norm else nn.Linear(inputs, outputs)


class SDFNetwork(nn.Module):
    """Signed distance and features of a point; layers are called ``lin0``, ``lin1``, ...

    Args:
        hidden: width of the hidden layers.
        layers: number of hidden layers; one more gives the outputs.
        features: outputs beside the distance.
        octaves: of the positional embedding.
        skips: layers that see the embedded point again.
        radius: of the sphere that the geometric start roughly gives.
        scale: points are multiplied by it before they are embedded.
        scale_sdf: whether the distance is divided by ``scale`` (SyncDreamer does not).
        geometric_start: start roughly as a sphere (Atzmon and Lipman 2020).
        inside_out: start as a room instead: positive inside the sphere.
        weight_norm: see `WeightNormLinear`.
    """

    def __init__(
        self,
        hidden: int = 256,
        layers: int = 8,
        features: int = 256,
        *,
        octaves: int = 6,
        skips: Collection[int] = (4,),
        radius: float = 0.5,
        scale: float = 1.0,
        scale_sdf: bool = True,
        geometric_start: bool = True,
        inside_out: bool = False,
        weight_norm: bool = True,
    ) -> None:
        super().__init__()
        self.octaves, self.scale = octaves, scale
        self.skips = frozenset(skips)
        self.sdf_scale = 1 / scale if scale_sdf else 1.0
        self.count = layers + 1
        embedded = embedding_width(3, octaves)
        inputs = [embedded] + [hidden] * layers
        for i in range(self.count):
            outputs = 1 + features if i == layers else hidden
            if i + 1 in self.skips:
                outputs -= embedded  # the next layer sees both
            layer = _linear(inputs[i], outputs, weight_norm)
            if geometric_start:
                _start_as_sphere(layer, i, layers, self.skips, embedded, radius, inside_out)
            setattr(self, f"lin{i}", layer)

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 1+f"]:
        """Return the signed distance and, behind it, the features."""
        embedded = positional_embedding(points * self.scale, self.octaves)
        h = embedded
        for i in range(self.count):
            if i in self.skips:
                h = torch.cat([h, embedded], dim=1) / math.sqrt(2)
            h = getattr(self, f"lin{i}")(h)
            if i + 1 < self.count:
                h = F.softplus(h, beta=100)
        if self.sdf_scale == 1:
            return h
        return torch.cat([h[:, :1] * self.sdf_scale, h[:, 1:]], dim=1)


@torch.no_grad()
def _start_as_sphere(
    layer: WeightNormLinear | nn.Linear,
    index: int,
    last: int,
    skips: Collection[int],
    embedded: int,
    radius: float,
    inside_out: bool,
) -> None:
    """Draw a layer's weights so that the network is roughly |x| - radius.

    The embedding's waves count for nothing at first, neither at the input nor at the skips.
    """
    name = "weight_v" if isinstance(layer, WeightNormLinear) else "weight"
    outputs, inputs = layer.get_parameter(name).shape
    weight = torch.randn(outputs, inputs) * math.sqrt(2 / outputs)
    bias = torch.zeros(outputs)
    if index == last:
        sign = -1.0 if inside_out else 1.0
        weight = sign * math.sqrt(math.pi / inputs) + 1e-4 * torch.randn(outputs, inputs)
        bias.fill_(-sign * radius)
    elif index == 0 and embedded > 3:
        weight[:, 3:] = 0
    elif index in skips and embedded > 3:
        weight[:, 3 - embedded :] = 0
    if isinstance(layer, WeightNormLinear):
        layer.set_weight(weight)
    else:
        layer.weight.copy_(weight)
    layer.bias.copy_(bias)


class ColourNetwork(nn.Module):
    """Colour of a point from its position, viewing direction, SDF gradient and features.

    The inputs follow the mode, in this order (d is the embedded viewing direction):

    - ``idr``: point, d, gradient, feature;
    - ``no_view_dir``: point, gradient, feature;
    - ``no_normal``: point, d, feature;
    - ``reflected`` (SyncDreamer): as ``idr``, but with the unit normal, and the direction to the
      camera mirrored at it in place of the viewing direction.

    Args:
        hidden: width of the hidden layers.
        layers: number of hidden layers.
        features: width of the feature.
        octaves: of the embedding of the direction.
        mode: see above.
        sigmoid: squeeze the colour into [0, 1].
        weight_norm: see `WeightNormLinear`.
    """

    def __init__(
        self,
        hidden: int = 256,
        layers: int = 4,
        features: int = 256,
        *,
        octaves: int = 4,
        mode: ColourMode = "idr",
        sigmoid: bool = True,
        weight_norm: bool = True,
    ) -> None:
        super().__init__()
        self.octaves, self.mode, self.sigmoid = octaves, mode, sigmoid
        self.count = layers + 1
        direction = 0 if mode == "no_view_dir" else embedding_width(3, octaves)
        normal = 0 if mode == "no_normal" else 3
        widths = [3 + direction + normal + features] + [hidden] * layers + [3]
        for i in range(self.count):
            setattr(self, f"lin{i}", _linear(widths[i], widths[i + 1], weight_norm))

    def forward(
        self,
        points: Float[Tensor, "n 3"],
        gradient: Float[Tensor, "n 3"],
        view_dirs: Float[Tensor, "n 3"],
        feature: Float[Tensor, "n f"],
    ) -> Float[Tensor, "n 3"]:
        """Return rgb seen along unit ``view_dirs`` (from the camera to the point)."""
        if self.mode == "reflected":
            gradient = F.normalize(gradient, dim=1)
            along = (view_dirs * gradient).sum(1, keepdim=True)
            view_dirs = view_dirs - 2 * along * gradient
        parts = [points]
        if self.mode != "no_view_dir":
            parts.append(positional_embedding(view_dirs, self.octaves))
        if self.mode != "no_normal":
            parts.append(gradient)
        h = torch.cat([*parts, feature], dim=1)
        for i in range(self.count):
            h = getattr(self, f"lin{i}")(h)
            if i + 1 < self.count:
                h = F.relu(h)
        return torch.sigmoid(h) if self.sigmoid else h
