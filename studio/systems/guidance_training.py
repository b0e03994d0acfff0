"""Trains any guidance plugin."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.callbacks.progress import StageProgress
from studio.data.rings import Rings
from studio.files import atomic_write
from studio.guidance.autoencoder import encode
from studio.registry import build, register
from studio.run import hash_of
from studio.systems.training import TrainingConfig, TrainingSystem
from studio.views import Condition


@register("system", "guidance-training")
class GuidanceTraining(TrainingSystem):
    """Trains a guidance plugin on views of many objects."""

    @dataclass
    class Config(TrainingConfig):
        """Options beside those of every training."""

        guidance_type: str = "zero123"
        """The guidance plugin."""
        guidance: dict[str, Any] = field(default_factory=dict)
        """Its options."""
        cache_latents: bool = False
        """Encode the training pictures once; possible while the VAE is frozen."""

    def __init__(self, cfg: Config, *, run: Any = None) -> None:
        super().__init__(cfg, run=run)
        self.guidance = build("guidance", cfg.guidance_type, cfg.guidance, key="system.guidance")

    def prepare(self, data: Any) -> None:
        """Read the objects and, where asked for, encode their pictures once."""
        super().prepare(data)
        if self.cfg.cache_latents:
            folder = self.run.root.parents[1] / "cache"
            self.train_rings = encode_rings(self.guidance.vae, self.train_rings, folder)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the groups the method trains."""
        return self.guidance.trainable_parameters()

    def losses(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the method's own loss."""
        return self.guidance.training_loss(batch, generator=generator)

    @torch.no_grad()
    def validation_pictures(self) -> dict[str, Any]:
        """Return made views of unseen objects above the true ones, [0, 1], and their PSNR in dB."""
        rows, errors = [], []
        for i in range(min(self.cfg.validation_objects, len(self.val_rings.images))):
            views = self.val_rings.seen_from(i)
            truth = views.rgb_on(1.0)
            made = self.guidance.generate(
                Condition(image=views.images[0]),
                views.cameras,
                generator=torch.Generator().manual_seed(i),
            ).rgb_on(1.0)
            rows += [made, truth]
            errors.append((made - truth).square().mean())
        psnr = -10 * torch.log10(torch.stack(errors)).mean()
        return {"pictures": torch.cat(rows), "columns": len(self.val_rings.cameras), "psnr": psnr}

    def save(self, folder: Path) -> None:
        """Write the guidance as a folder of safetensors and configs."""
        self.guidance.save_pretrained(folder)


@torch.no_grad()
def encode_rings(vae: Any, rings: Rings, cache: Path, batch: int = 256) -> Rings:
    """Return the rings with posterior means of all pictures on white, in half precision.

    Args:
        vae: the frozen auto-encoder.
        rings: the objects.
        cache: folder that keeps the latents for the next run of the same pictures and encoder.
        batch: pictures encoded at once.
    """
    n, v = rings.images.shape[:2]
    encoder = {k: t for k, t in vae.state_dict().items() if k.startswith(("encoder", "quant"))}
    path = cache / f"{hash_of(encoder, list(rings.images.shape), rings.images[:: n // 8 + 1])}.pt"
    if path.is_file():
        return replace(rings, latents=torch.load(path, weights_only=True, mmap=True))
    parts = []
    with StageProgress("latents", n * v) as progress:
        for start in range(0, n * v, batch):
            chunk = np.arange(start, min(start + batch, n * v))
            parts.append(encode(vae, rings.pixels(chunk // v, chunk % v)).half())
            progress(int(chunk[-1]) + 1, n * v)
    latents = torch.cat(parts)
    latents = latents.reshape(n, v, *latents.shape[1:])
    with atomic_write(path) as temporary:
        torch.save(latents, temporary)
    return replace(rings, latents=latents)
