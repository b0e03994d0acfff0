"""YAML whose unquoted words keep their text until the type of an option says what they are.

To YAML, `03001627` is an octal number, `on` a truth value, `12:30` a count of seconds and ` #1` a
comment. A `Plain` word keeps what was typed; options of type `str` take that, others its `value`.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from studio.errors import ConfigError

MOST_LEVELS = 64
"""Levels of nesting that are read; configs have about six."""
MOST_VALUES = 100_000
"""Values that are read, those repeated by aliases counted each time."""
MOST_DIGITS = 1000
"""Characters of a whole number; a longer one is a word, as Python reads no endless ones."""
_TOO_MANY = f"it makes too many values: more than {MOST_VALUES:,}, aliases counted each time"

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+)")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_NAMED = {"": None, "~": None, "null": None, "true": True, "false": False}
_NAMED |= {"yes": True, "no": False, "on": True, "off": False}
_KNOWN_TAGS = ("str", "int", "float", "bool", "null", "timestamp", "value", "seq", "map", "merge")


class Plain(str):
    """An unquoted word: its text, as it was typed."""

    @property
    def value(self) -> Any:
        """What the word means where no text is wanted: None, a truth value, a number or itself.

        A number with a leading zero or with colons is none: `03001627` and `12:30` are names.
        """
        text = str(self)
        if text in (text.lower(), text.title(), text.upper()) and text.lower() in _NAMED:
            return _NAMED[text.lower()]
        if len(text) < MOST_DIGITS and _INTEGER.fullmatch(text):
            return int(text.replace("_", ""), 0)
        if _FLOAT.fullmatch(text):
            named = {"inf": math.inf, "nan": math.nan}.get(text.lower()[-3:])
            number = float(text.replace("_", "")) if named is None else named
            return -number if named and text[0] == "-" else number
        return text


class Word(Plain):
    """What stands behind `key=` on the command line, where `#` begins no comment."""

    @functools.cached_property
    def tree(self) -> Any:
        """What the word means as YAML: a list, a mapping, a quoted text or a `Plain` word.

        Raises:
            ConfigError: if it is no YAML.
        """
        hidden = chr(0xE000)  # of the private use area: nothing to YAML
        try:
            return _with_hashes(read(str(self).replace("#", hidden)), hidden)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"the value {str(self)!r} is not valid YAML.", hint="quote it"
            ) from error

    @property
    def text(self) -> str:
        """The word itself, without the quotes around all of it."""
        typed = str(self)
        if typed.strip()[:1] in ("'", '"'):
            try:
                if type(self.tree) is str:
                    return self.tree
            except ConfigError:
                pass
        return typed


def _with_hashes(tree: Any, hidden: str) -> Any:
    if isinstance(tree, Mapping):
        return {k.replace(hidden, "#"): _with_hashes(v, hidden) for k, v in tree.items()}
    if isinstance(tree, list):
        return [_with_hashes(item, hidden) for item in tree]
    return type(tree)(tree.replace(hidden, "#"))


# --- reading --------------------------------------------------------------------------------------


def read(text: str) -> Any:
    """Return a YAML document as dicts, lists, `Plain` words and, where quoted, plain texts.

    Raises:
        yaml.YAMLError: if it is no YAML, or holds a key twice, objects, or too much.
    """
    depth = 0
    for number, event in enumerate(yaml.parse(text, yaml.SafeLoader)):  # without recursion
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_LEVELS:
            raise _error(f"more than {MOST_LEVELS} levels of nesting", event.start_mark)
        if number > 2 * MOST_VALUES:
            raise _error(_TOO_MANY, event.start_mark)
    node = yaml.compose(text, _Loader)
    return Plain("") if node is None else _Reader().value(node, 0)


def _error(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, problem, mark)


class _Loader(yaml.SafeLoader):
    """Notes of every word whether it stands there without quotes and tag."""

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        plain = self.peek_event().implicit[0]
        node = super().compose_scalar_node(anchor)
        node.plain = plain
        return node


class _Reader:
    """Turns nodes into values and counts them: aliases make much out of little."""

    def __init__(self) -> None:
        self.values = 0

    def value(self, node: yaml.Node, depth: int) -> Any:
        self.values += 1
        if self.values > MOST_VALUES or depth > MOST_LEVELS:
            raise _error(_TOO_MANY, node.start_mark)
        name = node.tag.removeprefix("tag:yaml.org,2002:")
        if name not in _KNOWN_TAGS:
            raise _error(f"it holds an object of the kind {node.tag}", node.start_mark)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth + 1)
        if any("\ud800" <= c <= "\udfff" for c in node.value):
            raise _error("a text is not UTF-8", node.start_mark)
        return Plain(node.value) if node.plain else node.value  # type: ignore[attr-defined]

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _error("a key is not a word", key.start_mark)
            content = self.value(item, depth)
            if key.tag.endswith(":merge"):
                for source in reversed(content if isinstance(content, list) else [content]):
                    if not isinstance(source, dict):
                        raise _error("<< wants mappings", item.start_mark)
                    merged |= source
            elif key.value in own:
                raise _error(f"the key {key.value} is given twice", key.start_mark)
            else:
                own[key.value] = content
        return merged | own


# --- writing --------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: Any) -> yaml.ScalarNode:
    text = str(text)
    quote = type(Plain(text).value) is not str
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if quote else None)


_Dumper.add_multi_representer(str, _represent_text)
_Dumper.add_multi_representer(Path, _represent_text)
_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)


def write(value: Any) -> str:
    """Return dicts, lists and values as YAML from which `read` gets the same texts and values."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 30)
