"""Zero-1-to-3 as a guidance plugin: training loss, sampling, weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from studio.cameras import Cameras
from studio.errors import ConfigError
from studio.guidance.autoencoder import decode, encode, latent_side
from studio.guidance.backgrounds import generated_views
from studio.guidance.base import Guidance, Noise, Progress, ViewContract
from studio.guidance.ddim import DDIMStep, OnStep, ddim_plan, ddim_sample, ddim_timesteps
from studio.guidance.diffusion import NoiseSchedule, guided_prediction, target_latents
from studio.guidance.hub import locate
from studio.guidance.json_files import networks_refused
from studio.guidance.noise import randn_like
from studio.guidance.precision import sampled
from studio.guidance.stable_diffusion import check_widths
from studio.guidance.zero123 import checkpoint
from studio.guidance.zero123 import network as net
from studio.guidance.zero123.checkpoint import build_parts
from studio.guidance.zero123.options import RELEASED, Zero123Config
from studio.io.images import on_white
from studio.plugins.registry import register
from studio.rigs import Rig
from studio.views import Condition, ViewSet


@register("guidance", "zero123")
class Zero123Guidance(Guidance):
    """Zero-1-to-3: every view on its own from one picture and its relative camera."""

    Config = Zero123Config
    released_licence = "MIT, on Stable Diffusion (CreativeML OpenRAIL-M)"

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    image_encoder: CLIPVisionModelWithProjection
    clip_camera_projection: net.CLIPCameraProjection

    def __init__(self, cfg: Zero123Config, parts: dict[str, Any] | None = None) -> None:
        """Build the networks, or take finished ones.

        Args:
            cfg: options.
            parts: "unet", "vae", "image_encoder" and "clip_camera_projection", instead of new ones.
        """
        super().__init__()
        cfg = cfg if parts else checkpoint.with_saved_options(cfg)
        self.cfg = cfg
        self.schedule = NoiseSchedule.of(cfg)
        # refuses steps that cannot be placed, before weights are read
        ddim_timesteps(cfg.steps, cfg.timestep_spacing, len(self.schedule))
        self.contract = ViewContract(
            rig=Rig.ring(cfg.views, cfg.rig_elevation_deg), resolution=cfg.resolution
        )
        with networks_refused(cfg.weights):
            parts = parts or build_parts(cfg)
        self.unet, self.vae = parts["unet"], parts["vae"]
        self.image_encoder = parts["image_encoder"]
        self.clip_camera_projection = parts["clip_camera_projection"]
        width = self.image_encoder.config.projection_dim
        check_widths(
            self.unet.config, self.vae.config, width, f"clip.projection_dim is {width}", beside=1
        )
        latent_side(self.vae, cfg.resolution)
        self._set_trainable()

    def _set_trainable(self) -> None:
        self.vae.requires_grad_(False).eval()
        self.image_encoder.requires_grad_(self.cfg.train_clip)
        if self.cfg.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()

    def trainable_parameters(self) -> list[dict[str, Any]]:
        """Return the optimiser groups: UNet (and CLIP where it is trained), camera projection."""
        main = list(self.unet.parameters())
        if self.cfg.train_clip:
            main += [p for p in self.image_encoder.parameters() if p.requires_grad]
        projection = list(self.clip_camera_projection.parameters())
        return [
            {"params": main, "lr_scale": 1.0},
            {"params": projection, "lr_scale": self.cfg.projection_lr_scale},
        ]

    # ---------------------------------------------------------------- condition

    def embed(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n *t d"]:
        """Return CLIP embeddings of condition pictures in [-1, 1], as `picture_tokens` says."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.cfg.train_clip):
            prepared = net.clip_pixels(pixels, self.image_encoder.config.image_size)
            return net.clip_embedding(self.image_encoder, prepared, self.cfg.picture_tokens)

    @torch.no_grad()
    def condition_latents(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c g u"]:
        """Return the latents to concatenate: posterior mode of condition pictures in [-1, 1]."""
        return self._scaled_condition(encode(self.vae, pixels, batch=self.cfg.vae_batch))

    def _scaled_condition(self, latents: Tensor) -> Tensor:
        return latents * self.vae.config.scaling_factor if self.cfg.scale_condition else latents

    # ---------------------------------------------------------------- training

    def training_loss(
        self,
        batch: dict[str, Any],
        *,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Mean squared error of the prediction for every target view of every object.

        The condition's CLIP embedding and latents are computed once per object, not per view.
        `noise` [B * V, c, h, w] replaces the drawn noise.
        """
        cond_image, c2w = batch["cond_image"], batch["c2w"]
        objects, views = c2w.shape[:2]
        with torch.no_grad():
            clean = target_latents(self.vae, batch, generator, self.cfg.vae_batch)
            clean = clean.flatten(0, 1)
            if batch.get("cond_latents") is not None:
                concat = self._scaled_condition(batch["cond_latents"])
            else:
                concat = self.condition_latents(cond_image)
            pose = net.pose_vector(
                batch["cond_c2w"][:, None, :3, 3], c2w[..., :3, 3], self.cfg.fourth_number
            )
        embedding = self.embed(cond_image)
        total = objects * views
        draw_on = clean.device if generator is None else generator.device
        t = self.schedule.draw(total, self.cfg.noisiest_share, generator=generator, device=draw_on)
        drop = torch.rand(total, generator=generator, device=draw_on)
        return self.denoising_loss(
            clean,
            concat.repeat_interleave(views, 0),
            embedding.repeat_interleave(views, 0),
            pose.flatten(0, 1).to(clean),
            t.to(clean.device),
            randn_like(clean, generator) if noise is None else noise,
            drop.to(clean.device),
        )

    def denoising_loss(
        self,
        clean: Float[Tensor, "n c h w"],
        concat: Float[Tensor, "n c h w"],
        embedding: Float[Tensor, "n *t d"],
        pose: Float[Tensor, "n 4"],
        t: Int[Tensor, " n"],
        noise: Float[Tensor, "n c h w"],
        drop: Float[Tensor, " n"],
    ) -> dict[str, Tensor]:
        """Return "loss" and what led to it ("prediction", "context", "concat", "per_item").

        Args:
            clean: scaled latents of the target views.
            concat: latents of the condition, one per target view.
            embedding: CLIP embedding of the condition, one per target view.
            pose: pose vectors.
            t: timesteps.
            noise: unit noise added to `clean`.
            drop: uniform draws u in [0, 1); with p the dropout probability, the token is dropped
                for u < 2p and the latents for p <= u < 3p.
        """
        p = self.cfg.condition_dropout
        no_token, no_latents = drop < 2 * p, (drop >= p) & (drop < 3 * p)
        if self.cfg.null_token == "released":  # the pose stays and is projected
            embedding = embedding.masked_fill(no_token.view(-1, *[1] * (embedding.dim() - 1)), 0)
        context = self.clip_camera_projection(embedding, pose)
        if self.cfg.null_token == "right":
            context = context.masked_fill(no_token[:, None, None], 0)
        concat = concat.masked_fill(no_latents[:, None, None, None], 0)
        noisy = self.schedule.add_noise(clean, noise, t)
        prediction = self.unet(torch.cat([noisy, concat], 1), t, context, return_dict=False)[0]
        losses = self.schedule.losses(prediction, clean, noise, t, self.cfg.min_snr_gamma)
        return {**losses, "context": context, "concat": concat}

    # ---------------------------------------------------------------- sampling

    def predict(
        self,
        latents: Float[Tensor, "n c h w"],
        t: int,
        context: Float[Tensor, "n k d"],
        concat: Float[Tensor, "n c h w"],
        scale: float,
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"] | None]:
        """Return the guided UNet output at x_t, and the unconditional one (None at scale 1).

        The null condition is zeros for the latents and for the token after projection.
        """
        return guided_prediction(
            lambda x, token: self.unet(x, t, token, return_dict=False)[0],
            (torch.cat([latents, concat], 1), context),
            (torch.cat([latents, torch.zeros_like(concat)], 1), torch.zeros_like(context)),
            scale,
        )

    @torch.no_grad()
    def sample(
        self,
        context: Float[Tensor, "n k d"],
        concat: Float[Tensor, "n c h w"],
        start: Float[Tensor, "n c h w"],
        *,
        plan: list[DDIMStep],
        step_noise: Float[Tensor, "s n c h w"] | None = None,
        generator: torch.Generator | None = None,
        on_step: OnStep | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """Denoise n independent views; returns scaled latents.

        Args:
            context: the tokens of every view.
            concat: condition latents per view.
            start: unit noise.
            plan: the steps, from `ddim_plan`.
            step_noise: unit noise of every step, where eta is above 0; drawn if None.
            generator: source of what is drawn.
            on_step: called after each step.
        """
        return ddim_sample(
            lambda x, t: self.predict(x, t, context, concat, self.cfg.guidance_scale),
            self.schedule,
            plan,
            start,
            step_noise=step_noise,
            generator=generator,
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
        """Make the views that `cameras` see; each is denoised on its own, `view_batch` at a time.

        The condition camera stands at the condition's azimuth and elevation, as far away as the
        first target camera's rig (1.5). `noise`: "start" [V, c, h, w], "step" [S, V, c, h, w].
        """
        side = self.cfg.resolution
        cameras = self.contract.targets(condition, cameras)
        device = next(self.unet.parameters()).device
        pixels = condition_pixels(condition, side).to(device)
        eye = condition.camera().centres
        pose = net.pose_vector(eye, cameras.centres.cpu(), self.cfg.fourth_number).to(device)
        embedding, concat = self.embed(pixels), self.condition_latents(pixels)
        context = self.clip_camera_projection(
            embedding.expand(len(pose), *embedding.shape[1:]), pose
        )
        draws = Noise.of(noise, generator, in_turn=True)
        start = draws.draw("start", concat.expand(len(pose), -1, -1, -1))
        steps = draws.given.get("step")
        plan = self.plan()
        parts = list(range(0, len(pose), self.cfg.view_batch))
        done, images = 0, []

        def count(*_: Any) -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, len(parts) * len(plan))

        for first in parts:
            part = slice(first, first + self.cfg.view_batch)
            latents = self.sample(
                context[part],
                concat.expand(len(context[part]), -1, -1, -1),
                start[part],
                plan=plan,
                step_noise=None if steps is None else steps[:, part].to(device),
                generator=draws.generator("step", first),
                on_step=count,
            )
            images.append(decode(self.vae, latents, self.cfg.vae_batch))
        return generated_views(torch.cat(images), cameras, {"guidance": "zero123"})

    # ---------------------------------------------------------------- weights

    @classmethod
    def released(cls, **changes: Any) -> Zero123Config:
        """Return the options of the released models, with some changed."""
        return Zero123Config(**{**RELEASED, **changes})

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the folder layout of diffusers, plus our options in `config.json`."""
        parts = {name: getattr(self, name) for name in checkpoint.PARTS}
        checkpoint.save_folder(parts, self.cfg, Path(folder), type(self).__name__)

    def plan(self) -> list[DDIMStep]:
        """Return the steps of a run."""
        cfg = self.cfg
        return ddim_plan(self.schedule, cfg.steps, cfg.timestep_spacing, cfg.eta)

    @classmethod
    def from_pretrained(cls, source: Path | str, **changes: Any) -> Self:
        """Read a folder of `save_pretrained`, a diffusers-format copy, or a released .ckpt.

        A folder of our own brings all its options; anything else gets those of `released`;
        `changes` go over both.
        """
        return cls(checkpoint.pretrained_options(cls.Config, source, **changes))

    def load_official(self, source: Path | str) -> None:
        """Fill the networks from an authors' checkpoint; options `ema`, `allow_pickle` apply.

        Raises:
            WeightsError: naming every key that is missing, left over or of another shape.
        """
        parts = {name: getattr(self, name) for name in checkpoint.PARTS}
        path = locate(source, self.cfg.allow_download)
        checkpoint.load_official_into(
            parts, path, ema=self.cfg.ema, allow_pickle=self.cfg.allow_pickle
        )


def condition_pixels(condition: Condition, side: int) -> Float[Tensor, "1 3 s s"]:
    """Return the condition picture on white, resized, in [-1, 1].

    Raises:
        ConfigError: if the condition holds no picture.
    """
    if condition.image is None:
        raise ConfigError("the condition holds no picture.", allowed="one RGBA picture")
    return on_white(condition.image[None], side) * 2 - 1
