"""SPAD as a guidance plugin: a text in, views at any cameras out, all denoised together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPTextModel

from studio.cameras import Cameras
from studio.config import parse_config
from studio.errors import ConfigError
from studio.guidance.autoencoder import decode, encode, latent_side
from studio.guidance.backgrounds import generated_views
from studio.guidance.base import Guidance, Noise, Progress, ViewContract
from studio.guidance.ddim import ddim_timesteps
from studio.guidance.diffusion import NoiseSchedule, target_latents
from studio.guidance.folders import read_config
from studio.guidance.hub import locate
from studio.guidance.json_files import networks_refused
from studio.guidance.noise import randn_like
from studio.guidance.precision import sampled
from studio.guidance.spad import checkpoint
from studio.guidance.spad.attention import PLUCKER, CameraConditioning
from studio.guidance.spad.conditioning import ConditioningMaker, ring
from studio.guidance.spad.loss import denoising_loss
from studio.guidance.spad.network import CameraProjection, Given, MultiViewUNet
from studio.guidance.spad.options import RELEASED, SpadConfig
from studio.guidance.spad.sampling import HeldPicture, SpadSampler
from studio.guidance.spad.text import Tokenizer, WordTokenizer
from studio.guidance.stable_diffusion import check_widths
from studio.io.images import on_white
from studio.io.weights import read_tensors
from studio.plugins.registry import register
from studio.views import Condition, ViewSet


@register("guidance", "spad")
class SpadGuidance(Guidance):
    """SPAD: consistent views of what a text describes."""

    Config = SpadConfig
    released_licence = "Apache-2.0, on Stable Diffusion (CreativeML OpenRAIL-M)"

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
        self.schedule = NoiseSchedule.of(cfg)
        # refuses steps that cannot be placed, before weights are read
        ddim_timesteps(cfg.steps, cfg.timestep_spacing, len(self.schedule))
        self.contract = ViewContract(("text",), ring(cfg), cfg.resolution)
        networks: dict[str, Any]
        if parts is None:
            with networks_refused(cfg.weights):
                networks, self.tokenizer = checkpoint.build_parts(cfg)
        else:
            networks, self.tokenizer = parts, tokenizer or checkpoint.build_tokenizer(cfg)
        self.denoiser, self.vae = networks["unet"], networks["vae"]
        self.text_encoder = networks["text_encoder"]
        self.camera_projection = networks["camera_projection"]
        self.conditioning = ConditioningMaker(cfg, latent_side(self.vae, cfg.resolution))
        self.sampler = SpadSampler(self.denoiser, self.vae, self.schedule, cfg)
        width = self.text_encoder.config.hidden_size
        check_widths(
            self.denoiser.unet.config, self.vae.config, width, f"text.hidden_size is {width}"
        )
        self._set_trainable()

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

    def given(self, prompts: list[str], objects: list[Cameras]) -> Given:
        """Return what the network is told of objects: texts, and the cameras of their views."""
        states = self.embed([*map(self.prefixed, prompts), ""])
        return Given(
            states[:-1, None].expand(-1, len(objects[0]), -1, -1),
            states[-1],
            self.camera_projection(self.conditioning.numbers(objects).to(self._device)),
            self.conditioning.of(objects, self._device),
        )

    def given_alone(self, prompts: list[str]) -> Given:
        """Return what the network is told of pictures that stand alone, as the authors train on.

        One view each, its text without the prefix of objects, no rays, no mask. The camera
        embedding is 0 times one: the projection has gradients in every step, as processes that
        train together need.
        """
        states, side = self.embed([*prompts, ""]), self.conditioning.side
        numbers = torch.zeros(len(prompts), 1, self.camera_projection.config.numbers)
        camera = 0 * self.camera_projection(numbers.to(states))
        rays = camera.new_zeros(len(prompts), 1, PLUCKER, side, side)
        return Given(states[:-1, None], states[-1], camera, CameraConditioning(rays))

    def held(self, condition: Condition, noise: Float[Tensor, "1 v c h w"]) -> HeldPicture | None:
        """Return the picture of a condition, which view 0 is held to; None where there is none.

        Raises:
            ConfigError: if there is one and the option `image_conditioning` is "none".
        """
        if condition.image is None:
            return None
        if self.cfg.image_conditioning == "none":
            raise ConfigError(
                "a picture is given beside the text and image_conditioning is 'none'.",
                allowed="fixed, noised",
            )
        pixels = on_white(condition.image[None], self.cfg.resolution).to(noise) * 2 - 1
        latents = encode(self.vae, pixels, batch=self.cfg.vae_batch)
        latents = latents * self.vae.config.scaling_factor
        return HeldPicture(latents, noise, self.cfg.image_conditioning == "fixed")

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
        [B, V, c, h, w] replaces the last. A batch without cameras is of single pictures.

        Raises:
            ConfigError: if the data have no captions.
        """
        if "caption" not in batch:
            raise ConfigError(
                "SPAD is trained with texts and the data have no captions.",
                hint="Add data.captions: true, or a CSV file where data_type reads files.",
            )
        captions, side = list(batch["caption"]), self.cfg.resolution
        with torch.no_grad():
            clean = target_latents(self.vae, batch, generator, self.cfg.vae_batch)
        count, draw_on = len(clean), clean.device if generator is None else generator.device
        share = self.cfg.noisiest_share
        t = self.schedule.draw(count, share, generator=generator, device=draw_on)
        drop = torch.rand(count, generator=generator, device=draw_on) < self.cfg.text_dropout
        if "c2w" in batch:
            views = zip(batch["c2w"].cpu(), batch["intrinsics"].cpu(), strict=True)
            given = self.given(captions, [Cameras(c2w, k, (side, side)) for c2w, k in views])
        else:
            given = self.given_alone(captions)
        return denoising_loss(
            self.denoiser,
            self.schedule,
            clean,
            given,
            drop.to(clean.device),
            t.to(clean.device)[:, None].expand(-1, clean.shape[1]),
            randn_like(clean, generator) if noise is None else noise,
            self.cfg.min_snr_gamma,
        )

    # ---------------------------------------------------------------- sampling

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
        """Make the views of `condition.text` that `cameras` see, together.

        `condition.image` is a picture of the first of them (option `image_conditioning`, see
        `HeldPicture`: no weights were trained for it); without `cameras` the ring starts at its
        azimuth and has its elevation. `noise`: "start" [V, c, h, w], in which no blob is mixed
        then; "posterior" [V, c, h, w] of the blob.

        Raises:
            ConfigError: if the condition holds no text, or a picture that is not asked for.
        """
        if condition.text is None:
            raise ConfigError("the condition holds no text.", allowed="a prompt (data_type: text)")
        if isinstance(self.tokenizer, WordTokenizer):
            self.tokenizer.warn_of(condition.text)
        side = self.cfg.resolution
        cameras = (cameras or self._ring(condition)).resized(side, side)
        given = self.given([condition.text], [cameras.to("cpu")])
        grid = latent_side(self.vae, side)
        shape = (1, len(cameras), self.vae.config.latent_channels, grid, grid)
        plan = self.sampler.plan()
        draws = Noise.of(noise, generator, in_turn=True)
        start = unit = draws.draw("start", given.text.new_empty(shape))
        if "start" not in draws.given:
            start = self.sampler.start(unit, plan, draws)
        done = iter(range(1, len(plan) + 1))
        latents = self.sampler.sample(
            given,
            start,
            plan,
            held=self.held(condition, unit),
            on_step=None if progress is None else lambda *_: progress(next(done), len(plan)),
        )
        pixels = decode(self.vae, latents[0], self.cfg.vae_batch)
        views = generated_views(pixels, cameras, {"guidance": "spad"})
        return replace(views, bound=self.contract.rig.bound)

    def _ring(self, condition: Condition) -> Cameras:
        """Return the default rig; it starts at the picture's camera where there is one."""
        if condition.image is None:
            return self.contract.cameras()
        rig = self.contract.rig.at_elevation(condition.known_elevation_deg)
        return rig.cameras(self.cfg.resolution, condition.azimuth_deg)

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
        parts = {name: getattr(self, name) for name in checkpoint.PARTS[1:]}
        parts["unet"] = self.denoiser.unet
        checkpoint.save_folder(parts, self.tokenizer, self.cfg, Path(folder))

    @classmethod
    def from_pretrained(cls, source: Path | str) -> Self:
        """Read a folder of `save_pretrained` with all its options, or a released .ckpt."""
        path = locate(source, parts=checkpoint.USES)
        if path.is_dir():
            options = {**read_config(path), "weights": str(path)}
            return cls(parse_config(cls.Config, options, key=str(path)))
        name = checkpoint.variant(read_tensors(path))
        return cls(cls.released(name, weights=str(path)))

    def load_official(self, source: Path | str) -> None:
        """Fill the networks from an authors' checkpoint; options `ema`, `allow_pickle` apply.

        Raises:
            WeightsError: naming every key that is missing, left over or of another shape.
        """
        parts: dict[str, nn.Module] = {
            "unet": self.denoiser,
            **{name: getattr(self, name) for name in checkpoint.PARTS[1:]},
        }
        path = locate(source, self.cfg.allow_download)
        checkpoint.load_official_into(
            parts, path, ema=self.cfg.ema, allow_pickle=self.cfg.allow_pickle
        )
