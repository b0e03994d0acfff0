"""How well each posed picture agrees with a mesh that was made of all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from studio.mesh import Mesh
from studio.metrics.consistency import reduced
from studio.metrics.image import mask_iou
from studio.metrics.renders import psnr_within
from studio.ops.ray_caster import render_mesh
from studio.views import ViewSet

FULL = 0.995
"""Share of a picture from which on a mask outlines nothing."""
MOST = 100
"""Pictures that are compared, spread evenly over those given."""


@dataclass(frozen=True)
class Agreement:
    """Pictures beside what their cameras see of a mesh.

    Attributes:
        index: positions of the views that were compared: those whose masks outline something.
        psnr: of each in dB, as `psnr_within` measures.
        iou: overlap of each outline with the mesh's, intersection over union in [0, 1].
        offsets: distance of the middles of both outlines, in shares of the picture's longer side.
    """

    index: tuple[int, ...]
    psnr: tuple[float, ...]
    iou: tuple[float, ...]
    offsets: tuple[float, ...] = ()


def agreement(mesh: Mesh, views: ViewSet) -> Agreement:
    """Compare what every camera sees of a mesh with its picture, at 96 px a side at most.

    Args:
        mesh: in the world of the views, with vertex colours or a texture; without them only the
            outlines mean something.
        views: posed pictures.
    """
    told = outlining(views)
    told = told[:: max(1, math.ceil(len(told) / MOST))]
    if not told:
        return Agreement((), (), ())
    images, cameras = reduced(views.select(told))
    made = render_mesh(mesh, cameras.to("cpu"), supersample=2, shading=False).images
    pairs = list(zip(made, images.cpu(), strict=True))
    return Agreement(
        tuple(told),
        tuple(psnr_within(a, b) for a, b in pairs),
        tuple(mask_iou(a[3], b[3]) for a, b in pairs),
        tuple(_offset(a[3], b[3]) for a, b in pairs),
    )


def _offset(a: Float[Tensor, "h w"], b: Float[Tensor, "h w"]) -> float:
    """Distance of the middles of two masks in shares of the longer side; 1 if one is empty."""
    if min(float(a.sum()), float(b.sum())) < 1:
        return 1.0
    place = torch.stack(torch.meshgrid(*map(torch.arange, a.shape), indexing="ij")).to(a)
    first, second = ((mask * place).sum((1, 2)) / mask.sum() for mask in (a, b))
    return float((first - second).norm()) / max(a.shape)


def outlining(views: ViewSet) -> list[int]:
    """Positions of the views whose masks outline something: they are neither empty nor full."""
    share = views.object_share
    told: list[int] = ((share > 0) & (share <= FULL)).nonzero()[:, 0].tolist()
    return told
