"""The pictures EscherNet is asked with, and where their cameras stand."""

from __future__ import annotations

import logging

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import CANONICAL_FOV_DEG, CANONICAL_RADIUS, Cameras, orbit_cameras
from studio.errors import ConfigError, DataError
from studio.guidance.eschernet.poses import RADIUS_RANGE
from studio.images import on_white
from studio.views import Condition, ViewSet

logger = logging.getLogger(__name__)


def posed_pictures(condition: Condition) -> ViewSet:
    """Return the posed pictures of a condition; a single picture gets its camera, 1.5 away.

    Raises:
        ConfigError: if the condition holds no picture, or several without cameras.
    """
    if condition.views is not None and condition.views.meta.get("posed", True):
        return condition.views
    if condition.image is None:
        what = "no picture" if condition.views is None else "pictures without cameras"
        raise ConfigError(
            f"the condition holds {what}.",
            allowed="one picture (data_type: single-image) or several with cameras "
            "(data_type: posed-images)",
        )
    height, width = condition.image.shape[-2:]
    eye = orbit_cameras([condition.azimuth_deg], condition.elevation_deg, size=(height, width))
    return ViewSet(condition.image[None], eye)


def pixels_on_white(views: ViewSet, side: int) -> Float[Tensor, "v 3 s s"]:
    """Return pictures on white, brought to a side, in [-1, 1].

    Raises:
        DataError: if they are not square.
    """
    height, width = views.cameras.size
    if height != width:
        raise DataError(f"the references are {width}x{height} px.", allowed="square pictures")
    return on_white(views.images, side) * 2 - 1


def world_scale(references: Cameras, rescale: bool) -> float:
    """Return what the world is multiplied with before cameras are encoded.

    Warns of cameras unlike those of the training.

    Args:
        references: cameras of the given pictures.
        rescale: let the farthest one stand at 1.5; otherwise the world stays (scale 1).
    """
    fov = torch.rad2deg(2 * torch.atan(references.size[0] / 2 / references.intrinsics[:, 1, 1]))
    if (fov - CANONICAL_FOV_DEG).abs().max() > 3:
        logger.warning(
            "reference cameras see %.3g to %.3g degrees; EscherNet was trained with %.3g. "
            "Crop or pad the pictures to that field of view.",
            float(fov.min()),
            float(fov.max()),
            CANONICAL_FOV_DEG,
        )
    distance = references.centres.norm(dim=1)
    if rescale:
        return CANONICAL_RADIUS / float(distance.max())
    near, far = RADIUS_RANGE
    if distance.min() < near - 1e-3 or distance.max() > far + 1e-3:
        logger.warning(
            "reference cameras stand %.3g to %.3g from the origin; EscherNet was trained with "
            "%g to %g (longest side of the object 1). scale_cameras=true scales the world.",
            float(distance.min()),
            float(distance.max()),
            near,
            far,
        )
    return 1.0
