"""Objects that no nano model has seen, the same for all of them, and those that all have seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from studio.config import plain
from studio.data.procedural.dataset import ProceduralData
from studio.data.training.ring_views import RingViews

UNSEEN_SEED = 5000  # validation during training uses the first seeds of the test split


def data_options(training: str) -> dict[str, Any]:
    """Return the options of the data that a training configuration names."""
    options: dict[str, Any] = plain(OmegaConf.load(training))["data"]
    return options


def unseen_data(training: str, objects: int) -> ProceduralData:
    """Return the procedural dataset of a training, its validation part of unseen objects."""
    unseen = {"val_objects": objects, "seed": UNSEEN_SEED, "cache_dir": None}
    return ProceduralData(ProceduralData.Config(**{**data_options(training), **unseen}))


def unseen_ring_views(training: str, objects: int) -> RingViews:
    """Return the rings of views of unseen objects."""
    return unseen_data(training, objects).ring_views("val")


def training_ring_views(training: str) -> RingViews:
    """Return the rings that were trained on."""
    return ProceduralData(ProceduralData.Config(**data_options(training))).ring_views("train")


def training_pictures(ring_views: RingViews, n: int) -> Tensor:
    """Return the ring of a training object on white, [V, 3, H, W] in [0, 1]."""
    views = np.arange(len(ring_views.cameras))
    return ring_views.pixels(np.full_like(views, n), views) / 2 + 0.5


def small(pictures: Tensor) -> Tensor:
    """Return pictures reduced to 16 px, for the search of the nearest."""
    return torch.nn.functional.adaptive_avg_pool2d(pictures, 16)
