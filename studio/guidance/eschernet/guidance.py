"""EscherNet as a guidance plugin: training loss, sampling, weights.

All target views of an object are denoised together, seeing each other and all references through
attention. Any number of references and of targets works, whatever the training used.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor

from studio.cameras import CANONICAL_RADIUS, Cameras
from studio.config import parse_config
from studio.guidance import folders
from studio.guidance.autoencoder import decode, latent_side
from studio.guidance.backgrounds import generated_views
from studio.guidance.base import Guidance, Noise, Progress, ViewContract
from studio.guidance.ddim import DDIMStep, OnStep, ddim_plan, ddim_sample, ddim_timesteps
from studio.guidance.diffusion import NoiseSchedule, guided_prediction, target_latents
from studio.guidance.eschernet import checkpoint
from studio.guidance.eschernet import conditioning as cond
from studio.guidance.eschernet.cape import Codes, camera_code
from studio.guidance.eschernet.encoder import TokenEncoder
from studio.guidance.eschernet.network import denoise, with_camera_attention
from studio.guidance.eschernet.options import RELEASED, EscherNetConfig, checked
from studio.guidance.hub import locate
from studio.guidance.json_files import networks_refused
from studio.guidance.noise import randn_like
from studio.guidance.precision import sampled
from studio.plugins.registry import register
from studio.views import Condition, ViewSet


@register("guidance", "eschernet")
class EscherNetGuidance(Guidance):
    """EscherNet: any number of views at once from any number of posed pictures."""

    Config = EscherNetConfig
    released_licence = (
        "Imperial College London's academic licence, on Stable Diffusion (CreativeML OpenRAIL-M)"
    )

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    image_encoder: TokenEncoder

    def __init__(self, cfg: EscherNetConfig, parts: dict[str, Any] | None = None) -> None:
        """Build the networks, or take finished ones.

        Args:
            cfg: options.
            parts: "unet" (with camera attention), "vae" and "image_encoder", instead of new ones.
        """
        super().__init__()
        self.cfg = cfg = checked(checkpoint.with_saved_options(cfg))
        self.schedule = NoiseSchedule.of(cfg)
        # refuses steps that cannot be placed, before weights are read
        ddim_timesteps(cfg.steps, cfg.timestep_spacing, len(self.schedule))
        self.contract = ViewContract(
            ("image", "images"),
            cond.default_rig(cfg.azimuths, cfg.elevations_deg),
            resolution=cfg.resolution,
        )
        with networks_refused(cfg.weights):
            parts = parts or checkpoint.build_parts(cfg)
        checkpoint.check_parts(cfg, parts)
        self.unet = with_camera_attention(parts["unet"], cfg.positions)
        self.vae = parts["vae"]
        self.image_encoder = parts["image_encoder"]
        self.vae.requires_grad_(False).eval()
        if cfg.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()

    def trainable_parameters(self) -> list[dict[str, Any]]:
        """Return the optimiser groups: the whole UNet, the whole picture encoder."""
        encoder = list(self.image_encoder.parameters())
        return [
            {"params": list(self.unet.parameters()), "lr_scale": 1.0},
            {"params": encoder, "lr_scale": self.cfg.encoder_lr_scale},
        ]

    # ---------------------------------------------------------------- condition

    def tokens(self, pixels: Float[Tensor, "b r 3 h w"]) -> Float[Tensor, "b rl d"]:
        """Return the tokens of references in [-1, 1], one reference after the other."""
        return self.image_encoder(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2]).flatten(1, 2)

    def codes(
        self, targets: Float[Tensor, "b v 4 4"], references: Float[Tensor, "b r 4 4"]
    ) -> Codes:
        """Return the encoding of cameras (c2w, OpenCV axes), at the training's scale."""
        return Codes(camera_code(self.cfg.cape, targets), camera_code(self.cfg.cape, references))

    # ---------------------------------------------------------------- training

    def training_loss(
        self,
        batch: dict[str, Any],
        *,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Mean squared error over all target views; one timestep per object.

        The batch's `ref_images` [B,R,3,H,W] and `ref_c2w` [B,R,4,4] are the references; without
        them the condition picture is the only one. `noise` [B,V,c,h,w] replaces the drawn noise.
        """
        if "ref_images" in batch:
            pixels, c2w = batch["ref_images"], batch["ref_c2w"]
        else:
            pixels, c2w = batch["cond_image"][:, None], batch["cond_c2w"][:, None]
        draw_on = pixels.device if generator is None else generator.device
        with torch.no_grad():
            clean = target_latents(self.vae, batch, generator, self.cfg.vae_batch)
        count = len(clean)
        share = self.cfg.noisiest_share
        t = self.schedule.draw(count, share, generator=generator, device=draw_on)
        drop = torch.rand(count, generator=generator, device=draw_on)
        noise = randn_like(clean, generator) if noise is None else noise
        if self.cfg.vary_references:
            given = torch.randint(pixels.shape[1], (1,), generator=generator, device=draw_on) + 1
            pixels, c2w = pixels[:, : int(given)], c2w[:, : int(given)]
        return self.denoising_loss(
            clean,
            self.tokens(pixels),
            self.codes(batch["c2w"], c2w),
            t.to(clean.device),
            noise,
            drop.to(clean.device),
        )

    def denoising_loss(
        self,
        clean: Float[Tensor, "b v c h w"],
        tokens: Float[Tensor, "b rl d"],
        codes: Codes,
        t: Int[Tensor, " b"],
        noise: Float[Tensor, "b v c h w"],
        drop: Float[Tensor, " b"],
    ) -> dict[str, Tensor]:
        """Return "loss" and what led to it ("prediction", "noisy", "tokens", "per_item").

        Args:
            clean: scaled latents of the target views.
            tokens: of the references.
            codes: cameras.
            t: one timestep per object, shared by its views.
            noise: unit noise added to `clean`, of every view its own.
            drop: uniform draws in [0, 1); below `condition_dropout` the object's tokens become
                zeros, while its cameras stay.
        """
        tokens = tokens.masked_fill((drop < self.cfg.condition_dropout)[:, None, None], 0)
        noisy = self.schedule.add_noise(clean, noise, t)
        prediction = denoise(self.unet, noisy, t, tokens, codes)
        losses = self.schedule.losses(prediction, clean, noise, t, self.cfg.min_snr_gamma)
        return {**losses, "noisy": noisy, "tokens": tokens}

    # ---------------------------------------------------------------- sampling

    def predict(
        self,
        latents: Float[Tensor, "b v c h w"],
        t: int,
        tokens: Float[Tensor, "b rl d"],
        codes: Codes,
    ) -> tuple[Float[Tensor, "b v c h w"], Float[Tensor, "b v c h w"] | None]:
        """Return the guided prediction at x_t, and the unconditional one (None at scale 1).

        The null condition are tokens of zeros; the cameras stay, so that views still see where
        they stand to each other.
        """

        def network(x: Tensor, tokens: Tensor) -> Tensor:
            times = torch.full((len(x),), t, device=x.device)
            repeats = len(x) // len(latents)
            cameras = Codes(*(code.repeated(repeats) for code in codes))
            return denoise(self.unet, x, times, tokens, cameras)

        return guided_prediction(
            network,
            (latents, tokens),
            (latents, torch.zeros_like(tokens)),
            max(self.cfg.guidance_scale, 1.0),
            batched=self.cfg.batched_guidance,
        )

    @torch.no_grad()
    def sample(
        self,
        tokens: Float[Tensor, "b rl d"],
        codes: Codes,
        start: Float[Tensor, "b v c h w"],
        plan: list[DDIMStep],
        on_step: OnStep | None = None,
    ) -> Float[Tensor, "b v c h w"]:
        """Denoise all target views of all objects, `group` of an object's at a time.

        Args:
            tokens: of the references.
            codes: cameras.
            start: unit noise.
            plan: the steps, from `ddim_plan`.
            on_step: called after each step of each group.

        Returns:
            scaled latents.
        """
        size = self.cfg.group if self.cfg.group > 0 else start.shape[1]
        made = []
        for first in range(0, start.shape[1], size):
            part = slice(first, first + size)
            cameras = Codes(codes.targets[part], codes.references)
            predict = functools.partial(self.predict, tokens=tokens, codes=cameras)
            made.append(ddim_sample(predict, self.schedule, plan, start[:, part], on_step=on_step))
        return torch.cat(made, dim=1)

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
        """Make all views that `cameras` see of the posed pictures, or of the single picture.

        A single picture's camera stands at the condition's azimuth and elevation, at distance
        1.5. The default rig starts at the first reference's azimuth. `noise`: "start" [V, c, h, w].
        """
        side, device = self.cfg.resolution, self.unet.device
        references = cond.posed_pictures(condition)
        scale = cond.world_scale(references.cameras, self.cfg.scale_cameras)
        if cameras is None:
            start_deg = float(references.cameras.spherical()[0][0])
            rig = replace(self.contract.rig, radius=CANONICAL_RADIUS / scale)
            cameras = rig.cameras(side, start_deg)
        cameras = cameras.resized(side, side)
        for what, seen in (("reference", references.cameras), ("target", cameras)):
            cond.warn_of_unseen(seen, what, distances=not self.cfg.scale_cameras)
        tokens = self.tokens(cond.pixels_on_white(references, side).to(device)[None])
        codes = self.codes(
            cameras.scaled(scale).c2w[None].to(device),
            references.cameras.scaled(scale).c2w[None].to(device),
        )
        grid = latent_side(self.vae, side)
        like = tokens.new_empty(1, len(cameras), self.vae.config.latent_channels, grid, grid)
        start = Noise.of(noise, generator, in_turn=True).draw("start", like)
        plan = self.plan()
        total = len(plan) * math.ceil(len(cameras) / (self.cfg.group or len(cameras)))
        done = iter(range(1, total + 1))
        latents = self.sample(
            tokens,
            codes,
            start,
            plan,
            on_step=None if progress is None else lambda *_: progress(next(done), total),
        )
        meta = {"guidance": "eschernet", "references": len(references)}
        views = generated_views(decode(self.vae, latents[0], self.cfg.vae_batch), cameras, meta)
        return replace(views, bound=views.bound / scale)

    def plan(self) -> list[DDIMStep]:
        """Return the steps of a sampling run: DDIM without fresh noise."""
        return ddim_plan(self.schedule, self.cfg.steps, self.cfg.timestep_spacing, eta=0.0)

    # ---------------------------------------------------------------- weights

    @classmethod
    def released(cls, **changes: Any) -> EscherNetConfig:
        """Return the options of the released models, with some changed."""
        return EscherNetConfig(**{**RELEASED, **changes})

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the folder layout of diffusers, plus our options in `config.json`."""
        checkpoint.save_folder(self._parts, self.cfg, Path(folder))

    @classmethod
    def from_pretrained(cls, source: Path | str, **changes: Any) -> Self:
        """Read a folder of `save_pretrained`, or a released one.

        A folder of our own brings all its options; a released one gets those of `released`, and
        `changes` must say which `cape` it was trained with.
        """
        flags = changes.get("allow_download", False), checkpoint.USES, changes.get("variant", "")
        path = locate(source, *flags)
        saved = folders.read_config(path) if (path / "config.json").is_file() else RELEASED
        options = {**saved, **changes, "weights": str(path)}
        return cls(parse_config(cls.Config, options, key=str(path)))

    def load_official(self, source: Path | str) -> None:
        """Fill the networks from a released folder of the same architecture.

        Raises:
            WeightsError: naming every key that is missing, left over or of another shape.
        """
        folder = locate(source, self.cfg.allow_download)
        checkpoint.load_released(self._parts, self.cfg, folder)

    @property
    def _parts(self) -> dict[str, torch.nn.Module]:
        return {name: getattr(self, name) for name in checkpoint.PARTS}
