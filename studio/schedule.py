"""Values that change during training: a number, or a line between two steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from studio.errors import ConfigError


@dataclass(frozen=True)
class Schedule:
    """A value by step: `first` up to step `start`, `last` from step `end`, a line between them."""

    start: int
    first: float
    last: float
    end: int

    @classmethod
    def parse(cls, value: Any, key: str = "") -> Self:
        """Read a number or `[start, first, last, end]`, as threestudio writes it.

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
            if len(numbers) == 4 and 0 <= numbers[0] <= numbers[3]:
                return cls(int(numbers[0]), float(numbers[1]), float(numbers[2]), int(numbers[3]))
        raise ConfigError(
            f"{key or 'a schedule'} is {value!r}.",
            allowed="a number, or [start step, value before it, value at the end, end step]",
        )

    def __call__(self, step: int) -> float:
        """The value at a step."""
        if step >= self.end:
            return self.last
        if step <= self.start:
            return self.first
        part = (step - self.start) / (self.end - self.start)
        return self.first + part * (self.last - self.first)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
