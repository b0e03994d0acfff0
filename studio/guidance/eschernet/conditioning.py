"""Conditioning of EscherNet: posed images, and cameras in the world it was trained in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import CANONICAL_FOV_DEG, CANONICAL_RADIUS, Cameras
from studio.errors import ConfigError, DataError
from studio.guidance.eschernet.poses import RADIUS_RANGE
from studio.io.images import on_white
from studio.rigs import Rig
from studio.views import Condition, ViewSet

logger = logging.getLogger(__name__)


def posed_pictures(condition: Condition) -> ViewSet:
    """Return the posed pictures of a condition; a single picture gets its camera, 1.5 away.

    Raises:
        ConfigError: if the condition holds no picture, or several without cameras.
        DataError: if the pictures are not square.
    """
    if condition.views is not None and condition.views.meta.get("posed", True):
        views = condition.views
    elif condition.image is not None:
        height, width = condition.image.shape[-2:]
        views = ViewSet(condition.image[None], condition.camera(size=(height, width)))
    else:
        what = "no picture" if condition.views is None else "pictures without cameras"
        raise ConfigError(
            f"the condition holds {what}.",
            allowed="one picture (data_type: single-image) or several with cameras "
            "(data_type: posed-images)",
        )
    height, width = views.cameras.size
    if height != width:
        raise DataError(f"the references are {width}x{height} px.", allowed="square pictures")
    return views


def pixels_on_white(views: ViewSet, side: int) -> Float[Tensor, "v 3 s s"]:
    """Return pictures on white, brought to a side, in [-1, 1]."""
    return on_white(views.images, side) * 2 - 1


def default_rig(azimuths: int, elevations_deg: Sequence[float]) -> Rig:
    """Return every elevation's ring of views, one after the other, from the input's azimuth on.

    Args:
        azimuths: views of a ring.
        elevations_deg: one per ring.
    """
    ring = Rig.ring(azimuths, frame="azimuth")
    elevations = tuple(float(e) for e in elevations_deg for _ in ring.azimuth_deg)
    turns = ring.azimuth_deg * len(elevations_deg)
    return replace(ring, azimuth_deg=turns, elevation_deg=elevations)


def world_scale(references: Cameras, rescale: bool) -> float:
    """Return what the world is multiplied with before cameras are encoded.

    Args:
        references: cameras of the given pictures.
        rescale: let the farthest one stand at 1.5; otherwise the world stays (scale 1).
    """
    return CANONICAL_RADIUS / float(references.centres.norm(dim=1).max()) if rescale else 1.0


def warn_of_unseen(cameras: Cameras, what: str, *, distances: bool) -> None:
    """Warn of cameras unlike those of the training.

    Args:
        cameras: of the given or of the wanted views.
        what: they are, for the message.
        distances: look at the distances, too.
    """
    fov = torch.rad2deg(2 * torch.atan(cameras.size[0] / 2 / cameras.intrinsics[:, 1, 1]))
    if (fov - CANONICAL_FOV_DEG).abs().max() > 3:
        logger.warning(
            "%s cameras see %.3g to %.3g degrees; EscherNet was trained with %.3g. "
            "Crop or pad the pictures to that field of view.",
            what,
            float(fov.min()),
            float(fov.max()),
            CANONICAL_FOV_DEG,
        )
    near, far = RADIUS_RANGE
    radius = cameras.centres.norm(dim=1)
    if distances and (radius.min() < near - 1e-3 or radius.max() > far + 1e-3):
        logger.warning(
            "%s cameras stand %.3g to %.3g from the origin; EscherNet was trained with "
            "%g to %g (longest side of the object 1). scale_cameras=true scales the world.",
            what,
            float(radius.min()),
            float(radius.max()),
            near,
            far,
        )
