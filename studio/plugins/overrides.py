"""`key=value` words over a config: a dotted key leads to an option of a plugin, however deep."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from studio.errors import ConfigError
from studio.io import yaml_text
from studio.plugins import discovery as plugins
from studio.plugins.beside import beside_config, beside_slots, plugin_kind
from studio.plugins.defaults import all_options, class_value, literal, named_beside, options_of
from studio.plugins.discovery import available, find
from studio.plugins.registry import config_class

_log = logging.getLogger(__name__)

_WORD = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)=(.*)", re.DOTALL)


def check_overrides(words: Sequence[str]) -> None:
    """Refuse command-line words that are not `key=value`, before anything else is done."""
    for word in words:
        if not _WORD.fullmatch(word):
            kind = "an option that does not exist" if word.startswith("-") else "not key=value"
            raise ConfigError(
                f"{word!r} is {kind}.",
                allowed="key=value with a dotted key, for example data.image=picture.png",
                hint="`python launch.py --help` lists the options",
            )
        if word.partition("=")[0].count(".") > yaml_text.MOST_LEVELS:
            raise ConfigError(f"'{word[:60]}...' has too many dots in its key.")


def override(content: dict[str, Any], word: str) -> None:
    """Put a `key=value` word over a config.

    Raises:
        ConfigError: if it is no such word, or its key leads through a value without options.
    """
    check_overrides([word])
    match = _WORD.fullmatch(word)
    assert match is not None  # check_overrides has refused everything else
    key, text = match.groups()
    put(content, key, yaml_text.Word(text))


def put(content: dict[str, Any], key: str, value: Any) -> None:
    """Put a value under a dotted key into a config as it is read from a file.

    Raises:
        ConfigError: if the key leads through a value that has no options.
    """
    *parents, last = key.split(".")
    target = content
    for depth, part in enumerate(parents):
        inner = target.setdefault(part, {})
        inner = inner.tree if isinstance(inner, yaml_text.Word) else inner
        if isinstance(inner, yaml_text.Plain) and inner.value is None:
            inner = {}
        target[part] = inner
        if not isinstance(inner, dict):
            where = ".".join(parents[: depth + 1])
            raise ConfigError(f"'{key}={value}': {where} is {inner!r}, which has no options.")
        target = inner
    target[last] = value


def make_room(content: dict[str, Any], key: str, new: str = "", *, importing: bool = True) -> None:
    """Leave out what a file says to a plugin where another one is going to be named.

    A line says which options these were. What the new plugin has, too, stays, but for the input: a
    picture that a file names goes where a text is going to be given.

    Args:
        content: of the file, as it is read.
        key: dotted, of the option that names the plugin; of any other nothing follows.
        new: the new plugin's name.
        importing: import plugins of others for their options; only then the line is written, as
            the same words are read without before.
    """
    parent, _, option = key.rpartition(".")
    slot, kind, owner = (
        option.removesuffix("_type"),
        plugin_kind(option),
        _named_at(content, parent),
    )
    around = _group_at(content, parent)
    if kind is None or around is None:
        return
    options = {} if owner is None else options_of(owner) or {}
    beside = owner is not None and option in named_beside(owner)
    given = around if beside else _group_at(around, slot)
    named = around.get(option) or (literal(options[option].default) if option in options else None)
    if not given or named is None:
        return
    theirs, others = (
        option_names(kind, str(name), given, importing=importing) for name in (named, new)
    )
    if others is None:
        return
    theirs = set(given) if theirs is None else theirs
    foreign = theirs - others | _other_input(kind, str(named), new)
    left_out = [n for n in given if n in foreign and not (beside and n in options)]
    for name in left_out:
        del given[name]
    if left_out and importing:
        where = parent if beside else f"{parent}.{slot}".lstrip(".")
        _log.warning(
            "%s is '%s' now, in place of '%s'; left out, as they are for the latter: %s",
            key,
            new,
            named,
            ", ".join(f"{where}.{name}" for name in left_out),
        )


def _other_input(kind: str, name: str, new: str) -> set[str]:
    """The option of a data plugin that says what a user brings, where another's is another one."""
    found = (plugins.catalogue().lookup(kind, plugin) for plugin in (name, new))
    before, after = (plugin and class_value(plugin, "brought") for plugin in found)
    return {str(before)} if before and after and before != after else set()


def _group_at(content: dict[str, Any], key: str) -> dict[str, Any] | None:
    """The group of options under a dotted key, None where there is none."""
    group: Any = content
    for part in key.split(".") if key else ():
        group = group.get(part) if isinstance(group, dict) else None
    return group if isinstance(group, dict) else None


def _named_at(content: dict[str, Any], key: str) -> plugins.PluginInfo | None:
    """The plugin whose options stand in the group under a key."""
    above, _, slot = key.rpartition(".")
    kind, named = plugin_kind(f"{slot}_type"), (_group_at(content, above) or {}).get(f"{slot}_type")
    if kind is None or not isinstance(named, str):
        return None
    return plugins.catalogue().lookup(kind, named)


def option_names(
    kind: str, name: str, given: dict[str, Any], *, importing: bool
) -> set[str] | None:
    """Return the names that may stand in a plugin's group, those of plugins beside included.

    None where that takes an import, or there is no such plugin.
    """
    plugin = plugins.catalogue().lookup(kind, name)
    found = None if plugin is None else all_options(plugin, given)
    if found is not None:
        return set(found)
    if not importing or name not in available(kind):
        return None
    config = config_class(find(kind, name))
    configs = [config, *(beside_config(config, slot, given) for slot in beside_slots(config))]
    return {option.name for one in configs for option in fields(one)}  # type: ignore[arg-type]
