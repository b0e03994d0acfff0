"""Soft light on procedural objects, computed once for each object and fixed to it.

Sky, one lamp with a soft shadow, and contact shading, all from a voxel picture of the object that
is blurred at several scales: the occlusion of a point is what the blurred picture shows a little
way along its normal, its shadow what it shows on the way to the lamp (voxel cone tracing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from studio.data.procedural.parts import Array, Part

GRID, HALF = 40, 0.62
"""Voxels a side, and half the side of the cube they fill."""
BLURS = (1.0, 2.0, 4.0, 7.0)
"""Deviations of the blurred copies in voxels."""


@dataclass(frozen=True)
class Lighting:
    """Strengths and directions; a white surface that sees all of it is about 1 bright.

    Attributes:
        lamp: [3] unit direction towards the lamp, in the object's coordinates.
        key: strength of the lamp.
        sky: strength of the sky dome.
        ambient: what reaches everywhere.
        contact: how much occlusion darkens, in [0, 1].
        warmth: colour of the lamp against the sky, 0 is neutral.
        exposure: factor of the whole.
    """

    lamp: tuple[float, float, float]
    key: float
    sky: float
    ambient: float
    contact: float
    warmth: float
    exposure: float


def draw_lighting(random: np.random.Generator) -> Lighting:
    """Return a light such as product photos have: from above, mostly soft."""
    azimuth, height = random.uniform(0, 2 * np.pi), np.deg2rad(random.uniform(30, 80))
    key = random.uniform(0.12, 0.45)
    sky = random.uniform(0.2, 0.4)
    return Lighting(
        (
            float(np.cos(azimuth) * np.cos(height)),
            float(np.sin(azimuth) * np.cos(height)),
            float(np.sin(height)),
        ),
        key,
        sky,
        1.02 - sky - 0.8 * key,
        random.uniform(0.5, 1.0),
        random.uniform(-0.03, 0.06),
        random.uniform(0.92, 1.08),
    )


def lit(
    lighting: Lighting,
    parts: Sequence[Part],
    points: Array,
    normals: Array,
) -> Array:
    """Return the light [N, 3] that falls on surface points.

    Args:
        lighting: the light.
        parts: the object's convex solids.
        points: [N, 3] in the object's coordinates.
        normals: [N, 3] unit, outward.
    """
    volume = _Volume(parts, float(points[:, 2].min()))
    hidden = np.zeros(len(points))
    for distance, blur, share in ((0.05, 0, 0.3), (0.11, 1, 0.4), (0.22, 2, 0.5)):
        seen = volume.at(points + distance * normals, blur)
        hidden += share * np.clip(seen - 0.08, 0, 1)
    open_ = np.clip(1.0 - lighting.contact * 1.5 * hidden, 0.15, 1.0)
    lamp = np.asarray(lighting.lamp)
    passed = np.ones(len(points))
    for distance, blur in ((0.07, 0), (0.14, 1), (0.26, 2), (0.45, 3)):
        passed *= 1.0 - np.clip(
            1.3 * volume.at(points + 0.04 * normals + distance * lamp, blur), 0, 1
        )
    key = lighting.key * np.clip(normals @ lamp, 0, 1) * passed
    soft = (lighting.ambient + lighting.sky * (0.5 + 0.5 * normals[:, 2])) * open_
    tint = 1.0 + lighting.warmth * np.array([1.0, 0.1, -1.0])
    out: Array = lighting.exposure * (soft[:, None] + key[:, None] * tint)
    return out.astype(np.float32)


class _Volume:
    """Blurred copies of the voxels that an object fills; the ground below counts half."""

    def __init__(self, parts: Sequence[Part], ground: float) -> None:
        centres = (np.arange(GRID) + 0.5) / GRID * 2 * HALF - HALF
        filled = np.zeros((GRID,) * 3, np.float32)
        filled[:, :, centres < ground] = 0.5
        for part in parts:
            corners = part.corners.reshape(-1, 3)
            first = np.searchsorted(centres, corners.min(0))
            last = np.searchsorted(centres, corners.max(0))
            near = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
            grid = np.stack(np.meshgrid(*(centres[at] for at in near), indexing="ij"), -1)
            inside = part.contains(grid.reshape(-1, 3)).reshape(grid.shape[:3])
            filled[near] = np.where(inside, 1.0, filled[near])
        self.copies = [gaussian_filter(filled, blur, mode="nearest") for blur in BLURS]

    def at(self, points: Array, blur: int) -> Array:
        place = (points + HALF) / (2 * HALF) * GRID - 0.5
        value: Array = map_coordinates(self.copies[blur], place.T, order=1, mode="nearest")
        return value


def split_triangles(corners: Array, longest: float) -> tuple[Array, Array]:
    """Halve triangles at their longest edges until none is longer.

    Args:
        corners: [M, 3, C], positions first, further values beside them.
        longest: edge length allowed.

    Returns:
        The corners [K, 3, C], and which of the M each comes from [K].
    """
    done, origin = [], []
    index = np.arange(len(corners))
    while len(corners):
        edges = np.linalg.norm(
            corners[:, [1, 2, 0], :3] - corners[:, [2, 0, 1], :3], axis=-1
        )  # opposite to each corner
        apex = edges.argmax(1)
        long = edges[np.arange(len(edges)), apex] > longest
        done.append(corners[~long])
        origin.append(index[~long])
        corners, index, apex = corners[long], index[long], apex[long]
        rows = np.arange(len(corners))
        a, b, c = (corners[rows, (apex + k) % 3] for k in range(3))
        middle = (b + c) / 2
        corners = np.concatenate([np.stack([a, b, middle], 1), np.stack([a, middle, c], 1)])
        index = np.concatenate([index, index])
    return np.concatenate(done), np.concatenate(origin)
