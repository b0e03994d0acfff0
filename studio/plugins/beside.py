"""Options that name plugins; a plugin's own stand in a group or beside its name."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Mapping
from typing import Any

from studio.errors import PluginError
from studio.io.yaml_text import Word
from studio.plugins.discovery import find
from studio.plugins.ranges import Beside
from studio.plugins.registry import KINDS, NAMED_BY, config_class


def plugin_kind(option: str) -> str | None:
    """The plugin kind that an option like `guidance_type` or `coarse_geometry_type` names."""
    if not option.endswith("_type"):
        return None
    stem = option.removesuffix("_type")
    own = next((k for k in KINDS if stem == k or stem.endswith(f"_{k}")), None)
    return NAMED_BY.get(stem, own)


@functools.cache
def beside_slots(cls: Any) -> tuple[str, ...]:
    """Fields of a dataclass for options that stand beside the name of their plugin."""
    named = [f.name for f in dataclasses.fields(cls) if plugin_kind(f.name)]
    kinds = typing.get_type_hints(cls, include_extras=True) if named else {}
    marked = [n for n in named if any(isinstance(m, Beside) for m in _metadata(kinds[n]))]
    return tuple(name.removesuffix("_type") for name in marked)


def _metadata(kind: Any) -> tuple[Any, ...]:
    return getattr(kind, "__metadata__", ())


def beside_config(cls: Any, slot: str, given: Mapping[str, Any], key: str = "") -> type:
    """The options of the plugin that `given` (or a default) names at `<slot>_type`.

    Raises:
        PluginError: if there is no such plugin, or it calls an option as `cls` calls its own.
    """
    named, kind = f"{slot}_type", plugin_kind(f"{slot}_type")
    own = {f.name: f for f in dataclasses.fields(cls)}
    name, prefix = given.get(named, own[named].default), f"{key}." if key else ""
    name = name.text if isinstance(name, Word) else str(name)
    assert kind is not None
    config = config_class(find(kind, name, key=f"{prefix}{named}"))
    if both := [f.name for f in dataclasses.fields(config) if f.name in own]:  # type: ignore[arg-type]
        raise PluginError(
            f"the {kind} '{name}' has an option '{both[0]}', and so has what uses it: "
            f"{prefix}{both[0]} would mean two things.",
            hint=f"rename it in {config.__module__}",
        )
    return config


def full_key(key: str, name: str) -> str:
    """Return the key of an option in the group of a key."""
    return f"{key}.{name}" if key else name
