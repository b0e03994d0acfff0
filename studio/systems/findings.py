"""What a person should know about a result, in a few sentences: what was compared, what went wrong.

The thresholds are where known objects and others part on pictures of both kinds.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from studio.io.reading import known_json
from studio.metrics.consistency import ViewConsistency
from studio.metrics.likeness import Likeness

KNOWS = "knows.json"
"""File in a folder of weights: {"objects": [...]}, the kinds that they were trained on."""
UNLIKE = 0.2
"""What outlines do not overlap plus the difference of colours, above which a view does not show
the object of the picture: 0.12 to 0.18 for objects of a kind that weights know, on others' pictures
0.22 and more."""
DISAGREE_IOU = 0.8
"""Overlap of masks with their common hull below which views contradict each other."""


def known_objects(weights: Iterable[Path]) -> list[str]:
    """The kinds of objects that folders of weights say they know; empty if none says."""
    for folder in weights:
        found = known_json(folder / KNOWS).get("objects")
        if isinstance(found, list) and found:
            return [str(name) for name in found]
    return []


def likeness_line(found: Likeness) -> str:
    """A comparison of picture and view in words."""
    return (
        f"generated view against your picture: outlines overlap by {found.mask_iou:.0%}, "
        f"colours differ by {found.colour_error:.0%}"
    )


def unlike(found: Likeness | None, known: list[str]) -> list[str]:
    """Say that a view does not look like the picture, if it does not."""
    if found is None or 1 - found.mask_iou + found.colour_error <= UNLIKE:
        return []
    knows = f" These weights know {listed(known)}." if known else ""
    return [
        "the generated view does not look like your picture "
        f"(overlap {found.mask_iou:.0%}, colours off by {found.colour_error:.0%})."
        f"{knows} What the picture does not show is made up."
    ]


def contradicting(found: ViewConsistency) -> list[str]:
    """Say that views contradict each other, if they do."""
    if found.silhouette_iou >= DISAGREE_IOU:
        return []
    return [
        "the generated views contradict each other (their outlines agree by "
        f"{found.silhouette_iou:.0%}): the shape is a compromise. Another seed may do better."
    ]


def listed(names: list[str], most: int = 12) -> str:
    """Names as a person lists them."""
    shown = [*names[:most], "..."] if len(names) > most else names
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
