"""Cameras of the NMR renderings: 24 around the object, and those that cameras.npz holds."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras
from studio.data.training.arrays import read_npz
from studio.data.training.nmr_index import VIEWS
from studio.errors import DataError, about
from studio.io.reading import reading
from studio.rigs import RIGS

# Rows: our axes in the renderer's, whose view 0 looks along +z, our -X, with y, our +Z, up.
# Under SoftRas' camera axes (x right, y up, z forward) its world is left-handed: mirrored here.
_FROM_LEFT_HANDED = ((0.0, 0.0, -1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
_FROM_RIGHT_HANDED = ((0.0, 0.0, -1.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def nmr_ring(size: int) -> Cameras:
    """Return the 24 cameras for pictures of a side in pixels; view i at azimuth -15 i degrees.

    Elevation 30 degrees, distance 2.732, field of view 30 degrees (SoftRas' settings).
    """
    return RIGS["nmr24"].cameras(size)


def view_angles(views: Tensor) -> Float[Tensor, " v"]:
    """Return the angle in radians that ViewFusion gives a view by its number: 2 pi i / 24."""
    return (2 * math.pi * views.double() / VIEWS).float()


def read_cameras(data: bytes, size: int, source: str = "cameras.npz") -> Cameras:
    """Read the 24 cameras of an object from the bytes of its cameras.npz.

    `world_mat_i` leads from the world to the camera, `camera_mat_i` on to the picture, which is
    [-1, 1]. Files whose camera y points up (as SoftRas writes them) and down are both understood:
    the renderer's y is up in either, and cameras stand above the object.

    Args:
        data: the file's content.
        size: side of the pictures in pixels.
        source: named in messages.

    Raises:
        DataError: if the file is damaged or of another kind.
    """
    with reading(source, "world_mat_i and camera_mat_i, 4x4"):
        stored = read_npz(data)
        w2c = np.stack([stored[f"world_mat_{i}"] for i in range(VIEWS)]).astype(np.float64)
        focal = np.stack([stored[f"camera_mat_{i}"] for i in range(VIEWS)]).astype(np.float64)
        if {w2c.shape, focal.shape} != {(VIEWS, 4, 4)}:
            raise ValueError(f"matrices of shapes {w2c.shape[1:]} and {focal.shape[1:]}")
    rotation = torch.from_numpy(w2c[:, :3, :3])
    off = (rotation @ rotation.transpose(1, 2) - torch.eye(3).double()).abs().max()
    centre = -(rotation.transpose(1, 2) @ torch.from_numpy(w2c[:, :3, 3:]))[..., 0]
    if not off < 1e-3 or not (centre[:, 1] > 0).all():
        raise DataError(f"{source} holds no cameras that look down on an object from above.")
    upwards = rotation[:, 1, 1] > 0
    if upwards.any() != upwards.all():
        raise DataError(f"{source}: some cameras are upside down.")
    to_ours = rotation.new_tensor(_FROM_LEFT_HANDED if upwards.all() else _FROM_RIGHT_HANDED)
    axes = rotation.new_tensor([1.0, -1.0 if upwards.all() else 1.0, 1.0])
    c2w = torch.eye(4, dtype=torch.float64).repeat(VIEWS, 1, 1)
    c2w[:, :3, :3] = to_ours @ rotation.transpose(1, 2) * axes
    c2w[:, :3, 3] = centre @ to_ours.T
    k = torch.zeros(VIEWS, 3, 3, dtype=torch.float64)
    scale = torch.from_numpy(np.abs(focal[:, [0, 1], [0, 1]])) * size / 2
    k[:, 0, 0], k[:, 1, 1] = scale.unbind(-1)
    k[:, :2, 2], k[:, 2, 2] = size / 2, 1.0
    with about(source):
        return Cameras(c2w.float(), k.float(), (size, size))
