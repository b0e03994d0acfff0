"""Messages of the program in the words of its page: its controls' names, nothing of a command line.

A program that asks over HTTP or MCP finds the option that a control stands for in square brackets
behind its name; the page leaves those out.
"""

from __future__ import annotations

import functools
import re

from studio.server.methods import methods
from studio.server.options import WORDS, label_of

_OPTION = re.compile(
    r"(?<!['\w.])((?:data|system)(?:\.[a-z_]+)+)(?:=(<[^>]*>|\[[^\]]*\]|[^\s,;:()\"']*[^\s,;:()\"'.]))?"
)
_TERMINAL = re.compile(
    r"pip install|launch\.py|\bdata_type\b|\bstudio (?:run|view|list|ui|doctor|batch|evaluate)\b"
    r"|\bfrom Python\b|\btrainer\.\w|\breconstruction_type\b|\bconfigs?/|\bdocs/"
    r"|(?<![\w-])--\w|(?<![\w.])[a-z_]+=(?!=)|^\s*(?:mkdir|colmap) "
)
"""What nobody can do who has a page, or the interfaces beside it, before him."""
_ASIDE = re.compile(r"\s*\([^()]*\)")
_BREAK = re.compile(r"(?<=[.:;])\s+")
_SWITCHED = {"true": "on", "false": "off", "null": "left empty"}
_NOTHING = re.compile(r"\bor null\b")


def in_words(text: str) -> str:
    """Return a message of the program as somebody reads it who has no command line.

    Args:
        text: its first line says what is wrong, further ones what is allowed and what to do.
    """
    kept: list[str] = []
    announced = ""  # a sentence that ends in a colon waits for what it announces
    for number, line in enumerate(text.splitlines()):
        said: list[str] = []
        for place, sentence in enumerate(_BREAK.split(_plain(line))):
            if _unknown(sentence) and (number or place):
                announced = ""
                continue
            if announced:
                said, announced = [*said, announced], ""
            if sentence.endswith((":", ";")) and (number or place):
                announced = sentence
            else:
                said.append(sentence)
        if said:
            kept.append(_ended(_named(" ".join(said)), line))
    return "\n".join(kept)


def _ended(said: str, line: str) -> str:
    """What is left of a line, with a full stop where something went after it."""
    if said.endswith((":", ";")) and not line.endswith(said[-1]):
        return f"{said[:-1]}."
    return said


def _plain(text: str) -> str:
    """A text without those remarks in brackets that are for the terminal."""
    text = _NOTHING.sub(f"or {_SWITCHED['null']} [null]", text)
    return _ASIDE.sub(lambda aside: "" if _unknown(aside[0]) else aside[0], text)


def _unknown(text: str) -> bool:
    """Whether a text needs a terminal, or an option that cannot be set here."""
    options = [found[1] for found in _OPTION.finditer(text)]
    rest = _OPTION.sub("", text)
    return bool(_TERMINAL.search(rest)) or any(key not in _settable() for key in options)


def _named(text: str) -> str:
    """The text with controls in place of options."""
    return _OPTION.sub(_control, text)


def _control(found: re.Match[str]) -> str:
    key, value = found[1], found[2]
    if key not in _settable():
        return found[0]
    said = f'"{label_of(key)}"'
    if value in _SWITCHED:
        said += f" {_SWITCHED[value]}"
    elif value and not value.startswith("<"):
        said += f": {value}"
    if words := WORDS.get(key, {}).get(value or ""):
        said = f'"{label_of(key)}": "{words}"'
    return f"{said} [{found[0]}]"


@functools.cache
def _settable() -> frozenset[str]:
    return frozenset(s.key for method in methods().values() for s in method.settings)
