"""Options of a case that remember what was asked for, so that nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Unsupported(Exception):
    """The case asks for something that the project does not compute."""


class Settings(Mapping[str, Any]):
    """A mapping whose entries count as used once they are read, nested ones one by one.

    Args:
        values: the options.
        path: where they stand in the case's `config`.
        used: paths of the entries that were read, shared by all parts of a case's options.
    """

    def __init__(
        self, values: Mapping[str, Any], path: str = "", used: set[str] | None = None
    ) -> None:
        self._values, self._path = dict(values), path
        self._used: set[str] = set() if used is None else used

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        path = self._path + key
        self._used.add(path)
        return self._wrapped(value, path)

    def _wrapped(self, value: Any, path: str) -> Any:
        if isinstance(value, Settings):
            return value
        if isinstance(value, Mapping):
            return Settings(value, f"{path}.", self._used)
        if isinstance(value, list):
            return [self._wrapped(v, f"{path}.{i}") for i, v in enumerate(value)]
        return value

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def all(self) -> dict[str, Any]:
        """Everything, for code that takes it whole and refuses what it does not know."""
        return {key: _plain(self[key]) for key in self}

    def having(self, **changes: Any) -> Settings:
        """The same options with some replaced, which do not have to be used then."""
        self._used.update(self._path + key for key in changes)
        return Settings({**self._values, **changes}, self._path, self._used)

    def about(self, *keys: str) -> None:
        """Pass over entries that say where a case comes from, and ask for nothing."""
        for key in keys:
            if key in self:
                _plain(self[key])

    def only(self, **allowed: Any) -> None:
        """Read entries of which one value is supported, or any of a tuple.

        Raises:
            Unsupported: for another value; an entry may be absent.
        """
        for key, values in allowed.items():
            if key in self:
                self.choice(key, {_key(v): v for v in _several(values)})

    def choice(self, key: str, meanings: Mapping[Any, Any], *default: Any) -> Any:
        """What an entry's value stands for.

        Raises:
            Unsupported: for a value without meaning.
        """
        if default and key not in self:
            return default[0]
        value = _key(_plain(self[key]))
        if value not in meanings:
            raise Unsupported(f"{self._path}{key} is {value!r}")
        return meanings[value]

    def unused(self) -> list[str]:
        """Paths of the entries that nobody has read."""
        return [path for path in _leaves(self._values, self._path) if path not in self._used]


def _several(values: Any) -> tuple[Any, ...]:
    return values if isinstance(values, tuple) else (values,)


def _key(value: Any) -> Any:
    return tuple(map(_key, value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.all()
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _leaves(values: Any, path: str) -> Iterator[str]:
    """Paths of what is neither a mapping nor a list of mappings."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}{key}.")
        elif isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
            rows = {str(i): v for i, v in enumerate(value) if isinstance(v, Mapping)}
            yield from _leaves(rows, f"{path}{key}.")
        else:
            yield path + key
