"""The networks of Zero-1-to-3 (arXiv 2303.11328) at any width, and what feeds them.

A Stable-Diffusion UNet predicts the noise of one target view. It is told about the condition
picture twice: its VAE latents are concatenated to the noisy latents (target first), and one
cross-attention token is a linear map of [CLIP embedding, pose vector]. Our own small models may
attend to the picture's patches, too, each through the same map.
"""

from __future__ import annotations

from typing import Any, Literal, assert_never

import torch
import torch.nn.functional as F
from diffusers import ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from studio.guidance.stable_diffusion import UNET, VAE, Sizes

POSE_NUMBERS = 4
FourthNumber = Literal["distance", "polar", "abs_elevation", "zero"]
PictureTokens = Literal["one", "patches"]

# Mean and deviation of CLIP's training pictures; official: openai/CLIP, clip/clip.py
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

SIZES: Sizes = {
    "full": {  # official: zero123, configs/sd-objaverse-finetune-c_concat-256.yaml
        "unet": {**UNET["full"], "in_channels": 8},
        "vae": VAE["full"],
        "clip": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "patch_size": 14,
            "image_size": 224,
            "projection_dim": 768,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
        },
    },
    "nano": {
        "unet": {**UNET["nano"], "in_channels": 64, "norm_num_groups": 32},
        "vae": VAE["nano"],
        "clip": {
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "patch_size": 8,
            "image_size": 64,
            "projection_dim": 128,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
        },
    },
}


def build_unet(kwargs: dict[str, Any]) -> UNet2DConditionModel:
    """Build the denoiser with fresh weights."""
    return UNet2DConditionModel(**kwargs)


def build_image_encoder(kwargs: dict[str, Any]) -> CLIPVisionModelWithProjection:
    """Build the CLIP image tower with fresh weights."""
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**kwargs))


class CLIPCameraProjection(ModelMixin, ConfigMixin):
    """Linear map of [CLIP embedding, pose vector] to a cross-attention token, for each embedding.

    Starts as the identity on the embedding; the pose columns start as a Linear layer's.
    """

    @register_to_config
    def __init__(self, embedding_dim: int = 768, additional_embeddings: int = POSE_NUMBERS) -> None:
        super().__init__()
        self.proj = nn.Linear(embedding_dim + additional_embeddings, embedding_dim)
        with torch.no_grad():
            self.proj.weight[:, :embedding_dim] = torch.eye(embedding_dim)
            self.proj.bias.zero_()

    def forward(
        self, embedding: Float[Tensor, "n *t d"], pose: Float[Tensor, "n p"]
    ) -> Float[Tensor, "n k d"]:
        """Return the tokens of every item: one for [n, d], t for [n, t, d]."""
        tokens = embedding.reshape(len(embedding), -1, embedding.shape[-1])
        poses = pose.to(embedding)[:, None].expand(-1, tokens.shape[1], -1)
        return self.proj(torch.cat([tokens, poses], dim=-1))


def pose_vector(
    cond_centre: Float[Tensor, "*b 3"],
    centre: Float[Tensor, "*b 3"],
    fourth: FourthNumber = "distance",
) -> Float[Tensor, "*b 4"]:
    """Relative pose of a target camera, from the camera centres alone.

    [polar - polar_cond, sin(d), cos(d), fourth] in radians and world units, d being the azimuth
    difference. The polar angle is 0 seen from the top: a positive first number is a lower camera.

    Args:
        cond_centre: world position (+Z up) of the condition camera.
        centre: world position of the target camera.
        fourth: "distance" (target minus condition: Zero-1-to-3), "polar" (of the condition camera:
            Stable-Zero123), "abs_elevation" (of the condition camera: EpiDiff's training), "zero".
    """
    polar_c, azimuth_c, radius_c = _spherical(cond_centre)
    polar_t, azimuth_t, radius_t = _spherical(centre)
    delta = azimuth_t - azimuth_c
    if fourth == "distance":
        last = radius_t - radius_c
    elif fourth == "polar":
        last = polar_c.expand_as(delta)
    elif fourth == "abs_elevation":
        last = (torch.pi / 2 - polar_c).expand_as(delta)
    elif fourth == "zero":
        last = torch.zeros_like(delta)
    else:
        assert_never(fourth)
    return torch.stack([polar_t - polar_c, delta.sin(), delta.cos(), last], dim=-1)


def _spherical(centre: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x, y, z = centre.unbind(-1)
    return torch.atan2(torch.hypot(x, y), z), torch.atan2(y, x), centre.norm(dim=-1)


def clip_pixels(pixels: Float[Tensor, "n 3 h w"], size: int) -> Float[Tensor, "n 3 s s"]:
    """Prepare pictures in [-1, 1] for CLIP as Zero-1-to-3 does.

    Bicubic with aligned corners and no antialiasing, no clamp after its overshoot, then CLIP's
    mean and deviation. A stock CLIP image processor gives other numbers.
    """
    if pixels.shape[-2:] != (size, size):
        pixels = F.interpolate(pixels, (size, size), mode="bicubic", align_corners=True)
    mean = pixels.new_tensor(CLIP_MEAN)[:, None, None]
    std = pixels.new_tensor(CLIP_STD)[:, None, None]
    return ((pixels + 1) / 2 - mean) / std


def clip_embedding(
    image_encoder: CLIPVisionModelWithProjection,
    prepared: Float[Tensor, "n 3 s s"],
    tokens: PictureTokens = "one",
) -> Float[Tensor, "n *t d"]:
    """Return projected CLIP embeddings, not normalised, of pictures that are prepared for CLIP.

    "patches" also returns that of every patch, after the picture's own: [n, 1 + patches, d].
    """
    seen = image_encoder(pixel_values=prepared)
    if tokens == "one":
        return seen.image_embeds
    states = image_encoder.vision_model.post_layernorm(seen.last_hidden_state)
    return image_encoder.visual_projection(states)
