"""The options of plugins within plugins: filled in all the way down, written plainly, built."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from studio.errors import ConfigError, PluginError, Terminated
from studio.io.yaml_text import Word
from studio.plugins import registry
from studio.plugins.beside import beside_config, beside_slots, full_key, plugin_kind
from studio.plugins.discovery import find
from studio.plugins.parsing import parse_config, unknown_key, untyped
from studio.plugins.registry import config_class, origin


def plain(config: Any) -> Any:
    """Return a dataclass, mapping or list as plain dicts and lists, all the way down.

    Options that stand beside the name of their plugin do so here, too.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        slots = beside_slots(type(config))
        content: dict[str, Any] = {}
        for f in dataclasses.fields(config):
            value = plain(getattr(config, f.name))
            content |= value if f.name in slots else {f.name: value}
        return content
    if isinstance(config, Mapping):
        return {str(k): plain(v) for k, v in config.items()}
    if isinstance(config, Sequence) and not isinstance(config, str | bytes):
        return [plain(item) for item in config]
    return config


def resolve_options(cls: type, given: Any, key: str) -> dict[str, Any]:
    """Every option of `cls` and of the plugins that it names, defaults filled in.

    An option `x_type` names a plugin, `x` holds its options, or they stand beside `x_type`
    (`studio.plugins.ranges.Beside`); they are checked, too, and so on down.

    Raises:
        ConfigError: for any option, however deep, that does not exist or has the wrong type.
        PluginError: if a plugin does not exist.
    """
    given = given.tree if isinstance(given, Word) else given
    beside = {slot: beside_config(cls, slot, _mapping(given), key) for slot in beside_slots(cls)}
    slots = {f.name.removesuffix("_type") for f in dataclasses.fields(cls) if plugin_kind(f.name)}  # type: ignore[arg-type]
    slots -= set(beside)
    groups: dict[str, Any] = {}
    others: dict[str, Any] = {}
    if isinstance(given, Mapping):  # what a plugin's options mean, its own types say
        theirs = {f.name for config in beside.values() for f in dataclasses.fields(config)}  # type: ignore[arg-type]
        groups = {name: value for name, value in given.items() if name in slots}
        others = {name: value for name, value in given.items() if name in theirs}
        given = {n: v for n, v in given.items() if n not in slots and n not in theirs}
    options: dict[str, Any] = plain(parse_config(cls, given, key=key))
    for name in list(options):
        kind = plugin_kind(name)
        if kind is None or name.removesuffix("_type") in beside:
            continue
        slot, value = name.removesuffix("_type"), options[name]
        inner, full = groups.get(slot, options.get(slot)), full_key(key, slot)
        if value:
            config = config_class(find(kind, value, key=full_key(key, name)))
            options[slot] = resolve_options(config, inner, full)
        elif untyped(inner, full):
            raise ConfigError(
                f"{full} is given, but {full}_type does not say which plugin.",
                hint=f"set {full}_type",
            )
    for config in beside.values():
        options |= resolve_options(config, _of(config, others), key)
    return options


def _mapping(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}


def _of(config: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the given options that are some plugin's."""
    names = [f.name for f in dataclasses.fields(config)]
    return {name: given[name] for name in names if name in given}


# --- making a plugin of its options ---------------------------------------------------------------


def build(
    kind: str,
    name: str,
    given: Mapping[str, Any] | None = None,
    /,
    *,
    key: str = "",
    parts: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Make plugin `name` of its options: ``build("geometry", "hash-sdf", levels=8)``.

    Args:
        kind: one of `KINDS`.
        name: the name given in YAML.
        given: options in a mapping, as configs have them.
        key: the config key of the options, named in errors.
        parts: what its constructor takes beside the options.
        options: further options, over those in `given`.

    Returns:
        The plugin, its `Config` filled from the options; a function (a loss, a noise schedule) with
        its options bound, which takes the other arguments.

    Raises:
        PluginError: if there is no such plugin, or it lacks what its kind has to have.
        ConfigError: if an option does not exist or has a value that it may not have.
    """
    plugin: Any = find(kind, name, key=f"{key}_type" if key else None)
    chosen = {**(given or {}), **options}
    if kind in registry.OPTIONLESS:
        if chosen:
            raise unknown_key(full_key(key, str(next(iter(chosen)))), [])
        return plugin(**(parts or {}))
    try:
        cfg: Any = parse_config(config_class(plugin), chosen, key=key)
        if kind in registry.FUNCTIONS:
            return functools.partial(plugin, **{registry.options_of(plugin): cfg})
        return plugin(cfg, **(parts or {}))
    except Terminated:
        raise
    except SystemExit as error:
        raise PluginError(
            f"the {kind} '{name}' ({origin(plugin)}) ends the program (exit code {error.code}).",
            hint="let it raise an exception instead of calling sys.exit",
        ) from error


registry.check_options = parse_config  # type: ignore[assignment]
