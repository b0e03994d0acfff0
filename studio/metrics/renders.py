"""Renders of a finished mesh from the cameras of given images, and their PSNR."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.io.images import composite
from studio.mesh import Mesh
from studio.metrics.image import psnr
from studio.ops.ray_caster import render_mesh
from studio.views import ViewSet


def mesh_psnr(mesh: Mesh, views: ViewSet, most: int = 16) -> float:
    """PSNR in dB of a mesh's unlit renders against pictures of the object, where either is seen.

    Measured inside the union of the two silhouettes of each picture, the mean over pictures, 2 x 2
    samples per pixel: empty surroundings earn nothing. Where only one of the two covers a pixel,
    the error is the mean of those on white and on black, so that a white object that is missing
    on white is not praised. A texture is judged by comparing two of one mesh.

    Args:
        mesh: in the world of ``views``, with a texture or vertex colours.
        views: posed pictures.
        most: pictures compared, spread evenly over those given.

    Returns:
        The figure; 0 if neither the mesh nor the pictures show anything.
    """
    views = spread_views(views, most)
    return views_psnr(
        render_mesh(mesh, views.cameras.to("cpu"), supersample=2, shading=False), views
    )


def views_psnr(made: ViewSet, views: ViewSet) -> float:
    """The same of renders of anything, one for each of the pictures."""
    pairs = zip(made.images.cpu(), views.images.detach().float().cpu(), strict=True)
    scores = [psnr_within(a, b) for a, b in pairs if bool((a[3] + b[3]).max() > 0)]
    return math.fsum(scores) / len(scores) if scores else 0.0


def spread_views(views: ViewSet, most: int) -> ViewSet:
    """Return at most so many views, spread evenly over those given."""
    picked = np.unique(np.linspace(0, len(views) - 1, min(most, len(views))).round().astype(int))
    return views.select(picked.tolist())


def psnr_within(a: Float[Tensor, "4 h w"], b: Float[Tensor, "4 h w"]) -> float:
    """PSNR in dB of RGBA pictures inside the union of their silhouettes, on white and on black."""
    seen = torch.maximum(a[3], b[3])
    both = [torch.stack([composite(x, level) for level in (0.0, 1.0)]) for x in (a, b)]
    return psnr(both[0], both[1], seen.expand(2, -1, -1))
