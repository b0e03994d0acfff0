"""torch's Adam with a native update on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from studio.ops.backend import obstacle


class Adam(torch.optim.Adam):
    """Adam of parameters on the CPU; options and state are torch's own.

    What it takes is told by `fits`; ``fused`` is on, so that state dicts are those of torch's.
    """

    @staticmethod
    def fits(parameters: list[Tensor]) -> bool:
        """Whether the native update takes these parameters: contiguous and single precision."""
        return all(
            obstacle("cpu", p.device) is None and p.dtype == torch.float32 and p.is_contiguous()
            for p in parameters
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient."""
        from studio.ops.adam_cpu import update

        loss = loss_of(closure)
        tensors, groups, steps = [], [], []
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                state, grad = self._state_of(param), param.grad.contiguous()
                tensors.append((param, grad, state["exp_avg"], state["exp_avg_sq"]))
                groups.append(group)
                steps.append(state["step"])
        if steps:
            torch._foreach_add_(steps, 1)
            made = torch.stack(steps).tolist()
            update(tensors, [_numbers(*pair) for pair in zip(groups, made, strict=True)])
        return loss

    def _state_of(self, param: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[param]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(param)
            state["exp_avg_sq"] = torch.zeros_like(param)
        return state


def loss_of(closure: Callable[[], Any] | None) -> Any:
    """What an optimiser's closure finds, with gradients; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def _numbers(group: dict[str, Any], step: float) -> tuple[float, ...]:
    """What an update multiplies and adds: see `studio.ops.adam_cpu.update`."""
    first, second = group["betas"]
    rate, root = float(group["lr"]) / (1 - first**step), (1 - second**step) ** 0.5
    decays = float(group["eps"]), float(group["weight_decay"])
    return rate, root, 1 - first, second, 1 - second, *decays
