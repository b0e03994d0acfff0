"""Muon (Jordan et al. 2024): steps whose matrices are orthogonal.

Momentum M of a weight matrix is replaced by the nearest matrix with equal singular values, found by
a Newton-Schulz iteration: rare directions of the gradient get as long a step as frequent ones. The
step's root mean square is that of Adam's (Liu et al. 2025, arXiv 2502.16982), so that learning
rates and weight decay mean the same for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.ops.adam import loss_of

COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of x, x^3 and x^5 in the iteration, which takes singular values of 0.01 to 1 to about 1."""
ITERATIONS = 4
ADAM_RMS = 0.2
"""Root mean square of Adam's steps, in learning rates."""


class Muon(torch.optim.Optimizer):
    """Muon for weights of two or more axes (kernels as [out, in * h * w]), AdamW for all others.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: momentum of matrices is the first; Adam's decays.
        weight_decay: decoupled.
        eps: Adam's.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.95, 0.99),
        weight_decay: float = 0.01,
        eps: float = 1e-8,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "eps": eps}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make a step."""
        loss = loss_of(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    change = self._matrix if parameter.ndim >= 2 else self._adam
                    parameter.sub_(change(parameter, group), alpha=group["lr"])
        return loss

    def _matrix(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """The step of a matrix, in learning rates, by Nesterov's momentum."""
        state, beta = self.state[parameter], group["betas"][0]
        grad: Any = parameter.grad
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"]
        momentum.lerp_(grad, 1 - beta)
        ahead = grad.lerp(momentum, beta).flatten(1)
        rms = ADAM_RMS * max(ahead.shape) ** 0.5
        return (orthogonal(ahead) * rms).reshape(parameter.shape)

    def _adam(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """The step of a vector, in learning rates."""
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        grad: Any = parameter.grad
        if not state:
            state |= {"step": 0, "mean": torch.zeros_like(grad), "square": torch.zeros_like(grad)}
        state["step"] = step = state["step"] + 1
        mean, square = state["mean"], state["square"]
        mean.lerp_(grad, 1 - beta1)
        square.lerp_(grad.square(), 1 - beta2)
        deviation = (square / (1 - beta2**step)).sqrt_().add_(group["eps"])
        return mean / (1 - beta1**step) / deviation


def orthogonal(matrix: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """Return a matrix of the same singular vectors, whose singular values are about 1 (0.7 to 1.2).

    The iteration runs in bfloat16, whose errors are far below its own.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    x = x.bfloat16()
    for _ in range(ITERATIONS):
        squared = x @ x.T
        x = a * x + (b * squared + c * squared @ squared) @ x
    return (x.T if tall else x).to(matrix.dtype)
