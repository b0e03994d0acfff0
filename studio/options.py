"""Options of one plugin or part: a dataclass says what is allowed, the user's values go over it."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from studio.errors import ConfigError
from studio.registry import KINDS, config_class, find

C = TypeVar("C")


def parse_config(cls: type[C], given: Mapping[str, Any] | C | None, *, key: str = "") -> C:
    """Merge `given` over the defaults of dataclass `cls`.

    Args:
        cls: a dataclass; its fields are the options.
        given: a mapping of options, or an instance of `cls`, which is returned as it is.
        key: where `given` stands in the whole config; named in errors.

    Raises:
        ConfigError: on an unknown key (with the near miss) or a value of another type.
    """
    if isinstance(given, cls):
        return given
    if given is not None and not isinstance(given, Mapping | DictConfig):
        raise ConfigError(
            f"{key or 'the config'} is {given!r}; it has to be a group of options.",
            allowed=", ".join(f.name for f in dataclasses.fields(cls)),  # type: ignore[arg-type]
        )
    for part in dataclasses.fields(cls):  # type: ignore[arg-type]
        value = (given or {}).get(part.name)
        inner = _field_type(cls, part.name)
        if inner and value is not None and not isinstance(value, Mapping | DictConfig | inner):
            parse_config(inner, value, key=f"{key}.{part.name}" if key else part.name)
    blank = {f.name: _blank(f.type) for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values = {k: blank.get(k) if v is None else v for k, v in (given or {}).items()}
    try:
        merged = OmegaConf.merge(OmegaConf.structured(cls), OmegaConf.create(values))
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise _explain(error, cls, key, given) from error
    except (ValueError, TypeError) as error:  # a plugin's own __post_init__ refuses a value
        raise ConfigError(f"{key or 'config'}: {error}") from error


def _blank(kind: Any) -> Any:
    """What nothing (`key=`, null) means for an option of a type: an empty text, list or group."""
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    return {"str": "", "list": [], "dict": {}}.get("" if "|" in name else name.partition("[")[0])


def _explain(error: OmegaConfBaseException, cls: type, key: str, given: Any) -> ConfigError:
    inner = str(getattr(error, "full_key", None) or "")
    full = ".".join(part for part in (key, inner) if part)
    *parents, last = inner.split(".")
    owner: Any = cls
    for part in parents:
        owner = _field_type(owner, re.sub(r"\[.*", "", part))
    if isinstance(error, ConfigKeyError):
        return unknown_key(full, [f.name for f in dataclasses.fields(owner)] if owner else [])
    value: Any = given
    for part in inner.split("."):
        value = value.get(part) if isinstance(value, Mapping | DictConfig) else None
    expected = _expected(owner, re.sub(r"\[.*", "", last))
    if expected and value is not None:
        return ConfigError(f"{full} is {value!r} ({type(value).__name__}).", allowed=expected)
    if expected and "'None'" in str(error):
        return ConfigError(f"{full} is empty.", allowed=expected)
    return ConfigError(f"{full or 'config'}: {str(error).splitlines()[0]}", allowed=expected)


def unknown_key(full: str, names: Sequence[str]) -> ConfigError:
    """The error for an option that does not exist, with the nearest existing one."""
    parent, _, last = full.rpartition(".")
    near = difflib.get_close_matches(last, names, n=1, cutoff=0.5)
    closest = f"{parent}.{near[0]}" if near and parent else "".join(near)
    return ConfigError(
        f"'{full}' is not an option.",
        allowed=", ".join(names) or None,
        hint=f"did you mean '{closest}'?" if near else None,
    )


def _field_type(owner: Any, name: str) -> Any:
    if not dataclasses.is_dataclass(owner):
        return None
    kinds = {f.name: f.default_factory for f in dataclasses.fields(owner)}
    found = kinds.get(name)
    return found if isinstance(found, type) and dataclasses.is_dataclass(found) else None


def _expected(owner: Any, name: str) -> str | None:
    if not dataclasses.is_dataclass(owner):
        return None
    for option in dataclasses.fields(owner):
        if option.name == name:
            kind = option.type
            return f"a value of type {kind if isinstance(kind, str) else _type_name(kind)}"
    return None


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)


def plain(config: Any) -> Any:
    """Return a dataclass or OmegaConf config as plain dicts and lists."""
    if isinstance(config, DictConfig):
        return OmegaConf.to_container(config, resolve=True)
    return OmegaConf.to_container(OmegaConf.structured(config), resolve=True)


def plugin_kind(option: str) -> str | None:
    """The plugin kind that an option like `guidance_type` or `coarse_geometry_type` names."""
    if not option.endswith("_type"):
        return None
    stem = option.removesuffix("_type")
    return next((k for k in KINDS if stem == k or stem.endswith(f"_{k}")), None)


def resolve_options(cls: type, given: Any, key: str) -> dict[str, Any]:
    """Every option of `cls` and of the plugins that it names, defaults filled in.

    An option `x_type` names a plugin, `x` holds its options; they are checked, too, and so on down.

    Raises:
        ConfigError: for any option, however deep, that does not exist or has the wrong type.
        PluginError: if a plugin does not exist.
    """
    options: dict[str, Any] = plain(parse_config(cls, given, key=key))
    prefix = f"{key}." if key else ""
    for name in list(options):
        kind = plugin_kind(name)
        if kind is None:
            continue
        slot, value = name.removesuffix("_type"), options[name]
        if not value:
            if options.get(slot):
                raise ConfigError(
                    f"{prefix}{slot} is given, but {prefix}{name} does not say which plugin.",
                    hint=f"set {prefix}{name}",
                )
            continue
        config = config_class(find(kind, value, key=f"{prefix}{name}"))
        options[slot] = resolve_options(config, options.get(slot) or {}, f"{prefix}{slot}")
    return options
