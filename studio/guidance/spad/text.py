"""Prompts to token numbers: CLIP's own tokenizer, or whole words of a short list."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Int
from torch import Tensor

from studio.errors import WeightsError
from studio.guidance.hub import locate
from studio.guidance.json_files import describing
from studio.guidance.known_words import WORDS_FILE, KnownWords, known_words, words_of
from studio.guidance.needs import TOKENIZER
from studio.io.files import write_json

log = logging.getLogger(__name__)

# Words of the captions of procedural cars and armchairs, which the nano model is trained on.
NANO_WORDS = tuple(
    "a with car van armchair sofa stripes cushions red orange yellow green turquoise blue purple "
    "pink brown white".split()
)


class Tokenizer(Protocol):
    """Turns prompts into token numbers of a fixed length."""

    def __call__(self, prompts: Sequence[str]) -> Int[Tensor, "b l"]:
        """Return the numbers, padded or cut to the length."""

    def save(self, folder: Path) -> None:
        """Write what `read_tokenizer` needs."""


class WordTokenizer:
    """One token per word; 0 pads, 1 stands for every word that is not known.

    Args:
        words: known words, in lower case.
        length: tokens per prompt.
    """

    def __init__(self, words: Sequence[str], length: int) -> None:
        self.words, self.length = tuple(words), length
        self.numbers = {word: i + 2 for i, word in enumerate(self.words)}

    @property
    def size(self) -> int:
        """Number of different tokens."""
        return len(self.words) + 2

    def __call__(self, prompts: Sequence[str]) -> Int[Tensor, "b l"]:
        """Return the numbers, padded or cut to the length."""
        rows = torch.zeros(len(prompts), self.length, dtype=torch.long)
        for row, prompt in zip(rows, prompts, strict=True):
            numbers = [self.numbers.get(w, 1) for w in words_of(prompt)][: self.length]
            row[: len(numbers)] = torch.tensor(numbers, dtype=torch.long)
        return rows

    def warn_of(self, prompt: str) -> None:
        """Log what of a prompt will not be understood."""
        for note in KnownWords(list(self.words), self.length).notes(prompt):
            log.warning("%s", note)

    def save(self, folder: Path) -> None:
        """Write what `read_tokenizer` needs."""
        write_json(folder / WORDS_FILE, {"words": list(self.words), "length": self.length})


class CLIPTokens:
    """The tokenizer of CLIP, from transformers.

    Args:
        tokenizer: transformers' CLIPTokenizer.
        length: tokens per prompt.
    """

    def __init__(self, tokenizer: Any, length: int) -> None:
        self.tokenizer, self.length = tokenizer, length

    def __call__(self, prompts: Sequence[str]) -> Int[Tensor, "b l"]:
        """Return the numbers, padded or cut to the length."""
        return self.tokenizer(
            list(prompts),
            padding="max_length",
            truncation=True,
            max_length=self.length,
            return_tensors="pt",
        ).input_ids

    def save(self, folder: Path) -> None:
        """Write what `read_tokenizer` needs."""
        self.tokenizer.save_pretrained(folder)


def read_tokenizer(source: Path | str, length: int, allow_download: bool = False) -> Tokenizer:
    """Read a tokenizer: a folder with words.json of our own, or a CLIPTokenizer.

    Args:
        source: folder, or hub repository of a CLIPTokenizer.
        length: tokens per prompt.
        allow_download: fetch the repository where it is not in the hub's cache yet.

    Raises:
        WeightsError: if there is none.
    """
    folder = locate(source, allow_download, TOKENIZER)
    if not folder.is_dir():
        raise WeightsError(f"the tokenizer {folder} is a file.", allowed="its folder")
    inner = folder / "tokenizer"
    folder = inner if inner.is_dir() else folder
    if (found := known_words(folder)) is not None:
        if found.length > length:
            said = f"{folder / WORDS_FILE}: length is {found.length}."
            raise WeightsError(said, allowed=f"1 to {length}")
        return WordTokenizer(found.words, found.length)
    from transformers import CLIPTokenizer

    with describing(folder, "holds no tokenizer"):
        tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
        if len(tokenizer) <= len(set(tokenizer.all_special_tokens)):
            # transformers makes an empty one where there is none
            raise WeightsError(
                f"{folder} holds no tokenizer.",
                allowed=f"a folder with {WORDS_FILE}, or with CLIP's vocab.json and merges.txt",
            )
    return CLIPTokens(tokenizer, length)
