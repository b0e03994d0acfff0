"""EscherNet's denoiser (arXiv 2402.03908): Stable Diffusion's UNet, with other attention.

No layer is added and none changes its shape. In every transformer block the views of an object
attend to each other jointly, cross-attention reads the tokens of all reference pictures, and
queries and keys carry their cameras (`cape`).
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from jaxtyping import Float, Int
from torch import Tensor

from studio.errors import ConfigError
from studio.guidance.eschernet.cape import Codes, encode
from studio.guidance.eschernet.positions import POSITION_CHANNELS, with_positions

_FULL: dict[str, dict[str, Any]] = {
    "unet": {  # Stable Diffusion 1.5's
        "sample_size": 64,
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
    "vae": {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "latent_channels": 4,
        "norm_num_groups": 32,
        "sample_size": 512,
        "scaling_factor": 0.18215,
    },
    "encoder": {  # ConvNeXt V2 Tiny
        "num_channels": 3,
        "patch_size": 4,
        "num_stages": 4,
        "hidden_sizes": [96, 192, 384, 768],
        "depths": [3, 3, 9, 3],
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "drop_path_rate": 0.0,
        "image_size": 224,
    },
}
_NANO: dict[str, dict[str, Any]] = {
    "unet": {
        "sample_size": 8,
        "in_channels": 32 + POSITION_CHANNELS,
        "out_channels": 32,
        "block_out_channels": [64, 128],
        "down_block_types": ["CrossAttnDownBlock2D"] * 2,
        "up_block_types": ["CrossAttnUpBlock2D"] * 2,
        "layers_per_block": 1,
        "cross_attention_dim": 128,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    },
    "vae": {
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
    "encoder": {
        "num_channels": 3 + POSITION_CHANNELS,
        "patch_size": 4,
        "num_stages": 2,
        "hidden_sizes": [64, 128],
        "depths": [2, 4],
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "drop_path_rate": 0.0,
        "image_size": 64,
    },
}
SIZES = {"nano": _NANO, "full": _FULL}


def network_kwargs(size: str, part: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the constructor arguments of "unet", "vae" or "encoder" at "nano" or "full" size.

    Raises:
        ConfigError: if the size is unknown.
    """
    if size not in SIZES:
        raise ConfigError(f"size is {size!r}.", allowed=", ".join(SIZES))
    return {**SIZES[size][part], **(changes or {})}


class CameraAttention:
    """Attention processor of diffusers: joint over the views of an object, with CaPE.

    Hidden states are [B * V, L, D], batch-major; those of an object's views stand one after the
    other on the token axis while they attend. `encoder_hidden_states` [B, R * l, d] are the
    tokens of all references of an object; without them the views attend to each other.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Float[Tensor, "bv l d"],
        encoder_hidden_states: Float[Tensor, "b rl e"] | None = None,
        attention_mask: Tensor | None = None,
        *,
        codes: Codes,
    ) -> Float[Tensor, "bv l d"]:
        """Return the attention's output; `codes` are the cameras of targets and references."""
        if attention_mask is not None:
            raise ValueError("EscherNet's attention takes no mask")
        views = codes.targets.views
        joint = hidden_states.unflatten(0, (-1, views)).flatten(1, 2)
        context = joint if encoder_hidden_states is None else encoder_hidden_states
        asked = codes.targets if encoder_hidden_states is None else codes.references
        query = encode(attn.to_q(joint), codes.targets.query)
        key = encode(attn.to_k(context), asked.key)
        heads = [
            x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for x in (query, key, attn.to_v(context))
        ]
        out = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        out = attn.to_out[1](attn.to_out[0](out))
        return out.unflatten(1, (views, -1)).flatten(0, 1)


def build_unet(kwargs: dict[str, Any]) -> UNet2DConditionModel:
    """Build the denoiser with fresh weights."""
    return with_camera_attention(UNet2DConditionModel(**kwargs))


def with_camera_attention(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """Give a stock UNet EscherNet's attention, in place."""
    unet.set_attn_processor(CameraAttention())
    return unet


def denoise(
    unet: UNet2DConditionModel,
    x: Float[Tensor, "b v c h w"],
    t: Int[Tensor, " b"],
    tokens: Float[Tensor, "b rl d"],
    codes: Codes,
) -> Float[Tensor, "b v c h w"]:
    """Return the network's output for the noisy latents of all target views of B objects.

    Args:
        unet: a UNet with camera attention; if it has more input channels than the latents, it
            reads the `positions`, too.
        x: noisy latents.
        t: one timestep per object.
        tokens: of all references, one reference after the other; zeros for no condition.
        codes: cameras, batch B.
    """
    out = unet(
        with_positions(x.flatten(0, 1), unet.config.in_channels),
        t.repeat_interleave(x.shape[1]),
        tokens,
        cross_attention_kwargs={"codes": codes},
        return_dict=False,
    )[0]
    return out.unflatten(0, x.shape[:2])
