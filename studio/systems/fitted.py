"""Whether what was fitted to given pictures looks like them; wrong poses are what makes it not."""

from __future__ import annotations

from typing import Any

import numpy as np

from studio.errors import StudioError
from studio.metrics.agreement import Agreement, agreement
from studio.models.base import SceneModel
from studio.models.surface import coloured
from studio.progress import StageProgress
from studio.systems.findings import Findings, misplaced
from studio.views import ViewSet

CELLS = 96
"""Of the quick mesh that stands in for the model, along its longest side."""


def against_pictures(model: SceneModel, views: ViewSet) -> Findings:
    """Compare a fitted model with the posed pictures that it was fitted to, camera by camera.

    Args:
        model: fitted.
        views: the pictures; those whose masks outline nothing are passed over.
    """
    found = Findings()
    with StageProgress("comparing with the pictures"):
        try:
            compared = agreement(coloured(model, CELLS), views)
        except StudioError:  # there is no surface: the export says so
            return found
    if compared.index:
        found.figures["agreement"] = figures_of(compared, views)
        found.alarms += misplaced(compared, views)
    return found


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
