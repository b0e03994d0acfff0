"""Alpha for generated views, whose background is white or another even grey."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from studio.cameras import Cameras
from studio.views import ViewSet

RIPPLES = 0.2
"""Contrast to the background up to which a pixel may belong to it: what VAEs leave on white. On
grey it is less, as all contrasts are."""
MOST_NOISE = 0.5
"""Largest contrast that is taken for noise."""
WHITE = 0.1
"""Contrast to white up to which a background counts as white."""
SPECK = 1e-3
"""Share of a picture below which a patch is no part of the object."""


def generated_views(
    pixels: Float[Tensor, "v 3 h w"],
    cameras: Cameras,
    meta: dict[str, Any],
    *,
    background: float | None = None,
    bound: float = 0.5,
    normals: Float[Tensor, "v 3 h w"] | None = None,
) -> ViewSet:
    """Turn opaque pictures into RGBA views; composited on their background they look as before.

    Args:
        pixels: pictures in [-1, 1].
        cameras: their cameras.
        meta: provenance.
        background: grey level that the method paints behind objects, 0 to 1
            (`ViewContract.background`); None: white, more or less, which is measured.
        bound: half the side of the cube that holds the object (`Rig.bound`).
        normals: in the world; what lies outside the object is dropped.
    """
    rgb = (pixels.detach().float().cpu() / 2 + 0.5).clamp(0, 1)
    images = torch.stack([cut_out(p, background) for p in rgb])
    if normals is not None:
        normals = normals.detach().float().cpu() * (images[:, 3:] > 0)
    return ViewSet(images, cameras.to("cpu"), bound, meta, normals=normals)


def cut_out(rgb: Float[Tensor, "3 h w"], background: float | None = None) -> Float[Tensor, "4 h w"]:
    """Return a picture in [0, 1] with its background transparent.

    A pixel is background if it looks like the background and is connected to the picture's edge
    through such pixels, so that parts of the object of that colour stay opaque; so are specks.
    Along the object's border the alpha rises with the contrast.

    Args:
        rgb: the picture.
        background: its grey level, 0 to 1; None: see `background_of`.
    """
    colour, noise = background_of(rgb, background)
    contrast = (rgb - colour[:, None, None]).abs().amax(dim=0)
    solid = without_specks((contrast > noise).numpy())
    regions, _ = ndimage.label(~solid)
    edge = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    outside = torch.from_numpy(np.isin(regions, edge[edge > 0]))
    border = torch.from_numpy(ndimage.binary_dilation(solid))
    faint = (contrast / noise).clamp(0, 1)
    alpha = torch.where(outside, torch.where(border, faint, 0.0), 1.0)
    behind = (1 - alpha) * colour[:, None, None]
    object_ = torch.where(alpha > 0, (rgb - behind) / alpha.clamp(min=1e-3), torch.zeros(()))
    return torch.cat([object_.clamp(0, 1), alpha[None]])


def background_of(
    rgb: Float[Tensor, "3 h w"], known: float | None = None
) -> tuple[Float[Tensor, " 3"], float]:
    """Return the colour of a picture's background and how far its pixels may lie from it.

    Both are seen at the picture's edge. The colour is white unless it is known, or most of the edge
    has another bright one; medians do not mind an object that reaches the edge somewhere.

    Args:
        rgb: the picture, in [0, 1].
        known: grey level of the background, 0 to 1. Nothing contrasts with grey as black does with
            white, so its pixels may lie less far from it.
    """
    ring = torch.cat([rgb[:, 0], rgb[:, -1], rgb[:, :, 0], rgb[:, :, -1]], dim=1)
    colour, reach = ring.median(dim=1).values, 1.0
    if known is not None:
        colour, reach = torch.full((3,), known), max(known, 1 - known)
    elif float((1 - colour).max()) <= WHITE or float(colour.mean()) < 0.5:
        colour = torch.ones(3)
    contrast = (ring - colour[:, None]).abs().amax(dim=0)
    middle = contrast.median()
    spread = (contrast - middle).abs().median() * 1.48  # as the standard deviation, if normal
    return colour, float((middle + 4 * spread).clamp(RIPPLES * reach, MOST_NOISE * reach))


def without_specks(solid: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Leave out the patches that are smaller than `SPECK`, but not the largest patch."""
    patches, count = ndimage.label(solid, np.ones((3, 3)))
    if count < 2:
        return solid
    sizes = np.bincount(patches.ravel())
    sizes[0] = 0
    kept = sizes >= SPECK * solid.size
    kept[sizes.argmax()] = True
    kept[0] = False
    return kept[patches]
