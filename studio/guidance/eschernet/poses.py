"""Cameras as CaPE takes them (EscherNet, arXiv 2402.03908): world-to-camera, Blender's axes.

Blender's camera looks along -z, x to the right, y upwards; the official checkpoints were trained
with these axes, so OpenCV cameras are turned by `blender_w2c` first. Computed in float64, given
back in the dtype of the argument. The encodings themselves stand beside this file.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import opencv_to_opengl

RADIUS_RANGE = (1.5, 2.2)  # official: camera distances of the training renderings


def blender_w2c(c2w: Float[Tensor, "*b 4 4"]) -> Float[Tensor, "*b 4 4"]:
    """Return world-to-camera matrices with Blender's axes of our cameras (OpenCV, c2w)."""
    return _rigid_inverse(opencv_to_opengl(c2w.double())).to(c2w)


def poses_4dof(w2c: Float[Tensor, "*b rows 4"]) -> Float[Tensor, "*b 4"]:
    """Return (polar angle, azimuth, log-radius angle, 0) of cameras that look at the origin.

    The polar angle is measured from +z, in [0, pi]; the azimuth from +x, in (-pi, pi]. The third
    entry leads from 0 at distance 1.5 to pi at 2.2, in the logarithm; distances outside are
    clipped. The zero fills up the fourth group of channels. Roll is not seen.

    Args:
        w2c: 3x4 or 4x4 world-to-camera matrices; the camera's axes do not matter.
    """
    wide = w2c.double()
    centre = -(wide[..., :3, :3].transpose(-1, -2) @ wide[..., :3, 3:])[..., 0]
    x, y, z = centre.unbind(-1)
    near, far = RADIUS_RANGE
    radius = centre.norm(dim=-1).clamp(near, far)
    polar = torch.atan2(torch.hypot(x, y), z)
    scale = math.pi * torch.log(radius / near) / math.log(far / near)
    return torch.stack([polar, torch.atan2(y, x), scale, torch.zeros_like(x)], dim=-1).to(w2c)


def poses_6dof(w2c: Float[Tensor, "*b rows 4"]) -> Float[Tensor, "*b 4 4"]:
    """Return the matrices themselves, which keys are multiplied with; 3x4 get their last row.

    Args:
        w2c: 3x4 or 4x4 world-to-camera matrices with Blender's axes.
    """
    if w2c.shape[-2] == 4:
        return w2c
    bottom = w2c.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*w2c.shape[:-2], 1, 4)
    return torch.cat([w2c, bottom], dim=-2)


def inverse_transposed(poses: Float[Tensor, "*b 4 4"]) -> Float[Tensor, "*b 4 4"]:
    """Return P^-T of rigid 6DoF poses, which queries are multiplied with."""
    return _rigid_inverse(poses.double()).transpose(-1, -2).to(poses)


def _rigid_inverse(matrix: Float[Tensor, "*b 4 4"]) -> Float[Tensor, "*b 4 4"]:
    rotation = matrix[..., :3, :3].transpose(-1, -2)
    shift = -rotation @ matrix[..., :3, 3:]
    return torch.cat([torch.cat([rotation, shift], dim=-1), matrix[..., 3:, :]], dim=-2)
