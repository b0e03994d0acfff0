"""What latent-diffusion methods share: noise schedule, targets, classifier-free guidance.

Everything works on values, without hidden state. Sampling is in ddim.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, assert_never, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from studio.errors import ConfigError
from studio.guidance.autoencoder import encode, latent_side
from studio.guidance.noise import randn_like
from studio.guidance.precision import VAE_BATCH, LatentSamplingOptions, whole
from studio.plugins.ranges import Factor, Fixed, Range

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

Prediction = Literal["epsilon", "v_prediction", "sample"]
BetaSchedule = Literal["scaled_linear", "linear"]
PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)


@dataclass
class ScheduleOptions(LatentSamplingOptions):
    """Options of a latent-diffusion method that its noise schedule and its loss follow from."""

    prediction_type: Fixed[Prediction] = "v_prediction"
    """What the UNet returns: epsilon (released models), v_prediction or sample (latents)."""
    beta_schedule: Fixed[BetaSchedule] = "scaled_linear"
    """Shape of the noise schedule: scaled_linear or linear."""
    beta_start: Fixed[Annotated[float, Range(0, 0.999, above=True)]] = 0.00085
    """First variance of the noise schedule."""
    beta_end: Fixed[Annotated[float, Range(0, 0.999, above=True)]] = 0.012
    """Last variance of the noise schedule."""
    train_timesteps: Fixed[Annotated[int, Range(2, 100_000)]] = 1000
    """Length of the training chain."""
    zero_terminal_snr: Fixed[bool] = False
    """Make the last timestep pure noise (needs v_prediction or sample)."""
    min_snr_gamma: Factor = 0.0
    """Min-SNR weighting of the loss; 0: off (released models)."""


@dataclass(frozen=True)
class NoiseSchedule:
    """Variance-preserving diffusion: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise."""

    alphas_cumprod: Float[Tensor, " t"]
    """abar_t for t = 0 .. T-1, falling, float32, on the CPU."""
    prediction_type: str = "epsilon"
    """What the network returns: "epsilon" (the noise), "v_prediction" or "sample" (x_0)."""

    @classmethod
    def make(
        cls,
        timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        beta_schedule: BetaSchedule = "scaled_linear",
        prediction_type: Prediction = "epsilon",
        zero_terminal_snr: bool = False,
    ) -> NoiseSchedule:
        """Build the schedule; the defaults are Stable Diffusion's.

        Args:
            timesteps: length T of the chain.
            beta_start: first variance.
            beta_end: last variance.
            beta_schedule: "scaled_linear" (linear in sqrt(beta), LDM's "linear") or "linear".
            prediction_type: what the network returns, see `Prediction`.
            zero_terminal_snr: rescale so that the last step is pure noise (Lin et al.,
                arXiv 2305.08891, algorithm 1); not for "epsilon".

        Raises:
            ConfigError: if the variances fall, or pure noise is combined with "epsilon", which
                says nothing about x_0 there.
        """
        if beta_start > beta_end:
            raise ConfigError(
                f"beta_start is {beta_start:g}, beta_end {beta_end:g}.",
                allowed="beta_start <= beta_end",
            )
        if beta_schedule == "scaled_linear":
            root = torch.linspace(beta_start**0.5, beta_end**0.5, timesteps, dtype=torch.float64)
            betas = root**2
        elif beta_schedule == "linear":
            betas = torch.linspace(beta_start, beta_end, timesteps, dtype=torch.float64)
        else:
            assert_never(beta_schedule)
        alphas_cumprod = (1 - betas).cumprod(0)
        if zero_terminal_snr:
            if prediction_type == "epsilon":
                raise ConfigError(
                    "zero_terminal_snr is true with prediction_type 'epsilon'.",
                    allowed="prediction_type: v_prediction, sample",
                )
            signal = alphas_cumprod.sqrt()
            signal = (signal - signal[-1]) * (signal[0] / (signal[0] - signal[-1]))
            alphas_cumprod = signal**2
        return cls(alphas_cumprod.float(), prediction_type)

    @classmethod
    def of(cls, options: ScheduleOptions) -> NoiseSchedule:
        """Build the schedule that a method's options describe."""
        return cls.make(
            options.train_timesteps,
            options.beta_start,
            options.beta_end,
            options.beta_schedule,
            options.prediction_type,
            options.zero_terminal_snr,
        )

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def _abar(self, t: Int[Tensor, " b"], like: Tensor) -> Tensor:
        values = self.alphas_cumprod.to(like.device)[t].to(like.dtype)
        return values.reshape(-1, *[1] * (like.dim() - 1))

    def add_noise(
        self, clean: Float[Tensor, "b ..."], noise: Float[Tensor, "b ..."], t: Int[Tensor, " b"]
    ) -> Float[Tensor, "b ..."]:
        """Return x_t for clean x_0 and unit noise."""
        abar = self._abar(t, clean)
        return abar.sqrt() * clean + (1 - abar).sqrt() * noise

    def target(
        self, clean: Float[Tensor, "b ..."], noise: Float[Tensor, "b ..."], t: Int[Tensor, " b"]
    ) -> Float[Tensor, "b ..."]:
        """What the network should return at x_t: the inverse of `split`.

        "epsilon": the noise n; "sample": x_0; "v_prediction": sqrt(abar) n - sqrt(1 - abar) x_0
        (Salimans & Ho, arXiv 2202.00512).
        """
        if self.prediction_type == "epsilon":
            return noise
        if self.prediction_type == "sample":
            return clean
        abar = self._abar(t, clean)
        return abar.sqrt() * noise - (1 - abar).sqrt() * clean

    def loss_weight(self, t: Int[Tensor, " b"], min_snr_gamma: float) -> Float[Tensor, " b"]:
        """Min-SNR weight of each item's squared error (Hang et al., arXiv 2303.09556).

        `min_snr_gamma` 0 gives ones. But for "epsilon", the SNR is clamped to [1, gamma] rather
        than to at most gamma: the paper's weight vanishes where there is almost only noise.
        """
        if min_snr_gamma <= 0:
            return torch.ones(t.shape, device=t.device)
        abar = self.alphas_cumprod.to(t.device)[t]
        snr = abar / (1 - abar)
        if self.prediction_type == "epsilon":
            return snr.clamp(max=min_snr_gamma) / snr
        weight = snr.clamp(1.0, max(min_snr_gamma, 1.0))
        return weight if self.prediction_type == "sample" else weight / (snr + 1)

    def losses(
        self,
        prediction: Float[Tensor, "b ..."],
        clean: Float[Tensor, "b ..."],
        noise: Float[Tensor, "b ..."],
        t: Int[Tensor, " b"],
        min_snr_gamma: float = 0.0,
    ) -> dict[str, Tensor]:
        """Compare a network's output at x_t with what it should have been.

        Returns:
            "loss": weighted mean squared error, see `loss_weight`; "mse" without weights,
            "per_item" [b] (both without gradients); "prediction".
        """
        target = self.target(clean, noise, t)
        per_item = F.mse_loss(prediction, target, reduction="none").flatten(1).mean(1)
        return {
            "loss": (per_item * self.loss_weight(t, min_snr_gamma)).mean(),
            "mse": per_item.mean().detach(),
            "per_item": per_item.detach(),
            "prediction": prediction,
        }

    def split(
        self, prediction: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], abar: float
    ) -> tuple[Float[Tensor, "b ..."], Float[Tensor, "b ..."]]:
        """Turn a network output at x_t into (estimated noise, estimated x_0)."""
        signal, spread = abar**0.5, (1 - abar) ** 0.5
        if self.prediction_type == "epsilon":
            return prediction, (x - spread * prediction) / signal
        if self.prediction_type == "sample":
            return (x - signal * prediction) / spread, prediction
        return signal * prediction + spread * x, signal * x - spread * prediction


def guide(
    uncond: Float[Tensor, "b ..."], cond: Float[Tensor, "b ..."], scale: float
) -> Float[Tensor, "b ..."]:
    """Classifier-free guidance: uncond + scale * (cond - uncond).

    Raises:
        ConfigError: if the scale is negative, which turns away from the condition.
    """
    if not scale >= 0:
        raise ConfigError(
            f"the scale of the guidance is {scale}.",
            allowed="0 (condition ignored), 1 (no guidance) or more",
        )
    return uncond + scale * (cond - uncond)


def guided_prediction(
    network: Callable[..., Float[Tensor, "b ..."]],
    condition: tuple[Float[Tensor, "b ..."], ...],
    null: tuple[Float[Tensor, "b ..."], ...],
    scale: float,
    *,
    batched: bool = True,
) -> tuple[Float[Tensor, "b ..."], Float[Tensor, "b ..."] | None]:
    """Run a network with classifier-free guidance.

    Args:
        network: from its inputs at x_t to its output, for any batch size.
        condition: the inputs.
        null: the same with the condition taken out.
        scale: of the guidance; at 1 the null inputs are not run.
        batched: run both in one batch; otherwise one after the other, in half the memory.

    Returns:
        the guided output and the unconditional one, None at scale 1.
    """
    if scale == 1:
        return whole(network(*condition)), None
    if batched:
        both = whole(network(*(torch.cat(pair) for pair in zip(null, condition, strict=True))))
        uncond, cond = both.chunk(2)
    else:
        uncond, cond = whole(network(*null)), whole(network(*condition))
    return guide(uncond, cond, scale), uncond


def recomputed(active: bool, layer: Callable[..., Tensor], *args: Any) -> Tensor:
    """Run a layer; where `active`, its inside is computed again for gradients, not kept."""
    if active and torch.is_grad_enabled():
        result: Tensor = checkpoint(layer, *args, use_reentrant=False)
        return result
    return layer(*args)


def target_latents(
    vae: AutoencoderKL,
    batch: dict[str, Any],
    generator: torch.Generator | None,
    vae_batch: int = VAE_BATCH,
) -> Float[Tensor, "b v c g u"]:
    """Return scaled latents of a training batch's target views.

    Stored posterior means (`batch["latents"]`) are taken as they are; pictures are encoded to a
    draw from the posterior, the only one made here, `vae_batch` at a time.
    """
    if batch.get("latents") is not None:
        return batch["latents"] * vae.config.scaling_factor
    objects, views = batch["images"].shape[:2]
    pixels = batch["images"].flatten(0, 1)
    side = latent_side(vae, pixels.shape[-1])
    shape = (len(pixels), vae.config.latent_channels, side, side)
    latents = encode(vae, pixels, randn_like(pixels.new_empty(shape), generator), vae_batch)
    return latents.unflatten(0, (objects, views)) * vae.config.scaling_factor
