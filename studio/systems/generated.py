"""Views that a guidance makes of a condition, and what is to be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras
from studio.guidance.base import Guidance
from studio.guidance.hub import in_cache
from studio.guidance.precision import store_at_precision
from studio.io.reading import known_json
from studio.metrics.agreement import outlining
from studio.metrics.consistency import outline_overlaps, view_consistency
from studio.metrics.likeness import likeness
from studio.plugins.options import build
from studio.progress import StageProgress
from studio.systems.findings import (
    REFERENCE_IOU,
    Findings,
    contradicting,
    empty,
    impossible,
    known_objects,
    likeness_line,
    unlike,
)
from studio.systems.originals import read_cameras, written_cameras
from studio.views import Condition, ViewSet

MOST_BLAMED = 8
"""References of which the one is looked for that fits none of the others."""


def loaded_guidance(chain: Any) -> Guidance:
    """The guidance that the options of an image-to-3d system name, with its weights."""
    with StageProgress("weights"):
        made: Guidance = build(
            "guidance", chain.guidance_type, chain.guidance, key="system.guidance"
        )
    return made


def make_views(
    guidance: Guidance, condition: Condition, targets: Cameras | None, *, seed: int
) -> ViewSet:
    """Make the views that cameras see of a condition.

    Args:
        guidance: the method, where it is to compute; its weights are kept at its precision from
            now on.
        condition: what it is asked with.
        targets: the cameras; None leaves them to the method.
        seed: of all noise.

    Returns:
        Pictures in steps of 1/255, as files hold them; ``meta`` says what made them.
    """
    store_at_precision(guidance)
    with StageProgress("views") as progress:
        views = guidance.generate(
            condition,
            targets,
            generator=torch.Generator().manual_seed(seed),
            progress=progress,
        )
    meta = {
        **views.meta,
        "condition": condition.meta,
        "seed": seed,
        "weights": guidance.provenance(),
    }
    if (eyes := guidance.condition_cameras(condition)) is not None:
        meta["condition_cameras"] = written_cameras(eyes)
    images = (views.images.cpu().clamp(0, 1) * 255).round() / 255
    return replace(views, images=images, meta=meta)


def compare(
    condition: Condition,
    views: ViewSet,
    options: Mapping[str, Any],
    wrong: Sequence[str] = (),
) -> Findings:
    """Measure views against their condition and against each other.

    Args:
        condition: what they were made of.
        views: with ``condition_cameras`` in their meta, where those are known.
        options: of the guidance, whose weights may say what they know.
        wrong: what `wrong_references` has said of the condition; it comes first.
    """
    found = Findings()
    found.alarms += [*wrong, *empty(views)]
    pictures, cameras = prepared_pictures(condition), views.meta.get("condition_cameras")
    alike = None if not cameras else likeness(pictures, read_cameras(cameras), views)
    if alike is not None:
        found.figures["input_likeness"] = asdict(alike)
        found.summary.append(likeness_line(alike))
        found.warnings += unlike(alike, known_objects(weight_paths(options)))
    if len(views) > 1:
        agreed = view_consistency(views)
        found.figures["view_consistency"] = asdict(agreed)
        found.warnings += contradicting(agreed)
    return found


def wrong_references(condition: Condition) -> list[str]:
    """Say that the cameras of a condition's pictures contradict them, as far as outlines tell.

    Of one picture nothing can be told, of two not which is wrong; see `outline_overlaps`.
    """
    views = condition.views
    if views is None or not views.meta.get("posed", True):
        return []
    views = views.select(outlining(views))
    if len(views) < 2 or not (said := impossible(overlaps := outline_overlaps(views).tolist())):
        return []
    if 3 <= len(views) <= MOST_BLAMED:
        some = [[k for k in range(len(views)) if k != i] for i in range(len(views))]
        rest = [float(outline_overlaps(views.select(others)).min()) for others in some]
        if sum(overlap >= REFERENCE_IOU for overlap in rest) == 1:
            return impossible(overlaps, views.name(rest.index(max(rest))))
    return said


def prepared_pictures(condition: Condition) -> list[Float[Tensor, "4 h w"]]:
    """The pictures of a condition, as guidance was shown them."""
    if condition.views is not None:
        return list(condition.views.images)
    return [] if condition.image is None else [condition.image]


def shown(condition: Condition) -> Float[Tensor, "4 h w"] | None:
    """Return the condition as one picture: itself, up to four references in a square, or None."""
    if condition.image is not None or condition.views is None:
        return condition.image
    some = condition.views.images[:4]
    if len(some) == 1:
        return some[0]
    blank = torch.zeros_like(some[:1]).expand(4 - len(some), -1, -1, -1)
    rows = torch.cat([some, blank]).unflatten(0, (2, 2))
    return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)


def _named(value: str, folder: Path) -> Path | None:
    """What an option's text names: a path, or a repository in the hub's cache."""
    path = folder / value
    return path if path.exists() else in_cache(value)


def weight_paths(options: Mapping[str, Any], folder: Path = Path()) -> list[Path]:
    """Files and folders that options name, and those that a folder's config.json names in turn.

    Args:
        options: of a guidance plugin, nested ones included.
        folder: what relative paths start from.
    """
    found: list[Path] = []
    for value in options.values():
        if isinstance(value, Mapping):
            found += weight_paths(value, folder)
        elif isinstance(value, str) and value and (path := _named(value, folder)) is not None:
            found.append(path)
            if (path / "config.json").is_file():
                found += weight_paths(known_json(path / "config.json"), path)
    return found
