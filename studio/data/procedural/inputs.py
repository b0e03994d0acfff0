"""Input cameras of procedural objects, as people take images: other elevations and lenses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from studio.cameras import CANONICAL_FOV_DEG, CANONICAL_RADIUS, Cameras, orbit_cameras
from studio.data.procedural.parts import Array

ELEVATIONS_DEG = (-8.0, 52.0)
"""Range of the elevations that people photograph objects from."""
GUESS_DEG = 5.0
"""Deviation of the elevation that is said from the true one: nobody measures it."""


@dataclass(frozen=True)
class InputCamera:
    """One picture to be taken.

    Attributes:
        camera: that takes it.
        said: camera that the picture is said to be of: on the canonical sphere, as far away as all
            views, at an elevation that is a guess.
        at: ring position of its azimuth.
    """

    camera: Cameras
    said: Cameras
    at: int


def draw_input_cameras(
    vertices: Array, count: int, views: int, step_deg: float, size: int, random: np.random.Generator
) -> list[InputCamera]:
    """Return pictures to take of an object, at azimuths of a ring.

    A third is framed as the ring's own views are; of the others the object's box is centred and
    has a size of its own, as the preparation of pictures makes it, and any usual lens.

    Args:
        vertices: [N, 3] of the object where it stands, longest side 1.
        count: number of pictures.
        views: of the ring.
        step_deg: from one view of the ring to the next.
        size: side of the pictures in pixels.
        random: source of every choice.
    """
    cameras = []
    for _ in range(count):
        at = int(random.integers(views))
        azimuth, elevation = at * step_deg, float(random.uniform(*ELEVATIONS_DEG))
        said = float(np.clip(elevation + random.normal(0, GUESS_DEG), -20, 70))
        if random.uniform() < 1 / 3:
            camera = orbit_cameras([azimuth], elevation, CANONICAL_RADIUS, CANONICAL_FOV_DEG, size)
        else:
            fov = float(random.uniform(14, 60))
            distance = 0.7 / math.tan(math.radians(fov) / 2)
            camera = orbit_cameras([azimuth], elevation, distance, fov, size)
            ratio = float(np.clip(random.normal(0.76, 0.07), 0.55, 0.95))
            camera = framed(camera, vertices, ratio, random.normal(0, 0.012, 2))
        cameras.append(InputCamera(camera, orbit_cameras([azimuth], said, CANONICAL_RADIUS), at))
    return cameras


def framed(camera: Cameras, vertices: Array, ratio: float, shift: Array) -> Cameras:
    """Return a camera whose picture is cut so that the object's box has a size and place.

    Args:
        camera: one camera.
        vertices: [N, 3] in the world.
        ratio: longer side of the box over the side of the picture.
        shift: [2] of the box from the centre, over the side of the picture.
    """
    points = torch.from_numpy(np.ascontiguousarray(vertices)).float()
    pixels, _ = camera.project(points)
    low, high = pixels[0].amin(0), pixels[0].amax(0)
    size = camera.size[0]
    zoom = ratio * size / float((high - low).max())
    centre = (low + high) / 2
    intrinsics = camera.intrinsics.clone()
    intrinsics[:, :2] *= zoom
    moved = torch.as_tensor(shift, dtype=torch.float32) * size + size / 2
    intrinsics[:, :2, 2] += moved - centre * zoom
    return Cameras(camera.c2w, intrinsics, camera.size)
