"""Cameras and masks matched to images by the number in their names."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

from studio.errors import DataError

logger = logging.getLogger(__name__)


def numbered(files: Sequence[Path]) -> list[int | None]:
    """Return the number in each name: the only one that differs among the names.

    All are None where none or several differ (a_1_2.png beside a_2_1.png), or one is there twice.
    """
    found = [[int(digits) for digits in re.findall(r"\d+", file.stem)] for file in files]
    nothing: list[int | None] = [None] * len(files)
    if not files or len({len(numbers) for numbers in found}) != 1:
        return nothing
    columns = list(zip(*found, strict=True))
    differing = [column for column in columns if len(set(column)) > 1]
    if len(files) == 1 and len(columns) == 1:
        differing = columns
    if len(differing) != 1 or len(set(differing[0])) < len(files):
        return nothing
    return list(differing[0])


@overload
def paired(
    root: Path, pictures: Sequence[Path], others: Sequence[int | None], what: str
) -> list[int]: ...


@overload
def paired(
    root: Path,
    pictures: Sequence[Path],
    others: Sequence[int | None],
    what: str,
    *,
    fewer: Literal[True],
) -> list[int | None]: ...


def paired(
    root: Path,
    pictures: Sequence[Path],
    others: Sequence[int | None],
    what: str,
    *,
    fewer: bool = False,
) -> list[int] | list[int | None]:
    """Return for each picture the position of what belongs to it.

    Picture 012 takes the camera or mask number 12. Where both are numbered differently but there
    are as many and no number of one could mean another of the other, they are paired in order,
    which is said. Names without numbers are never paired.

    Args:
        root: for messages.
        pictures: in order.
        others: numbers of the cameras or masks, in order.
        what: what those are, for messages.
        fewer: pictures without one are None, as long as every other has its picture.

    Raises:
        DataError: if names do not tell.
    """
    numbers = numbered(pictures)
    at = {number: i for i, number in enumerate(others) if number is not None}
    known = None not in numbers and len(at) == len(others)
    if known and set(numbers) <= set(at):
        return [at[number] for number in numbers if number is not None]
    if known and fewer and set(at) < set(numbers):
        return [at.get(number) if number is not None else None for number in numbers]
    if known and len(pictures) == len(others) and _parallel(numbers, others):
        logger.warning(
            "%s: pictures (%s, ...) and %s (numbers %s, ...) are numbered differently: they are "
            "paired in order.",
            *(root, pictures[0].name, what, others[0]),
        )
        return list(range(len(pictures)))
    some = ", ".join(p.name for p in pictures[:3])
    theirs = ", ".join(str(n) for n in others[:3]) if at else "none"
    raise DataError(
        f"{root}: {len(pictures)} pictures ({some}, ...) and {len(others)} {what} (numbers "
        f"{theirs}, ...) cannot be paired by the numbers in their names.",
        allowed="picture 012 belongs to number 12",
        hint="Name the pictures as they were when the cameras were made; rename none, add none.",
    )


def _parallel(numbers: Sequence[int | None], others: Sequence[int | None]) -> bool:
    """Whether one numbering is the other from another start, or they have nothing in common."""
    steps = {a - b for a, b in zip(numbers, others, strict=True) if a is not None and b is not None}
    return len(steps) == 1 or not set(numbers) & set(others)
