"""EscherNet's encoder of reference images: the tokens of a ConvNeXt V2."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from transformers import ConvNextV2Config, ConvNextV2Model

# Mean and deviation of ImageNet's pictures, which the released encoder was pretrained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class TokenEncoder(ConvNextV2Model):
    """A ConvNeXt V2 that returns its last feature map as normalised tokens, without pooling.

    The config's `image_size` is the side that pictures are brought to. Keys and shapes are those
    of transformers' `ConvNextV2Model`.
    """

    def prepare(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 s s"]:
        """Bring pictures in [-1, 1] to the encoder's side and to ImageNet's mean and deviation.

        Bicubic without antialiasing and without clamping its overshoot, as the released weights
        were trained; an antialiased resize gives clearly different tokens.
        """
        side = self.config.image_size
        rgb = (pixels + 1) / 2
        if rgb.shape[-2:] != (side, side):
            rgb = F.interpolate(rgb, (side, side), mode="bicubic", align_corners=False)
        mean, std = (rgb.new_tensor(x)[:, None, None] for x in (MEAN, STD))
        return (rgb - mean) / std

    def forward(  # type: ignore[override]  # tokens, not transformers' output object
        self, pixels: Float[Tensor, "n 3 h w"]
    ) -> Float[Tensor, "n l d"]:
        """Return the tokens of pictures in [-1, 1], row by row."""
        features = self.encoder(self.embeddings(self.prepare(pixels))).last_hidden_state
        return self.layernorm(features.flatten(2).transpose(1, 2))


def build_encoder(kwargs: dict[str, Any]) -> TokenEncoder:
    """Build the encoder with fresh weights."""
    return TokenEncoder(ConvNextV2Config(**kwargs))
