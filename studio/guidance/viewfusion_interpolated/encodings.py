"""Encodings of a run's images: latents and CLIP embeddings."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from studio.guidance.zero123.guidance import Zero123Guidance


class EncodedViews:
    """Pictures of a run; CLIP and VAE read each of them once, when it first is a condition.

    Args:
        model: whose encoders are used.
        pixels: the inputs, in [-1, 1].
    """

    def __init__(self, model: Zero123Guidance, pixels: Float[Tensor, "i 3 s s"]) -> None:
        self.model = model
        self.pixels = list(pixels.split(1))
        self._codes: dict[int, tuple[Tensor, Tensor]] = {}

    def add(self, pixels: Float[Tensor, "1 3 s s"]) -> None:
        """Keep the next picture."""
        self.pixels.append(pixels)

    def encodings(
        self, index: list[int]
    ) -> tuple[Float[Tensor, "n *t d"], Float[Tensor, "n c g u"]]:
        """Return CLIP embeddings and condition latents of the pictures at these positions."""
        for i in index:
            if i not in self._codes:
                picture = self.pixels[i]
                codes = self.model.embed(picture), self.model.condition_latents(picture)
                self._codes[i] = codes
        embeddings, latents = zip(*(self._codes[i] for i in index), strict=True)
        return torch.cat(embeddings), torch.cat(latents)
