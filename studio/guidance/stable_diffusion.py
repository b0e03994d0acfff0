"""Stable Diffusion's networks, which most methods change, and a nano pair of the same classes.

Constructor arguments of diffusers' UNet2DConditionModel and AutoencoderKL. "full" is Stable
Diffusion 1.5 at 256 px, the size of its fine-tuned descendants; "nano" works on 64 px, whose 8x8
blocks its VAE reads as pixels of 192 channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studio.errors import ConfigError

SIZES = ("nano", "full")
Kwargs = dict[str, Any]
Sizes = Mapping[str, Mapping[str, Kwargs]]
"""Constructor arguments by size and part."""

UNET: dict[str, Kwargs] = {
    "full": {
        "sample_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "layers_per_block": 2,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,  # the number of heads, in diffusers' naming for this class
        "norm_num_groups": 32,
    },
    "nano": {
        "sample_size": 8,
        "in_channels": 32,
        "out_channels": 32,
        "block_out_channels": [64, 128],
        "down_block_types": ["CrossAttnDownBlock2D"] * 2,
        "up_block_types": ["CrossAttnUpBlock2D"] * 2,
        "layers_per_block": 1,
        "cross_attention_dim": 128,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    },
}
VAE: dict[str, Kwargs] = {
    "full": {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "latent_channels": 4,
        "norm_num_groups": 32,
        "sample_size": 256,
        "scaling_factor": 0.18215,
    },
    "nano": {
        "in_channels": 192,
        "out_channels": 192,
        "down_block_types": ["DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D"],
        "block_out_channels": [128],
        "layers_per_block": 1,
        "latent_channels": 32,
        "norm_num_groups": 1,
        "mid_block_add_attention": False,
        "sample_size": 8,
        "scaling_factor": 1.0,
    },
}


def is_full_size(width: int | Sequence[int] | None) -> bool:
    """Whether a UNet is as wide as Stable Diffusion's, the size of all released ones.

    Args:
        width: channels of its finest level, of all levels, or the shape of its first weight.
    """
    first = width[0] if isinstance(width, Sequence) and width else width
    return first == UNET["full"]["block_out_channels"][0]


def network_kwargs(sizes: Sizes, size: str, part: str, changes: Kwargs | None = None) -> Kwargs:
    """Return the constructor arguments of a method's part at a size, with some changed.

    Raises:
        ConfigError: if the size is unknown.
    """
    if size not in SIZES:
        raise ConfigError(f"size is {size!r}.", allowed=", ".join(SIZES))
    return {**sizes[size][part], **(changes or {})}


def check_widths(unet: Any, vae: Any, tokens: int, said: str, *, beside: int = 0) -> None:
    """Check that a UNet takes the latents of a VAE and the tokens of an encoder.

    Args:
        unet: its `config`.
        vae: its `config`.
        tokens: width of what the UNet attends to.
        said: what has that width, for the message: "clip.projection_dim is 32".
        beside: latents that the UNet is shown beside the noisy ones.

    Raises:
        ConfigError: if it does not.
    """
    latent = vae.latent_channels
    wanted = ((1 + beside) * latent, latent)
    if (unet.in_channels, unet.out_channels) != wanted:
        raise ConfigError(
            f"unet has {unet.in_channels} input and {unet.out_channels} output channels, "
            f"the VAE {latent} latent channels.",
            allowed=f"unet.in_channels {wanted[0]}, unet.out_channels {wanted[1]}",
        )
    if unet.cross_attention_dim != tokens:
        raise ConfigError(
            f"unet.cross_attention_dim is {unet.cross_attention_dim}, {said}.",
            allowed="equal numbers",
        )
