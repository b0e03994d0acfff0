"""Findings about a result, in a few sentences: what was compared, what went wrong.

The thresholds are where known objects and others part on pictures of both kinds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.io.reading import known_json
from studio.metrics.agreement import Agreement
from studio.metrics.consistency import ViewConsistency
from studio.metrics.exposure import exposure_logs
from studio.metrics.field_of_view import FocalLength, focal_length
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
REFERENCE_IOU = 0.85
"""Overlap of a reference's outline with the hull of all references, below which they contradict
each other: 0.96 and more for right cameras; docs/captures.md has the figures."""
DISAGREE_IOU = 0.8
"""Overlap of masks with their common hull below which views contradict each other."""
OTHER_IOU, OTHER_DB = 0.8, 6.0
"""After a fit, a pose contradicts its picture where the outline of what its camera sees overlaps
the picture's by less, or where PSNR lies so far below the median of all pictures; docs/captures.md
has the figures."""
USUAL_DB = 15.0
"""Median PSNR of pictures without outlines from which on a fit shows enough to blame some."""
SLIGHT, SMALL = 0.006, 0.05
"""Median distance of the middles of outlines, in sides of a picture, from which on poses are a
little off, and up to which a fit may correct them."""
UNEVEN, MOST_COMPARED = 0.08, 20
"""Standard deviation of the pictures' brightness or tint from which on it is said, and how many
pictures are compared."""
GROSS = 0.6
"""Overlap of outlines below which a pose is wrong altogether: nothing a fit could correct."""
BETTER_LENS, REST = 0.02, 0.6
"""By how much outlines have to agree better under another field of view to blame it, and which
share of their disagreement may be left."""
CORRECTED = "can be corrected during the fit: system.correct.poses=true (scene model sdf)"
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


def impossible(overlaps: Sequence[float], blamed: str = "") -> list[str]:
    """Say that outlines of posed references cannot be those of one object, if they cannot.

    Args:
        overlaps: of each outline with the hull of all, see `outline_overlaps`.
        blamed: name of the one without which the others fit, if that is known.
    """
    if len(overlaps) < 2 or (worst := min(overlaps)) >= REFERENCE_IOU:
        return []
    which = f" Without {blamed} the others fit each other." if blamed else ""
    return [
        f"the cameras of the {len(overlaps)} references contradict their pictures: no object has "
        f"these outlines from there, {worst:.0%} of one is left, where cameras are right 93% and "
        f"more.{which} Check the cameras, and that the outlines are the object's alone."
    ]


def misplaced(found: Agreement, views: ViewSet) -> list[str]:
    """Say that poses, or all fields of view, contradict the pictures, if they do, and whose.

    Args:
        found: what was compared: a fitted surface, as each camera sees it, with its picture.
        views: all of them.
    """
    least = statistics.median(found.psnr) - OTHER_DB
    pairs = enumerate(zip(found.iou, found.psnr, strict=True))
    wrong = [k for k, (iou, psnr) in pairs if iou < OTHER_IOU or psnr < least]
    if not wrong:
        return []
    if said := wrong_lens(focal_length(views)):
        return said
    wrong.sort(key=lambda k: found.iou[k])
    named = [
        f"{views.name(found.index[k])} (outline {found.iou[k]:.0%}, {found.psnr[k]:.1f} dB)"
        for k in wrong[:NAMED]
    ]
    which = ", ".join(named) + (f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else "")
    count = f"{len(wrong)} of {len(found.iou)}"
    off = statistics.median(found.offsets) if found.offsets else 1.0
    all_of_them = off > SLIGHT or 2 * len(wrong) > len(found.iou)
    way_out = (
        f" All cameras seem to be a little off, the middles of outlines by {off:.1%} of a "
        f"picture's side (median): errors this small {CORRECTED}."
        if all_of_them and off < SMALL and min(found.iou) >= GROSS
        else ""
    )
    return [
        f"the poses contradict the pictures: {count} cameras see another surface than their "
        f"pictures show. The worst: {which}; where poses are right, outlines overlap by 90% and "
        f"more. `studio view` of the capture shows each camera with its picture.{way_out}"
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


def wrong_lens(found: FocalLength | None) -> list[str]:
    """Say that the field of view is not that of the pictures, if another one does much better."""
    if found is None or found.agreement < found.as_given + BETTER_LENS:
        return []
    if 1 - found.agreement > REST * (1 - found.as_given):
        return []
    return [
        "the field of view contradicts the pictures: with a focal length about "
        f"{found.factor:g} times as long their outlines would agree by {found.agreement:.0%}, "
        f"with the given one they do by {found.as_given:.0%}. Check camera_angle_x, fl_x or the "
        "intrinsics of the capture, and whether they belong to pictures of this size."
    ]


def slightly_misplaced(found: Agreement) -> list[str]:
    """Say that poses are a little off, all in all, if they are."""
    if not found.offsets or not SLIGHT < statistics.median(found.offsets) < SMALL:
        return []
    return [
        "the poses are not exact: outlines lie beside those of the surface by "
        f"{statistics.median(found.offsets):.1%} of a picture's side (median). Errors this small "
        f"{CORRECTED}."
    ]


def unevenly_exposed(views: ViewSet, found: Agreement) -> list[str]:
    """Say that pictures differ in brightness or tint, if they do; others' outlines do not count."""
    right = [k for k, iou in zip(found.index, found.iou, strict=True) if iou >= OTHER_IOU]
    if len(right) < 2:
        return []
    some = views.select(right[:: -(-len(right) // MOST_COMPARED)])
    spread = float(exposure_logs(some).std(0, correction=0).max())
    if spread < UNEVEN:
        return []
    return [
        f"the pictures differ in brightness or tint by {spread:.0%} (standard deviation). "
        "system.correct.exposure=true makes them alike before the fit (scene model sdf)."
    ]


def corrections(views: ViewSet) -> list[str]:
    """Say in a line each what a fit has corrected of the views, if anything."""
    rows = views.meta.get("corrections", [])
    said = []
    if rows and "degrees" in rows[0]:
        turns, moves = ([row[key] for row in rows] for key in ("degrees", "distance"))
        worst = max(rows, key=lambda row: row["degrees"])
        said.append(
            f"poses corrected by {statistics.median(turns):.2f} degrees and "
            f"{statistics.median(moves):.1%} of the distance (median); the most: "
            f"{worst['picture']} by {worst['degrees']:.2f} degrees and {worst['distance']:.1%}"
        )
    if rows and "factors" in rows[0]:
        means = [statistics.fmean(row["factors"]) for row in rows]
        low, high = (pick(range(len(rows)), key=lambda k: means[k]) for pick in (min, max))
        said.append(
            f"exposures corrected by a factor of {means[low]:.2f} ({rows[low]['picture']}) to "
            f"{means[high]:.2f} ({rows[high]['picture']})"
        )
    return said


def listed(names: list[str], most: int = 12) -> str:
    """Names as a person lists them."""
    shown = [*names[:most], "..."] if len(names) > most else names
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
