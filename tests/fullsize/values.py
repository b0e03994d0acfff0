"""Names and shapes of the released tensors, and random numbers that a network stays finite with."""

from __future__ import annotations

import functools
import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

KEYS = Path(__file__).parents[1] / "parity" / "cases"

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Values:
    """Numbers of one tensor, a function of its name, made each time they are asked for.

    Attributes:
        name: of the tensor.
        shape: its sizes.
        dtype: of the file.
        given: makes them, where they are not random.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    given: Callable[[], Tensor] | None = None

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Their size in a file."""
        return self.count * self.dtype.itemsize

    def make(self) -> Tensor:
        """Return the numbers: those that are given, or random ones as a fresh network has them."""
        if self.given is not None:
            return self.given().to(self.dtype).reshape(self.shape).contiguous()
        return self._fresh().to(self.dtype)

    def _fresh(self) -> Tensor:
        last = self.name.rpartition(".")[2]
        if len(self.shape) < 2 and last == "weight":  # a norm's
            return torch.ones(self.shape)
        fan_in = math.prod(self.shape[1:]) if len(self.shape) > 1 else 0
        spread = 1 / math.sqrt(fan_in) if last == "weight" and fan_in else 0.02
        return _normal(self.name, self.count).reshape(self.shape).mul_(spread)


def _normal(name: str, count: int) -> Tensor:
    """Normal numbers from a pool, which is begun at a place of the name's own."""
    pool = _pool()
    start = zlib.crc32(name.encode()) % len(pool)
    return pool.repeat(-(-(start + count) // len(pool)))[start : start + count]


@functools.cache
def _pool() -> Tensor:
    """As many numbers as a prime says, so that no two rows of a tensor are alike."""
    return torch.randn(4_000_037, generator=torch.Generator().manual_seed(0))


def released_shapes(table: str, *, smallest: int | None = None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a released checkpoint's tensors by their names.

    Args:
        table: path below `KEYS` without its `.keys.json.gz`.
        smallest: cut every dimension to this much, for tests of names alone.
    """
    with gzip.open(KEYS / f"{table}.keys.json.gz", "rt") as file:
        shapes = {name: tuple(shape) for name, shape in json.load(file).items()}
    if smallest is None:
        return shapes
    return {name: tuple(min(n, smallest) for n in shape) for name, shape in shapes.items()}


def below(shapes: Shapes, prefix: str) -> dict[str, tuple[int, ...]]:
    """Return the part of a table whose names start with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in shapes.items() if k.startswith(prefix)}


def zeros(names: Iterable[str], shapes: Shapes) -> list[Values]:
    """Return zeros of the shapes of some tensors: moments of an optimiser that never stepped."""
    return [
        Values(name, shapes[name], given=lambda n=shapes[name]: torch.zeros(n)) for name in names
    ]


def schedule_tables(steps: int = 1000) -> dict[str, Tensor]:
    """Return the tables that an LDM checkpoint holds beside its networks (Stable Diffusion's)."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64) ** 2
    abar = torch.cumprod(1 - betas, 0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
    variance = betas * (1 - before) / (1 - abar)
    return {
        "betas": betas,
        "alphas_cumprod": abar,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": abar.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - abar).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - abar).log(),
        "sqrt_recip_alphas_cumprod": abar.rsqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / abar - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - abar),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - abar),
        "logvar": torch.zeros(steps),
    }


def gamma_tables(steps: int = 2000) -> dict[str, Tensor]:
    """Return the tables of a composable ViewFusion checkpoint: variances from 1e-6 to 0.01."""
    betas = torch.linspace(1e-6, 1e-2, steps, dtype=torch.float64)
    gammas = torch.cumprod(1 - betas, 0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), gammas[:-1]])
    variance = betas * (1 - before) / (1 - gammas)
    return {
        "gammas": gammas,
        "sqrt_recip_gammas": gammas.rsqrt(),
        "sqrt_recipm1_gammas": (1 / gammas - 1).sqrt(),
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - gammas),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - gammas),
    }
