"""Training of the small VAE under the nano models, on images of the same generator."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from studio.data.training.ring_views import RingData
from studio.guidance.autoencoder import build_vae, decode, encode, start_from_pca, vae_patch
from studio.guidance.json_files import networks_refused
from studio.plugins.ranges import Factor, Share
from studio.plugins.registry import register
from studio.systems.training import TrainingConfig, TrainingSystem


@register("system", "autoencoder-training")
class AutoencoderTraining(TrainingSystem):
    """Trains a KL autoencoder (latent diffusion's first stage) on rendered views."""

    @dataclass
    class Config(TrainingConfig):
        """Options of the autoencoder and its losses."""

        autoencoder: dict[str, Any] = field(default_factory=dict)
        """Arguments of diffusers' AutoencoderKL."""
        start: Literal["random", "pca"] = "random"
        """First weights: random, or pca (of pixel blocks; one-level autoencoders only)."""
        whitening: Share = 0.5
        """Of latents that start as principal components: 0 none (pixels' own distances), 1 full."""
        train_encoder: bool = True
        """False trains the decoder alone, so that latents stay what they are from the start."""
        scaling_factor: Factor = 0.0
        """Factor from latents to those of the diffusion process; 0: what brings unseen ones to unit
        variance. A decoder trained anew keeps the factor of the models that use its latents."""
        kl_weight: Factor = 1e-5
        """Weight of the KL term per latent value."""
        edge_weight: Factor = 1.0
        """Weight of the L1 distance between picture gradients, against blur."""

    reads = RingData

    def __init__(self, cfg: Config, *, run: Any = None) -> None:
        super().__init__(cfg, run=run)
        with networks_refused(""):
            self.vae = build_vae(cfg.autoencoder)
        if not cfg.train_encoder:
            self.vae.encoder.requires_grad_(False)
            self.vae.quant_conv.requires_grad_(False)

    def prepare(self, data: Any) -> None:
        """Read the objects; start from their principal components if asked for."""
        super().prepare(data)
        if self.cfg.start == "pca":
            objects = np.arange(min(400, len(self.train_data.images))).repeat(4)
            views = np.arange(len(objects)) % len(self.train_data.cameras)
            start_from_pca(self.vae, self.train_data.pixels(objects, views), self.cfg.whitening)

    def losses(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """L1 on pixels and on their gradients, plus KL (Rombach et al. 2022, section 3.1)."""
        pixels = batch["images"].flatten(0, 1)
        patch = vae_patch(self.vae)
        posterior = self.vae.encode(F.pixel_unshuffle(pixels, patch)).latent_dist
        decoded = self.vae.decode(posterior.sample(generator=generator)).sample
        decoded = F.pixel_shuffle(decoded, patch)
        error = decoded - pixels
        l1 = error.abs().mean()
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = l1 + self.cfg.edge_weight * edges + self.cfg.kl_weight * kl
        psnr = -10 * torch.log10(error.detach().square().mean() / 4)
        return {"loss": loss, "l1": l1, "edges": edges, "kl": kl, "psnr": psnr}

    @torch.no_grad()
    def validation_pictures(self) -> dict[str, Tensor]:
        """Return unseen pictures above their reconstructions, [0, 1], and the PSNR in dB."""
        pixels = self._unseen()
        decoded = decode(self.vae, encode(self.vae, pixels) * self.vae.config.scaling_factor)
        mse = F.mse_loss(decoded.clamp(-1, 1), pixels) / 4
        rows = torch.cat([pixels, decoded]) / 2 + 0.5
        return {"pictures": rows.clamp(0, 1), "psnr": -10 * torch.log10(mse)}

    def _unseen(self) -> Tensor:
        count = min(64, len(self.val_data.images))
        views = np.arange(count) % len(self.val_data.cameras)
        return self.val_data.pixels(np.arange(count), views)

    @torch.no_grad()
    def save(self, folder: Path) -> None:
        """Write the VAE with its scaling factor."""
        factor = self.cfg.scaling_factor or float(1 / encode(self.vae, self._unseen()).std())
        self.vae.register_to_config(scaling_factor=factor)
        self.vae.save_pretrained(folder)
