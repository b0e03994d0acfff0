"""EpiDiff as a guidance plugin: a frozen Zero-1-to-3 with trained epipolar blocks.

All views of an object are denoised together. Two settings: "right" is the paper's mathematics and
what the nano model is trained with, "released" is what the published weights were made with.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import AutoencoderKL
from jaxtyping import Float, Int
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from studio.cameras import Cameras
from studio.guidance import hub
from studio.guidance.autoencoder import decode, encode, latent_side
from studio.guidance.backgrounds import generated_views
from studio.guidance.base import Guidance, Noise, Progress, ViewContract
from studio.guidance.ddim import DDIMStep, OnStep, ddim_plan, ddim_sample
from studio.guidance.diffusion import NoiseSchedule, guided_prediction, target_latents
from studio.guidance.epidiff import checkpoint
from studio.guidance.epidiff import conditioning as cond
from studio.guidance.epidiff.camera_sets import CameraSets
from studio.guidance.epidiff.near_views import CameraSet
from studio.guidance.epidiff.network import MVModel
from studio.guidance.epidiff.options import (
    RELEASED,
    RELEASED_BASE,
    EpiDiffConfig,
    block_options,
    filled,
    with_base,
)
from studio.guidance.json_files import networks_refused
from studio.guidance.noise import randn_like
from studio.guidance.precision import sampled
from studio.guidance.zero123 import network as zero123
from studio.guidance.zero123.guidance import Zero123Guidance, condition_pixels
from studio.plugins.registry import register
from studio.views import Condition, ViewSet


@register("guidance", "epidiff")
class EpiDiffGuidance(Guidance):
    """EpiDiff: sixteen views at once, held together by attention along epipolar lines."""

    Config = EpiDiffConfig
    released_licence = "MIT, on Stable-Zero123 (Stability AI Community License)"

    vae: AutoencoderKL
    image_encoder: CLIPVisionModelWithProjection
    clip_camera_projection: zero123.CLIPCameraProjection

    def __init__(self, cfg: EpiDiffConfig, parts: dict[str, Any] | None = None) -> None:
        """Build the blocks around the base's networks.

        Args:
            cfg: options.
            parts: "unet", "vae", "image_encoder" and "clip_camera_projection" of a Zero-1-to-3
                model, instead of those of `cfg.base`.
        """
        super().__init__()
        cfg = checkpoint.with_saved_options(cfg)
        self.base_cfg, parts = checkpoint.load_base(cfg, parts)
        self.cfg = cfg = with_base(cfg, self.base_cfg)
        self.schedule = NoiseSchedule.of(self.base_cfg)
        self.contract = ViewContract(
            rig=cond.ring(cfg.views, cfg.rig_elevation_deg, truncated=cfg.rig == "truncated"),
            resolution=self.base_cfg.resolution,
        )
        self.vae, self.image_encoder = parts["vae"], parts["image_encoder"]
        self.clip_camera_projection = parts["clip_camera_projection"]
        self.requires_grad_(False)
        parts["unet"].requires_grad_(cfg.train_unet)
        where = torch.device("meta") if cfg.weights else contextlib.nullcontext()
        with networks_refused(cfg.weights), where:
            self.mv_model = MVModel(
                parts["unet"],
                block_options(cfg, parts["unet"].time_embedding.linear_2.out_features),
                tuple(cfg.insert_stages),
                tuple(cfg.insert_up_layers),
                filled(cfg.use_residual),
            )
        self.mv_model.gradient_checkpointing = cfg.gradient_checkpointing
        self.camera_sets = CameraSets(cfg)
        checkpoint.load_weights(self, self.mv_model, cfg)

    def trainable_parameters(self) -> list[dict[str, Any]]:
        """Return the optimiser groups: the epipolar blocks, and the UNet where it is trained."""
        blocks = [p for b in self.mv_model.inserted().values() for p in b.parameters()]
        groups = [{"params": blocks, "lr_scale": 1.0}]
        if self.cfg.train_unet:  # official: 0.01
            groups.append({"params": list(self.mv_model.unet.parameters()), "lr_scale": 0.01})
        return groups

    # ---------------------------------------------------------------- condition

    def prepare_clip(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 s s"]:
        """Prepare condition pictures in [-1, 1] for the CLIP tower."""
        side = self.image_encoder.config.image_size
        if self.cfg.picture_input == "processor":
            return cond.processor_pixels(pixels, side)
        return zero123.clip_pixels(pixels, side)

    @torch.no_grad()
    def tokens(
        self, pixels: Float[Tensor, "b 3 h w"], pose: Float[Tensor, "b f 4"]
    ) -> Float[Tensor, "b f k d"]:
        """Return the cross-attention tokens of every view for condition pictures in [-1, 1]."""
        embedding = zero123.clip_embedding(
            self.image_encoder, self.prepare_clip(pixels), self.base_cfg.picture_tokens
        )
        repeated = embedding.repeat_interleave(pose.shape[1], 0)
        return self.clip_camera_projection(repeated, pose.flatten(0, 1)).unflatten(
            0, pose.shape[:2]
        )

    @torch.no_grad()
    def condition_latents(
        self, pixels: Float[Tensor, "b 3 h w"], noise: Float[Tensor, "b c g u"] | None = None
    ) -> Float[Tensor, "b c g u"]:
        """Return the latents to concatenate; `noise` makes it a sample of the VAE's posterior."""
        return self._scaled_condition(encode(self.vae, pixels, noise, self.cfg.vae_batch))

    def _scaled_condition(self, latents: Tensor) -> Tensor:
        scale = self.vae.config.scaling_factor if self.base_cfg.scale_condition else 1.0
        return latents * scale

    def _condition_noise(self, like: Tensor, generator: torch.Generator | None) -> Tensor | None:
        return randn_like(like, generator) if self.cfg.condition_latents == "sample" else None

    # ---------------------------------------------------------------- training

    def training_loss(
        self,
        batch: dict[str, Any],
        *,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Mean squared error over all views; one timestep per object.

        Draws, in the official order: posterior of the condition, drop, posterior of the targets,
        timesteps, noise. `noise` [B, F, c, h, w] replaces the last.
        """
        c2w, cond_image = batch["c2w"], batch["cond_image"]
        objects = len(c2w)
        side = latent_side(self.vae, cond_image.shape[-1])
        like = cond_image.new_empty(objects, self.vae.config.latent_channels, side, side)
        with torch.no_grad():
            if batch.get("cond_latents") is not None:
                concat = self._scaled_condition(batch["cond_latents"])
            else:
                concat = self.condition_latents(cond_image, self._condition_noise(like, generator))
            drop = _uniform(objects if self.cfg.condition_drop == "object" else 1, like, generator)
            clean = target_latents(self.vae, batch, generator, self.cfg.vae_batch)
            draw_on = like.device if generator is None else generator.device
            share = self.base_cfg.noisiest_share
            t = self.schedule.draw(objects, share, generator=generator, device=draw_on)
            t = t.to(like.device)
            tokens = self.tokens(cond_image, self.camera_sets.pose_numbers(c2w, batch["cond_c2w"]))
            width, height = cond_image.shape[-1], cond_image.shape[-2]
            scale = batch["intrinsics"].new_tensor([1 / width, 1 / height, 1.0])
            targets = self.camera_sets.make(
                batch["intrinsics"] * scale[:, None], c2w, batch["cond_c2w"]
            )
            if noise is None:
                noise = randn_like(clean, generator)
        return self.denoising_loss(clean, concat, tokens, targets, t, noise, drop)

    def denoising_loss(
        self,
        clean: Float[Tensor, "b f c h w"],
        concat: Float[Tensor, "b c h w"],
        tokens: Float[Tensor, "b f k d"],
        targets: CameraSet,
        t: Int[Tensor, " b"],
        noise: Float[Tensor, "b f c h w"],
        drop: Float[Tensor, " u"],
    ) -> dict[str, Tensor]:
        """Return "loss" and what led to it ("prediction", "noisy_input", "per_item").

        Args:
            clean: scaled latents of the target views.
            concat: latents of the condition.
            tokens: cross-attention tokens.
            targets: target cameras.
            t: one timestep per object, shared by its views.
            noise: unit noise added to `clean`.
            drop: uniform draws in [0, 1), one per object or one for the whole batch; below
                `condition_dropout` the condition is dropped.
        """
        dropped = drop < self.cfg.condition_dropout
        concat = concat.masked_fill(dropped[:, None, None, None], 0)
        if self.cfg.condition_drop == "object":  # official training never drops the token
            tokens = tokens.masked_fill(dropped[:, None, None, None], 0)
        views = clean.shape[1]
        noisy = self.schedule.add_noise(clean, noise, t)
        inputs = torch.cat([noisy, concat[:, None].expand(-1, views, -1, -1, -1)], dim=2)
        prediction = self.mv_model(
            inputs.flatten(0, 1), t.repeat_interleave(views), tokens.flatten(0, 1), targets
        ).unflatten(0, clean.shape[:2])
        losses = self.schedule.losses(prediction, clean, noise, t, self.base_cfg.min_snr_gamma)
        return {**losses, "noisy_input": inputs}

    # ---------------------------------------------------------------- sampling

    def predict(
        self,
        latents: Float[Tensor, "b f c h w"],
        t: int,
        tokens: Float[Tensor, "b f k d"],
        concat: Float[Tensor, "b c h w"],
        targets: CameraSet,
    ) -> tuple[Float[Tensor, "b f c h w"], Float[Tensor, "b f c h w"] | None]:
        """Return the guided prediction at x_t, and the unconditional one (None at scale 1).

        The null condition is zeros for the latents and for the token after projection.
        """
        views, context = latents.shape[1], tokens.flatten(0, 1)
        x = torch.cat([latents, concat[:, None].expand(-1, views, -1, -1, -1)], dim=2)
        null = torch.cat([latents, torch.zeros_like(latents)], dim=2)

        def network(x: Tensor, context: Tensor) -> Tensor:
            times = torch.full((len(x),), t, device=x.device)
            return self.mv_model(x, times, context, targets)

        guided, uncond = guided_prediction(
            network,
            (x.flatten(0, 1), context),
            (null.flatten(0, 1), torch.zeros_like(context)),
            self.cfg.guidance_scale,
            batched=self.cfg.batched_guidance,
        )
        return guided.view_as(latents), None if uncond is None else uncond.view_as(latents)

    @torch.no_grad()
    def sample(
        self,
        tokens: Float[Tensor, "b f k d"],
        concat: Float[Tensor, "b c h w"],
        targets: CameraSet,
        start: Float[Tensor, "b f c h w"],
        plan: list[DDIMStep],
        on_step: OnStep | None = None,
    ) -> Float[Tensor, "b f c h w"]:
        """Denoise all views of all objects together; returns scaled latents.

        Args:
            tokens: cross-attention tokens.
            concat: latents of the condition.
            targets: target cameras.
            start: unit noise.
            plan: the steps, from `ddim_plan`.
            on_step: called after each step.
        """
        return ddim_sample(
            lambda x, t: self.predict(x, t, tokens, concat, targets),
            self.schedule,
            plan,
            start,
            on_step=on_step,
        )

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
        """Make all views that `cameras` see, together.

        The condition camera stands at the condition's azimuth and elevation, at distance 1.5.
        `noise`: "start" [F, c, h, w], "posterior" [1, c, h, w] of the condition's latents.
        """
        side = self.base_cfg.resolution
        cameras = self.contract.targets(condition, cameras)
        device = next(self.vae.parameters()).device
        pixels = self.condition_pixels(condition).to(device)
        eye = condition.camera().c2w.to(device)
        c2w = cameras.c2w[None].to(device)
        normalised = cameras.intrinsics / cameras.intrinsics.new_tensor([side, side, 1])[:, None]
        targets = self.camera_sets.make(normalised[None].to(device), c2w, eye)
        grid = latent_side(self.vae, side)
        like = pixels.new_empty(1, len(cameras), self.vae.config.latent_channels, grid, grid)
        draws = Noise.of(noise, generator, in_turn=True)
        start = draws.draw("start", like)
        sampled_condition = self.cfg.condition_latents == "sample"
        posterior = draws.draw("posterior", like[:, 0]) if sampled_condition else None
        concat = self.condition_latents(pixels, posterior)
        tokens = self.tokens(pixels, self.camera_sets.pose_numbers(c2w, eye))
        plan = self.plan()
        done = iter(range(1, len(plan) + 1))
        latents = self.sample(
            tokens,
            concat,
            targets,
            start,
            plan,
            on_step=None if progress is None else lambda *_: progress(next(done), len(plan)),
        )
        images = decode(self.vae, latents[0], self.cfg.vae_batch)
        return generated_views(images, cameras, {"guidance": "epidiff"})

    def plan(self) -> list[DDIMStep]:
        """Return the steps of a sampling run: DDIM without fresh noise."""
        return ddim_plan(self.schedule, self.cfg.steps, filled(self.cfg.timestep_spacing), eta=0.0)

    def condition_pixels(self, condition: Condition) -> Float[Tensor, "1 3 s s"]:
        """Return the condition picture on white at the base's resolution, in [-1, 1].

        Raises:
            ConfigError: if the condition holds no picture.
        """
        side = self.base_cfg.resolution
        if self.cfg.picture_input == "processor" and condition.image is not None:
            return cond.released_picture(condition.image, side)[None]
        return condition_pixels(condition, side)

    # ---------------------------------------------------------------- weights

    def save_pretrained(self, folder: Path | str, *, full: bool = False) -> None:
        """Write the blocks and config.json with the way to the base's folder.

        Args:
            folder: where to.
            full: also write the base, into `folder`/base; always done where it has no folder.
        """
        parts = {
            "unet": self.mv_model.unet,
            "vae": self.vae,
            "image_encoder": self.image_encoder,
            "clip_camera_projection": self.clip_camera_projection,
        }
        base = Zero123Guidance(self.base_cfg, parts)
        checkpoint.save_folder(self.cfg, base, self.mv_model, Path(folder), full)

    @classmethod
    def from_pretrained(cls, source: Path | str) -> Self:
        """Read a folder of `save_pretrained` with all its options, or the authors' file."""
        path = hub.locate(source)
        if path.is_dir():
            return cls(checkpoint.saved_config(cls.Config, path))
        return cls(cls.released(weights=str(path)))

    @classmethod
    def released(cls, **changes: Any) -> EpiDiffConfig:
        """Return the options of the authors' model, with some changed."""
        return EpiDiffConfig(**{**RELEASED, "zero123": RELEASED_BASE, **changes})

    def load_official(self, source: Path | str) -> dict[str, list[str]]:
        """Fill all networks from the authors' checkpoint.

        Returns:
            the names that were left out and why, see `checkpoint.load_official`.

        Raises:
            WeightsError: naming every key that is missing, left over or of another shape.
        """
        return checkpoint.load_official(self, source, self.cfg.allow_pickle)


def _uniform(count: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    device = like.device if generator is None else generator.device
    return torch.rand(count, generator=generator, device=device).to(like.device)
