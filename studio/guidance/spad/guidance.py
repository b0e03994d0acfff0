"""SPAD as a guidance plugin: a text in, views at any cameras out, all denoised together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import CLIPTextModel

from studio.cameras import Cameras
from studio.config import parse_config
from studio.errors import ConfigError
from studio.guidance.autoencoder import decode, encode, latent_side
from studio.guidance.backgrounds import views_on_white
from studio.guidance.base import Guidance, Progress, ViewContract
from studio.guidance.diffusion import (
    DDIMStep,
    NoiseSchedule,
    ddim_plan,
    ddim_update,
    guided_prediction,
    randn_like,
    target_latents,
)
from studio.guidance.folders import read_config, resolve
from studio.guidance.spad import checkpoint
from studio.guidance.spad.attention import RESAMPLES, Scene
from studio.guidance.spad.network import CameraProjection, MultiViewUNet, blob
from studio.guidance.spad.options import RELEASED, SpadConfig
from studio.guidance.spad.scenes import SceneMaker
from studio.guidance.spad.text import Tokenizer, WordTokenizer
from studio.registry import register
from studio.views import Condition, ViewSet


@register("guidance", "spad")
class SpadGuidance(Guidance):
    """SPAD: consistent views of what a text describes."""

    Config = SpadConfig

    denoiser: MultiViewUNet
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    camera_projection: CameraProjection

    def __init__(
        self,
        cfg: SpadConfig,
        parts: dict[str, Any] | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        """Build the networks, or take finished ones.

        Args:
            cfg: options.
            parts: "unet", "vae", "text_encoder" and "camera_projection", instead of new ones.
            tokenizer: that goes with them.
        """
        super().__init__()
        cfg = cfg if parts else checkpoint.with_saved_options(cfg)
        self.cfg = cfg
        if cfg.mask_resample not in RESAMPLES:
            raise ConfigError(
                f"mask_resample is {cfg.mask_resample!r}.", allowed=", ".join(RESAMPLES)
            )
        self.schedule = NoiseSchedule.of(cfg)
        self.contract = ViewContract(
            ("text",), cfg.views, cfg.rig_elevation_deg, cfg.fov_deg, cfg.radius, cfg.resolution
        )
        networks: dict[str, Any]
        if parts is None:
            networks, self.tokenizer = checkpoint.build_parts(cfg)
        else:
            networks, self.tokenizer = parts, tokenizer or checkpoint.build_tokenizer(cfg)
        self.denoiser, self.vae = networks["unet"], networks["vae"]
        self.text_encoder = networks["text_encoder"]
        self.camera_projection = networks["camera_projection"]
        self.scenes = SceneMaker(cfg, latent_side(self.vae, cfg.resolution))
        self._check_widths()
        self._set_trainable()

    def _check_widths(self) -> None:
        unet, latent = self.denoiser.unet.config, self.vae.config.latent_channels
        if (unet.in_channels, unet.out_channels) != (latent, latent):
            raise ConfigError(
                f"unet has {unet.in_channels} input and {unet.out_channels} output channels, "
                f"the VAE {latent} latent channels.",
                allowed=f"unet.in_channels {latent}, unet.out_channels {latent}",
            )
        width = self.text_encoder.config.hidden_size
        if unet.cross_attention_dim != width:
            raise ConfigError(
                f"unet.cross_attention_dim is {unet.cross_attention_dim}, "
                f"text.hidden_size is {width}.",
                allowed="equal numbers",
            )

    def _set_trainable(self) -> None:
        self.vae.requires_grad_(False).eval()
        self.text_encoder.requires_grad_(self.cfg.train_text)
        if self.cfg.gradient_checkpointing:
            self.denoiser.unet.enable_gradient_checkpointing()

    def trainable_parameters(self) -> list[dict[str, Any]]:
        """Return the optimiser groups: UNet (and text tower if trained), camera projection."""
        main = list(self.denoiser.parameters())
        if self.cfg.train_text:
            main += [p for p in self.text_encoder.parameters() if p.requires_grad]
        return [
            {"params": main, "lr_scale": 1.0},
            {
                "params": list(self.camera_projection.parameters()),
                "lr_scale": self.cfg.projection_lr_scale,
            },
        ]

    # ---------------------------------------------------------------- condition

    def embed(self, prompts: list[str]) -> Float[Tensor, "b l d"]:
        """Return the text tower's last states, all positions; the prompts are taken as they are."""
        numbers = self.tokenizer(prompts).to(self._device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.cfg.train_text):
            return self.text_encoder(input_ids=numbers).last_hidden_state

    def prefixed(self, prompt: str) -> str:
        """Return the prompt as the model saw prompts of objects in training."""
        prefix = self.cfg.prompt_prefix
        return prompt if prompt.startswith(prefix) else prefix + prompt

    @property
    def _device(self) -> torch.device:
        return next(self.denoiser.parameters()).device

    # ---------------------------------------------------------------- training

    def training_loss(
        self,
        batch: dict[str, Any],
        *,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Mean squared error over all views; one timestep and one text per object.

        Draws, in this order: posterior of the targets, timesteps, text drop, noise. `noise`
        [B, V, c, h, w] replaces the last.

        Raises:
            ConfigError: if the data have no captions.
        """
        if "caption" not in batch:
            raise ConfigError(
                "SPAD is trained with texts and the data have no captions.",
                hint="Add data.captions=true.",
            )
        captions = [self.prefixed(text) for text in batch["caption"]]
        side = self.cfg.resolution
        with torch.no_grad():
            clean = target_latents(self.vae, batch, generator)
            views = zip(batch["c2w"].cpu(), batch["intrinsics"].cpu(), strict=True)
            objects = [Cameras(c2w, k, (side, side)) for c2w, k in views]
            scene = self.scenes.of(objects, clean.device)
            numbers = self.scenes.numbers(objects).to(clean.device)
        count, draw_on = len(clean), clean.device if generator is None else generator.device
        t = torch.randint(len(self.schedule), (count,), generator=generator, device=draw_on)
        drop = torch.rand(count, generator=generator, device=draw_on) < self.cfg.text_dropout
        states = self.embed([*captions, ""])
        return self.denoising_loss(
            clean,
            states[:-1, None].expand(-1, clean.shape[1], -1, -1),
            states[-1],
            drop.to(clean.device),
            numbers,
            scene,
            t.to(clean.device)[:, None].expand(-1, clean.shape[1]),
            randn_like(clean, generator) if noise is None else noise,
        )

    def denoising_loss(
        self,
        clean: Float[Tensor, "n v c h w"],
        text: Float[Tensor, "n v l d"],
        no_text: Float[Tensor, "l d"],
        drop: Bool[Tensor, " n"],
        numbers: Float[Tensor, "n v k"],
        scene: Scene,
        t: Int[Tensor, "n v"],
        noise: Float[Tensor, "n v c h w"],
    ) -> dict[str, Tensor]:
        """Return "loss" and what led to it ("mse", "noisy", "prediction", "per_view").

        Args:
            clean: scaled latents of the views.
            text: states of the objects' texts, one per view.
            no_text: states of the empty text.
            drop: objects whose text is replaced by the empty one.
            numbers: camera numbers.
            scene: rays and masks.
            t: timesteps.
            noise: unit noise added to `clean`.
        """
        n, v = clean.shape[:2]
        flat, flat_noise, times = clean.flatten(0, 1), noise.flatten(0, 1), t.flatten()
        noisy = self.schedule.add_noise(flat, flat_noise, times)
        prediction = self.denoiser(
            noisy.unflatten(0, (n, v)),
            t,
            torch.where(drop[:, None, None, None], no_text, text),
            self.camera_projection(numbers),
            scene,
        )
        target = self.schedule.target(flat, flat_noise, times)
        error = F.mse_loss(prediction.flatten(0, 1), target, reduction="none").flatten(1).mean(1)
        weight = self.schedule.loss_weight(times, self.cfg.min_snr_gamma)
        return {
            "loss": (error * weight).mean(),
            "mse": error.mean().detach(),
            "per_view": error.detach().unflatten(0, (n, v)),
            "noisy": noisy.unflatten(0, (n, v)),
            "prediction": prediction,
        }

    # ---------------------------------------------------------------- sampling

    def predict(
        self,
        latents: Float[Tensor, "n v c h w"],
        t: int,
        text: Float[Tensor, "n v l d"],
        no_text: Float[Tensor, "l d"],
        camera: Float[Tensor, "m v e"],
        scene: Scene,
    ) -> tuple[Float[Tensor, "n v c h w"], Float[Tensor, "n v c h w"] | None]:
        """Return the guided prediction at x_t, and the unconditional one (None at scale 1).

        Only the text is taken out of the unconditional pass: cameras, rays and mask stay.

        Args:
            latents: at x_t.
            t: the timestep.
            text: states of the prompts, one per view.
            no_text: states of the empty prompt.
            camera: camera embeddings, of n objects or of one that stands for all.
            scene: likewise.
        """
        n, v = latents.shape[:2]

        def network(x: Tensor, states: Tensor) -> Tensor:
            times = torch.full((len(x), v), t, device=x.device)
            scenes = scene.times(len(x) // n)
            cameras = camera.repeat(len(x) // len(camera), 1, 1)
            return self.denoiser(x, times, states, cameras, scenes)

        return guided_prediction(
            network,
            (latents, text),
            (latents, no_text.expand_as(text)),
            self.cfg.cfg_scale,
            batched=self.cfg.batched_guidance,
        )

    @torch.no_grad()
    def sample(
        self,
        text: Float[Tensor, "n v l d"],
        no_text: Float[Tensor, "l d"],
        camera: Float[Tensor, "m v e"],
        scene: Scene,
        start: Float[Tensor, "n v c h w"],
        plan: list[DDIMStep],
        on_step: Callable[[DDIMStep, dict[str, Tensor | None]], None] | None = None,
    ) -> Float[Tensor, "n v c h w"]:
        """Denoise all views of all objects together (DDIM, eta 0); returns scaled latents.

        Args:
            text: states of the prompts, one per view.
            no_text: states of the empty prompt.
            camera: camera embeddings.
            scene: rays and masks.
            start: latents at the first timestep, see `start_latents`.
            plan: the steps, from `ddim_plan`.
            on_step: called after each step with the step and its tensors "uncond", "guided", "x0",
                "latents".
        """
        x = start
        for step in plan:
            guided, uncond = self.predict(x, step.t, text, no_text, camera, scene)
            eps, x0 = self.schedule.split(guided, x, step.abar)
            x = ddim_update(step, eps, x0)
            if on_step is not None:
                on_step(step, {"uncond": uncond, "guided": guided, "x0": x0, "latents": x})
        return x

    def start_latents(
        self,
        noise: Float[Tensor, "n v c h w"],
        plan: list[DDIMStep],
        generator: torch.Generator | None = None,
        spot: Float[Tensor, "n v c h w"] | None = None,
    ) -> Float[Tensor, "n v c h w"]:
        """Return noise mixed with the blob, which makes for a white background.

        Args:
            noise: unit noise.
            plan: the steps; the first one's timestep decides the shares.
            generator: of the draw from the blob's posterior, one per view.
            spot: scaled latents of the blob, instead.
        """
        abar = plan[0].abar
        if spot is None and (self.cfg.blob_sigma <= 0 or abar <= 0):
            return noise
        if spot is None:
            picture = blob(self.cfg.resolution, self.cfg.blob_sigma).to(noise)
            flat = noise.flatten(0, 1)
            pixels = picture.expand(len(flat), 3, -1, -1)
            spot = encode(self.vae, pixels, randn_like(flat, generator)).view_as(noise)
            spot = spot * self.vae.config.scaling_factor
        return abar**0.5 * spot + (1 - abar) ** 0.5 * noise

    @torch.no_grad()
    def generate(
        self,
        condition: Condition,
        cameras: Cameras | None = None,
        *,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
        progress: Progress | None = None,
    ) -> ViewSet:
        """Make the views of `condition.text` that `cameras` see, together.

        `noise` [V, c, h, w] are the start latents, in which no blob is mixed then.

        Raises:
            ConfigError: if the condition holds no text.
        """
        if condition.text is None:
            raise ConfigError("the condition holds no text.", allowed="a prompt (data_type: text)")
        if isinstance(self.tokenizer, WordTokenizer):
            self.tokenizer.warn_of(condition.text)
        side, device = self.cfg.resolution, self._device
        cameras = (cameras or self.contract.cameras()).resized(side, side)
        own = cameras.to("cpu")
        scene = self.scenes.of([own], device)
        camera = self.camera_projection(self.scenes.numbers([own]).to(device))
        states = self.embed([self.prefixed(condition.text), ""])
        grid = latent_side(self.vae, side)
        like = states.new_empty(1, len(cameras), self.vae.config.latent_channels, grid, grid)
        plan = self.plan()
        if noise is None:
            start = self.start_latents(randn_like(like, generator), plan, generator)
        else:
            start = noise.to(device).view_as(like)
        done = iter(range(1, len(plan) + 1))
        latents = self.sample(
            states[:1, None].expand(-1, len(cameras), -1, -1),
            states[1],
            camera,
            scene,
            start,
            plan,
            on_step=None if progress is None else lambda *_: progress(next(done), len(plan)),
        )
        views = views_on_white(decode(self.vae, latents[0]), cameras, {"guidance": "spad"})
        return ViewSet(views.images, views.cameras, self.cfg.bound, views.meta)

    def plan(self) -> list[DDIMStep]:
        """Return the steps of a sampling run: DDIM without fresh noise."""
        return ddim_plan(self.schedule, self.cfg.steps, self.cfg.timestep_spacing, eta=0.0)

    # ---------------------------------------------------------------- weights

    @classmethod
    def released(cls, name: str, **changes: Any) -> SpadConfig:
        """Return the options of a released model, "two-views" or "four-views", with some changed.

        Raises:
            ConfigError: if there is no such model.
        """
        if name not in RELEASED:
            raise ConfigError(f"released model {name!r}.", allowed=", ".join(RELEASED))
        return SpadConfig(**{**RELEASED[name], **changes})

    def save_pretrained(self, folder: Path | str) -> None:
        """Write one folder per part, the tokenizer, and our options in `config.json`."""
        checkpoint.save_folder(self, Path(folder))

    @classmethod
    def from_pretrained(cls, source: Path | str) -> Self:
        """Read a folder of `save_pretrained` with all its options, or a released .ckpt."""
        path = resolve(source)
        if path.is_dir():
            return cls(parse_config(cls.Config, {**read_config(path), "weights": str(path)}))
        return cls(cls.released(checkpoint.variant(path), weights=str(path)))

    def load_official(self, source: Path | str) -> None:
        """Fill the networks from an authors' checkpoint; options `ema`, `allow_pickle` apply.

        Raises:
            WeightsError: naming every key that is missing, left over or of another shape.
        """
        parts: dict[str, nn.Module] = {
            "unet": self.denoiser,
            **{name: getattr(self, name) for name in checkpoint.PARTS[1:]},
        }
        path = resolve(source, self.cfg.allow_download)
        checkpoint.load_official_into(
            parts, path, ema=self.cfg.ema, allow_pickle=self.cfg.allow_pickle
        )
