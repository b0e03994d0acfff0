"""Sampling of SPAD: all views together from a blob on, and at will with an image in view 0."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from jaxtyping import Float, Int
from torch import Tensor

from studio.guidance.autoencoder import encode
from studio.guidance.ddim import DDIMStep, OnStep, ddim_plan, ddim_update
from studio.guidance.diffusion import NoiseSchedule, guided_prediction
from studio.guidance.noise import Noise
from studio.guidance.spad.network import Given, MultiViewUNet, blob
from studio.guidance.spad.options import SpadConfig

COPIED_ABOVE = 0.98
"""Share of the training chain above which a fixed picture also replaces view 1 (official: 980)."""


@dataclass(frozen=True)
class HeldPicture:
    """A picture that view 0 is held to while the other views are denoised beside it.

    No weights were trained for this. The image-conditioned models of SPAD's paper were never
    released; these are two options of the released sampler that no script of it reaches, and
    their author recommends them for the text models without promising quality.

    Attributes:
        latents: scaled latents of the picture.
        noise: unit noise of all views, the same in every step.
        fixed: view 0 is the clean picture at timestep 0 in every step, and view 1 starts from the
            noised picture (official: image_cond). Otherwise view 0 is the picture noised to the
            step's own level, as in training, where all views share a timestep (txt_image_cond).
    """

    latents: Float[Tensor, "n c h w"]
    noise: Float[Tensor, "n v c h w"]
    fixed: bool = False

    def put_into(
        self, x: Float[Tensor, "n v c h w"], t: Int[Tensor, "n v"], schedule: NoiseSchedule
    ) -> tuple[Float[Tensor, "n v c h w"], Int[Tensor, "n v"]]:
        """Return latents at x_t and timesteps with the picture in its place."""
        x, t = x.clone(), t.clone()
        if self.fixed:
            high = int(t[0, 0]) >= COPIED_ABOVE * len(schedule)
            if x.shape[1] > 1 and high:
                x[:, 1] = schedule.add_noise(self.latents, self.noise[:, 1], t[:, 1])
            t[:, 0] = 0
        x[:, 0] = schedule.add_noise(self.latents, self.noise[:, 0], t[:, 0])
        return x, t


@dataclass(frozen=True)
class SpadSampler:
    """Turns noise into views (DDIM, eta 0).

    Attributes:
        denoiser: the network.
        vae: encodes the blob.
        schedule: that the network was trained with.
        cfg: the method's options.
    """

    denoiser: MultiViewUNet
    vae: AutoencoderKL
    schedule: NoiseSchedule
    cfg: SpadConfig

    def plan(self) -> list[DDIMStep]:
        """Return the steps of a run: DDIM without fresh noise."""
        return ddim_plan(self.schedule, self.cfg.steps, self.cfg.timestep_spacing, eta=0.0)

    def start(
        self,
        noise: Float[Tensor, "n v c h w"],
        plan: list[DDIMStep],
        draws: Noise | None = None,
        spot: Float[Tensor, "n v c h w"] | None = None,
    ) -> Float[Tensor, "n v c h w"]:
        """Return noise mixed with the blob, which makes for a white background.

        Args:
            noise: unit noise.
            plan: the steps; the first one's timestep decides the shares.
            draws: of the "posterior" of the blob, one per view.
            spot: scaled latents of the blob, instead.
        """
        abar = plan[0].abar
        if spot is None and (self.cfg.blob_sigma <= 0 or abar <= 0):
            return noise
        if spot is None:
            picture = blob(self.cfg.resolution, self.cfg.blob_sigma).to(noise)
            flat, draws = noise.flatten(0, 1), draws or Noise.of(None, None)
            pixels = picture.expand(len(flat), 3, -1, -1)
            draw = draws.draw("posterior", flat)
            spot = encode(self.vae, pixels, draw, self.cfg.vae_batch).view_as(noise)
            spot = spot * self.vae.config.scaling_factor
        return abar**0.5 * spot + (1 - abar) ** 0.5 * noise

    def predict(
        self, latents: Float[Tensor, "n v c h w"], t: Int[Tensor, "n v"], given: Given
    ) -> tuple[Float[Tensor, "n v c h w"], Float[Tensor, "n v c h w"] | None]:
        """Return the guided prediction at x_t, and the unconditional one (None at scale 1).

        Only the text is taken out of the unconditional pass: cameras, rays and mask stay.
        """
        n = len(latents)

        def network(x: Tensor, states: Tensor) -> Tensor:
            halves = len(x) // n
            cameras = given.camera.repeat(len(x) // len(given.camera), 1, 1)
            return self.denoiser(
                x, t.repeat(halves, 1), states, cameras, given.conditioning.times(halves)
            )

        return guided_prediction(
            network,
            (latents, given.text),
            (latents, given.no_text.expand_as(given.text)),
            self.cfg.cfg_scale,
            batched=self.cfg.batched_guidance,
        )

    @torch.no_grad()
    def sample(
        self,
        given: Given,
        start: Float[Tensor, "n v c h w"],
        plan: list[DDIMStep],
        *,
        held: HeldPicture | None = None,
        on_step: OnStep | None = None,
    ) -> Float[Tensor, "n v c h w"]:
        """Denoise all views of all objects together; returns scaled latents.

        Args:
            given: what the network is told.
            start: latents at the first timestep, see `start`.
            plan: the steps.
            held: a picture that view 0 keeps.
            on_step: called after each step.
        """
        x = start
        for step in plan:
            t = torch.full(x.shape[:2], step.t, device=x.device)
            if held is not None:
                x, t = held.put_into(x, t, self.schedule)
            guided, uncond = self.predict(x, t, given)
            eps, x0 = self.schedule.split(guided, x, step.abar)
            x = ddim_update(step, eps, x0)
            if on_step is not None:
                on_step(step, {"uncond": uncond, "guided": guided, "x0": x0, "latents": x})
        if held is not None:
            x[:, 0] = held.latents
        return x
