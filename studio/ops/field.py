"""A hash-grid field and its colours as two operations: small networks on encoded positions.

`hash_field` is the distance to a sphere plus a network on the hash grid's features y of a point x:
o = W2 act(W1 y + b1) + b2 with the smooth squareplus(z) = (z + sqrt(z^2 + 1e-3)) / 2, so that
sdf = o[0] + |x| - r and its gradient is J^T g / 2 + x / |x| with g = W1^T (act'(z) W2[0]) and J the
derivative of y by the position (see `studio.ops.hash_grid`; the half turns [0, 1] into [-1, 1]).
`colour_network` has one hidden layer of rectifiers and a logistic output.

On the CPU each is one autograd node: the field in native code, tile by tile
(`studio.ops.field_cpu`), the colours as matrix products with native loops in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.ops.backend import ready
from studio.ops.hash_grid import HashGridLayout, contract, encode, encode_reference

CURVE = 1e-3

Field = tuple[Float[Tensor, " n"], Float[Tensor, "3 n"], Float[Tensor, "o n"]]


def squareplus(z: Tensor) -> Tensor:
    """Smooth ramp without exponentials: (z + sqrt(z^2 + 1e-3)) / 2."""
    return 0.5 * (z + (z * z + CURVE).sqrt())


def length(x: Float[Tensor, "3 n"]) -> Float[Tensor, " n"]:
    """Length of feature-major vectors, differentiable also at 0."""
    return (x * x).sum(0).add(1e-12).sqrt()


def sdf_network(
    y: Float[Tensor, "k n"], w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> tuple[Float[Tensor, "o n"], Float[Tensor, "k n"]]:
    """Outputs of the field's network and the derivative g of the first one by the input."""
    z = w1 @ y + b1[:, None]
    slope = 0.5 * (1 + z / (z * z + CURVE).sqrt())
    return w2 @ squareplus(z) + b2[:, None], w1.T @ (slope * w2[0][:, None])


def hash_field_reference(
    points: Float[Tensor, "3 n"],
    table: Tensor,
    weights: Sequence[Tensor],
    layout: HashGridLayout,
    radius: float,
) -> Field:
    """Plain tensor form of `hash_field`, differentiable any number of times."""
    w1, b1, w2, b2 = weights
    with torch.enable_grad():
        x = points.detach().T.contiguous().requires_grad_()
        y = encode_reference(x * 0.5 + 0.5, table, layout).T
        out = w2 @ squareplus(w1 @ y + b1[:, None]) + b2[:, None]
        sdf = out[0] + length(x.T) - radius
        (gradient,) = torch.autograd.grad(sdf.sum(), x, create_graph=True)
    if not torch.is_grad_enabled():
        return sdf.detach(), gradient.T.detach(), out[1:].detach()
    return sdf, gradient.T, out[1:]


class _HashField(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, points: Tensor, layout: HashGridLayout, radius: float, *parameters: Tensor
    ) -> Field:
        from studio.ops import field_cpu

        points, table, *weights = (ready("field", t) for t in (points, *parameters))
        count, keep = points.shape[1], any(ctx.needs_input_grad)
        sdf, gradient = points.new_empty(count), points.new_empty(3, count)
        features = points.new_empty(len(weights[2]) - 1, count)
        results = sdf, gradient, features
        ctx.context = field_cpu.forward(points, table, weights, layout, radius, keep, *results)
        ctx.shape = table.shape
        return results

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        from studio.ops import field_cpu

        grad_table, given = grads[0].new_zeros(ctx.shape), tuple(ready("grad", g) for g in grads)
        return None, None, None, grad_table, *field_cpu.backward(ctx.context, given, grad_table)


def hash_field(
    points: Float[Tensor, "3 n"],
    table: Float[Tensor, "rows f"],
    weights: Sequence[Tensor],
    layout: HashGridLayout,
    radius: float,
    *,
    backend: str,
) -> Field:
    """Signed distance, its gradient, and the further outputs of the network.

    Differentiable once, with respect to the table and the weights only.

    Args:
        points: positions in [-1, 1]^3.
        table: the hash table.
        weights: W1 [h, k], b1 [h], W2 [1 + o, h], b2 [1 + o]; row 0 of W2 gives the distance.
        layout: level sizes of the table.
        radius: of the sphere.
        backend: what runs, chosen already: ``cpu``, ``triton``, ``tcnn`` or ``torch``.
    """
    if backend == "torch":
        return hash_field_reference(points, table, weights, layout, radius)
    if backend == "cpu":
        return _HashField.apply(points, layout, radius, table, *weights)
    y, token, encoding = encode(points * 0.5 + 0.5, table, layout, normals=True, backend=backend)
    out, g = sdf_network(y, *weights)
    away = length(points)
    gradient = contract(g, token, encoding) * 0.5 + points / away
    return out[0] + away - radius, gradient, out[1:]


def hash_distance(
    points: Float[Tensor, "3 n"],
    table: Float[Tensor, "rows f"],
    weights: Sequence[Tensor],
    layout: HashGridLayout,
    radius: float,
) -> Float[Tensor, " n"]:
    """Signed distance alone, on the CPU; the arguments are those of `hash_field`."""
    from studio.ops import field_cpu

    if torch.is_grad_enabled() and any(p.requires_grad for p in (table, *weights)):
        return hash_field(points, table, weights, layout, radius, backend="cpu")[0]
    points, table, *weights = (ready("field", t) for t in (points, table, *weights))
    sdf, none = points.new_empty(points.shape[1]), points.new_empty(3, 0)
    field_cpu.forward(points, table, weights, layout, radius, False, sdf, none, none)
    return sdf


def colour_network_reference(
    inputs: tuple[Tensor, ...], weights: Sequence[Tensor]
) -> Float[Tensor, "3 n"]:
    """Plain tensor form of `colour_network`."""
    w1, b1, w2, b2 = weights
    hidden = (w1 @ torch.cat(inputs) + b1[:, None]).relu()
    return torch.sigmoid(w2 @ hidden + b2[:, None])


class _ColourNetwork(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, *inputs: Tensor
    ) -> Tensor:
        from studio.ops import colour_cpu

        w1, b1, w2, b2 = (ready("weights", t) for t in (w1, b1, w2, b2))
        x = torch.cat(inputs)
        hidden = w1 @ x
        colour_cpu.rectify(hidden, b1)
        rgb = w2 @ hidden
        colour_cpu.squash(rgb, b2)
        ctx.save_for_backward(x, hidden, rgb, w1, w2)
        ctx.widths = [len(part) for part in inputs]
        return rgb

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_rgb: Tensor) -> tuple[Tensor | None, ...]:
        from studio.ops import colour_cpu

        x, hidden, rgb, w1, w2 = ctx.saved_tensors
        grad_out = grad_rgb * rgb * (1 - rgb)
        grad_hidden, sums = torch.empty_like(hidden), hidden.new_empty(len(hidden))
        grad_w2 = torch.empty_like(w2)
        colour_cpu.rectify_backward(hidden, w2, grad_out, grad_hidden, grad_w2, sums)
        grad_w1 = (x @ grad_hidden.T).T
        wanted, widths = ctx.needs_input_grad[4:], ctx.widths
        count = max((i + 1 for i, needed in enumerate(wanted) if needed), default=0)
        grads = (w1[:, : sum(widths[:count])].T @ grad_hidden).split(widths[:count])
        rest = [None] * (len(wanted) - count)
        return grad_w1, sums, grad_w2, grad_out.sum(1), *grads, *rest


def colour_network(
    inputs: tuple[Float[Tensor, "k n"], ...],
    weights: Sequence[Tensor],
    *,
    backend: str,
) -> Float[Tensor, "3 n"]:
    """Colours in [0, 1]: one hidden layer of rectifiers, logistic outputs. Differentiable once.

    Args:
        inputs: parts of the input, feature-major.
        weights: W1 [h, sum of k], b1 [h], W2 [3, h], b2 [3].
        backend: what runs, chosen already; all but ``cpu`` are plain tensor operations.
    """
    if backend == "cpu":
        return _ColourNetwork.apply(*weights, *inputs)
    return colour_network_reference(inputs, weights)
