"""Generated views: asked of a guidance, measured by themselves and against true ones, and shown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from studio.cameras import Cameras
from studio.config import plain
from studio.guidance.base import Guidance
from studio.metrics.consistency import view_consistency
from studio.metrics.image import psnr, ssim
from studio.plugins.options import build
from studio.runs.previews import picture_grid
from studio.views import Condition, ViewSet

Figures = dict[str, list[float]]
"""Of every object."""


def guidance_of(config: str, weights: str | None = None) -> Guidance:
    """Return the guidance of a chain's configuration, on other weights if some are named."""
    system: dict[str, Any] = plain(OmegaConf.load(config))["system"]
    options = system["guidance"] | ({"weights": weights} if weights else {})
    guidance: Guidance = build("guidance", system["guidance_type"], options).eval()
    return guidance


def answer(
    guidance: Guidance, condition: Condition, cameras: Cameras, seed: int, **given: Any
) -> ViewSet:
    """Return the views that a guidance makes with a seed; further words go to `generate`."""
    generator = torch.Generator().manual_seed(seed)
    return guidance.generate(condition, cameras, generator=generator, **given)


def likeness(made: Float[Tensor, "v 3 h w"], truth: Float[Tensor, "v 3 h w"]) -> dict[str, float]:
    """Return PSNR (dB, of all pictures together) and mean SSIM of pictures in [0, 1]."""
    return {"PSNR": psnr(made, truth), "SSIM": ssim(made, truth)}


def agreement(views: ViewSet) -> dict[str, float]:
    """Return how well views agree with each other in colour (dB) and silhouette (IoU)."""
    found = view_consistency(views)
    return {"colour": found.colour_db, "silhouette": found.silhouette_iou}


def gathered(each: Iterable[dict[str, float]]) -> Figures:
    """Return the figures of several objects, by name."""
    rows = list(each)
    return {name: [row[name] for row in rows] for name in rows[0]}


def means(found: Figures) -> dict[str, float]:
    """Return the mean of every figure over the objects."""
    return {name: float(np.mean(values)) for name, values in found.items()}


def save_sheet(path: Path, shown: list[list[ViewSet]], objects: int = 6) -> None:
    """Write every second view of the first objects, one way to make them below the other.

    Args:
        path: of the picture.
        shown: for every way, the views of every object.
        objects: how many objects.
    """
    rows = [views.rgb_on()[::2] for same in zip(*shown, strict=True) for views in same]
    rows = rows[: objects * len(shown)]
    Image.fromarray(picture_grid(torch.cat(rows), columns=len(rows[0]))).save(path)
