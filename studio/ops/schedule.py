"""Values that change during training: numbers by step, learning rates, the number of rays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from studio.errors import ConfigError
from studio.plugins.ranges import Factor, Length, OneOf, Range, StepsOrZero

Betas = Annotated[list[Annotated[float, Range(0, 0.999999999)]], Length(2, 2)]


@dataclass(frozen=True)
class Schedule:
    """A value by step: `first` up to step `start`, `last` from step `end`, a line between them.

    With `epochs`, start and end count epochs (passes over the data) instead of steps.
    """

    start: float
    first: float
    last: float
    end: float
    epochs: bool = False

    @classmethod
    def parse(cls, value: Any, key: str = "") -> Self:
        """Read a number or `[start, first, last, end]`, as threestudio and instant-nsr write it.

        `[first, last, end]` starts at 0. An end with a decimal point counts epochs.

        Args:
            value: the option's value.
            key: the option's key, for errors.

        Raises:
            ConfigError: for anything else, or if the end lies before the start.
        """
        if isinstance(value, cls):
            return value
        numbers = [value] if _number(value) else value
        known = isinstance(numbers, Sequence) and not isinstance(numbers, str)
        if known and all(_number(n) for n in numbers):
            if len(numbers) == 1:
                return cls(0, float(numbers[0]), float(numbers[0]), 0)
            if len(numbers) == 3:
                numbers = [0, *numbers]
            if len(numbers) == 4 and 0 <= numbers[0] <= numbers[3]:
                start, first, last, end = numbers
                return cls(start, float(first), float(last), end, epochs=isinstance(end, float))
        raise ConfigError(
            f"{key or 'a schedule'} is {value!r}.",
            allowed="a number, or [start step, value before it, value at the end, end step]",
        )

    def __call__(self, step: int, epoch: int = 0) -> float:
        """The value at a step (of an epoch)."""
        now = epoch if self.epochs else step
        if now >= self.end:
            return self.last
        if now <= self.start:
            return self.first
        part = (now - self.start) / (self.end - self.start)
        return self.first + part * (self.last - self.first)

    @property
    def off(self) -> bool:
        """Whether the value is 0 throughout."""
        return self.first == 0 == self.last


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- learning rates -------------------------------------------------------------------------------


@dataclass(frozen=True)
class LearningRate:
    """Factor of the learning rate by step.

    Attributes:
        kind: name of the curve, one of `LEARNING_RATES`.
        warmup: steps of the rise (of the plateau where there is none).
        start: factor at the first step.
        end: factor at the end.
        fall: last steps, over which a plateau falls; 0: it does not.
    """

    kind: str
    warmup: int
    start: float
    end: float
    fall: int = 0

    def __call__(self, step: int, total: float) -> float:
        """Factor at a step of ``total`` (infinite where it is not known yet)."""
        return LEARNING_RATES[self.kind](self, step, total)


def _rise(rate: LearningRate, step: int) -> float:
    return rate.start + (1 - rate.start) * step / rate.warmup


def _rest(rate: LearningRate, step: int, total: float) -> float:
    """Share of the steps after the warm-up that is done."""
    return min(1.0, (step - rate.warmup) / max(total - rate.warmup, 1))


def _plateau(rate: LearningRate, step: int, total: float) -> float:
    """A linear warm-up, the full rate, a linear fall over the last steps."""
    rise = rate.start + (1 - rate.start) * (step + 1) / max(rate.warmup, 1)
    left = (total - step) / rate.fall if rate.fall else 1.0
    return max(0.0, min(1.0, rise, rate.end + (1 - rate.end) * left))


def _exponential(rate: LearningRate, step: int, total: float) -> float:
    """Exponential from the first step to the last, under a linear warm-up."""
    warm = min(1.0, rate.start + (1 - rate.start) * (step + 1) / max(rate.warmup, 1))
    return float(warm * rate.end ** min(1.0, step / total))


def _warmup_exponential(rate: LearningRate, step: int, total: float) -> float:
    """instant-nsr: a linear warm-up, then exponential."""
    if step < rate.warmup:
        return _rise(rate, step)
    return float(rate.end ** _rest(rate, step, total))


def _constant_exponential(rate: LearningRate, step: int, total: float) -> float:
    """instant-nsr on DTU, Wonder3D: constant at first, then exponential."""
    return float(rate.end ** max(0.0, _rest(rate, step, total)))


def _warmup_cosine(rate: LearningRate, step: int, total: float) -> float:
    """NeuS: a linear warm-up, then half a cosine."""
    if step < rate.warmup:
        return _rise(rate, step)
    fall = 0.5 * (1 + math.cos(math.pi * _rest(rate, step, total)))
    return rate.end + (1 - rate.end) * fall


def _cosine(rate: LearningRate, step: int, total: float) -> float:
    """EscherNet: a linear warm-up, then what is left of half a cosine over all steps.

    Its program sets the rate after every update: the first one still has the full rate, every
    other that of the step before.
    """
    before = step - 1
    if before < 0:
        return 1.0
    if before <= rate.warmup:
        return _rise(rate, before)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, before / total)))
    return rate.end + (1 - rate.end) * fall


def _stairs(rate: LearningRate, step: int, total: float) -> float:
    """SyncDreamer: a linear warm-up, then a drop every thousand steps."""
    if step < rate.warmup:
        return _rise(rate, step)
    if math.isinf(total):
        return 1.0
    return float(rate.end ** ((step // 1000) / max(total // 1000, 1)))


LEARNING_RATES: dict[str, Callable[[LearningRate, int, float], float]] = {
    "plateau": _plateau,
    "exponential": _exponential,
    "warmup-exponential": _warmup_exponential,
    "constant-exponential": _constant_exponential,
    "warmup-cosine": _warmup_cosine,
    "cosine": _cosine,
    "stairs": _stairs,
}


# --- rays -----------------------------------------------------------------------------------------


@dataclass
class LearningRateConfig:
    """Options of the learning rate by step, as a factor of its highest value."""

    lr_schedule: Annotated[str, OneOf(LEARNING_RATES)] = "plateau"
    """plateau (warm-up, constant, linear decay at the end), exponential (throughout),
    warmup-exponential (instant-nsr), constant-exponential (its DTU settings), warmup-cosine (NeuS),
    cosine (EscherNet: throughout, set after each step), or stairs (SyncDreamer)."""
    lr_start: Factor = 0.0
    """Factor of the learning rate at the first step of the warm-up."""
    lr_end: Factor = 0.0
    """Factor of the learning rate at the end."""
    warmup_steps: StepsOrZero = 200
    """Steps of linear warm-up (of the plateau, for constant-exponential)."""
    decay_steps: StepsOrZero = 0
    """Last steps, over which a plateau falls; 0 keeps the rate constant."""

    def learning_rate(self) -> LearningRate:
        """Factor of the learning rate by step."""
        return LearningRate(
            self.lr_schedule, self.warmup_steps, self.lr_start, self.lr_end, self.decay_steps
        )


def next_ray_count(rays: int, samples: int, wanted_samples: int, limit: int) -> int:
    """Rays for the next step, so that the number of samples approaches what is wanted.

    Args:
        rays: of this step.
        samples: that they needed; none leaves the rays as they are.
        wanted_samples: per step.
        limit: most rays of a step.
    """
    if samples <= 0:
        return min(rays, limit)
    fitting = int(rays * (wanted_samples / samples))
    return min(int(rays * 0.9 + fitting * 0.1), limit)
