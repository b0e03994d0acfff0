"""The picture auto-encoder of latent diffusion, at any width.

Latents are those of diffusers' `AutoencoderKL`. A VAE whose input has 3 p p channels reads p x p
pixel blocks (space to depth): 1 for Stable Diffusion's, 4 for the nano VAE, which is several times
faster on a CPU that way.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from jaxtyping import Float
from torch import Tensor

from studio.errors import ConfigError


def build_vae(kwargs: dict[str, Any]) -> AutoencoderKL:
    """Build the picture auto-encoder with fresh weights."""
    return AutoencoderKL(**kwargs)


def encode(
    vae: AutoencoderKL,
    pixels: Float[Tensor, "n 3 h w"],
    noise: Float[Tensor, "n c g u"] | None = None,
) -> Float[Tensor, "n c g u"]:
    """Return VAE latents, without the scaling factor, of pictures in [-1, 1].

    Args:
        vae: the auto-encoder.
        pixels: pictures.
        noise: unit noise of the posterior sample; None takes the posterior's mode.
    """
    posterior = vae.encode(F.pixel_unshuffle(pixels, vae_patch(vae))).latent_dist
    return posterior.mode() if noise is None else posterior.mean + posterior.std * noise


def decode(
    vae: AutoencoderKL, latents: Float[Tensor, "n c g u"], batch: int = 16
) -> Float[Tensor, "n 3 h w"]:
    """Return pictures in [-1, 1] (clamped) of scaled latents, `batch` at a time."""
    latents = latents / vae.config.scaling_factor
    pixels = torch.cat([vae.decode(part).sample for part in latents.split(batch)])
    return F.pixel_shuffle(pixels, vae_patch(vae)).clamp(-1, 1)


def vae_patch(vae: AutoencoderKL) -> int:
    """Return the side p of the pixel blocks that are the VAE's input channels (3 p p).

    1 for Stable Diffusion's VAE. The nano VAE reads 4x4 blocks (space to depth), which makes it
    several times faster on a CPU at equal quality.
    """
    return round((vae.config.in_channels / 3) ** 0.5)


def latent_side(vae: AutoencoderKL, resolution: int) -> int:
    """Return the side of the latents of a square picture.

    Raises:
        ConfigError: if the VAE cannot halve that side as often as it does.
    """
    factor = vae_patch(vae) * 2 ** (len(vae.config.block_out_channels) - 1)
    if resolution % factor:
        raise ConfigError(f"resolution is {resolution}.", allowed=f"multiples of {factor}")
    return resolution // factor
