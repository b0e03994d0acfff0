"""Configs of networks and models, read and used with one clear message for whatever is wrong."""

from __future__ import annotations

import contextlib
import logging
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from studio.errors import ConfigError, StudioError, WeightsError
from studio.io.reading import read_json as reading_json
from studio.io.reading import reading
from studio.plugins.options import plain
from studio.plugins.parsing import parse_config

C = TypeVar("C")
log = logging.getLogger(__name__)
COMPARE = "Copy or download it again and compare it with the original."
MOST_LAYERS = 1000  # no network has more; a damaged number would be built for hours


def networks_refused(weights: str) -> contextlib.AbstractContextManager[None]:
    """Turn what a network's constructor raises over a method's options into a `ConfigError`.

    Args:
        weights: the folder that fixed some of them, "" where all are the user's.
    """
    whose = f"the options in {Path(weights) / 'config.json'} and" if weights else "the"
    return reading(
        f"{whose} options given",
        problem="describe no network",
        error=ConfigError,
        hint="Widths, heads, groups and layers are positive numbers that divide each other.",
    )


def describing(path: Path, problem: str) -> contextlib.AbstractContextManager[None]:
    """Turn whatever a library raises over the content of a file into a `WeightsError`.

    diffusers, transformers, tokenizers and torch raise nearly every type over a value that they do
    not know.

    Args:
        path: the file that is to blame.
        problem: what is wrong with it, after its name.
    """
    return reading(path, problem=problem, error=WeightsError, hint=COMPARE)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of finite values.

    Raises:
        WeightsError: if the file is missing, is not UTF-8 or JSON, or holds something else.
    """
    return dict(reading_json(path, error=WeightsError, finite=True, hint=COMPARE))


def with_saved(cfg: C, saved: Mapping[str, Any], names: Sequence[str], source: Path) -> C:
    """Return a config with the options that a folder of weights fixes, see `with_fixed`.

    Args:
        cfg: a dataclass of options.
        saved: what the folder's config says.
        names: the options that it fixes.
        source: the file, named in errors and in the log.

    Raises:
        WeightsError: if a value has another type than its option.
    """
    chosen = {name: saved[name] for name in names if name in saved}
    try:
        checked = parse_config(type(cfg), {**plain(cfg), **chosen}, key=source.as_posix())
    except StudioError as error:
        raise WeightsError(f"{error}") from error
    return with_fixed(cfg, {name: getattr(checked, name) for name in chosen}, source)


def with_fixed(cfg: C, fixed: Mapping[str, Any], source: Path) -> C:
    """Return a config with the options that weights fix: they have the last word.

    A warning names every option that was set to something else. One that still has its default
    may just not have been thought of.

    Args:
        cfg: a dataclass of options.
        fixed: what the weights were trained with.
        source: where the weights say so, for the log.
    """
    default = type(cfg)()
    for name, value in fixed.items():
        given = getattr(cfg, name)
        if given in (value, None, ""):
            continue
        asked = given != getattr(default, name)
        log.log(
            logging.WARNING if asked else logging.DEBUG,
            "%s was trained with %s %s, which is used instead of %s",
            *(source, name, value, given),
        )
    return replace(cfg, **fixed)  # type: ignore[type-var]


def with_released(
    cfg: C, released: Mapping[str, Any], names: Sequence[str], source: Path, **known: Any
) -> C:
    """Return a config with what describes weights in their authors' format.

    Args:
        cfg: a dataclass of options.
        released: what the authors' models were made with, where it differs from the defaults.
        names: the options that such weights fix.
        source: the weights, named in the log.
        known: options that the files themselves tell.
    """
    whole = type(cfg)(**released)
    fixed = {**{name: getattr(whole, name) for name in names}, **known}
    forgotten = {n: v for n, v in fixed.items() if getattr(cfg, n) not in (v, None, "")}
    if forgotten:
        shown = ", ".join(f"{name} {value}" for name, value in forgotten.items())
        log.info("%s: weights in their authors' format, made with %s", source, shown)
    return with_fixed(cfg, fixed, source)


def check_network(cls: type, config: Mapping[str, Any], path: Path) -> None:
    """Refuse values of a network's config that its class would fail over only when it is used.

    Raises:
        WeightsError: naming the value.
    """
    for name, kind in _argument_types(cls).items():
        if not _fits(config.get(name), kind):
            raise WeightsError(
                f"{path}: {name} is {config[name]!r}.", allowed=f"a value of type {_named(kind)}"
            )
    for name, value in config.items():
        counts = value if isinstance(value, list) else [value]
        if "layers" in name or name == "depths":
            if any(isinstance(n, int) and n > MOST_LAYERS for n in counts):
                raise WeightsError(f"{path}: {name} is {value!r}.", allowed=f"up to {MOST_LAYERS}")


def _argument_types(cls: type) -> dict[str, Any]:
    """The types of a constructor's arguments; none where a library's annotations cannot be read."""
    try:
        return typing.get_type_hints(cls.__init__)  # type: ignore[misc]
    except NameError:  # transformers' configs, which check themselves
        return {}


def _fits(value: Any, kind: Any) -> bool:
    """Whether a JSON value can be meant by an annotation; libraries annotate numbers loosely."""
    if value is None or kind is Any:
        return True
    members = typing.get_args(kind) if _is_union(kind) else (kind,)
    origins = {typing.get_origin(m) or m for m in members}
    if not origins <= {int, float, bool, str, tuple, list, type(None)}:
        return True
    if isinstance(value, str):
        return str in origins
    if isinstance(value, dict):
        return False
    if isinstance(value, int | float):
        return bool(origins & {int, float, bool})
    return True


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _named(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
