"""The registry of plugins: `@register(kind, name)` above a class, `build(...)` to use it.

Built-in and custom plugins are found by reading their source (see `studio.plugins.discovery`); a
module is imported when one of its plugins is first asked for, so that `--list` and `--help` stay
instant.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import typing
from collections.abc import Callable, Container
from typing import Any, TypeVar

from studio.errors import PluginError
from studio.plugins.importing import resting_collector

KINDS = (
    "guidance",
    "noise-schedule",
    "model",
    "geometry",
    "renderer",
    "loss",
    "data",
    "system",
    "exporter",
    "format",
    "unwrap",
    "baker",
    "task",
)
GROUPS = ("loss",)
"""Kinds of which any number is named, as keys of a group that is called like the kind."""
NAMED_BY = {"reconstruction": "model"}
"""Kinds that an option `x_type` is not called after."""
BASES = {
    "guidance": "studio.guidance.base.Guidance",
    "model": "studio.models.base.SceneModel",
    "geometry": "studio.geometry.base.Geometry",
    "renderer": "studio.renderers.base.Renderer",
    "data": "studio.data.base.Data",
    "system": "studio.systems.contract.BaseSystem",
    "exporter": "studio.export.base.Exporter",
    "format": "studio.export.formats.base.MeshFormat",
    "unwrap": "studio.export.unwrap.Unwrapper",
    "baker": "studio.export.texture.Baker",
    "task": "studio.jobs.task.Task",
}
"""What the classes of a kind inherit from."""
FUNCTIONS = ("noise-schedule", "loss")
"""Kinds whose plugins are functions; the last parameter takes the options."""
OPTIONLESS = ("format", "unwrap", "baker")
"""Kinds whose classes have no `Config`: what uses them constructs them itself."""

T = TypeVar("T", bound=Callable[..., Any])

classes: dict[tuple[str, str], Any] = {}


def check_options(cls: type, cfg: Any) -> None:
    """Check a `Config` that was made in Python; the module of options puts its own check here."""


def register(kind: str, name: str) -> Callable[[T], T]:
    """Register the decorated class or function as plugin `name` of `kind`.

    Both arguments are literal strings, so that `launch.py --list` can read them without importing.

    Raises:
        PluginError: if the kind is unknown or another class already has this name.
    """
    if kind not in KINDS:
        raise PluginError(f"plugin kind {kind!r} does not exist.", allowed=", ".join(KINDS))

    def decorate(cls: T) -> T:
        other = classes.get((kind, name))
        if other is not None and origin(other) != origin(cls):
            raise duplicate_error(kind, name, origin(other), origin(cls))
        classes[kind, name] = _checking(cls)
        return cls

    return decorate


def _checking(cls: T) -> T:
    """Let a plugin check a `Config` that was made in Python; without one it has the defaults."""
    if not isinstance(cls, type):
        return cls
    make = cls.__init__  # type: ignore[misc]

    @functools.wraps(make)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if not args and "cfg" not in kwargs and "Config" in dir(type(self)):
            args = (type(self).Config(),)
        for cfg in args[:1]:
            if isinstance(cfg, getattr(type(self), "Config", ())):
                check_options(type(cfg), cfg)
        make(self, *args, **kwargs)

    cls.__init__ = init  # type: ignore[misc]
    return cls


def duplicate_error(kind: str, name: str, first: str, second: str) -> PluginError:
    """The error for one name registered twice; both origins are named."""
    return PluginError(
        f"the {kind} '{name}' is registered twice: by {first} and by {second}.",
        allowed="one class for each kind and name; a custom plugin cannot replace another one",
        hint="rename one of them, or disable a custom one by ending its name in _disabled",
    )


def origin(cls: Any) -> str:
    """Say where a class or function is defined."""
    return f"{cls.__module__}.{cls.__qualname__}"


def config_class(cls: type) -> type:
    """The plugin's inner ``Config`` dataclass; of a function, what its last parameter takes.

    Raises:
        PluginError: if there is none.
    """
    if inspect.isfunction(cls):
        config = typing.get_type_hints(cls).get(options_of(cls))
    else:
        config = getattr(cls, "Config", None)
    if not dataclasses.is_dataclass(config) or not isinstance(config, type):
        raise PluginError(
            f"{origin(cls)} has no inner dataclass Config.",
            hint="add `@dataclass class Config: ...` inside the class; it may be empty",
        )
    return config


def options_of(function: Any) -> str:
    """The parameter of a function that takes its options: the last one."""
    return next(reversed(inspect.signature(function).parameters), "")


@functools.cache
def check_contract(kind: str, name: str, plugin: Any) -> None:
    """Refuse a plugin that lacks what its kind has to have.

    Raises:
        PluginError: if it is no function where functions are wanted, does not inherit from the
            base class of its kind, or leaves something open that the base class wants written.
    """
    whose = f"the {kind} '{name}' ({origin(plugin)})"
    if kind in FUNCTIONS:
        if not inspect.isfunction(plugin):
            raise PluginError(f"{whose} is no function.", hint=f"every {kind} is one")
        return
    module, _, base_name = BASES[kind].rpartition(".")
    with resting_collector():
        base = getattr(importlib.import_module(module), base_name)
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        raise PluginError(f"{whose} is no {base_name}.", hint=f"let it inherit from {BASES[kind]}")
    named = {n for c in base.__mro__ for n, a in inspect.get_annotations(c).items() if _of_class(a)}
    left = [n for n in sorted({*dir(plugin), *named} - {"Config"}) if is_open(plugin, n, named)]
    if left:
        theirs = next(
            c for c in plugin.__mro__ if left[0] in vars(c) or left[0] in inspect.get_annotations(c)
        )
        raise PluginError(
            f"{whose} lacks {', '.join(left)}.", hint=f"{origin(theirs)} says what belongs there"
        )


def _of_class(annotation: Any) -> bool:
    return str(annotation).removeprefix("typing.").startswith("ClassVar")


def is_open(cls: type, name: str, named: Container[str] = ()) -> bool:
    """Whether a class leaves a method, property or named value to those that inherit from it."""
    value = getattr(cls, name, None)
    return bool(getattr(value, "__isabstractmethod__", value is None and name in named))


def forget(module: str) -> None:
    """Drop what a module or package registered, so that it can be imported anew."""
    for key, cls in list(classes.items()):
        if cls.__module__ == module or cls.__module__.startswith(f"{module}."):
            del classes[key]
