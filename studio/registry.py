"""The registry of plugins: `@register(kind, name)` above a class, `build(...)` to use it.

Built-in and custom plugins are found by reading their source (see `studio.plugins`); a module is
imported when one of its plugins is first asked for, so that `--list` and `--help` stay instant.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from studio.errors import PluginError, Terminated

KINDS = (
    "guidance",
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
)
GROUPS = ("loss",)
"""Kinds of which any number is named, as keys of a group that is called like the kind."""
NAMED_BY = {"reconstruction": "model"}
"""Kinds that an option `x_type` is not called after."""
OPTIONLESS = ("format", "unwrap", "baker")
"""Kinds whose classes have no `Config`: what uses them constructs them itself."""

T = TypeVar("T", bound=Callable[..., Any])

_classes: dict[tuple[str, str], Any] = {}


def register(kind: str, name: str) -> Callable[[T], T]:
    """Register the decorated class (a function for losses) as plugin `name` of `kind`.

    Both arguments are literal strings, so that `launch.py --list` can read them without importing.

    Raises:
        PluginError: if the kind is unknown or another class already has this name.
    """
    if kind not in KINDS:
        raise PluginError(f"plugin kind {kind!r} does not exist.", allowed=", ".join(KINDS))

    def decorate(cls: T) -> T:
        other = _classes.get((kind, name))
        if other is not None and _origin(other) != _origin(cls):
            from studio.plugins import duplicate_error

            raise duplicate_error(kind, name, _origin(other), _origin(cls))
        _classes[kind, name] = _checking(cls)
        return cls

    return decorate


def _checking(cls: T) -> T:
    """Let a plugin check its options' values, also of a `Config` that was made in Python."""
    if not isinstance(cls, type):
        return cls
    make = cls.__init__  # type: ignore[misc]

    @functools.wraps(make)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        from studio.options import parse_config

        for cfg in args[:1]:
            if dataclasses.is_dataclass(cfg) and not isinstance(cfg, type):
                parse_config(type(cfg), cfg)
        make(self, *args, **kwargs)

    cls.__init__ = init  # type: ignore[misc]
    return cls


def _origin(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def find(kind: str, name: str, *, key: str | None = None, base: type = object) -> type:
    """Return the plugin class `name` of `kind`, importing its module if needed.

    Args:
        kind: one of `KINDS`.
        name: the name given in YAML.
        key: the config key that asked for it, named in the error.
        base: what the class has to inherit from.

    Raises:
        PluginError: if there is none; names the near misses and the plugins that failed to import.
            If it does not inherit from `base`.
    """
    from studio import plugins

    found = plugins.catalogue().lookup(kind, name)
    if (kind, name) not in _classes and found is not None:
        plugins.load(found)
    if (kind, name) not in _classes:
        plugins.load_all()  # a name that is not literal in the source shows up on import only
    if (kind, name) not in _classes:
        raise unknown(kind, name, key=key)
    cls = _classes[kind, name]
    if base is not object and not (isinstance(cls, type) and issubclass(cls, base)):
        raise PluginError(
            f"the {kind} '{name}' ({_origin(cls)}) is no {base.__name__}.",
            hint=f"let it inherit from {_origin(base)}",
        )
    return cls


def name_of(kind: str, cls: type) -> str:
    """The name under which a plugin class is registered.

    Raises:
        PluginError: if it is not.
    """
    for (known, name), other in _classes.items():
        if known == kind and other is cls:
            return name
    raise PluginError(
        f"{_origin(cls)} is not a registered {kind} plugin.",
        hint=f'put @register("{kind}", "<name>") above it',
    )


def unknown(kind: str, name: str, *, key: str | None = None) -> PluginError:
    """The error for a plugin that does not exist: near misses, and plugins that do not load."""
    from studio import plugins

    names = available(kind)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hints = [f"did you mean '{near[0]}'?"] if near else []
    hints += [f"({line})" for line in plugins.catalogue().failure_lines()]
    where = f"{key} is '{name}'" if key else f"'{name}'"
    return PluginError(
        f"{where}, which is not a registered {kind} plugin.",
        allowed=", ".join(names) or "none is registered",
        hint="\n  ".join(hints) or None,
    )


def available(kind: str) -> list[str]:
    """Return the names of all plugins of a kind, sorted, without importing any of them."""
    from studio import plugins

    found = {entry.name for entry in plugins.catalogue().plugins if entry.kind == kind}
    return sorted(found | {name for k, name in _classes if k == kind})


def build(
    kind: str, name: str, given: Mapping[str, Any] | None = None, *, key: str = "", **kwargs: Any
) -> Any:
    """Construct plugin `name`: its `Config` filled from `given`, then `cls(config, **kwargs)`.

    Args:
        kind: one of `KINDS`.
        name: the name given in YAML.
        given: options, merged over the defaults of the plugin's `Config`.
        key: the config key of `given`, named in errors.
        kwargs: handed on to the constructor.
    """
    from studio.config import parse_config

    cls = find(kind, name, key=f"{key}_type" if key else None)
    try:
        return cls(parse_config(config_class(cls), given or {}, key=key), **kwargs)
    except Terminated:
        raise
    except SystemExit as error:
        raise PluginError(
            f"the {kind} '{name}' ({_origin(cls)}) ends the program (exit code {error.code}).",
            hint="let it raise an exception instead of calling sys.exit",
        ) from error


def config_class(cls: type) -> type:
    """The plugin's inner ``Config`` dataclass; of a function, what its last parameter takes.

    Raises:
        PluginError: if there is none.
    """
    if inspect.isfunction(cls):
        config = _last_annotation(cls)
    else:
        config = getattr(cls, "Config", None)
    if not dataclasses.is_dataclass(config) or not isinstance(config, type):
        raise PluginError(
            f"{_origin(cls)} has no inner dataclass Config.",
            hint="add `@dataclass class Config: ...` inside the class; it may be empty",
        )
    return config


def _last_annotation(function: Any) -> Any:
    names = list(inspect.signature(function).parameters)
    return typing.get_type_hints(function).get(names[-1]) if names else None


def forget(module: str) -> None:
    """Drop what a module or package registered, so that it can be imported anew."""
    for key, cls in list(_classes.items()):
        if cls.__module__ == module or cls.__module__.startswith(f"{module}."):
            del _classes[key]
