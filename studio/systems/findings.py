"""Findings about a result, in a few sentences: what was compared, what went wrong.

The thresholds are where known objects and others part on pictures of both kinds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.io.reading import known_json
from studio.metrics.agreement import Agreement
from studio.metrics.consistency import ViewConsistency
from studio.metrics.likeness import Likeness
from studio.views import ViewSet

KNOWS = "knows.json"
"""File in a folder of weights: {"objects": [...]}, the kinds that they were trained on."""
UNLIKE = 0.2
"""What outlines do not overlap plus the difference of colours, above which a view does not show
the object of the picture: 0.12 to 0.18 for objects of a kind that weights know, on others' pictures
0.22 and more."""
SHOWN = 1e-3
"""Share of a generated view below which it shows no object."""
DISAGREE_IOU = 0.8
"""Overlap of masks with their common hull below which views contradict each other."""
OTHER_IOU, OTHER_DB = 0.8, 6.0
"""After a fit, a pose contradicts its picture where the outline of what its camera sees overlaps
the picture's by less, or where PSNR lies so far below the median of all pictures; docs/captures.md
has the figures."""
USUAL_DB = 15.0
"""Median PSNR of pictures without outlines from which on a fit shows enough to blame some."""
NAMED = 5
"""Pictures that are named, the worst first."""


@dataclass
class Findings:
    """What was found out about a result.

    Attributes:
        figures: measured, by name.
        summary: sentences a person wants to read.
        alarms: what contradicts the result, a sentence or two each.
        warnings: what went wrong, a sentence or two each.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    summary: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


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


def empty(views: ViewSet) -> list[str]:
    """Say that generated views show nothing, if some do."""
    count = int((views.object_share < SHOWN).sum())
    if not count:
        return []
    return [
        f"{count} of {len(views)} generated views show nothing: the shape is not that of your "
        "picture. Give one on which the object is larger, or whole."
    ]


def contradicting(found: ViewConsistency) -> list[str]:
    """Say that views contradict each other, if they do."""
    if found.silhouette_iou >= DISAGREE_IOU:
        return []
    return [
        "the generated views contradict each other (their outlines agree by "
        f"{found.silhouette_iou:.0%}): the shape is a compromise. Another seed may do better."
    ]


def misplaced(found: Agreement, views: ViewSet) -> list[str]:
    """Say that poses contradict the pictures, if they do, and whose.

    Args:
        found: what was compared: a fitted surface, as each camera sees it, with its picture.
        views: all of them.
    """
    least = statistics.median(found.psnr) - OTHER_DB
    pairs = enumerate(zip(found.iou, found.psnr, strict=True))
    wrong = [k for k, (iou, psnr) in pairs if iou < OTHER_IOU or psnr < least]
    if not wrong:
        return []
    wrong.sort(key=lambda k: found.iou[k])
    named = [
        f"{views.name(found.index[k])} (outline {found.iou[k]:.0%}, {found.psnr[k]:.1f} dB)"
        for k in wrong[:NAMED]
    ]
    which = ", ".join(named) + (f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else "")
    count = f"{len(wrong)} of {len(found.iou)}"
    return [
        f"the poses contradict the pictures: {count} cameras see another surface than their "
        f"pictures show. The worst: {which}; right ones have an outline of 90% and more. "
        "`studio view` of the capture shows each camera with its picture."
    ]


def not_seen_again(psnr: Mapping[int, float], views: ViewSet) -> list[str]:
    """Say that pictures are not what their cameras see of the fit, if some are far from it.

    Args:
        psnr: of pictures without outlines against what the fitted model shows there, by position.
        views: all of them.
    """
    usual = statistics.median(psnr.values())
    wrong = sorted((value, k) for k, value in psnr.items() if value < usual - OTHER_DB)
    if not wrong or usual < USUAL_DB:
        return []
    named = ", ".join(f"{views.name(k)} ({value:.1f} dB)" for value, k in wrong[:NAMED])
    more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return [
        f"the poses contradict the pictures: {len(wrong)} of {len(psnr)} pictures are not what "
        f"their cameras see of the fit. The worst: {named}{more}; half of all have {usual:.1f} dB "
        "and more. `studio view` of the capture shows each camera with its picture."
    ]


def listed(names: list[str], most: int = 12) -> str:
    """Names as a person lists them."""
    shown = [*names[:most], "..."] if len(names) > most else names
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
