"""Conditioning of composable ViewFusion: angles and images, from cameras and conditions."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import orbit_cameras
from studio.errors import ConfigError
from studio.guidance.viewfusion_composable.options import ViewFusionComposableConfig
from studio.io.images import on_white
from studio.rigs import Rig
from studio.views import Condition


def ring(cfg: ViewFusionComposableConfig) -> Rig:
    """Return the default views: view i is the one of angle i * 360 / views."""
    lens = cfg.rig_elevation_deg, cfg.rig_radius, cfg.rig_fov_deg
    return Rig.ring(cfg.views, *lens, clockwise=cfg.clockwise)


def absolute_angles(centres: Float[Tensor, "*b 3"], clockwise: bool) -> Float[Tensor, "*b"]:
    """Return the angles of cameras in the object's own frame, radians in [0, 2 pi).

    The object's front is at angle 0, which is azimuth 0. This is the one place that knows which way
    angles grow.

    Args:
        centres: camera centres in the world.
        clockwise: angles grow clockwise seen from above, against the azimuth.
    """
    azimuth = torch.atan2(centres[..., 1], centres[..., 0])
    turn = math.tau
    angle = torch.remainder(-azimuth if clockwise else azimuth, turn)
    return torch.where(angle > turn - 1e-5, torch.zeros_like(angle), angle)  # rounded up to 2 pi


def relative_angles(
    target: Float[Tensor, "*b"], reference: Float[Tensor, "*b"]
) -> Float[Tensor, "*b"]:
    """Return reference minus target, the official sign, wrapped to [-pi, pi)."""
    return torch.remainder(reference - target + math.pi, math.tau) - math.pi


def condition_views(condition: Condition, side: int) -> Float[Tensor, "n 3 s s"]:
    """Return the condition's pictures on white, in [0, 1]; cameras are not looked at.

    Raises:
        ConfigError: if the condition holds no picture.
    """
    if condition.views is not None:
        return on_white(condition.views.images, side)
    if condition.image is not None:
        return on_white(condition.image[None], side)
    raise ConfigError("the condition holds no picture.", allowed="one picture or several")


def first_centre(condition: Condition) -> Float[Tensor, "1 3"]:
    """Return where the camera of the condition's first picture stands."""
    if condition.views is not None:
        return condition.views.cameras.centres[:1].cpu()
    return orbit_cameras([condition.azimuth_deg], condition.elevation_deg or 0.0).centres


def with_reference(views: Float[Tensor, "b n 3 h w"]) -> Float[Tensor, "b n 6 h w"]:
    """Return every view with the first one's channels in front: inputs of relative models."""
    return torch.cat([views[:, :1].expand_as(views), views], dim=2)
