"""ViewFusion by interpolated denoising (arXiv 2402.18842): one view from several pictures.

The method adds no weights to Zero-1-to-3. Views are made one after the other; each is denoised
once, and every step averages the predictions for all its conditions: the input and earlier views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras
from studio.errors import ConfigError
from studio.guidance.autoencoder import decode, latent_side
from studio.guidance.backgrounds import generated_views
from studio.guidance.base import Noise, Progress
from studio.guidance.ddim import DDIMStep, OnStep, ddim_update
from studio.guidance.diffusion import guide
from studio.guidance.noise import randn_like
from studio.guidance.precision import sampled, whole
from studio.guidance.viewfusion_interpolated.encodings import EncodedViews
from studio.guidance.viewfusion_interpolated.options import (
    RELEASED,
    ViewFusionInterpolatedConfig,
)
from studio.guidance.viewfusion_interpolated.orders import (
    ViewPlan,
    camera_poses,
    make_plan,
)
from studio.guidance.viewfusion_interpolated.weights import Fusion
from studio.guidance.zero123.guidance import Zero123Guidance, condition_pixels
from studio.guidance.zero123.network import pose_vector
from studio.io.images import resize
from studio.plugins.registry import register
from studio.views import Condition, ViewSet


@register("guidance", "viewfusion-interpolated")
class ViewFusionInterpolatedGuidance(Zero123Guidance):
    """ViewFusion, interpolated: Zero-1-to-3 where every new view heeds those made before."""

    Config = ViewFusionInterpolatedConfig
    cfg: ViewFusionInterpolatedConfig

    def __init__(
        self, cfg: ViewFusionInterpolatedConfig, parts: dict[str, Any] | None = None
    ) -> None:
        """Build the networks, or take finished ones (see `Zero123Guidance`).

        Raises:
            ConfigError: if an option cannot be used.
        """
        super().__init__(cfg, parts)
        self.fusion = Fusion(cfg.input_temperature, cfg.view_temperature, cfg.window_deg)
        rig = replace(self.contract.rig, frame="azimuth")
        self.contract = replace(self.contract, inputs=("image", "images"), rig=rig)

    # ---------------------------------------------------------------- one view

    def guided_predictions(
        self,
        x: Float[Tensor, "1 c h w"],
        t: int,
        context: Float[Tensor, "n 1 d"],
        concat: Float[Tensor, "n c h w"],
    ) -> Float[Tensor, "n c h w"]:
        """Return the guided UNet output at x_t for every condition, `view_batch` at a time.

        The null condition (zeros) is the same for all of them and is run once.
        """
        scale, batch = self.cfg.guidance_scale, self.cfg.view_batch
        if scale != 1:
            context = torch.cat([torch.zeros_like(context[:1]), context])
            concat = torch.cat([torch.zeros_like(concat[:1]), concat])
        parts = []
        for tokens, latents in zip(context.split(batch), concat.split(batch), strict=True):
            noisy = torch.cat([x.expand(len(latents), -1, -1, -1), latents], 1)
            parts.append(whole(self.unet(noisy, t, tokens, return_dict=False)[0]))
        out = torch.cat(parts)
        return out if scale == 1 else guide(out[:1], out[1:], scale)

    @torch.no_grad()
    def sample_fused(
        self,
        context: Float[Tensor, "n 1 d"],
        concat: Float[Tensor, "n c h w"],
        weights: Float[Tensor, " n"],
        start: Float[Tensor, "1 c h w"],
        *,
        plan: list[DDIMStep],
        step_noise: Float[Tensor, "s k c h w"] | None = None,
        generator: torch.Generator | None = None,
        on_step: OnStep | None = None,
    ) -> Float[Tensor, "1 c h w"]:
        """Denoise one view under n conditions; returns scaled latents.

        The weighted mean of n DDIM updates from a common x_t is one update with the weighted mean
        of predictions and of noise, because the update is linear in both.

        Args:
            context: one token per condition.
            concat: latents of the conditions.
            weights: of the conditions, sum 1.
            start: unit noise, common to all conditions.
            plan: the steps, from `ddim_plan`.
            step_noise: unit noise of every step, where eta is above 0; drawn if None. One draw
                (k = 1) is shared, k = n are the conditions' own.
            generator: source of what is drawn.
            on_step: called after each step with the step and its tensors "guided" (one per
                condition), "x0", "latents".
        """
        x, share = start, weights.to(start)[:, None, None, None]
        draws = concat if self.cfg.noise == "independent" else concat[:1]
        for i, step in enumerate(plan):
            guided = self.guided_predictions(x, step.t, context, concat)
            eps, x0 = self.schedule.split((share * guided).sum(0, keepdim=True), x, step.abar)
            noise = None
            if step.sigma > 0:
                noise = randn_like(draws, generator) if step_noise is None else step_noise[i]
                noise = (share * noise).sum(0, keepdim=True)
            x = ddim_update(step, eps, x0, noise)
            if on_step is not None:
                on_step(step, {"guided": guided, "x0": x0, "latents": x})
        return x

    # ---------------------------------------------------------------- all views

    @torch.no_grad()
    def make_views(
        self,
        plan: ViewPlan,
        pixels: Float[Tensor, "i 3 s s"],
        *,
        start: Sequence[Tensor | None] = (),
        step_noise: Sequence[Tensor] = (),
        generator: torch.Generator | None = None,
        on_step: OnStep | None = None,
    ) -> Float[Tensor, "n 3 s s"]:
        """Make all views of a plan in their order; returns the pictures of all its poses.

        Args:
            plan: from `make_plan`.
            pixels: the inputs, in [-1, 1].
            start: start noise [1, c, h, w] of every view that is made; drawn where None or left
                out.
            step_noise: noise of every view's steps, see `sample_fused`.
            generator: source of what is drawn.
            on_step: see `sample_fused`.
        """
        views = EncodedViews(self, pixels)
        side = latent_side(self.vae, pixels.shape[-1])
        like = pixels.new_empty(1, self.vae.config.latent_channels, side, side)
        steps = self.plan()
        centres = plan.centres.to(pixels.device)
        for k, made in enumerate(plan.views):
            embedding, concat = views.encodings(made.conditions)
            pose = pose_vector(centres[made.conditions], centres[made.view], self.cfg.fourth_number)
            noise = start[k] if k < len(start) else None
            latents = self.sample_fused(
                self.clip_camera_projection(embedding, pose),
                concat,
                made.weights,
                randn_like(like, generator) if noise is None else noise.to(like),
                plan=steps,
                step_noise=step_noise[k] if k < len(step_noise) else None,
                generator=generator,
                on_step=on_step,
            )
            views.add(decode(self.vae, latents, self.cfg.vae_batch))
        return torch.cat(views.pixels)

    @sampled
    @torch.no_grad()
    def generate(
        self,
        condition: Condition,
        cameras: Cameras | None = None,
        *,
        generator: torch.Generator | None = None,
        noise: Tensor | Noise | None = None,
        progress: Progress | None = None,
    ) -> ViewSet:
        """Make the views that `cameras` see, by default a ring at the input's own elevation.

        A camera that stands where an input was taken from gets that input; cameras that stand in
        one place get one view. Cameras are taken to look at the origin.

        Args:
            condition: a picture, seen from its azimuth and elevation at `input_distance`, or
                several posed pictures, the first of which is the start of the order.
            cameras: target cameras.
            generator: source of all randomness that `noise` does not give.
            noise: "start" [V, c, h, w], one per camera.
            progress: called after every denoising step.

        Raises:
            ConfigError: if the condition holds no picture.
        """
        side, device = self.cfg.resolution, next(self.unet.parameters()).device
        given, eyes = self.inputs(condition)
        pixels = torch.cat([condition_pixels(Condition(image=p), side) for p in given]).to(device)
        cameras = (self.ring(eyes[0]) if cameras is None else cameras).resized(side, side)
        plan = make_plan(eyes, camera_poses(cameras), self.cfg.order, self.fusion)
        start: list[Tensor | None] = [None] * len(plan.views)
        draws = Noise.of(noise, generator, in_turn=True)
        if "start" in draws.given:
            for camera, view in enumerate(plan.targets):
                if view >= plan.inputs:
                    start[view - plan.inputs] = draws.given["start"][camera][None]
        total = len(plan.views) * len(self.plan())
        done = iter(range(1, total + 1))
        images = self.make_views(
            plan,
            pixels,
            start=start,
            generator=draws.generator("views"),
            on_step=None if progress is None else lambda *_: progress(next(done), total),
        )
        meta = {"guidance": "viewfusion-interpolated", "conditions": plan.conditions}
        views = generated_views(images[plan.targets], cameras, meta)
        for camera, view in enumerate(plan.targets):
            if view < plan.inputs:  # with its own alpha
                views.images[camera] = resize(given[view], side, side)
        return views

    def inputs(self, condition: Condition) -> tuple[list[Tensor], Float[Tensor, "i 3"]]:
        """Return the given pictures [4, h, w] and their poses (see `orders`).

        Raises:
            ConfigError: if there is no picture, or several without cameras.
        """
        if condition.views is not None:
            if len(condition.views) > 1 and condition.views.meta.get("posed") is False:
                raise ConfigError(
                    "the condition's pictures have no cameras.",
                    allowed="one picture, or posed pictures (data_type: posed-images)",
                )
            return list(condition.views.images), camera_poses(condition.views.cameras)
        if condition.image is None:
            raise ConfigError(
                "the condition holds no picture.", allowed="one RGBA picture, or posed pictures"
            )
        pose = [condition.azimuth_deg, condition.known_elevation_deg, self.cfg.input_distance]
        return [condition.image], torch.tensor([pose], dtype=torch.float64)

    def condition_cameras(self, condition: Condition) -> Cameras | None:
        """Return the cameras of the condition's pictures; a single one is at `input_distance`."""
        cameras = super().condition_cameras(condition)
        if cameras is None or condition.views is not None:
            return cameras
        return condition.camera(self.cfg.input_distance, size=cameras.size)

    def ring(self, pose: Float[Tensor, " 3"]) -> Cameras:
        """Return `views` cameras around the object, the first of them at a pose."""
        azimuth, elevation, distance = pose.tolist()
        rig = replace(self.contract.rig.at_elevation(elevation), radius=distance)
        return rig.cameras(self.cfg.resolution, azimuth)

    @classmethod
    def released(cls, **changes: Any) -> ViewFusionInterpolatedConfig:
        """Return the options of the authors' script for real pictures, with some changed."""
        return ViewFusionInterpolatedConfig(**{**RELEASED, **changes})
