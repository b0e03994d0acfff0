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

from studio.guidance.eschernet.cape import Codes, encode
from studio.guidance.eschernet.positions import position_code
from studio.guidance.stable_diffusion import UNET, VAE, Sizes

SIZES: Sizes = {
    "full": {
        "unet": {**UNET["full"], "sample_size": 64},
        "vae": {**VAE["full"], "sample_size": 512},
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
    },
    "nano": {
        "unet": UNET["nano"],
        "vae": VAE["nano"],
        "encoder": {
            "num_channels": 3,
            "patch_size": 4,
            "num_stages": 2,
            "hidden_sizes": [64, 128],
            "depths": [2, 4],
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-6,
            "drop_path_rate": 0.0,
            "image_size": 64,
        },
    },
}


class CameraAttention:
    """Attention processor of diffusers: joint over the views of an object, with CaPE.

    Hidden states are [B * V, L, D], batch-major; those of an object's views stand one after the
    other on the token axis while they attend. `encoder_hidden_states` [B, R * l, d] are the
    tokens of all references of an object; without them the views attend to each other.

    Args:
        positions: strength of the pixel positions in queries and keys; 0: none.
    """

    def __init__(self, positions: float = 0.0) -> None:
        self.positions = positions

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
        query = encode(self._placed(attn.to_q(joint), views, attn.heads), codes.targets.query)
        key = encode(self._placed(attn.to_k(context), asked.views, attn.heads), asked.key)
        heads = [
            x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for x in (query, key, attn.to_v(context))
        ]
        out = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        out = attn.to_out[1](attn.to_out[0](out))
        return out.unflatten(1, (views, -1)).flatten(0, 1)

    def _placed(self, x: Float[Tensor, "b n d"], views: int, heads: int) -> Tensor:
        if not self.positions:
            return x
        code = position_code(x.shape[1] // views, x.shape[2], heads, x.device)
        return x + self.positions * code.to(x.dtype).repeat(views, 1)


def build_unet(kwargs: dict[str, Any]) -> UNet2DConditionModel:
    """Build the denoiser with fresh weights."""
    return with_camera_attention(UNet2DConditionModel(**kwargs))


def with_camera_attention(
    unet: UNet2DConditionModel, positions: float = 0.0
) -> UNet2DConditionModel:
    """Give a stock UNet EscherNet's attention, in place; see `CameraAttention`."""
    unet.set_attn_processor(CameraAttention(positions))
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
        unet: a UNet with camera attention.
        x: noisy latents.
        t: one timestep per object.
        tokens: of all references, one reference after the other; zeros for no condition.
        codes: cameras, batch B.
    """
    out = unet(
        x.flatten(0, 1),
        t.repeat_interleave(x.shape[1]),
        tokens,
        cross_attention_kwargs={"codes": codes},
        return_dict=False,
    )[0]
    return out.unflatten(0, x.shape[:2])
