"""Small networks of the instant-nsr family, with the authors' parameter names and shapes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class WeightNormLinear(nn.Module):
    """Linear layer whose rows are directions ``weight_v`` of lengths ``weight_g``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(outputs, 1))
        self.weight_v = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        """Apply the layer."""
        return F.linear(x, torch._weight_norm(self.weight_v, self.weight_g, 0), self.bias)


class VanillaMLP(nn.Module):
    """Hidden layers of one width with biases; linear output.

    With a sphere radius it starts as about the distance to that sphere (geometric initialisation,
    Atzmon and Lipman 2020), given that the first three inputs are the position; its activation is
    then softplus with beta 100 instead of ReLU.

    Args:
        inputs: width of the input.
        outputs: width of the output; the first is the distance.
        hidden: units of each hidden layer.
        layers: number of hidden layers.
        sphere_radius: of the first shape; None for Kaiming initialisation and ReLU.
        weight_norm: keep directions and lengths of the weights apart.
        bias: whether layers have biases (threestudio's networks have none).
        inside_out: negative outside the first sphere, for rooms.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        hidden: int = 64,
        layers: int = 1,
        sphere_radius: float | None = None,
        weight_norm: bool = False,
        bias: bool = True,
        inside_out: bool = False,
    ) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * layers, outputs]
        parts: list[nn.Module] = []
        for i, (width, out) in enumerate(zip(widths, widths[1:], strict=False)):
            weight, offset = torch.empty(out, width), torch.zeros(out)
            if sphere_radius is None:
                nn.init.kaiming_uniform_(weight, nonlinearity="relu")
            else:
                _sphere_init(weight, offset, sphere_radius, i == 0, i == layers, inside_out)
            parts.append(_linear(weight, offset if bias else None, weight_norm))
            if i < layers:
                parts.append(nn.ReLU() if sphere_radius is None else nn.Softplus(beta=100))
        self.layers = nn.Sequential(*parts)

    def forward(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        """Apply the network."""
        return self.layers(x)


def _linear(weight: Tensor, bias: Tensor | None, weight_norm: bool) -> nn.Module:
    outputs, inputs = weight.shape
    layer = (
        WeightNormLinear(inputs, outputs)
        if weight_norm
        else nn.Linear(inputs, outputs, bias=bias is not None)
    )
    with torch.no_grad():
        if isinstance(layer, WeightNormLinear):
            layer.weight_v.copy_(weight)
            layer.weight_g.copy_(weight.norm(dim=1, keepdim=True))
        else:
            layer.weight.copy_(weight)
        if bias is not None and layer.bias is not None:
            layer.bias.copy_(bias)
    return layer


@torch.no_grad()
def _sphere_init(
    weight: Tensor, bias: Tensor, radius: float, first: bool, last: bool, inside_out: bool
) -> None:
    outputs, inputs = weight.shape
    if last:
        sign = -1.0 if inside_out else 1.0
        weight.normal_(sign * math.sqrt(math.pi / inputs), 1e-4)
        bias.fill_(-sign * radius)
        return
    weight.normal_(0.0, math.sqrt(2.0 / outputs))
    if first:
        weight[:, 3:] = 0


class FusedMLP(nn.Module):
    """Network with tiny-cuda-nn's ``FullyFusedMLP`` layout: ReLU, no biases, one flat parameter.

    Inputs are padded with ones and outputs with rows that are ignored, both to multiples of 16.
    """

    def __init__(self, inputs: int, outputs: int, *, hidden: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        widths = [_padded(inputs), *[hidden] * layers, _padded(outputs)]
        self.shapes = [(out, width) for width, out in zip(widths, widths[1:], strict=False)]
        parts = [nn.init.xavier_uniform_(torch.empty(shape)).flatten() for shape in self.shapes]
        self.params = nn.Parameter(torch.cat(parts))

    def forward(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        """Apply the network."""
        x = F.pad(x, (0, self.shapes[0][1] - self.inputs), value=1.0)
        parts = self.params.split([rows * columns for rows, columns in self.shapes])
        for i, (part, shape) in enumerate(zip(parts, self.shapes, strict=True)):
            x = F.linear(x if i == 0 else F.relu(x), part.view(shape))
        return x[:, : self.outputs]


def _padded(width: int) -> int:
    return (width + 15) // 16 * 16
