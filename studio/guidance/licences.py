"""Licences of weights, as their model cards state them, for the files made with them."""

from __future__ import annotations

import re
from pathlib import Path

from studio.io.reading import known_json, read_text

CARD = "README.md"
"""Model card: its front matter holds `license: <identifier>`, as on the Hugging Face hub."""
MOST_CARD = 1 << 20
"""Bytes of a card that is read."""


def licence_of(source: str, released: str = "") -> str:
    """Return the licence of weights, or that none is stated.

    Args:
        source: file, folder or hub repository. A card is looked for in the folder and above it.
        released: what the authors' weights of the method are under; told beside the fact that
            nothing is stated, where the weights are in the authors' format.
    """
    path = Path(source)
    folders = [path, *path.parents] if path.exists() else []
    depth = next((i for i, p in enumerate(folders) if p.parent.name == "snapshots"), 1)
    for folder in folders[: depth + 1]:
        if found := _licence_in(folder / CARD):
            return found
    ours = "weights" in known_json(path / "config.json")
    if ours or not released:
        return "not stated"
    return f"not stated beside them; the authors' own: {released}"


def shown_source(source: str) -> str:
    """Return weights as a name for others to read: of an absolute path the last two parts."""
    path = Path(source)
    return "/".join(path.parts[-2:]) if path.is_absolute() else source


def _licence_in(card: Path) -> str:
    """The licence in a card's front matter, empty without one."""
    try:
        text = read_text(card, MOST_CARD)
    except (OSError, ValueError):
        return ""
    matter = re.match(r"---\n(.*?)\n---\s*\n", text, re.DOTALL)
    named = re.search(r"^licen[sc]e:\s*(\S.*?)\s*$", matter[1], re.MULTILINE) if matter else None
    return named[1].strip("'\"") if named else ""
