"""Fits a geometry to posed views: the loop of the reconstruction system."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Rays
from studio.errors import DataError
from studio.geometry.base import Geometry
from studio.ops.backend import keep_freed_memory
from studio.ops.random import step_generator
from studio.ops.visual_hull import (
    Frame,
    agreed_hull,
    cell_centres,
    hull_distance,
    tight_frame,
    visual_hull,
)
from studio.renderers.base import Renderer
from studio.views import ViewSet

logger = logging.getLogger(__name__)


@dataclass
class LossConfig:
    """Weights of the losses."""

    colour: float = 1.0
    """Weight of the colour loss."""
    colour_norm: str = "l1"
    """l1 or mse."""
    mask: float = 0.1
    """Weight of the binary cross-entropy of the mask."""
    eikonal: float = 0.03
    """Weight of (|gradient| - 1)^2 at the samples."""


@dataclass
class HullConfig:
    """The visual hull: where rays are sampled, and the first shape."""

    enabled: bool = True
    """Start from the visual hull of the masks; otherwise from the geometry's sphere."""
    agreement: float = 1.0
    """Share of the views that must see a cell; 1 for captures, about 0.8 for generated views."""
    coverage: float = 0.9
    """Share of the masks the hull has to fill; below it, the agreement is relaxed."""
    dilation_px: float = 1.5
    """How far masks are grown for the space that is sampled."""
    resolution: int = 96
    """Cells a side of the hull that the first shape is fitted to."""
    fit_steps: int = 120
    """Optimiser steps of that fit."""


@dataclass
class FitConfig:
    """Options of the fit."""

    loss: LossConfig = field(default_factory=LossConfig)
    """Weights of the losses."""
    hull: HullConfig = field(default_factory=HullConfig)
    """The visual hull."""
    lr: float = 1e-2
    """Learning rate after the warm-up."""
    lr_end: float = 0.1
    """Factor of the learning rate at the end; in between exponential in the progress."""
    warmup_steps: int = 30
    """Steps of linear warm-up."""
    samples_per_step: int = 4096
    """Samples aimed at per step; the number of rays follows from it."""
    min_rays: int = 256
    """Fewest rays per step."""
    max_rays: int = 8192
    """Most rays per step."""
    background: str = "random"
    """Behind the training rays: random (per ray), white, black, or none (no compositing)."""


class Fitter:
    """Optimises a geometry seen through a renderer, one step at a time.

    A run limited by steps is a function of the seed alone: all noise is a function of (seed, step).

    Args:
        geometry: the field, in the cube [-1, 1]^3.
        renderer: renders it.
        views: what it has to look like, with masks.
        cfg: options.
        max_steps: steps in all; 0 leaves only the time budget. It can be set later.
        time_budget_s: wall seconds of all steps together; 0 leaves only the steps.
        seed: of all noise.
    """

    def __init__(
        self,
        geometry: Geometry,
        renderer: Renderer,
        views: ViewSet,
        cfg: FitConfig,
        *,
        max_steps: int = 0,
        time_budget_s: float = 0.0,
        seed: int = 0,
    ) -> None:
        if cfg.background not in ("random", "white", "black", "none"):
            raise ValueError(f"background is {cfg.background!r}: random, white, black or none")
        keep_freed_memory()
        self.geometry, self.renderer, self.cfg = geometry, renderer, cfg
        self.max_steps, self.time_budget_s, self.seed = max_steps, time_budget_s, seed
        renderer.seed = seed
        self.step_count = 0
        self.elapsed_s = 0.0
        self.samples_per_ray = 12.0
        self.rays_in_step = 0
        self.device = next(geometry.parameters()).device
        self.frame, self.start_hull = self._carve(views)
        self.rays, self.targets = self._ray_pool(views)
        self.optimizer = make_optimizer([geometry, renderer], cfg)

    # --- preparation ----------------------------------------------------------------------------

    def _carve(self, views: ViewSet) -> tuple[Frame, Tensor | None]:
        """Find the cube that holds the object, tell the renderer where to sample."""
        frame = Frame(torch.zeros(3), float(views.bound) * 1.04)
        cfg = self.cfg.hull
        if not cfg.enabled:
            return frame, None
        if not bool((views.mask > 0.5).any()):
            raise DataError(
                "every mask of these views is empty.", allowed="views with an alpha channel"
            )
        coarse, agreement = agreed_hull(views, frame, 48, cfg.agreement, cfg.coverage)
        if coarse is None:
            return frame, None
        frame = tight_frame(coarse, frame)
        around = visual_hull(
            views,
            frame,
            64,
            agreement=agreement,
            dilation_px=cfg.dilation_px,
            cover_cells=True,
        )
        self.renderer.restrict(around)
        fine = visual_hull(views, frame, cfg.resolution, agreement=agreement, within=around)
        return frame, fine

    def _ray_pool(self, views: ViewSet) -> tuple[Rays, Float[Tensor, "n 4"]]:
        """Rays that meet the sampled space, in the local frame, and their RGBA."""
        origins, directions, targets = [], [], []
        for i in range(len(views)):
            world = views.cameras[[i]].rays()
            local = Rays(
                self.frame.to_local(world.origins).to(self.device), world.directions.to(self.device)
            )
            met = self.renderer.meets(local)
            origins.append(local.origins[met])
            directions.append(local.directions[met])
            targets.append(views.images[i].reshape(4, -1).T.to(self.device)[met])
        rays = Rays(torch.cat(origins), torch.cat(directions))
        if len(rays) == 0:
            raise DataError(
                f"no ray of the {len(views)} views meets the object's cube (bound {views.bound}).",
                hint="check the camera convention, the object's position and the bound",
            )
        return rays, torch.cat(targets)

    def start(self) -> None:
        """Bring the geometry to the visual hull; does nothing on a resumed run."""
        if self.max_steps <= 0 and self.time_budget_s <= 0:
            raise ValueError("a fit needs max_steps or time_budget_s")
        self._warm_up()
        if self.step_count > 0 or self.start_hull is None:
            return
        target = hull_distance(self.start_hull).to(self.device)
        centres = cell_centres(target.shape[0]).to(self.device)
        optimizer = make_optimizer([self.geometry], self.cfg, lr=1e-2)
        for step in range(self.cfg.hull.fit_steps):
            generator = step_generator(self.seed, step, stream=2)
            index = torch.randint(len(centres), (6144,), generator=generator).to(self.device)
            output = self.geometry(centres[index])
            off = output.sdf - target.reshape(-1)[index]
            loss = off.abs().mean() + 0.05 * eikonal_loss(output.gradient)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    def _warm_up(self) -> None:
        """Compile kernels before the clock of the time budget runs; changes nothing."""
        self.renderer.train()
        rays, target, background = self._batch(0)
        output = self.renderer(rays, self.geometry, background)
        if output.samples > 0:
            self._losses(output, target, background)["loss"].backward()
        self.optimizer.zero_grad()

    # --- the loop -------------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """Share of the budget that is used, in [0, 1]: of steps or of time, the larger."""
        steps = self.step_count / self.max_steps if self.max_steps > 0 else 0.0
        seconds = self.elapsed_s / self.time_budget_s if self.time_budget_s > 0 else 0.0
        return min(1.0, max(steps, seconds))

    @property
    def done(self) -> bool:
        """Whether the budget is used up."""
        return self.progress >= 1.0

    def step(self, update: Callable[[], Any] | None = None) -> dict[str, Tensor]:
        """Make one optimiser step and return its (detached) losses.

        Args:
            update: what steps the optimiser, where a trainer wraps it.
        """
        began = time.perf_counter()
        step, progress = self.step_count, self.progress
        self.renderer.train()
        self.geometry.advance(progress, step)
        self.renderer.advance(self.geometry, progress, step)
        for group in self.optimizer.param_groups:
            warm = min(1.0, (step + 1) / max(self.cfg.warmup_steps, 1))
            group["lr"] = group["base_lr"] * warm * self.cfg.lr_end**progress
        rays, target, background = self._batch(step)
        output = self.renderer(rays, self.geometry, background, step=step)
        losses = {}
        if output.samples > 0:
            losses = self._losses(output, target, background)
            losses["loss"].backward()
            (update or self.optimizer.step)()
            self.optimizer.zero_grad()
        self.rays_in_step = len(rays)
        seen = output.samples / len(rays)
        self.samples_per_ray = 0.95 * self.samples_per_ray + 0.05 * max(seen, 1.0)
        self.step_count += 1
        self.elapsed_s += time.perf_counter() - began
        return {name: value.detach() for name, value in losses.items()}

    def _batch(self, step: int) -> tuple[Rays, Tensor, Tensor | None]:
        cfg = self.cfg
        count = int(cfg.samples_per_step / self.samples_per_ray)
        count = max(cfg.min_rays, min(cfg.max_rays, count))
        generator = step_generator(self.seed, step)
        index = torch.randint(len(self.rays), (count,), generator=generator).to(self.device)
        background = None
        if cfg.background == "random":
            background = torch.rand(count, 3, generator=generator).to(self.device)
        elif cfg.background != "none":
            background = torch.full(
                (count, 3), float(cfg.background == "white"), device=self.device
            )
        rays = Rays(self.rays.origins[index], self.rays.directions[index])
        return rays, self.targets[index], background

    def _losses(self, output: Any, target: Tensor, background: Tensor | None) -> dict[str, Tensor]:
        cfg = self.cfg.loss
        alpha = target[:, 3:]
        wanted = target[:, :3] * alpha
        if background is not None:
            wanted = wanted + background * (1 - alpha)
        off = output.rgb - wanted
        losses = {"colour": off.abs().mean() if cfg.colour_norm == "l1" else off.square().mean()}
        # official NeuS: opacity clipped to [1e-3, 1 - 1e-3] before the cross-entropy
        losses["mask"] = F.binary_cross_entropy(output.mask.clamp(1e-3, 1 - 1e-3), alpha[:, 0])
        losses["eikonal"] = eikonal_loss(output.gradients)
        losses["loss"] = sum(getattr(cfg, name) * value for name, value in losses.items())
        return losses

    def check(self, losses: dict[str, Tensor]) -> None:
        """Stop a run that has gone wrong.

        Raises:
            FloatingPointError: naming the step and the loss that is not finite.
        """
        for name, value in losses.items():
            if not math.isfinite(float(value)):
                raise FloatingPointError(
                    f"loss {name!r} is {float(value)} at step {self.step_count}"
                )

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs beside the weights and the optimiser."""
        return {
            "step_count": self.step_count,
            "elapsed_s": self.elapsed_s,
            "samples_per_ray": self.samples_per_ray,
            "seed": self.seed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.step_count, self.elapsed_s = state["step_count"], state["elapsed_s"]
        self.samples_per_ray, self.seed = state["samples_per_ray"], state["seed"]
        self.renderer.seed = self.seed


def eikonal_loss(gradients: Float[Tensor, "p 3"]) -> Float[Tensor, ""]:
    """Mean of (|gradient| - 1)^2."""
    g = gradients.T
    return ((g * g).sum(0).add(1e-12).sqrt() - 1).square().mean()


def make_optimizer(
    modules: Sequence[Geometry | Renderer], cfg: FitConfig, lr: float | None = None
) -> torch.optim.Optimizer:
    """Adam over the parameter groups; ``base_lr`` of a group is its full learning rate."""
    groups = []
    for group in [group for module in modules for group in module.parameter_groups()]:
        rate = (cfg.lr if lr is None else lr) * group.get("lr_scale", 1.0)
        groups.append({"params": group["params"], "lr": rate, "base_lr": rate})
    return torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True)
