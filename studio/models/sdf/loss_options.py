"""`system.loss`: the weights and options of all losses in one flat group.

The keys follow from the registered losses: `colour` is the weight of the loss of that name,
`colour_norm` its option `norm`. So a loss that a plugin brings needs no entry anywhere.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any, ClassVar

from studio.errors import ConfigError, PluginError
from studio.io.yaml_text import Word
from studio.ops.schedule import Schedule
from studio.plugins import discovery as plugins
from studio.plugins.discovery import available, find
from studio.plugins.parsing import parse_config
from studio.plugins.ranges import Limit, OwnForm, Range, Steps
from studio.plugins.registry import config_class

BUILT_IN = "studio.models.sdf.loss_terms"


class WeightByStep(Limit):
    """A loss' weight, fixed or from one value to another; a fit has steps, no epochs."""

    def holds(self, value: Any) -> bool:
        """Whether it is one."""
        try:
            weight = Schedule.parse(value)
        except ConfigError:
            return False
        inside = all(0 <= w < math.inf for w in (weight.first, weight.last))
        return inside and (weight.off or not weight.epochs)

    def __str__(self) -> str:
        return "a number from 0, or [start step, first, last, end step] with a whole end step"


Weight = Annotated[Any, WeightByStep()]


@dataclass
class LossOptions:
    """Base of the options of a loss."""

    weight: Weight = 0.0
    """Weight of the loss; 0 costs nothing."""


@dataclass
class LossConfig:
    """Losses. Weights are numbers or [start step, first, last, end step]; 0 costs nothing.

    Made by `read_losses`, with one more field for the weight and each option of every loss.
    """

    random_points: Annotated[int, Range(1, 2**24)] = 512
    """Random points of the losses that need some."""
    random_every: Steps = 1
    """Steps between two uses of the losses at random points."""

    names: ClassVar[tuple[str, ...]] = ()
    """The losses, in the order in which they are summed."""

    def options(self, name: str) -> LossOptions:
        """The weight and options of one loss."""
        kind = config_class(find("loss", name))
        flat = {f.name: getattr(self, _key(name, f.name)) for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
        made: LossOptions = kind(**flat)
        return made


class Losses(OwnForm):
    """Reads the group: weights by name, options as `name_option` or within `name: {...}`."""

    def convert(self, value: Any, key: str) -> LossConfig:
        """Return the options of all losses that come with this program or are named."""
        if isinstance(value, LossConfig):
            return parse_config(type(value), value, key=key)
        return read_losses(value, key)


def built_in() -> tuple[str, ...]:
    """The losses of this program, in the order of their file."""
    found = plugins.catalogue().plugins
    return tuple(p.name for p in found if p.kind == "loss" and p.module == BUILT_IN)


def read_losses(given: Any = None, key: str = "system.loss") -> LossConfig:
    """Put given weights and options over the defaults.

    Raises:
        ConfigError: for keys or values that do not exist, with the near miss.
    """
    given = given.tree if isinstance(given, Word) else given
    names = built_in()
    if isinstance(given, Mapping):
        known = [name for name in available("loss") if name not in names]
        names += tuple(name for name in known if _is_named(name, given))
        given = _flat(given, names)
    made: LossConfig = parse_config(_config(names), given, key=key)
    return made


def _is_named(name: str, keys: Iterable[str]) -> bool:
    return any(key == name or str(key).startswith(f"{name}_") for key in keys)


def _flat(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """`mask: {weight: 1, norm: mse}` as `mask: 1, mask_norm: mse`."""
    flat: dict[str, Any] = {}
    for name, value in given.items():
        inner = value.tree if isinstance(value, Word) else value
        if name in names and isinstance(inner, Mapping):
            flat |= {_key(name, str(option)): part for option, part in inner.items()}
        else:
            flat[name] = value
    return flat


def _key(name: str, option: str) -> str:
    return name if option == "weight" else f"{name}_{option.rstrip('_')}"


@functools.cache
def _config(names: tuple[str, ...]) -> type[LossConfig]:
    """The options of some losses in one dataclass."""
    options: dict[str, tuple[str, Any, Any]] = {}
    for name in names:
        config = config_class(find("loss", name))
        kinds = typing.get_type_hints(config, include_extras=True)
        for option in dataclasses.fields(config):  # type: ignore[arg-type]
            key = _key(name, option.name)
            if key in options or key.startswith("random_"):
                raise PluginError(
                    f"option '{option.name}' of the loss '{name}': loss.{key} exists already.",
                    hint=f"rename it in {config.__module__}",
                )
            default = dataclasses.field(
                default=option.default,
                default_factory=option.default_factory,  # type: ignore[call-overload]
            )
            options[key] = (key, kinds[option.name], default)
    return make_dataclass(
        "LossConfig", options.values(), bases=(LossConfig,), namespace={"names": names}
    )


def weights_of(cfg: LossConfig) -> dict[str, Schedule]:
    """Weights of the losses that are ever on, by step."""
    weights = {n: Schedule.parse(getattr(cfg, n), f"system.loss.{n}") for n in cfg.names}
    return {name: weight for name, weight in weights.items() if not weight.off}
