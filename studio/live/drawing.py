"""Cameras, points and meshes as viser takes them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from studio.cameras import Cameras
from studio.io.images import resize, to_uint8
from studio.live.poses import Poses
from studio.live.surfaces import Surface
from studio.views import ViewSet

GREY, ORANGE, RED = (110, 110, 110), (240, 140, 10), (230, 20, 20)
UNSHADED: dict[str, Any] = {"cast_shadow": False, "receive_shadow": False}
"""For everything: colours are what is looked at."""


def colours(views: ViewSet, poses: Poses) -> UInt8[np.ndarray, "v 3"]:
    """Of the frusta: red where a picture contradicts the others, orange where that may be."""
    found = np.full((len(views), 3), GREY, dtype=np.uint8)
    found[list(poses.doubtful)], found[list(poses.wrong)] = ORANGE, RED
    return found


def cube_edges() -> Float[np.ndarray, "12 2 3"]:
    """Edges of the cube of side 1 around the origin."""
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3)), dtype=np.float32)
    pairs = itertools.combinations(corners, 2)
    return np.array([pair for pair in pairs if (pair[0] != pair[1]).sum() == 1])


def quaternion(rotation: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4"]:
    """(w, x, y, z) of a rotation."""
    import viser.transforms as tf

    unit: np.ndarray = tf.SO3.from_matrix(np.asarray(rotation, dtype=np.float64)).wxyz
    return unit


def axes(cameras: Cameras) -> Float[np.ndarray, "v 3 3"]:
    """The cameras' rotations, to be turned into quaternions."""
    turns: np.ndarray = cameras.c2w[:, :3, :3].double().numpy()
    return turns


def small(picture: Float[Tensor, "4 h w"], side: int) -> UInt8[np.ndarray, "h w 4"]:
    """A picture of at most that many pixels on its longer side."""
    h, w = picture.shape[1:]
    scale = side / max(h, w)
    if scale < 1:
        picture = resize(picture, max(1, round(h * scale)), max(1, round(w * scale)))
    return to_uint8(picture)


def faded(picture: UInt8[np.ndarray, "h w 4"], opacity: float) -> UInt8[np.ndarray, "h w 4"]:
    """The picture with that share of its opacity."""
    alpha = np.round(picture[..., 3:] * opacity).astype(np.uint8)
    return np.concatenate([picture[..., :3], alpha], axis=-1)


def placed(surface: Surface, scale: float) -> dict[str, Any]:
    """Where a surface stands in a scene that is `scale` times the world of the views."""
    linear, shift = surface.to_views[:3, :3], surface.to_views[:3, 3]
    size = float(np.cbrt(np.linalg.det(linear)))
    return {
        "wxyz": quaternion(linear / size),
        "position": tuple((shift * scale).tolist()),
        "scale": size * scale,
    }


def scene_points(points: Float[Tensor, "n 3"], scale: float, most: int) -> Float[np.ndarray, "m 3"]:
    """Points in the scene, every second, third, ... of them where they are too many."""
    every = max(1, -(-len(points) // most))
    moved: np.ndarray = (points[::every].double() * scale).float().cpu().numpy()
    return moved
