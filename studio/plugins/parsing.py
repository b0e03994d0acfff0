"""Options parsed: the user's values over the defaults of a dataclass, each as its type wants it."""

from __future__ import annotations

import dataclasses
import difflib
import enum
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

from studio.errors import ConfigError
from studio.io.yaml_text import MOST_DIGITS, Plain, Word
from studio.plugins.beside import beside_config, beside_slots, full_key
from studio.plugins.discovery import find
from studio.plugins.ranges import Installed, Limit, OwnForm, Registered, described

C = TypeVar("C")
TRUTH = {
    **dict.fromkeys(("true", "yes", "on", "y", "1"), True),
    **dict.fromkeys(("false", "no", "off", "n", "0"), False),
}


def parse_config(cls: type[C], given: Mapping[str, Any] | C | None, *, key: str = "") -> C:
    """Put `given` over the defaults of dataclass `cls`.

    Args:
        cls: a dataclass; its fields are the options.
        given: a mapping of options, or an instance of `cls`, which is returned as it is once its
            values are checked.
        key: where `given` stands in the whole config; named in errors.

    Raises:
        ConfigError: on an unknown key (with the near miss), a value of another type, or one out
            of the range that its option's annotation gives (`studio.plugins.ranges`).
    """
    if isinstance(given, cls):
        for name, kind in _kinds(cls).items():
            convert(getattr(given, name), kind, full_key(key, name))
        return given
    values = _values(cls, given, key)
    for option in dataclasses.fields(cls):  # type: ignore[arg-type]
        if option.init and option.name not in values and _default(option) is dataclasses.MISSING:
            raise ConfigError(f"{full_key(key, option.name)} has to be given.")
    return _made(cls, key, **values)


class Checked:
    """Base of a dataclass whose values are checked however it is made; see `studio.plugins.ranges`.

    Raises:
        ConfigError: if a value is of another type, or out of range.
    """

    def __post_init__(self) -> None:
        """Check every value."""
        parse_config(type(self), self)


def _made(make: Any, key: str, *args: Any, **values: Any) -> Any:
    """Make options; what their own `__post_init__` refuses gets the key before it."""
    try:
        return make(*args, **values)
    except ConfigError as error:
        names = {option.name for option in dataclasses.fields(make if not args else args[0])}
        first = str(error).partition(" ")[0]
        between = "." if first.partition(".")[0] in names else ": "
        raise ConfigError(f"{key}{between}{error}" if key else str(error)) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{key or 'config'}: {error}") from error


def _values(cls: Any, given: Any, key: str) -> dict[str, Any]:
    """The given options, each as its type wants it."""
    given = given.tree if isinstance(given, Word) else given
    if given is None or (isinstance(given, Plain) and given.value is None):
        return {}
    slots = beside_slots(cls)
    options = {option.name: option for option in dataclasses.fields(cls)}
    names = [name for name in options if name not in slots]
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"{key or 'the config'} is {given!r}; it has to be a group of options.",
            allowed=", ".join(names),
        )
    kinds = _kinds(cls)
    values: dict[str, Any] = {slot: {} for slot in slots}
    configs = {slot: beside_config(cls, slot, given, key) for slot in slots}
    beside = {f.name: slot for slot in slots for f in dataclasses.fields(configs[slot])}  # type: ignore[arg-type]
    for name, value in given.items():
        full = full_key(key, str(name))
        if name in beside:
            values[beside[name]][name] = value
            continue
        if name not in names:
            raise unknown_key(full, [*names, *beside])
        kind: Any = kinds[name]
        default = _default(options[name])
        if dataclasses.is_dataclass(kind) and type(default) is kind:
            if type(value) is not kind:
                value = _made(dataclasses.replace, full, default, **_values(kind, value, full))
        else:
            value = convert(value, kind, full)
            if isinstance(value, dict) and isinstance(default, dict):
                value = {**default, **value}
        values[str(name)] = value
    return values | {slot: _values(configs[slot], values[slot], key) for slot in slots}


def _kinds(cls: Any) -> dict[str, Any]:
    """The annotations of a dataclass' options, with what they say of the values."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {option.name: hints[option.name] for option in dataclasses.fields(cls)}


def _default(option: dataclasses.Field[Any]) -> Any:
    make = option.default_factory
    return option.default if make is dataclasses.MISSING else make()


def convert(value: Any, kind: Any, key: str, whole: Any = None) -> Any:
    """Return a given value as an option's type wants it; a `str` keeps the text that was typed.

    Args:
        value: from YAML (see `studio.io.yaml_text`), the command line or Python.
        kind: the option's annotation.
        key: of the option, for errors.
        whole: the annotation that `kind` is part of, for errors; `kind` where it is None.

    Raises:
        ConfigError: if the value is of another type, or out of range.
    """
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    whole = kind if whole is None else whole
    if origin is Annotated:
        for form in kind.__metadata__:
            if isinstance(form, OwnForm):
                return form.convert(value, key)
        made = convert(value, inside[0], key, whole)
        return _limited(value, made, kind.__metadata__, key, whole)
    if origin in (Union, types.UnionType):
        return _one_of(value, inside, key, whole)
    if origin is Literal:
        return _literal(value, inside, key, whole)
    if kind in (str, Path):
        return _text(value, kind, key)
    value = value.tree if isinstance(value, Word) else value
    if origin is Any or kind in (Any, object) or isinstance(kind, TypeVar):
        return untyped(value, key)
    if dataclasses.is_dataclass(kind):
        return parse_config(kind, value, key=key)  # type: ignore[arg-type]
    return _plain_kind(value, origin or kind, inside, key, whole)


def _limited(given: Any, made: Any, metadata: tuple[Any, ...], key: str, whole: Any) -> Any:
    """Return a value that all limits of its annotation hold for."""
    for limit in metadata:
        if made is None or not isinstance(limit, Limit) or limit.holds(made):
            continue
        if isinstance(limit, Registered):
            find(limit.kind, made, key=key)  # says what there is; some show up on import only
        elif isinstance(limit, Installed) and made in limit.words:
            package = limit.packages[made][0]
            raise ConfigError(
                f"{key} is {made!r}, which needs a package that is not installed here.",
                hint=f"pip install {package}",
            )
        else:
            raise _refusal(given, key, whole)
    return made


def _plain_kind(value: Any, kind: Any, inside: tuple[Any, ...], key: str, whole: Any) -> Any:
    """A number, truth value, list or group."""
    nothing = value is None or (isinstance(value, Plain) and value.value is None)
    if kind in (list, tuple, set, frozenset, Sequence):
        if nothing or isinstance(value, list | tuple):
            item = inside[0] if inside else Any
            made = [convert(v, item, f"{key}[{i}]") for i, v in enumerate(value or ())]
            return made if kind is Sequence else kind(made)
    elif kind in (dict, Mapping):
        if nothing or isinstance(value, Mapping):
            item = inside[1] if inside else Any
            return {
                str(k): convert(v, item, full_key(key, str(k))) for k, v in (value or {}).items()
            }
    elif nothing:
        raise ConfigError(f"{key} is empty.", allowed=described(whole))
    elif kind is bool:
        word = value.lower() if isinstance(value, str) else str(value).lower()
        if word in TRUTH and isinstance(value, str | int):
            return TRUTH[word]
    elif kind is int:
        if (number := _whole_number(value)) is not None:
            return number
    elif kind is float:
        return _float(value, key, whole)
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        for member in kind:
            if value is member or str(value) in (member.name, str(member.value)):
                return member
    elif not isinstance(kind, type) or isinstance(value, kind):
        return untyped(value, key)
    raise _refusal(value, key, whole, "which is not a whole number" if kind is int else "")


def _whole_number(value: Any) -> int | None:
    """The whole number that a value is, None for others, such as 1e5 and 1.0."""
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d[\d_]*\s*", value):
        return int(value) if len(value) < MOST_DIGITS else None
    meant = value.value if isinstance(value, Plain) else value
    return meant if isinstance(meant, int) and not isinstance(meant, bool) else None


def _float(value: Any, key: str, whole: Any) -> float:
    number = value.value if isinstance(value, Plain) else value
    try:
        if isinstance(number, bool):
            raise ValueError
        number = float(number)
    except (ValueError, TypeError, OverflowError):
        raise _refusal(value, key, whole, "which is not a number") from None
    if math.isnan(number):
        raise _refusal(number, key, whole, "which is not a number")
    return float(number)


def _text(value: Any, kind: Any, key: str) -> Any:
    if value is None:
        return kind("")
    if not isinstance(value, str | int | float | bool | Path):
        raise _refusal(value, key, str)
    return kind(value.text if isinstance(value, Word) else str(value))


def _literal(value: Any, allowed: tuple[Any, ...], key: str, whole: Any) -> Any:
    typed = value.text if isinstance(value, Word) else value
    meant = typed.value if isinstance(typed, Plain) else typed
    for one in allowed:
        if typed == one or str(typed) == str(one) or (type(meant) is type(one) and meant == one):
            return one
    raise _refusal(typed, key, whole)


def _one_of(value: Any, kinds: tuple[Any, ...], key: str, whole: Any) -> Any:
    """The first type that takes the value; a text only where no other keeps what was typed."""
    meant = value.value if isinstance(value, Plain) else value
    if type(None) in kinds and meant is None:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    if len(others) == 1:
        return convert(value, others[0], key, whole)
    texts = [k for k in others if k in (str, Path) or typing.get_args(k)[:1] == (str,)]
    for kind in [*(kind for kind in others if kind not in texts), *texts]:
        try:
            made = convert(value, kind, key)
        except ConfigError:
            continue
        if texts and isinstance(value, str) and isinstance(made, bool | int | float):
            if str(made).lower() != str(value).lower():
                continue
        return made
    raise _refusal(value, key, whole)


def untyped(value: Any, key: str) -> Any:
    """A value of an option that takes any: numbers and truth values as YAML means them."""
    value = value.tree if isinstance(value, Word) else value
    if isinstance(value, Mapping):
        return {str(k): untyped(v, full_key(key, str(k))) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [untyped(v, f"{key}[{i}]") for i, v in enumerate(value)]
    value = value.value if isinstance(value, Plain) else value
    if isinstance(value, float) and math.isnan(value):
        raise ConfigError(f"{key} is nan, which is not a number.")
    return value


def _refusal(value: Any, key: str, whole: Any, why: str = "") -> ConfigError:
    """The error for a value that an annotation does not allow; numbers are shown as typed."""
    meant = value.value if isinstance(value, Plain) else value
    shown = str(value) if isinstance(meant, int | float) else repr(value)
    if why and isinstance(meant, float) and meant.is_integer():
        why += " in digits"
    return ConfigError(
        f"{key or 'the value'} is {shown}{f', {why}' if why else ''}.", allowed=described(whole)
    )


def unknown_key(full: str, names: Sequence[str]) -> ConfigError:
    """The error for an option that does not exist, with the nearest existing one."""
    parent, _, last = full.rpartition(".")
    near = difflib.get_close_matches(last, names, n=1, cutoff=0.5)
    closest = f"{parent}.{near[0]}" if near and parent else "".join(near)
    return ConfigError(
        f"'{full}' is not an option.",
        allowed=", ".join(names) or "none: there are no options here",
        hint=f"did you mean '{closest}'?" if near else None,
    )
