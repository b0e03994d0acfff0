"""The SDF network on an encoding: value, features and derivative by the input in one pass.

One hidden layer of width H with the smooth activation squareplus(z) = (z + sqrt(z^2 + 1e-3)) / 2:
o = W2 act(W1 y + b1) + b2 and g = d o[0] / d y = W1^T (act'(z) * W2[0]).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from studio.ops.backend import ready

CURVE = 1e-3


def squareplus(z: Tensor) -> Tensor:
    """Smooth ramp without exponentials: (z + sqrt(z^2 + 1e-3)) / 2."""
    return 0.5 * (z + (z * z + CURVE).sqrt())


def sdf_network_reference(
    y: Float[Tensor, "k n"], w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> tuple[Float[Tensor, "o n"], Float[Tensor, "k n"]]:
    """Plain tensor form of `sdf_network`, differentiable any number of times."""
    z = w1 @ y + b1[:, None]
    slope = 0.5 * (1 + z / (z * z + CURVE).sqrt())
    return w2 @ squareplus(z) + b2[:, None], w1.T @ (slope * w2[0][:, None])


class _SdfNetwork(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y, w1, b1, w2, b2):
        from studio.ops import field_cpu

        y, w1, b1 = ready("y", y), ready("w1", w1), ready("b1", b1)
        w2, b2 = ready("w2", w2), ready("b2", b2)
        z = w1 @ y
        hidden, slope = torch.empty_like(z), torch.empty_like(z)
        field_cpu.activate(z.numpy(), b1.numpy(), w2[0].numpy(), hidden.numpy(), slope.numpy())
        ctx.save_for_backward(y, w1, w2, z, hidden, slope)
        return torch.addmm(b2[:, None], w2, hidden), w1.T @ slope

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_o, grad_g):
        from studio.ops import field_cpu

        y, w1, w2, z, hidden, slope = ctx.saved_tensors
        grad_slope = w1 @ grad_g
        grad_z = w2.T @ grad_o  # gradient by the hidden units, turned into that by z in place
        sums, slope_sums = z.new_zeros(len(z)), z.new_zeros(len(z))
        field_cpu.activate_backward(
            z.numpy(),
            w2[0].numpy(),
            grad_z.numpy(),
            grad_slope.numpy(),
            sums.numpy(),
            slope_sums.numpy(),
        )
        grad_w1 = torch.addmm(slope @ grad_g.T, grad_z, y.T)
        grad_w2 = grad_o @ hidden.T
        grad_w2[0] += slope_sums
        grad_y = w1.T @ grad_z if ctx.needs_input_grad[0] else None
        return grad_y, grad_w1, sums, grad_w2, grad_o.sum(1)


def sdf_network(
    y: Float[Tensor, "k n"],
    w1: Float[Tensor, "h k"],
    b1: Tensor,
    w2: Float[Tensor, "o h"],
    b2: Tensor,
) -> tuple[Float[Tensor, "o n"], Float[Tensor, "k n"]]:
    """Outputs and the derivative g of the first output by the input.

    Differentiable once, in both results (the backward pass of g contains the second derivative).
    On the CPU the passes over the hidden units are native loops, elsewhere tensor operations.

    Args:
        y: encoded points, feature-major.
        w1: hidden weights.
        b1: hidden biases.
        w2: output weights; row 0 gives the SDF.
        b2: output biases.
    """
    if y.device.type != "cpu":
        return sdf_network_reference(y, w1, b1, w2, b2)
    return _SdfNetwork.apply(y, w1, b1, w2, b2)
