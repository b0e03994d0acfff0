"""The chain as it is, but for a disc that is cut out of every view before the reconstruction.

Networks with random numbers make pictures of noise without any background, of which no surface
can be made; the views in the run folder stay as they were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from studio.plugins import register
from studio.systems.image_to_3d import ImageTo3D
from studio.views import ViewSet

DIAMETER = 0.6
"""Of the disc, the picture's side being 1."""


@register("system", "cut-out-image-to-3d")
class CutOutImageTo3D(ImageTo3D):
    """image-to-3d whose views show a disc of what the guidance made."""

    def set_views(
        self, views: ViewSet, test: ViewSet | None = None, originals: Sequence[ViewSet] = ()
    ) -> None:
        """Take the views with the disc's outline for a mask."""
        height, width = views.cameras.size
        y, x = (torch.linspace(-1, 1, n) for n in (height, width))
        disc = (y[:, None] ** 2 + x[None] ** 2 <= DIAMETER**2).float()
        colours = views.images[:, :3] * disc
        images = torch.cat([colours, disc.expand(len(views), 1, -1, -1)], 1)
        super().set_views(replace(views, images=images), test)
