"""The common part of latent-diffusion methods: targets, losses, classifier-free guidance.

Everything works on values, without hidden state. Sampling is in ddim.py, noise schedules are
plugins (noise_schedules.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from studio.errors import ConfigError
from studio.guidance.autoencoder import encode, latent_side
from studio.guidance.noise import randn_like
from studio.guidance.noise_schedules import NoiseScheduleOptions, Variance, betas_of
from studio.guidance.precision import VAE_BATCH, LatentSamplingOptions, whole
from studio.plugins.ranges import Factor, Fixed, Share

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

Prediction = Literal["epsilon", "v_prediction", "sample"]
NOISIEST = 10
"""One in so many timesteps counts as one of the noisiest."""
PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)


@dataclass
class DiffusionOptions(NoiseScheduleOptions, LatentSamplingOptions):
    """Options of a latent-diffusion method that its noise schedule and its loss follow from."""

    prediction_type: Fixed[Prediction] = "v_prediction"
    """What the UNet returns: epsilon (released models), v_prediction or sample (latents)."""
    beta_start: Fixed[Variance] = 0.00085
    """First variance of the noise schedule."""
    beta_end: Fixed[Variance] = 0.012
    """Last variance of the noise schedule."""
    zero_terminal_snr: Fixed[bool] = False
    """Make the last timestep pure noise (needs v_prediction or sample)."""
    min_snr_gamma: Factor = 0.0
    """Min-SNR weighting of the loss; 0: off (released models)."""
    noisiest_share: Share = 0.0
    """Share of the training's timesteps drawn from the noisiest tenth, where a view is decided on,
    beside those drawn evenly; short trainings and few sampling steps profit (released: 0)."""


@dataclass(frozen=True)
class NoiseSchedule:
    """Variance-preserving diffusion: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise."""

    alphas_cumprod: Float[Tensor, " t"]
    """abar_t for t = 0 .. T-1, falling, float32, on the CPU."""
    prediction_type: Prediction = "epsilon"
    """What the network returns: "epsilon" (the noise), "v_prediction" or "sample" (x_0)."""

    @classmethod
    def of(cls, options: DiffusionOptions) -> NoiseSchedule:
        """Build the schedule that a method's options describe.

        With `zero_terminal_snr` it is rescaled so that the last step is pure noise (Lin et al.,
        arXiv 2305.08891, algorithm 1).

        Raises:
            ConfigError: if the named schedule refuses its options, or pure noise is combined with
                "epsilon", which says nothing about x_0 there.
        """
        alphas_cumprod = (1 - torch.from_numpy(betas_of(options))).cumprod(0)
        if options.zero_terminal_snr:
            signal = alphas_cumprod.sqrt()
            signal = (signal - signal[-1]) * (signal[0] / (signal[0] - signal[-1]))
            alphas_cumprod = signal**2
        if alphas_cumprod[-1] == 0 and options.prediction_type == "epsilon":
            named = "zero_terminal_snr is true"
            if not options.zero_terminal_snr:
                named = f"beta_schedule '{options.beta_schedule}' ends in pure noise,"
            raise ConfigError(
                f"{named} with prediction_type 'epsilon'.",
                allowed="prediction_type: v_prediction, sample",
            )
        return cls(alphas_cumprod.float(), options.prediction_type)

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def draw(
        self, count: int, share: float, *, generator: torch.Generator | None, device: torch.device
    ) -> Int[Tensor, " count"]:
        """Draw timesteps of a training, a `share` of them from the noisiest tenth."""
        drawn: dict[str, Any] = {"generator": generator, "device": device}
        t = torch.randint(len(self), (count,), **drawn)
        if share <= 0:
            return t
        late = torch.rand(count, **drawn) < share
        return torch.where(late, len(self) - 1 - t // NOISIEST, t)

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
