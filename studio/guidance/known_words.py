"""Texts for weights that know a short list of words only, as those trained from nothing do.

Needs no torch, so that whoever types a text is told of it before anything is loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from studio.errors import WeightsError
from studio.guidance.json_files import describing, read_json
from studio.plugins.parsing import parse_config

WORDS_FILE = "words.json"
"""In a folder of weights, or in `tokenizer/` there."""


@dataclass(frozen=True)
class KnownWords:
    """What words.json holds."""

    words: list[str]
    """In lower case."""
    length: int
    """Words of a text that are read."""

    def unknown(self, text: str) -> list[str]:
        """Return the words of a text that are not known, each once."""
        return [word for word in dict.fromkeys(words_of(text)) if word not in self.words]

    def notes(self, text: str) -> list[str]:
        """Say what of a text will not be understood."""
        said = []
        if unknown := self.unknown(text):
            named = ", ".join(repr(word) for word in unknown)
            knows = ", ".join(self.words)
            said.append(
                f"the model does not know {named} and will make something up; it knows: {knows}"
            )
        if len(words_of(text)) > self.length:
            said.append(f"the text is cut after {self.length} words")
        return said


def words_of(text: str) -> list[str]:
    """Split a text into words in lower case, without punctuation."""
    return re.findall(r"[a-z0-9]+", text.lower())


def known_words(folder: Path) -> KnownWords | None:
    """Return the words that a folder of weights, or of a tokenizer, knows; None if it does not say.

    Raises:
        WeightsError: if its list is damaged.
    """
    for path in (folder / "tokenizer" / WORDS_FILE, folder / WORDS_FILE):
        if path.is_file():
            saved = read_json(path)
            with describing(path, "is no list of words"):
                found = parse_config(KnownWords, saved, key=path.as_posix())
            if found.length < 1:
                raise WeightsError(f"{path}: length is {found.length}.", allowed="1 and more")
            return found
    return None
