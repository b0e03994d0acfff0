"""Noise levels of composable ViewFusion, and the steps of a sampling run.

gamma_t is the product of 1 - beta up to t: the share of signal in the variance of the noisy
picture, elsewhere called alpha-bar. Everything is worked out in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.errors import ConfigError
from studio.guidance.noise_schedules import Table


@dataclass(frozen=True)
class DenoisingStep:
    """One denoising step: y <- from_clean * y_0 + from_noisy * y + sigma * fresh noise."""

    t: int
    """Position in the training chain."""
    level: float
    """gamma_t, what the network is told."""
    from_clean: float
    """Factor of the estimated clean picture."""
    from_noisy: float
    """Factor of the present noisy picture."""
    sigma: float
    """Standard deviation of the fresh noise."""


@dataclass(frozen=True)
class NoiseLevels:
    """The chain of noise levels that a network is trained on."""

    betas: Table
    """Variances of the steps."""

    @property
    def gammas(self) -> Table:
        """gamma_t, falling."""
        return np.cumprod(1 - self.betas, dtype=np.float64)

    def __len__(self) -> int:
        return len(self.betas)

    def buffers(self) -> dict[str, Float[Tensor, " t"]]:
        """Return the six float32 tables that the authors' checkpoints hold beside the network."""
        beta, gamma = self.betas, self.gammas
        before = np.append(1.0, gamma[:-1])
        with np.errstate(divide="ignore", invalid="ignore"):  # jsd ends without any signal
            tables = {
                "gammas": gamma,
                "sqrt_recip_gammas": np.sqrt(1 / gamma),
                "sqrt_recipm1_gammas": np.sqrt(1 / gamma - 1),
                "posterior_log_variance_clipped": np.log(
                    np.maximum(beta * (1 - before) / (1 - gamma), 1e-20)
                ),
                "posterior_mean_coef1": beta * np.sqrt(before) / (1 - gamma),
                "posterior_mean_coef2": (1 - before) * np.sqrt(1 - beta) / (1 - gamma),
            }
        return {name: torch.from_numpy(table).float() for name, table in tables.items()}

    def times(self, steps: int) -> list[int]:
        """Return evenly spaced steps of the chain, the last one first; 0 asks for all.

        Raises:
            ConfigError: if the chain has fewer.
        """
        total = len(self)
        if not 0 <= steps <= total:
            raise ConfigError(f"steps is {steps}.", allowed=f"1 to {total}, or 0 for all")
        steps = steps or total
        return [round(total - i * total / steps) - 1 for i in range(steps)]

    def plan(self, sampler: Literal["ancestral", "ddim"], steps: int = 0) -> list[DenoisingStep]:
        """Work out a sampling run, noisiest step first.

        Args:
            sampler: "ancestral" draws fresh noise as DDPM does, "ddim" none (Song et al., arXiv
                2010.02502, equation 12 with eta 1 and 0). The ancestral run over the whole chain
                is the paper's.
            steps: evenly spaced over the chain, the last training step included; 0 takes all.

        Raises:
            ConfigError: if there are not as many steps.
        """
        times = self.times(steps)
        gamma = self.gammas.tolist()
        levels = [gamma[t] for t in times]
        lower = [*levels[1:], 1.0]
        eta = float(sampler == "ancestral")
        return [_step(*each, eta) for each in zip(times, levels, lower, strict=True)]


def _step(t: int, level: float, lower: float, eta: float) -> DenoisingStep:
    """DDIM's step from `level` to `lower`, with the noise estimate written out in y and y_0."""
    variance = eta * (1 - lower) / (1 - level) * (1 - level / lower)
    from_noisy = math.sqrt(max(1 - lower - variance, 0.0) / (1 - level))
    from_clean = math.sqrt(lower) - from_noisy * math.sqrt(level)
    return DenoisingStep(t, level, from_clean, from_noisy, math.sqrt(max(variance, 0.0)))
