"""How a finished mesh looks from the cameras of given pictures."""

from __future__ import annotations

import math

import numpy as np

from studio.data.render import render_mesh
from studio.mesh import Mesh
from studio.metrics.image import psnr
from studio.views import ViewSet


def mesh_psnr(mesh: Mesh, views: ViewSet, most: int = 16) -> float:
    """PSNR in dB of a mesh's unlit renders against pictures of the object, both on white.

    The mean over pictures, 2 x 2 samples per pixel. Silhouettes count as much as colours do: a
    texture is judged by comparing two of one mesh.

    Args:
        mesh: in the world of ``views``, with a texture or vertex colours.
        views: posed pictures.
        most: pictures compared, spread evenly over those given.
    """
    picked = np.unique(np.linspace(0, len(views) - 1, min(most, len(views))).round().astype(int))
    views = views.select(picked.tolist())
    cameras = views.cameras.to("cpu")
    made = render_mesh(mesh, cameras, supersample=2, shading=False).rgb_on()
    wanted = views.rgb_on().detach().float().cpu()
    scores = [psnr(a, b) for a, b in zip(made, wanted, strict=True)]
    return math.fsum(scores) / len(scores)
