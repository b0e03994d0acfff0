"""Captions of objects: CSV files of `id,caption`, as Cap3D publishes them for Objaverse."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from studio.errors import DataError
from studio.io.reading import MOST_BYTES, read_text, reading


def read_captions(path: Path | str) -> dict[str, str]:
    """Read a CSV file of `id,caption`; a first row with these words is left out.

    Raises:
        DataError: if the file is missing, holds no rows, or a row has no two fields.
    """
    captions: dict[str, str] = {}
    with reading(path, "a CSV file of id,caption in UTF-8"):
        lines = io.StringIO(read_text(Path(path), MOST_BYTES), newline="")
        for number, row in enumerate(csv.reader(lines), 1):
            if not row or (number == 1 and [w.strip() for w in row] == ["id", "caption"]):
                continue
            if len(row) != 2:
                raise DataError(
                    f"{path}, row {number}: {len(row)} fields.",
                    allowed='two, id,caption; a caption with commas stands in "quotes"',
                )
            captions[row[0].strip()] = row[1].strip()
    if not captions:
        raise DataError(f"{path} holds no captions.", allowed="a CSV file of id,caption")
    return captions


_3D = r"(?:3[- ]?d|three[- ]dimensional)"
_MODEL = rf"{_3D} (?:models?|render(?:ing|s)?|objects?|assets?|scans?|images?|representations?)"
_OF = r"(?:of|featuring|showing) "
_OPENING = re.compile(rf"^(?:this is )?(?:an? |the )?(?:[\w-]+ ){{0,2}}?{_MODEL} {_OF}", re.I)
_WITHIN = re.compile(rf"(?:\b(?:an?|the) )?\b{_MODEL} {_OF}", re.I)
_APPENDED = re.compile(rf" in {_3D}\b|, (?:an? )?{_MODEL}(?=[.,;]|$)", re.I)
_WORD = re.compile(rf"(\ban? )?\b{_3D}(?:[- ]printed)? (\w)", re.I)


def without_3d(caption: str) -> str:
    """Take mentions of 3D out of a caption: "a 3D model of a red car" becomes "a red car".

    SPAD trains on captions cleaned in this way (Cap3D, "no 3d"); its exact rules are not published.
    """
    text = " ".join(caption.split())
    for phrase in (_OPENING, _WITHIN, _APPENDED):
        text = phrase.sub("", text)
    return _WORD.sub(_without_word, text).strip(" ,;")


def _without_word(match: re.Match[str]) -> str:
    article, following = match.groups()
    if article is None:
        return following
    return article[0] + ("n " if following.lower() in "aeiou" else " ") + following
