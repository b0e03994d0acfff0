"""Sampling of composable ViewFusion: independent targets, or one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from studio.guidance.noise import randn_like
from studio.guidance.viewfusion_composable.composition import Composed
from studio.guidance.viewfusion_composable.noise_levels import DenoisingStep

Estimator = Callable[
    [
        Float[Tensor, "b n c h w"],
        Int[Tensor, " b"],
        Float[Tensor, "b 3 h w"],
        Float[Tensor, " b"],
        Float[Tensor, " b"],
    ],
    Composed,
]
"""From views, numbers of views in use, noisy targets, angles and levels to composed estimates."""

OnStep = Callable[[int, Float[Tensor, "b 3 h w"], Composed], None]
"""Called with the steps that remain, the noisy pictures after a step and what it was made of."""


@dataclass(frozen=True)
class ComposableSampler:
    """Turns noise into pictures by a plan of steps, the paper's 2000 or a few.

    Attributes:
        estimate: a network and the composition of what it says of every view.
        prediction_type: what it estimates, "epsilon" (the noise) or "sample" (the clean picture).
        clip_low: lowest value of an estimated clean picture; the highest is 1.
    """

    estimate: Estimator
    prediction_type: str
    clip_low: float

    def clean(
        self,
        estimate: Float[Tensor, "b 3 h w"],
        noisy: Float[Tensor, "b 3 h w"],
        level: float,
    ) -> Float[Tensor, "b 3 h w"]:
        """Return the clean picture that a composed estimate stands for, not clipped."""
        if self.prediction_type == "sample":
            return estimate
        return (noisy - (1 - level) ** 0.5 * estimate) / level**0.5

    @torch.no_grad()
    def sample(
        self,
        views: Float[Tensor, "b n c h w"],
        view_count: Int[Tensor, " b"],
        angle: Float[Tensor, " b"],
        start: Float[Tensor, "b 3 h w"],
        plan: list[DenoisingStep],
        *,
        step_noise: Float[Tensor, "s b 3 h w"] | None = None,
        generator: torch.Generator | None = None,
        on_step: OnStep | None = None,
    ) -> Float[Tensor, "b 3 h w"]:
        """Denoise a batch of targets; the pictures are in [0, 1] but for small overshoots.

        Args:
            views: input pictures as the network takes them.
            view_count: how many of each target's views are used, the first ones.
            angle: of the targets, radians.
            start: unit noise.
            plan: the steps, from `NoiseLevels.plan`.
            step_noise: unit noise of every step that has some; drawn if None.
            generator: source of what is drawn.
            on_step: called after every step.
        """
        y = start
        for i, step in enumerate(plan):
            composed = self.estimate(views, view_count, y, angle, y.new_full((len(y),), step.level))
            clean = self.clean(composed.estimate, y, step.level).clamp(self.clip_low, 1.0)
            y = step.from_clean * clean + step.from_noisy * y
            if step.sigma > 0:
                noise = randn_like(y, generator) if step_noise is None else step_noise[i]
                y = y + step.sigma * noise
            if on_step is not None:
                on_step(len(plan) - 1 - i, y, composed)
        return y

    def in_groups(
        self,
        views: Float[Tensor, "1 n c h w"],
        angles: Float[Tensor, " f"],
        start: Float[Tensor, "f 3 h w"],
        plan: list[DenoisingStep],
        *,
        at_once: int,
        generator: torch.Generator | None = None,
        on_step: OnStep | None = None,
    ) -> Float[Tensor, "f 3 h w"]:
        """Denoise all targets of one object from the same views, `at_once` in a batch."""
        made = []
        for angle, part in zip(angles.split(at_once), start.split(at_once), strict=True):
            repeated = views.expand(len(part), -1, -1, -1, -1)
            count = torch.full(angle.shape, views.shape[1], device=angle.device)
            made.append(
                self.sample(
                    repeated, count, angle, part, plan, generator=generator, on_step=on_step
                )
            )
        return torch.cat(made)

    def in_turn(
        self,
        views: Float[Tensor, "1 n c h w"],
        angles: Float[Tensor, " f"],
        start: Float[Tensor, "f 3 h w"],
        plan: list[DenoisingStep],
        *,
        step_noise: Float[Tensor, "f s 1 3 h w"] | None = None,
        generator: torch.Generator | None = None,
        on_step: OnStep | None = None,
    ) -> Float[Tensor, "f 3 h w"]:
        """Denoise one target after the other; each becomes a view of the next, as it is."""
        made = []
        for i, angle in enumerate(angles):
            picture = self.sample(
                views,
                torch.tensor([views.shape[1]], device=views.device),
                angle[None],
                start[i][None],
                plan,
                step_noise=None if step_noise is None else step_noise[i],
                generator=generator,
                on_step=on_step,
            )
            made.append(picture)
            reference = views[:, :1, :-3]  # no channels but in relative models
            views = torch.cat([views, torch.cat([reference, picture[:, None]], dim=2)], dim=1)
        return torch.cat(made)
