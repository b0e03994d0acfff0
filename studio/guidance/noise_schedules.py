"""Noise schedules: registered functions, each with its options beside it.

A schedule is the variances beta_0 .. beta_{T-1} by which a training chain of T steps makes a clean
value noisy: x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) noise. An option `beta_schedule` names
one. Everything is worked out in float64.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from studio.errors import ConfigError, PluginError
from studio.plugins.discovery import find
from studio.plugins.parsing import parse_config
from studio.plugins.ranges import Fixed, Range, Registered, Share
from studio.plugins.registry import config_class, origin, register

Table = NDArray[np.float64]
Variance = Annotated[float, Range(0, 0.999, above=True)]
NoiseScheduleName = Annotated[str, Registered("noise-schedule")]
METHODS_OWN = ("beta_start", "beta_end", "cosine_s")
"""Options of schedules that methods have among their own, with defaults of theirs."""


@dataclass
class NoiseScheduleOptions:
    """Options of a method that name its noise schedule; `beta_start`, `beta_end` are its own."""

    beta_schedule: Fixed[NoiseScheduleName] = "scaled_linear"
    """Noise schedule, a plugin of the kind noise-schedule: scaled_linear, linear, cosine, ..."""
    beta_options: Fixed[dict[str, Any]] = dataclasses.field(default_factory=dict)
    """Options of the noise schedule that this method has not itself."""
    train_timesteps: Fixed[Annotated[int, Range(2, 100_000)]] = 1000
    """Length of the training chain."""

    def __post_init__(self) -> None:
        """Refuse what the named schedule does not take."""
        betas_of(self)


def betas_of(cfg: Any) -> Table:
    """Return the variances [train_timesteps] of the schedule that a method's options name.

    Args:
        cfg: `NoiseScheduleOptions`; of `METHODS_OWN` what the schedule knows is taken from there.

    Raises:
        ConfigError: if the schedule's options cannot be used.
        PluginError: if what it returns are no variances.
    """
    schedule: Any = find("noise-schedule", cfg.beta_schedule, key="beta_schedule")
    kind = config_class(schedule)
    known = {option.name for option in dataclasses.fields(kind)}  # type: ignore[arg-type]
    own = {name: getattr(cfg, name) for name in METHODS_OWN if name in known and hasattr(cfg, name)}
    for name in own.keys() & cfg.beta_options.keys():
        raise ConfigError(f"beta_options has {name}.", hint=f"set the option {name} itself")
    options: Any = parse_config(kind, cfg.beta_options, key="beta_options")
    options = dataclasses.replace(options, **own)
    table = np.asarray(schedule(cfg.train_timesteps, options), np.float64)
    if table.shape != (cfg.train_timesteps,) or not ((table >= 0) & (table <= 1)).all():
        raise PluginError(
            f"the noise-schedule '{cfg.beta_schedule}' ({origin(schedule)}) does not return "
            f"{cfg.train_timesteps} variances.",
            allowed=f"an array [{cfg.train_timesteps}] of numbers from 0 to 1",
        )
    return table


def trained_betas(cfg: Any) -> dict[str, list[float]]:
    """What a diffusers scheduler is told beside the name of a schedule that it does not know."""
    known = cfg.beta_schedule in ("linear", "scaled_linear")
    return {} if known else {"trained_betas": betas_of(cfg).tolist()}


@dataclass
class Ends:
    """Options of a schedule from one variance to another."""

    beta_start: Variance = 0.00085
    """First variance."""
    beta_end: Variance = 0.012
    """Last variance."""

    def __post_init__(self) -> None:
        """Refuse variances that fall."""
        if self.beta_start > self.beta_end:
            raise ConfigError(
                f"beta_start is {self.beta_start:g}, beta_end {self.beta_end:g}.",
                allowed="beta_start <= beta_end",
            )


@register("noise-schedule", "linear")
def linear(steps: int, cfg: Ends) -> Table:
    """Evenly from the first variance to the last."""
    return np.linspace(cfg.beta_start, cfg.beta_end, steps)


@register("noise-schedule", "quad")
@register("noise-schedule", "scaled_linear")
def scaled_linear(steps: int, cfg: Ends) -> Table:
    """Evenly in the root of the variance, as Stable Diffusion's."""
    return np.linspace(cfg.beta_start**0.5, cfg.beta_end**0.5, steps) ** 2


@register("noise-schedule", "warmup10")
def warmup10(steps: int, cfg: Ends) -> Table:
    """Evenly over the first tenth of the chain, then the last variance."""
    return _warmup(steps, int(steps * 10 / 100), cfg)


@register("noise-schedule", "warmup50")
def warmup50(steps: int, cfg: Ends) -> Table:
    """Evenly over the first half of the chain, then the last variance."""
    return _warmup(steps, int(steps * 50 / 100), cfg)


def _warmup(steps: int, rise: int, cfg: Ends) -> Table:
    rising = np.linspace(cfg.beta_start, cfg.beta_end, rise)
    return np.concatenate([rising, np.full(steps - rise, cfg.beta_end)])


@dataclass
class ConstOptions:
    """Options of a constant variance."""

    beta_end: Variance = 0.012
    """Every variance."""


@register("noise-schedule", "const")
def const(steps: int, cfg: ConstOptions) -> Table:
    """The same variance at every step."""
    return np.full(steps, cfg.beta_end)


@dataclass
class NoOptions:
    """A schedule without options."""


@register("noise-schedule", "jsd")
def jsd(steps: int, cfg: NoOptions) -> Table:
    """1/T, 1/(T-1), ..., 1: every step takes as much signal, and none is left."""
    return 1.0 / np.linspace(steps, 1, steps)


@dataclass
class CosineOptions:
    """Options of the cosine schedule."""

    cosine_s: Share = 8e-3
    """Keeps the first variances from vanishing: added to t / T before scaling by 1 / (1 + s)."""


@register("noise-schedule", "cosine")
def cosine(steps: int, cfg: CosineOptions) -> Table:
    """Signal falls as a squared cosine (Nichol & Dhariwal, arXiv 2102.09672, equation 17)."""
    s = cfg.cosine_s
    x = (np.arange(steps + 1) / steps + s) / (1 + s) * math.pi / 2
    return from_signal(np.cos(x) ** 2 / np.cos(x[0]) ** 2)


def from_signal(signal: Table, largest: float = 0.999) -> Table:
    """Return variances by the share of signal that is left.

    Args:
        signal: [T + 1], what is left of the variance of the clean value before the chain and after
            each step (alpha-bar), falling from 1.
        largest: variance of a step.
    """
    return np.minimum(1 - signal[1:] / signal[:-1], largest)
