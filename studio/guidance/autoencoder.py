"""The picture auto-encoder of latent diffusion, at any width.

Latents are those of diffusers' `AutoencoderKL`. A VAE whose input has 3 p p channels reads p x p
pixel blocks (space to depth): 1 for Stable Diffusion's, 4 for the nano VAE, which is several times
faster on a CPU that way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from jaxtyping import Float
from torch import Tensor, nn

from studio.errors import ConfigError
from studio.guidance.precision import VAE_BATCH, whole
from studio.progress import StageProgress


def build_vae(kwargs: dict[str, Any]) -> AutoencoderKL:
    """Build the picture auto-encoder with fresh weights."""
    return AutoencoderKL(**kwargs)


def encode(
    vae: AutoencoderKL,
    pixels: Float[Tensor, "n 3 h w"],
    noise: Float[Tensor, "n c g u"] | None = None,
    batch: int = VAE_BATCH,
) -> Float[Tensor, "n c g u"]:
    """Return VAE latents, without the scaling factor, of pictures in [-1, 1], `batch` at a time.

    Args:
        vae: the auto-encoder.
        pixels: pictures.
        noise: unit noise of the posterior sample; None takes the posterior's mode.
        batch: pictures encoded at once.
    """

    def latents(part: slice) -> Tensor:
        return encode_batch(vae, pixels[part], None if noise is None else noise[part])

    return _in_slices("encoding", latents, len(pixels), batch)


def encode_batch(
    vae: AutoencoderKL,
    pixels: Float[Tensor, "n 3 h w"],
    noise: Float[Tensor, "n c g u"] | None = None,
) -> Float[Tensor, "n c g u"]:
    """Return what `encode` returns, of all pictures at once; tells no progress."""
    posterior = vae.encode(F.pixel_unshuffle(pixels, vae_patch(vae))).latent_dist
    if noise is None:
        return whole(posterior.mode())
    return whole(posterior.mean + posterior.std * noise)


def decode(
    vae: AutoencoderKL, latents: Float[Tensor, "n c g u"], batch: int = VAE_BATCH
) -> Float[Tensor, "n 3 h w"]:
    """Return pictures in [-1, 1] (clamped) of scaled latents, `batch` at a time."""

    def pixels(part: slice) -> Tensor:
        blocks = whole(vae.decode(latents[part] / vae.config.scaling_factor).sample)
        return F.pixel_shuffle(blocks, vae_patch(vae)).clamp(-1, 1)

    return _in_slices("decoding", pixels, len(latents), batch)


def _in_slices(label: str, run: Callable[[slice], Tensor], count: int, batch: int) -> Tensor:
    """Return what `run` makes of `count` items, `batch` at a time; tells how far it is."""
    parts: list[Tensor] = []
    with StageProgress(label, count) as progress:
        for first in range(0, count, batch):
            parts.append(run(slice(first, first + batch)))
            progress(min(first + batch, count), count)
    return torch.cat(parts)


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
    if resolution % factor or resolution < factor:
        raise ConfigError(f"resolution is {resolution}.", allowed=f"multiples of {factor}")
    return resolution // factor


@torch.no_grad()
def start_from_pca(
    vae: AutoencoderKL,
    pixels: Float[Tensor, "n 3 h w"],
    whitening: float = 0.5,
    constant: float = 8.0,
) -> None:
    """Set a one-level VAE to the principal components of pixel blocks; training goes on from there.

    Every component occupies two hidden channels of opposite sign, since silu(x) - silu(-x) = x; a
    large constant channel keeps the single-group norms from normalising the signal away; the
    residual branches start at zero. A component with standard deviation s becomes a latent with
    s^(1 - whitening).

    Args:
        vae: with one block on either side, norm_num_groups 1, no middle attention.
        pixels: pictures in [-1, 1] to take the components from.
        whitening: 0 keeps distances between pictures, which suits predictions of the clean latents;
            with 1 all latents are equally loud, and a loss is mostly of what nobody can predict.
        constant: of the constant channel, relative to the first component's deviation.
    """
    patch, latent = vae_patch(vae), vae.config.latent_channels
    blocks = F.pixel_unshuffle(pixels, patch).permute(0, 2, 3, 1).reshape(-1, 3 * patch**2)
    mean = blocks.mean(0)
    values, vectors = torch.linalg.eigh((blocks - mean).T @ (blocks - mean) / len(blocks))
    basis = vectors.flip(1)[:, :latent].T  # [latent, block]
    size = float(values[-1].sqrt())
    for part in (vae.encoder, vae.decoder):
        for module in part.modules():
            if isinstance(module, ResnetBlock2D):
                module.conv2.weight.zero_()
                module.conv2.bias.zero_()
    width = vae.encoder.conv_in.out_channels
    norm = constant * (2 / width) ** 0.5  # what the norms divide by
    pairs = torch.stack([basis, -basis], 1).flatten(0, 1) / size
    _set_pointwise(vae.encoder.conv_in, pairs, -pairs @ mean, constant)
    merge = torch.zeros(2 * latent, width)
    for i in range(latent):
        merge[i, 2 * i], merge[i, 2 * i + 1] = norm, -norm
    logvar = torch.cat([torch.zeros(latent), torch.full((latent,), -12.0)])
    _set_pointwise(vae.encoder.conv_out, merge, logvar)
    spread = values.flip(0)[:latent].clamp(min=1e-8) ** (whitening / 2) / size**whitening
    shrink = torch.cat([1 / spread, torch.ones(latent)])
    _set_pointwise(vae.quant_conv, torch.diag(shrink), torch.zeros(2 * latent))
    _set_pointwise(vae.post_quant_conv, torch.diag(spread), torch.zeros(latent))
    split = torch.stack([torch.eye(latent), -torch.eye(latent)], 1).flatten(0, 1)
    _set_pointwise(vae.decoder.conv_in, split, torch.zeros(2 * latent), constant)
    unmerge = torch.zeros(3 * patch**2, width)
    unmerge[:, : 2 * latent] = (pairs * size * size * norm).T
    _set_pointwise(vae.decoder.conv_out, unmerge, mean)


def _set_pointwise(
    conv: nn.Conv2d,
    weight: Float[Tensor, "o i"],
    bias: Float[Tensor, " o"],
    constant: float | None = None,
) -> None:
    """Make a convolution act on single positions; two channels of +-constant follow if given."""
    assert conv.bias is not None  # all convolutions of AutoencoderKL have one
    used, middle = len(weight), conv.kernel_size[0] // 2
    if constant is None:
        conv.weight.zero_()
        conv.bias.zero_()
    conv.weight[: used + 2 if constant else used].zero_()
    conv.weight[:used, :, middle, middle] = weight
    conv.bias[:used] = bias
    if constant is not None:
        conv.bias[used], conv.bias[used + 1] = constant, -constant
