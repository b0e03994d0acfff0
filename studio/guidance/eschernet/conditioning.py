"""What EscherNet is asked with: posed pictures, and cameras in the world it was trained in."""

from __future__ import annotations

import logging

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import CANONICAL_FOV_DEG, CANONICAL_RADIUS, Cameras, orbit_cameras
from studio.errors import ConfigError, DataError
from studio.guidance.eschernet.options import EscherNetConfig
from studio.guidance.eschernet.poses import RADIUS_RANGE
from studio.images import on_white
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
        eye = orbit_cameras([condition.azimuth_deg], condition.elevation_deg, size=(height, width))
        views = ViewSet(condition.image[None], eye)
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


def default_cameras(
    cfg: EscherNetConfig, start_deg: float = 0.0, radius: float = CANONICAL_RADIUS
) -> Cameras:
    """Return the default rig: every elevation's ring of views, one after the other.

    Args:
        cfg: says how many views, at which elevations.
        start_deg: azimuth of each ring's first view.
        radius: distance from the origin.
    """
    ring = [start_deg + k * 360.0 / cfg.azimuths for k in range(cfg.azimuths)]
    elevation = [float(e) for e in cfg.elevations_deg for _ in ring]
    return orbit_cameras(ring * len(cfg.elevations_deg), elevation, radius, size=cfg.resolution)


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
