"""Typed configs: a dataclass says what is allowed, OmegaConf merges what the user wrote over it."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from studio.errors import ConfigError

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
    try:
        merged = OmegaConf.merge(OmegaConf.structured(cls), OmegaConf.create(dict(given or {})))
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise _explain(error, cls, key) from error


def _explain(error: OmegaConfBaseException, cls: type, key: str) -> ConfigError:
    inner = str(getattr(error, "full_key", None) or "")
    full = ".".join(part for part in (key, inner) if part)
    if isinstance(error, ConfigKeyError):
        owner: Any = cls
        for part in inner.split(".")[:-1]:
            owner = _field_type(owner, re.sub(r"\[.*", "", part))
        names = [f.name for f in dataclasses.fields(owner)] if owner else []
        near = difflib.get_close_matches(inner.split(".")[-1], names, n=1, cutoff=0.5)
        return ConfigError(
            f"{full!r} is not an option.",
            allowed=", ".join(names),
            hint=f"did you mean {near[0]!r}?" if near else None,
        )
    return ConfigError(f"{full or 'config'}: {str(error).splitlines()[0]}")


def _field_type(owner: Any, name: str) -> Any:
    if not dataclasses.is_dataclass(owner):
        return None
    kinds = {f.name: f.default_factory for f in dataclasses.fields(owner)}
    found = kinds.get(name)
    return found if isinstance(found, type) and dataclasses.is_dataclass(found) else None


def plain(config: Any) -> Any:
    """Return a dataclass or OmegaConf config as plain dicts and lists (for checkpoints and YAML)."""
    if isinstance(config, DictConfig):
        return OmegaConf.to_container(config, resolve=True)
    return OmegaConf.to_container(OmegaConf.structured(config), resolve=True)
