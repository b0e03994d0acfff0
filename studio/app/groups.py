"""The plugins that a config names, with their options, read from source: nothing is imported."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from studio.errors import ConfigError, StudioError
from studio.io.yaml_text import Plain, Word
from studio.plugins import discovery as plugins
from studio.plugins.beside import plugin_kind
from studio.plugins.defaults import Option, all_options, literal
from studio.plugins.discovery import unknown
from studio.plugins.parsing import convert, unknown_key
from studio.plugins.sources import PluginInfo


@dataclasses.dataclass(frozen=True)
class Group:
    """The options of one plugin in a config."""

    key: str
    kind: str
    name: str
    given: Mapping[str, Any]
    options: Mapping[str, Option]
    plugin: PluginInfo

    def text(self, option: str) -> str:
        """The text of an option, its default where it is not given, "" where it has none."""
        default = literal(self.options[option].default) if option in self.options else None
        text = text_of(self.given.get(option, default))
        return "" if text == "???" else text

    def texts(self, option: str) -> list[str]:
        """The texts of an option that is a list of them."""
        value = self.given.get(option)
        value = value.tree if isinstance(value, Word) else value
        return [text_of(one) for one in value] if isinstance(value, list) else []


def groups_of(given: Mapping[str, Any], names: list[str] | None, key: str = "") -> Iterator[Group]:
    """Every plugin that a config names, from the top down.

    Args:
        given: a config, or a group of it.
        names: of its options; None where they are not known.
        key: of the group; "" for the whole config.

    Raises:
        StudioError: for an option or plugin that does not exist.
    """
    prefix = f"{key}." if key else ""
    wrong = [] if names is None else [option for option in given if option not in names]
    if wrong:
        known = {option: value for option, value in given.items() if option not in wrong}
        raise _unknown(wrong[0], names or [], known, key)
    for option in given:
        kind = plugin_kind(option)
        name = text_of(given[option])
        if kind is None or not name:
            continue
        plugin = plugins.catalogue().lookup(kind, name)
        if plugin is None:
            if not plugins.catalogue().unclear:
                raise unknown(kind, name, key=f"{prefix}{option}")
            continue  # a custom plugin may still register it when it is imported
        slot = option.removesuffix("_type")
        value = given.get(slot)
        value = value.tree if isinstance(value, Word) else value
        inner: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        options = all_options(plugin, inner)
        names_there = None if options is None else list(options)
        yield Group(f"{prefix}{slot}", kind, name, inner, options or {}, plugin)
        yield from groups_of(inner, names_there, f"{prefix}{slot}")


def _unknown(option: str, names: list[str], known: Mapping[str, Any], key: str) -> ConfigError:
    """The error for an option that does not exist here; one of the plugins below may have it."""
    full = f"{key}.{option}" if key else option
    with contextlib.suppress(StudioError):  # what else is wrong is told once this is right
        for group in groups_of(known, names, key):
            if option in group.options:
                return ConfigError(
                    f"'{full}' is not an option.", hint=f"did you mean '{group.key}.{option}'?"
                )
    return unknown_key(full, names)


def text_of(value: Any) -> str:
    """The text of a value of a config, "" where there is none."""
    if value is None or (isinstance(value, Plain) and value.value is None):
        return ""
    with contextlib.suppress(ConfigError):
        return str(convert(value, str, ""))
    return ""
