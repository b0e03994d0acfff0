"""Similarity of a generated view to the image that it was generated from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from studio.cameras import Cameras
from studio.io.images import composite, resize
from studio.metrics.image import mask_iou
from studio.views import ViewSet

COPIED = 0.002  # difference of colours up to which a view is the picture itself
SAME_DEG = 1.0  # between the viewing directions of cameras that count as one


@dataclass(frozen=True)
class Likeness:
    """A given picture beside the generated view of the same camera.

    Attributes:
        mask_iou: of the outlines, 1 where they are the same.
        colour_error: mean difference of the colour channels where either shows the object, on
            white, blurred over three pixels; 0 where they are the same.
    """

    mask_iou: float
    colour_error: float


def same_camera(views: Cameras, given: Cameras) -> list[int | None]:
    """Position of the view with the camera of each given picture, None where there is none."""
    aligned = given.c2w[:, :3, 2] @ views.c2w[:, :3, 2].T > math.cos(math.radians(SAME_DEG))
    reach = math.radians(SAME_DEG) * given.centres.norm(dim=1, keepdim=True)
    same = aligned & (torch.cdist(given.centres, views.centres) < reach)
    return [int(row.int().argmax()) if bool(row.any()) else None for row in same]


def likeness(
    pictures: Sequence[Float[Tensor, "4 h w"]], cameras: Cameras, views: ViewSet
) -> Likeness | None:
    """Compare given pictures with the views of their cameras.

    None where no view has one, or all that do are the pictures themselves.

    Args:
        pictures: RGBA, as guidance was shown them.
        cameras: theirs, in the world of the views.
        views: what was generated.

    Returns:
        The means over the pictures that can be compared.
    """
    found = []
    for picture, i in zip(pictures, same_camera(views.cameras, cameras), strict=False):
        if i is not None:
            found.append(_pair(resize(picture, *views.cameras.size), views.images[i]))
    found = [pair for pair in found if pair[1] > COPIED]
    if not found:
        return None
    iou, error = torch.tensor(found).mean(0).tolist()
    return Likeness(iou, error)


def _pair(a: Float[Tensor, "4 h w"], b: Float[Tensor, "4 h w"]) -> tuple[float, float]:
    either = (a[3] > 0.5) | (b[3] > 0.5)
    soft = [avg_pool2d(composite(x)[None], 3, 1, 1, count_include_pad=False)[0] for x in (a, b)]
    difference = (soft[0] - soft[1]).abs().mean(0)
    return mask_iou(a[3], b[3]), float(difference[either].mean()) if either.any() else 0.0
