"""Ranges of options, in their annotations: `levels: Annotated[int, Range(1, 64)] = 16`.

`studio.plugins.options` checks it wherever options are parsed and wherever a plugin is made from a
`Config` of Python; `studio.app.docs_tables` shows it. A closed set of words is a `Literal`, or
`OneOf` where a table in the code has the words already. What two options must be together is said
by the `__post_init__` of their dataclass, which raises a `ConfigError` that begins with an option's
name.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib.util
import math
import re
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from studio.plugins.discovery import available

T = TypeVar("T")


class Limit:
    """Says of a value whether it is allowed, and in words what is; a plugin may have its own."""

    def holds(self, value: Any) -> bool:
        """Whether a value, of the annotation's type, is allowed."""
        raise NotImplementedError


@dataclass(frozen=True)
class Range(Limit):
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
class Length(Limit):
    """Bounds of the number of items of a list."""

    low: int
    high: int

    def holds(self, value: Collection[Any]) -> bool:
        """Whether a list has a length that is allowed."""
        return self.low <= len(value) <= self.high

    def __str__(self) -> str:
        if self.low != self.high:
            return f"{self.low} to {self.high} items"
        return f"{self.low} item{'' if self.low == 1 else 's'}"


@dataclass(frozen=True)
class Pattern(Limit):
    """Texts of one form."""

    form: str
    """Regular expression of the whole text."""
    words: str
    """What it says, for people."""

    def holds(self, value: str) -> bool:
        """Whether a text has the form."""
        return re.fullmatch(self.form, value) is not None

    def __str__(self) -> str:
        return self.words


class OneOf(Limit):
    """The words of a table."""

    def __init__(self, words: Collection[str]) -> None:
        self.words = tuple(words)

    def holds(self, value: str) -> bool:
        """Whether it is one of them."""
        return value in self.words

    def __str__(self) -> str:
        return ", ".join(self.words)


class Installed(OneOf):
    """The words of a table of which some need a package that may be missing here."""

    def __init__(self, packages: Mapping[str, Sequence[str]]) -> None:
        """Take each word with the packages of which one has to be installed, none for no need."""
        super().__init__(tuple(packages))
        self.packages = packages

    def holds(self, value: str) -> bool:
        """Whether it is one of the words, and can be used here."""
        return value in self.words and not self._lacks(value)

    def _lacks(self, word: str) -> bool:
        wanted = self.packages[word]
        return bool(wanted) and not any(importlib.util.find_spec(name) for name in wanted)

    def __str__(self) -> str:
        needs = {w: f" (pip install {p[0]})" if p else "" for w, p in self.packages.items()}
        return ", ".join(word + needs[word] for word in self.words)


@dataclass(frozen=True)
class Registered(Limit):
    """The names of all plugins of a kind, those in custom/ included; none of them is imported."""

    kind: str

    def holds(self, value: str) -> bool:
        """Whether it is one of them."""
        return value in available(self.kind)

    def __str__(self) -> str:
        return ", ".join(available(self.kind))


class FixedByWeights:
    """Marks an option that a folder of weights fixes: it has the last word."""


class OwnForm:
    """Marks an option whose values are read in a way of their own."""

    def convert(self, value: Any, key: str) -> Any:
        """Return a value as the option keeps it, or raise a `ConfigError` that names `key`."""
        raise NotImplementedError


class Beside:
    """Marks an option `x_type`: the options of the plugin that it names stand beside it.

    They are no group `x` of their own: `system.reconstruction_type: sdf` and beside it
    `system.geometry_type`, ... The dataclass keeps those that are given in its field `x`, a dict.
    """


def _shown(bound: float) -> str:
    return str(bound) if isinstance(bound, int) and abs(bound) < 100_000 else f"{bound:.10g}"


Fixed = Annotated[T, FixedByWeights()]
"""An option that a folder of weights fixes."""

PluginBeside = Annotated[str, Beside()]
"""The name of a plugin whose options stand beside it."""

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
Elevation = Annotated[float, Range(-89.9, 89.9)]
"""Degrees above the ground; straight up and down is no view with an upright."""
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


_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    dict: "a group of options",
    type(None): "null",
}


def described(kind: Any) -> str:
    """An annotation in words, for the refusal of a value."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        found = [part for part in kind.__metadata__ if isinstance(part, Limit)]
        told = ", ".join(map(str, found))
        if any(not isinstance(part, Range | Length) for part in found):
            return told  # which says all
        name = described(inside[0])
        return f"{name}{' ' if told.startswith('above') else ', '}{told}" if told else name
    if origin is typing.Literal:
        return ", ".join(str(word) or "(empty)" for word in inside)
    if origin in (typing.Union, types.UnionType):
        return "; or ".join(described(part) for part in inside)
    if origin in (list, tuple, set, frozenset, Sequence):
        return f"a list, each item {described(inside[0])}" if inside else "a list"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(member.name for member in kind)
    plain = Mapping if origin in (dict, Mapping) else kind
    return _NAMES.get(dict if plain is Mapping else plain, getattr(kind, "__name__", str(kind)))


def fixed(cls: type) -> tuple[str, ...]:
    """Names of the options that a folder of weights fixes."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(option.name for option in dataclasses.fields(cls) if is_fixed(hints[option.name]))


def is_fixed(kind: Any) -> bool:
    """Whether an annotation says that a folder of weights fixes the option."""
    return any(isinstance(part, FixedByWeights) for part in getattr(kind, "__metadata__", ()))
