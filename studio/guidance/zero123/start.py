"""The start of Zero-1-to-3's training: Stable Diffusion conditioned on an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.guidance.zero123.official import convert
from studio.io.weights import load_strict, read_tensors


def start_from(parts: Mapping[str, Any], source: Path, *, allow_pickle: bool = False) -> None:
    """Fill UNet, VAE and image encoder from a checkpoint whose UNet sees the noisy latents alone.

    The input channels of the condition's latents start at zero, so that the first prediction is
    the old one (official: sd-image-conditioned-v2.ckpt). The camera projection stays as it is.

    Args:
        parts: freshly built networks by name.
        source: checkpoint in LDM's and OpenAI-CLIP's names.
        allow_pickle: see `studio.io.weights.read_tensors`.

    Raises:
        WeightsError: naming every key that is missing, left over or of another shape.
    """
    levels = len(parts["vae"].config.block_out_channels)
    layers = parts["unet"].config.layers_per_block
    tensors = read_tensors(source, allow_pickle)
    found = convert(tensors, layers, levels, ema=False, source=str(source))
    unet = found.get("unet", {})
    if "conv_in.weight" in unet:
        unet["conv_in.weight"] = widened(unet["conv_in.weight"], parts["unet"].config.in_channels)
    for name in ("unet", "vae", "image_encoder"):
        load_strict(parts[name], found.get(name, {}), source)


def widened(weight: Float[Tensor, "o i k k"], channels: int) -> Float[Tensor, "o c k k"]:
    """Return a convolution that leaves further input channels out, unless it has them already."""
    missing = channels - weight.shape[1]
    if missing <= 0:
        return weight
    return torch.cat([weight, weight.new_zeros(len(weight), missing, *weight.shape[2:])], 1)
