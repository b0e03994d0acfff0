"""The networks of SPAD (arXiv 2402.05235) at any width.

Stable Diffusion's UNet with its transformers inflated (`attention.py`), a small MLP that turns a
camera vector into something added to the time embedding of its view, and CLIP's text tower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from studio.guidance.spad.attention import CameraConditioning, inflate
from studio.guidance.stable_diffusion import UNET, VAE, Sizes

SIZES: Sizes = {
    "full": {  # official: spad, configs/spad_four_views.yaml
        "unet": UNET["full"],
        "vae": VAE["full"],
        "text": {
            "vocab_size": 49408,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 77,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
            "projection_dim": 768,
        },
    },
    "nano": {
        "unet": UNET["nano"],
        "vae": VAE["nano"],
        "text": {
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 12,
            "bos_token_id": None,  # there are words and padding only
            "eos_token_id": 0,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
            "projection_dim": 128,
        },
    },
}


@dataclass(frozen=True)
class Given:
    """What the network is told beside the noisy latents.

    Attributes:
        text: states of the prompts, one per view.
        no_text: states of the empty prompt.
        camera: camera embeddings, of n objects or of one that stands for all.
        conditioning: rays and masks, likewise.
    """

    text: Float[Tensor, "n v l d"]
    no_text: Float[Tensor, "l d"]
    camera: Float[Tensor, "m v e"]
    conditioning: CameraConditioning


def build_unet(kwargs: dict[str, Any]) -> UNet2DConditionModel:
    """Build Stable Diffusion's UNet with fresh weights and room for a camera embedding."""
    return UNet2DConditionModel(**{**kwargs, "class_embed_type": "identity"})


def build_text_encoder(kwargs: dict[str, Any]) -> CLIPTextModel:
    """Build a CLIP text tower with fresh weights."""
    return CLIPTextModel(CLIPTextConfig(**kwargs))


class MultiViewUNet(nn.Module):
    """A UNet whose transformers see all views of an object and the rays of their pixels.

    Args:
        unet: diffusers' UNet with `class_embed_type` "identity"; it is inflated in place.
        float32: compute joint attention in float32 even under autocast.
    """

    def __init__(self, unet: UNet2DConditionModel, float32: bool = True) -> None:
        super().__init__()
        self.unet = unet
        self.slot = inflate(unet, float32)

    @property
    def config(self) -> Any:
        """The arguments of diffusers' UNet."""
        return self.unet.config

    def forward(
        self,
        latents: Float[Tensor, "n v c s s"],
        t: Int[Tensor, "n v"],
        text: Float[Tensor, "n v l d"],
        camera: Float[Tensor, "n v e"],
        conditioning: CameraConditioning,
    ) -> Float[Tensor, "n v c s s"]:
        """Return the prediction of every view.

        Args:
            latents: scaled latents at x_t.
            t: timesteps; views of an object share one in the authors' training.
            text: encoder states of the prompt.
            camera: camera embeddings, added to the time embedding.
            conditioning: rays and mask, of n objects or of one that stands for all.
        """
        self.slot.conditioning = conditioning
        prediction = self.unet(
            latents.flatten(0, 1),
            t.flatten(),
            text.flatten(0, 1),
            class_labels=camera.flatten(0, 1),
            return_dict=False,
        )[0]
        return prediction.unflatten(0, latents.shape[:2])


class CameraProjection(ModelMixin, ConfigMixin):
    """MLP from a camera vector to the width of the time embedding; starts at zero."""

    @register_to_config
    def __init__(self, numbers: int = 8, width: int = 1280) -> None:
        super().__init__()
        first, last = nn.Linear(numbers, width), nn.Linear(width, width)
        self.layers = nn.Sequential(first, nn.SiLU(), last)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, vectors: Float[Tensor, "*b k"]) -> Float[Tensor, "*b w"]:
        """Return camera embeddings."""
        return self.layers(vectors.to(next(self.layers.parameters())))


def blob(size: int, sigma: float) -> Float[Tensor, "h h"]:
    """Return the picture sampling starts from: a dark Gaussian spot on white, in [-1, 1].

    Args:
        size: picture side in pixels.
        sigma: deviation of the spot, the picture's half side being 1.
    """
    line = torch.linspace(-1, 1, size)
    spot = torch.exp(-(line[:, None] ** 2 + line**2) / (2 * sigma**2))
    return 1 - 2 * (spot - spot.min()) / spot.max()
