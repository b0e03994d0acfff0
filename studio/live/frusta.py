"""Cameras as a viewer draws them: pyramids, the places of their pictures, the view through one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from studio.cameras import Cameras

FEW = 0.25  # of what the middle one of all pictures sees
FAR_AWAY = 60.0  # from there perspective is nearly parallel


@dataclass(frozen=True)
class Plates:
    """Rectangles at some depth before the cameras, where their pictures stand.

    Attributes:
        centres: in the world.
        sides: width and height, in world units.
        corners: top left, top right, bottom right, bottom left.
        eyes: where each corner's ray begins: the camera's centre, for orthographic ones a corner of
            the rectangle that it looks out of.
    """

    centres: Float[np.ndarray, "v 3"]
    sides: Float[np.ndarray, "v 2"]
    corners: Float[np.ndarray, "v 4 3"]
    eyes: Float[np.ndarray, "v 4 3"]

    def lines(self) -> Float[np.ndarray, "v 8 2 3"]:
        """The edges of each pyramid (of a box, where a camera is orthographic)."""
        onward = np.roll(self.corners, -1, axis=1)
        rays = np.stack([self.eyes, self.corners], axis=2)
        return np.concatenate([rays, np.stack([self.corners, onward], axis=2)], axis=1)


def plates(cameras: Cameras, depth: float) -> Plates:
    """Where pictures stand at a depth; off-centre ones stand beside the axis.

    Args:
        cameras: V, of any kind.
        depth: along the viewing axis, in world units.
    """
    h, w = cameras.size
    pixels = torch.tensor([[0.0, 0], [w, 0], [w, h], [0, h]], dtype=torch.float64)
    homogeneous = torch.cat([pixels, torch.ones(4, 1, dtype=torch.float64)], dim=1)
    local = homogeneous @ torch.linalg.inv(cameras.intrinsics.double()).transpose(1, 2)
    start = torch.zeros_like(local)
    if cameras.ortho_scale is None:
        end = local * depth
    else:
        reach = cameras.ortho_scale.double() / h * cameras.intrinsics[:, 1, 1].double()
        start[..., :2] = local[..., :2] * reach[:, None, None]
        end = start + local.new_tensor([0.0, 0.0, depth])
    sides = torch.stack([end[:, 1, 0] - end[:, 0, 0], end[:, 3, 1] - end[:, 0, 1]], dim=1)
    corners, eyes = (_placed(cameras, points) for points in (end, start))
    return Plates(corners.mean(axis=1), sides.numpy(), corners, eyes)


def _placed(cameras: Cameras, points: Float[Tensor, "v n 3"]) -> Float[np.ndarray, "v n 3"]:
    c2w = cameras.c2w.double()
    moved = points @ c2w[:, :3, :3].transpose(1, 2) + c2w[:, None, :3, 3]
    placed: np.ndarray = moved.numpy()
    return placed


def points_seen(cameras: Cameras, points: Float[Tensor, "n 3"]) -> Int64[np.ndarray, " v"]:
    """How many points lie before each camera and within its picture."""
    h, w = cameras.size
    found = []
    for i in range(len(cameras)):
        pixels, depth = cameras[[i]].project(points.to(cameras.c2w))
        inside = (pixels >= 0).all(-1) & (pixels[..., 0] <= w) & (pixels[..., 1] <= h)
        found.append(int((inside & (depth > 0)).sum()))
    return np.array(found, dtype=np.int64)


def doubtful(seen: Int64[np.ndarray, " v"]) -> tuple[list[int], list[int]]:
    """Cameras that see no sparse point, and those that see far fewer than the others do."""
    usual = float(np.median(seen)) if len(seen) else 0.0
    none = np.flatnonzero(seen == 0).tolist()
    return none, np.flatnonzero((seen > 0) & (seen < FEW * usual)).tolist()


@dataclass(frozen=True)
class Eye:
    """A viewer's camera: its picture is centred and has the shape of the window.

    Attributes:
        position: in the world.
        rotation: its axes, OpenCV's, as columns.
        fov: vertical field of view, radians.
        target: the point that it turns about.
        near: nothing closer is drawn.
    """

    position: Float[np.ndarray, "3"]
    rotation: Float[np.ndarray, "3 3"]
    fov: float
    target: Float[np.ndarray, "3"]
    near: float


def eye_of(camera: Cameras, aspect: float) -> Eye:
    """The viewer's camera that sees what a camera does, all of its picture and what is beside it.

    Args:
        camera: one. An orthographic one is looked through from far away, with a narrow view.
        aspect: width of the window by its height.
    """
    h, w = camera.size
    c2w, k = camera.c2w[0].double().numpy(), camera.intrinsics[0].double().numpy()
    position, forward = c2w[:3, 3], c2w[:3, 2]
    up = max(k[1, 2], h - k[1, 2]) / k[1, 1]  # half extents at depth 1
    side = max(k[0, 2], w - k[0, 2]) / k[0, 0]
    half, back = max(up, side / aspect), 0.0
    if camera.ortho_scale is not None:
        half *= float(camera.ortho_scale[0]) / h * k[1, 1] / FAR_AWAY
        back = FAR_AWAY - _reach(position, forward)
    distance = back + _reach(position, forward)
    position = position - back * forward
    near = 0.01 if camera.ortho_scale is None else FAR_AWAY / 2
    return Eye(
        position, c2w[:3, :3], 2 * math.atan(half), position + max(distance, 0.1) * forward, near
    )


def _reach(position: np.ndarray, forward: np.ndarray) -> float:
    """Depth at which a camera passes the origin."""
    return float(-(position @ forward))


def laid_over(camera: Cameras, eye: Eye) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "2"]]:
    """Middle and sides of the rectangle that fills a camera's picture as a viewer's camera sees it.

    It stands just behind the nearest distance that is drawn.

    Args:
        camera: one.
        eye: what `eye_of` made of it.
    """
    far = camera.ortho_scale is not None
    where = plates(
        camera, _reach(camera.c2w[0, :3, 3].double().numpy(), eye.rotation[:, 2]) if far else 1.0
    )
    share = 1.5 * eye.near / (FAR_AWAY if far else 1.0)
    return eye.position + share * (where.centres[0] - eye.position), where.sides[0] * share
