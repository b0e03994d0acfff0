"""DDIM sampling (Song et al., arXiv 2010.02502), as the latent-diffusion methods use it.

`ddim_plan` turns a `NoiseSchedule` into the list of steps of one run, `ddim_update` performs one of
them, `ddim_sample` all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from studio.errors import ConfigError
from studio.guidance.diffusion import NoiseSchedule
from studio.guidance.noise import randn_like

Spacing = Literal["zero123", "ldm", "leading", "trailing"]


@dataclass(frozen=True)
class DDIMStep:
    """One denoising step from `t` to the next lower timestep of the plan."""

    t: int
    """Timestep given to the network."""
    abar: float
    """abar at t."""
    abar_prev: float
    """abar at the next lower timestep (abar_0 after the last one)."""
    sigma: float
    """Standard deviation of the fresh noise."""


def ddim_timesteps(steps: int, spacing: Spacing, train_steps: int = 1000) -> list[int]:
    """List the timesteps of a run, highest first.

    Args:
        steps: requested number of steps.
        spacing: "zero123" is the list of the Zero-1-to-3 programs: every (train_steps // steps)-th
            plus one, without the highest, so it may hold one entry more or fewer than asked for
            (75 gives 76, 50 gives 49). "ldm" keeps the highest, and adds one to none if that
            would leave the chain. "leading" is diffusers' with steps_offset 1. "trailing"
            ends at the last training step, which short runs and zero terminal SNR need.
        train_steps: length of the training chain.

    Raises:
        ConfigError: if the spacing cannot place that many steps.
    """
    if not 1 <= steps <= train_steps:
        raise ConfigError(f"steps is {steps}.", allowed=f"1 to {train_steps}")
    stride = train_steps // steps
    if spacing == "zero123":
        times = [t + 1 for t in range(0, train_steps, stride)]
        if times[-1] >= train_steps or len(times) < 2:
            near = " or ".join(str(n) for n in (steps - 1, steps + 1) if n > 1)
            raise ConfigError(
                f"steps is {steps}, which spacing 'zero123' cannot place: "
                f"it would need timestep {times[-1]} of 0..{train_steps - 1} or leaves no step.",
                hint=f"take {near} steps, or spacing 'leading'",
            )
        return times[-2::-1]
    if spacing == "ldm":
        times = list(range(0, train_steps, stride))
        return [t + (times[-1] + 1 < train_steps) for t in reversed(times)]
    if spacing == "leading":
        return [min(i * stride + 1, train_steps - 1) for i in reversed(range(steps))]
    if spacing == "trailing":
        return [round(train_steps - i * train_steps / steps) - 1 for i in range(steps)]
    assert_never(spacing)


def ddim_plan(schedule: NoiseSchedule, steps: int, spacing: Spacing, eta: float) -> list[DDIMStep]:
    """Work out every number of a DDIM run (Song et al., arXiv 2010.02502, equations 12 and 16).

    Args:
        schedule: the noise schedule of the network.
        steps: requested number of steps.
        spacing: see `ddim_timesteps`.
        eta: 0 is deterministic, 1 draws as much fresh noise as DDPM.
    """
    times = ddim_timesteps(steps, spacing, len(schedule))
    table = schedule.alphas_cumprod.double().tolist()
    plan = []
    for t, lower in zip(times, [*times[1:], 0], strict=True):
        abar, prev = table[t], table[lower]
        variance = (1 - prev) / (1 - abar) * (1 - abar / prev)
        plan.append(DDIMStep(t, abar, prev, eta * max(variance, 0.0) ** 0.5))
    return plan


def ddim_update(
    step: DDIMStep,
    eps: Float[Tensor, "b ..."],
    x0: Float[Tensor, "b ..."],
    noise: Float[Tensor, "b ..."] | None = None,
) -> Float[Tensor, "b ..."]:
    """Move to the next lower timestep, given the estimated noise and x_0 (equation 12).

    Raises:
        ValueError: if the step draws noise and none is given.
    """
    direction = max(1 - step.abar_prev - step.sigma**2, 0.0) ** 0.5
    x = step.abar_prev**0.5 * x0 + direction * eps
    if step.sigma > 0:
        if noise is None:
            raise ValueError(f"step t={step.t} has sigma {step.sigma:.4g} and needs noise")
        x = x + step.sigma * noise
    return x


OnStep = Callable[[DDIMStep, dict[str, Tensor | None]], None]
"""Called after a step with its tensors "uncond" (None at scale 1), "guided", "x0" and "latents"."""


def ddim_sample(
    predict: Callable[[Tensor, int], tuple[Tensor, Tensor | None]],
    schedule: NoiseSchedule,
    plan: list[DDIMStep],
    start: Float[Tensor, "b ..."],
    *,
    step_noise: Float[Tensor, "s b ..."] | None = None,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Float[Tensor, "b ..."]:
    """Denoise from unit noise, step by step; returns scaled latents.

    Args:
        predict: from x_t and t to the guided output of the network and the unconditional one.
        schedule: what the output means.
        plan: the steps, from `ddim_plan`.
        start: unit noise.
        step_noise: unit noise of every step, where eta is above 0; drawn if None.
        generator: source of what is drawn.
        on_step: called after each step.
    """
    x = start
    for i, step in enumerate(plan):
        guided, uncond = predict(x, step.t)
        eps, x0 = schedule.split(guided, x, step.abar)
        noise = None
        if step.sigma > 0:
            noise = randn_like(x, generator) if step_noise is None else step_noise[i]
        x = ddim_update(step, eps, x0, noise)
        if on_step is not None:
            on_step(step, {"uncond": uncond, "guided": guided, "x0": x0, "latents": x})
    return x
