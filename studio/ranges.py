"""What an option may be, written in its annotation: `levels: Annotated[int, Range(1, 64)] = 16`.

`studio.options` checks it wherever options are parsed, `studio.docs_tables` shows it. A closed set
of words is a `Literal`, or `OneOf` where a table in the code has the words already.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from studio.registry import available

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """Bounds of a number, or of each number of a list; infinity and nan are in none."""

    low: float
    """Least value."""
    high: float
    """Largest value."""
    above: bool = False
    """Whether `low` itself is out of range."""

    def holds(self, value: float) -> bool:
        """Whether a number is in range."""
        inside = self.low < value if self.above else self.low <= value
        return inside and value <= self.high and math.isfinite(value)

    def __str__(self) -> str:
        low, high = (_shown(bound) for bound in (self.low, self.high))
        return f"above {low}, up to {high}" if self.above else f"{low} to {high}"


@dataclass(frozen=True)
class Length:
    """Bounds of the number of items of a list."""

    low: int
    high: int

    def holds(self, value: Collection[Any]) -> bool:
        """Whether a list has a length that is allowed."""
        return self.low <= len(value) <= self.high

    def __str__(self) -> str:
        return f"{self.low} items" if self.low == self.high else f"{self.low} to {self.high} items"


class OneOf:
    """The words of a table."""

    def __init__(self, words: Collection[str]) -> None:
        self.words = tuple(words)

    def holds(self, value: str) -> bool:
        """Whether it is one of them."""
        return value in self.words

    def __str__(self) -> str:
        return ", ".join(self.words)


@dataclass(frozen=True)
class Registered:
    """The names of all plugins of a kind, those in custom/ included; none of them is imported."""

    kind: str

    def holds(self, value: str) -> bool:
        """Whether it is one of them."""
        return value in available(self.kind)

    def __str__(self) -> str:
        return ", ".join(available(self.kind))


class FixedByWeights:
    """Marks an option that a folder of weights fixes: it has the last word."""


def _shown(bound: float) -> str:
    return str(bound) if isinstance(bound, int) and abs(bound) < 100_000 else f"{bound:.10g}"


Limit = Range | Length | OneOf | Registered

Fixed = Annotated[T, FixedByWeights()]
"""An option that a folder of weights fixes."""

Count = Annotated[int, Range(1, 1_000_000)]
"""How many of something there are."""
CountOrZero = Annotated[int, Range(0, 1_000_000)]
"""A count whose 0 means all, none or automatic, as the option says."""
Steps = Annotated[int, Range(1, 1_000_000_000)]
"""Steps of a training or fit."""
StepsOrZero = Annotated[int, Range(0, 1_000_000_000)]
"""Steps, or a step's number, with 0."""
Seed = Annotated[int, Range(0, 2**32 - 1)]
"""Of random numbers."""
Pixels = Annotated[int, Range(8, 8192)]
"""Side of a picture."""
Width = Annotated[int, Range(1, 65536)]
"""Units of a network's layer."""
Layers = Annotated[int, Range(0, 64)]
"""Layers, levels or octaves of a network."""
Share = Annotated[float, Range(0, 1)]
"""Part of a whole; also a probability."""
Factor = Annotated[float, Range(0, 1e6)]
"""A weight or scale that 0 switches off."""
Size = Annotated[float, Range(0, 1e6, above=True)]
"""A length, distance or scale."""
Elevation = Annotated[float, Range(-90, 90)]
"""Degrees above the ground."""
Angle = Annotated[float, Range(-360, 360)]
"""Degrees."""
FieldOfView = Annotated[float, Range(0.1, 179)]
"""Degrees."""


def limits(kind: Any) -> list[Limit]:
    """The limits in an annotation, those of list items and optional values included."""
    found = [part for part in getattr(kind, "__metadata__", ()) if isinstance(part, Limit)]
    for inner in typing.get_args(kind):
        found += limits(inner)
    return found


def fixed(cls: type) -> tuple[str, ...]:
    """Names of the options that a folder of weights fixes."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(option.name for option in dataclasses.fields(cls) if is_fixed(hints[option.name]))


def is_fixed(kind: Any) -> bool:
    """Whether an annotation says that a folder of weights fixes the option."""
    return any(isinstance(part, FixedByWeights) for part in getattr(kind, "__metadata__", ()))
