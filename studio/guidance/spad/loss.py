"""The training loss of SPAD: the noise of all views of an object, predicted together."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from studio.guidance.diffusion import NoiseSchedule
from studio.guidance.spad.network import Given, MultiViewUNet


def denoising_loss(
    denoiser: MultiViewUNet,
    schedule: NoiseSchedule,
    clean: Float[Tensor, "n v c h w"],
    given: Given,
    drop: Bool[Tensor, " n"],
    t: Int[Tensor, "n v"],
    noise: Float[Tensor, "n v c h w"],
    min_snr_gamma: float = 0.0,
) -> dict[str, Tensor]:
    """Return "loss" and what led to it ("mse", "noisy", "prediction", "per_view").

    Args:
        denoiser: the network.
        schedule: of the noise.
        clean: scaled latents of the views.
        given: what the network is told.
        drop: objects whose text is replaced by the empty one.
        t: timesteps.
        noise: unit noise added to `clean`.
        min_snr_gamma: see `NoiseSchedule.loss_weight`; 0: plain mean squared error (official).
    """
    n, v = clean.shape[:2]
    flat, flat_noise, times = clean.flatten(0, 1), noise.flatten(0, 1), t.flatten()
    noisy = schedule.add_noise(flat, flat_noise, times)
    text = torch.where(drop[:, None, None, None], given.no_text, given.text)
    prediction = denoiser(noisy.unflatten(0, (n, v)), t, text, given.camera, given.conditioning)
    found = schedule.losses(prediction.flatten(0, 1), flat, flat_noise, times, min_snr_gamma)
    return {
        "loss": found["loss"],
        "mse": found["mse"],
        "per_view": found["per_item"].unflatten(0, (n, v)),
        "noisy": noisy.unflatten(0, (n, v)),
        "prediction": prediction,
    }
