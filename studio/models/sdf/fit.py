"""The loop that fits a geometry, seen through a renderer, to posed views."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import Tensor

from studio.errors import ConfigError, TrainingError
from studio.geometry.base import Geometry
from studio.models.base import check_budget
from studio.models.object_hull import ObjectHull
from studio.models.sdf.corrections import CorrectionConfig, Corrections
from studio.models.sdf.given import for_fit, replaced_views
from studio.models.sdf.loss_options import LossConfig, Losses, read_losses, weights_of
from studio.models.sdf.losses import eikonal
from studio.models.sdf.native_step import NativeStep, runs_natively
from studio.models.sdf.objective import Objective
from studio.models.sdf.optimizer import FitOptimizerConfig, make_fit_optimizer
from studio.models.sdf.ray_pool import BACKGROUNDS, SOURCES, RayBatch, RayPool, pixel_side
from studio.models.sdf.start_shape import HullConfig, check_surroundings, object_in
from studio.ops.backend import keep_freed_memory
from studio.ops.random import step_generator
from studio.ops.schedule import next_ray_count
from studio.ops.threads import kernels_only
from studio.ops.visual_hull import cell_centres, hull_distance
from studio.plugins.ranges import Factor, OneOf, Range, Share
from studio.progress import StageProgress
from studio.renderers.base import Renderer
from studio.views import ViewSet


@dataclass
class FitConfig(FitOptimizerConfig):
    """Options of the fit."""

    loss: Annotated[LossConfig, Losses()] = field(default_factory=read_losses)
    """Weights of the losses by name, and their options as `name_option`: see loss below."""
    hull: HullConfig = field(default_factory=HullConfig)
    """The visual hull."""
    correct: CorrectionConfig = field(default_factory=CorrectionConfig)
    """What is corrected of captured views."""
    rays_per_step: Annotated[int, Range(0, 2**24)] = 0
    """Rays per step; 0 lets them follow from samples_per_step."""
    samples_per_step: Annotated[int, Range(1, 2**28)] = 4096
    """Samples aimed at per step."""
    min_rays: Annotated[int, Range(1, 2**24)] = 256
    """Fewest rays per step."""
    max_rays: Annotated[int, Range(1, 2**24)] = 8192
    """Most rays per step."""
    rays_from: Annotated[str, OneOf(SOURCES)] = "all"
    """Where the rays of a step come from: all views, or one-view (NeuS)."""
    foreground: Share = 0.0
    """Share of the rays that is drawn from the masks (SyncDreamer: 0.125)."""
    background: Annotated[str, OneOf(BACKGROUNDS)] = "random"
    """Behind the training rays: random (per ray), white, black, or none (no compositing)."""
    original_weight: Factor = 10.0
    """How many generated views a given picture counts as, where pictures are given."""
    view_weights: list[Factor] = field(default_factory=list)
    """Weights of the views in the mask and normal losses (Wonder3D); none counts all alike."""


class Fitter:
    """Optimises a geometry seen through a renderer, one step at a time.

    A run that ends by its steps is a function of the seed alone: all noise is a function of
    (seed, step), and the clock is not looked at before half of the time budget is used. Only a fit
    that is far behind by then is hurried, so that its schedules still come to their end.

    Args:
        geometry: the field, in the cube [-1, 1]^3.
        renderer: renders it.
        views: what it has to look like, with masks.
        cfg: options.
        seed: of all noise.
        originals: given pictures, posed, that the views were generated from.
        shape: where the object is, if that is known already.
    """

    def __init__(
        self,
        geometry: Geometry,
        renderer: Renderer,
        views: ViewSet,
        cfg: FitConfig,
        *,
        seed: int = 0,
        originals: Sequence[ViewSet] = (),
        shape: ObjectHull | None = None,
    ) -> None:
        keep_freed_memory()
        self.geometry, self.renderer, self.cfg = geometry, renderer, cfg
        self.max_steps, self.seconds, self.seed = 0, 0.0, seed
        renderer.seed = seed
        self.started, self.step_count, self.elapsed_s = False, 0, 0.0
        self._rays_lately, self._spent_lately = 0, 0.0
        self.rays = cfg.rays_per_step or cfg.min_rays
        self.device = next(geometry.parameters()).device
        if shape is None:
            shape = object_in(views, cfg.hull, cfg.correct.reach_px(views))
        check_surroundings(views, renderer.sees_outside, "mask" in weights_of(cfg.loss))
        self.frame, self.start_hull, self.lost = shape.frame, shape.hull, shape.lost
        if shape.around is not None:
            renderer.restrict(shape.around)
        self.pool = RayPool(
            views,
            self.frame,
            renderer.meets,
            self.device,
            background=cfg.background,
            rays_from=cfg.rays_from,
            foreground=cfg.foreground,
            without=[*shape.lost, *replaced_views(views, originals)],
            originals=[for_fit(original, views, self.frame) for original in originals],
            original_weight=cfg.original_weight,
        )
        self.corrections: Corrections | None = None
        if cfg.correct.poses:
            known = (shape.lost, len(originals), renderer.sees_outside)
            self.corrections = Corrections(cfg.correct, views, self.frame, self.device, *known)
        if len(cfg.view_weights) not in (0, len(views)):
            raise ConfigError(
                f"system.view_weights has {len(cfg.view_weights)} numbers for {len(views)} views."
            )
        pixel = pixel_side(views, self.frame)
        weights = [*cfg.view_weights, *[1.0] * len(originals)] if cfg.view_weights else []
        self.objective = Objective(cfg.loss, geometry, renderer, weights, pixel)
        native = self.corrections is None and runs_natively(self.objective)
        self.native = NativeStep(self.objective) if native else None
        self.learning_rate = cfg.learning_rate()
        self.optimizer = make_fit_optimizer(self._groups(geometry, renderer), cfg)

    # --- preparation ----------------------------------------------------------------------------

    @staticmethod
    def _groups(*modules: Geometry | Renderer) -> list[dict[str, Any]]:
        return [group for module in modules for group in module.parameter_groups()]

    def start(self, steps: int = 0, seconds: float = 0.0) -> None:
        """Bring the geometry to the visual hull; of a resumed run, only take the budget.

        Args:
            steps: steps in all; 0 leaves only the time budget.
            seconds: most wall seconds of all steps together; 0 leaves only the steps.

        Raises:
            ConfigError: if both are 0.
        """
        check_budget(steps, seconds)
        self.max_steps, self.seconds, self.started = max(0, steps), seconds, True
        self._warm_up()
        if self.step_count > 0 or self.start_hull is None:
            return
        target = hull_distance(self.start_hull).to(self.device)
        centres = cell_centres(target.shape[0]).to(self.device)
        optimizer = make_fit_optimizer(self._groups(self.geometry), self.cfg, lr=1e-2)
        steps = self.cfg.hull.fit_steps
        with StageProgress("first shape", steps) as progress:
            for step in range(steps):
                generator = step_generator(self.seed, step, stream=2)
                index = torch.randint(len(centres), (6144,), generator=generator).to(self.device)
                output = self.geometry(centres[index])
                off = output.sdf - target.reshape(-1)[index]
                loss = off.abs().mean() + 0.05 * eikonal(output.gradient)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                progress(step + 1, steps)

    def _warm_up(self) -> None:
        """Compile kernels before the clock of the time budget runs; changes nothing."""
        self.renderer.train()
        self._gradients(self._batch(0), 0)
        self.optimizer.zero_grad()

    # --- the loop -------------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """Share of the fit that is done, in [0, 1]: of its steps; of time where steps are open."""
        time_share = self.elapsed_s / self.seconds if self.seconds > 0 else 0.0
        if self.max_steps <= 0:
            return min(1.0, time_share)
        return min(1.0, max(self.step_count / self.max_steps, 2.0 * time_share - 1.0))

    def step(self, update: Callable[[], Any] | None = None) -> dict[str, Tensor]:
        """Make one optimiser step and return its (detached) losses.

        Args:
            update: what steps the optimiser, where a trainer wraps it.

        Raises:
            RuntimeError: if the fit has not been started.
        """
        if not self.started:
            raise RuntimeError("the fit has not been started: call start(steps, seconds) first")
        with kernels_only() if self.native is not None else nullcontext():
            return self._step(update)

    def _step(self, update: Callable[[], Any] | None) -> dict[str, Tensor]:
        began = time.perf_counter()
        step, progress = self.step_count, self.progress
        self.renderer.train()
        self.geometry.advance(progress, step)
        self.renderer.advance(self.geometry, progress, step)
        factor = self.learning_rate(step, self.expected_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        batch = self._batch(step)
        losses, samples = self._gradients(batch, step, learn=self.corrections)
        if samples > 0:
            self.check(losses)
            (update or self.optimizer.step)()
            self.optimizer.zero_grad()
        self._rays_lately += len(batch.rays)
        self._adapt_rays(samples)
        self.step_count += 1
        spent = time.perf_counter() - began
        self.elapsed_s += spent
        self._spent_lately += spent
        return {name: value.detach() for name, value in losses.items()}

    @property
    def expected_steps(self) -> float:
        """Steps in all, as far as can be told: fewer than max_steps where time runs out first."""
        if self.progress > 0:
            return self.step_count / self.progress
        return self.max_steps or math.inf

    def _batch(self, step: int) -> RayBatch:
        """Rays of a step, of views that are corrected as far as is known."""
        batch = self.pool.batch(self.rays, seed=self.seed, step=step)
        return batch if self.corrections is None else self.corrections(batch)

    def _gradients(
        self, batch: RayBatch, step: int, learn: Corrections | None = None
    ) -> tuple[dict[str, Tensor], int]:
        """Render, compare and differentiate; return the losses and the number of samples."""
        when: dict[str, Any] = {"seed": self.seed, "step": step, "progress": self.progress}
        if self.native is not None:
            return self.native(batch, **when)
        output = self.renderer(batch.rays, self.geometry, batch.background, step=step)
        if output.samples == 0:
            return {}, 0
        losses = self.objective(output, batch, **when)
        losses["loss"].backward()
        if learn is not None:
            learn.learn(batch, output, self.progress)
        return losses, output.samples

    def _adapt_rays(self, samples: int) -> None:
        """Follow the samples that the rays need, unless the number of rays is fixed."""
        cfg = self.cfg
        if not cfg.rays_per_step:
            rays = next_ray_count(self.rays, samples, cfg.samples_per_step, cfg.max_rays)
            self.rays = max(cfg.min_rays, rays)

    def check(self, losses: dict[str, Tensor]) -> None:
        """Stop a run that has gone wrong, before its weights are touched.

        Raises:
            TrainingError: naming the step and the losses that are not finite.
        """
        if "loss" in losses and math.isfinite(float(losses["loss"].detach())):
            return
        values = {name: float(value.detach()) for name, value in losses.items()}
        bad = ", ".join(f"{k} = {v}" for k, v in values.items() if not math.isfinite(v))
        if bad:
            raise TrainingError(
                f"step {self.step_count} of the fit: {bad}.",
                hint="lower system.lr, or look at pictures and cameras for numbers that are not "
                "finite",
            )

    def figures(self) -> dict[str, float]:
        """Rays a second since the last call."""
        speed = self._rays_lately / max(self._spent_lately, 1e-9)
        self._rays_lately, self._spent_lately = 0, 0.0
        return {"rays_per_s": speed}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs beside the weights and the optimiser."""
        return {
            "step_count": self.step_count,
            "max_steps": self.max_steps,
            "seconds": self.seconds,
            "elapsed_s": self.elapsed_s,
            "rays": self.rays,
            "seed": self.seed,
            **({"corrections": self.corrections.state_dict()} if self.corrections else {}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.step_count, self.elapsed_s = state["step_count"], state["elapsed_s"]
        self.rays, self.seed = state["rays"], state["seed"]
        self.renderer.seed = self.seed
        self.load_corrections(state)

    def load_corrections(self, state: Mapping[str, Any]) -> None:
        """Take the corrections of a state over, if it has any."""
        if self.corrections and "corrections" in state:
            self.corrections.load_state_dict(state["corrections"])
