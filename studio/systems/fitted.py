"""Whether what was fitted to given pictures looks like them; wrong poses are what makes it not."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import torch

from studio.errors import StudioError
from studio.metrics.agreement import FULL, Agreement, agreement, outlining
from studio.metrics.consistency import reduced
from studio.metrics.field_of_view import focal_length
from studio.metrics.image import psnr
from studio.models.base import SceneModel
from studio.models.surface import coloured
from studio.progress import StageProgress
from studio.systems.findings import (
    Findings,
    corrections,
    misplaced,
    not_seen_again,
    slightly_misplaced,
    unevenly_exposed,
    wrong_lens,
)
from studio.views import ViewSet

CELLS = 96
"""Of the quick mesh that stands in for the model, along its longest side."""
SIDE, MOST, FEWEST = 32, 40, 6
"""Pictures without outlines are compared at that many pixels a side; most of them, spread evenly,
and fewest that tell what is usual."""


def against_pictures(model: SceneModel, views: ViewSet) -> Findings:
    """Compare a fitted model with the posed pictures that it was fitted to, camera by camera.

    Args:
        model: fitted.
        views: the pictures, as the fit has corrected them. Where masks outline something, outlines
            and colours of its mesh are compared; where all is object, what the model shows, its
            background included.
    """
    found = Findings(summary=corrections(views))
    if "corrections" in views.meta:
        found.figures["corrections"] = views.meta["corrections"]
    with StageProgress("comparing with the pictures"):
        if not outlining(views):
            again: dict[int, float] = {}
            with contextlib.suppress(StudioError):  # there is no surface: the export says so
                again = seen_again(model, views)
            if len(again) >= FEWEST:
                found.figures["seen_again"] = {"psnr": float(np.median(list(again.values())))}
                found.alarms += not_seen_again(again, views)
            return found
        try:
            compared = agreement(coloured(model, CELLS), views)
        except StudioError:  # there is no surface: the export says so
            return found
    if compared.index:
        found.figures["agreement"] = figures_of(compared, views)
        found.alarms += misplaced(compared, views)
        found.warnings += unevenly_exposed(views, compared)
        if not found.alarms and (said := slightly_misplaced(compared)):
            found.warnings += wrong_lens(focal_length(views)) or said
    return found


def seen_again(model: SceneModel, views: ViewSet) -> dict[int, float]:
    """PSNR in dB of pictures that are object everywhere against what the model shows there."""
    full = torch.nonzero(views.object_share.cpu() > FULL).flatten().tolist()
    index = full[:: max(1, math.ceil(len(full) / MOST))]
    if not index:
        return {}
    images, cameras = reduced(views.select(index), SIDE)
    with torch.no_grad():
        made = model.render(cameras, background=1.0).images[:, :3]
    pairs = zip(index, made, images.cpu(), strict=True)
    return {k: float(psnr(shown, given[:3])) for k, shown, given in pairs}


def figures_of(compared: Agreement, views: ViewSet) -> dict[str, Any]:
    """The comparison for metrics.json: medians, and every picture from the worst on."""
    rows = [
        {"picture": views.name(i), "outline_iou": round(iou, 4), "psnr": round(psnr, 2)}
        for i, iou, psnr in zip(compared.index, compared.iou, compared.psnr, strict=True)
    ]
    return {
        "outline_iou": float(np.median(compared.iou)),
        "psnr": float(np.median(compared.psnr)),
        "pictures": sorted(rows, key=lambda row: row["outline_iou"]),
    }
