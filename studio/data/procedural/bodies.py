"""Small rounded bodies for procedural objects: balls, limbs, rounded boxes, wheels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from studio.data.procedural.parts import Array, Colour, Part, Triple, box, cylinder, rotation
from studio.data.procedural.solids import hull, lathe, moved, unit


def limb(
    start: Triple | Array, end: Triple | Array, radius: float, end_radius: float, colour: Colour
) -> Part:  # fmt: skip
    """Two balls and what lies between them: the convex hull of both."""
    ball, size = _ball(), np.array([radius, end_radius])[:, None, None]
    points = ball * size + np.array([start, end], float)[:, None]
    return hull(points.reshape(-1, 3), colour, np.tile(ball, (2, 1)))


def bead(radii: Triple, centre: Triple | Array, colour: Colour) -> Part:
    """A small ellipsoid (80 triangles)."""
    ball, scale = _ball(), np.asarray(radii, float)
    return hull(ball * scale + np.asarray(centre), colour, unit(ball / scale))


def rounded(size: Triple, centre: Triple, colour: Colour, radius: float) -> Part:
    """A box whose edges and corners are rounded, shaded smoothly."""
    directions, signs, faces = _rounded_template()
    half = np.asarray(size, float) / 2
    radius = min(radius, 0.499 * float(np.min(size)))
    points = signs * (half - radius) + directions * radius + np.asarray(centre)
    return Part(points[faces], directions[faces], colour)


def wheel(
    radius: float,
    width: float,
    centre: Triple,
    tyre: Colour,
    rim: Colour,
    *,
    spokes: int = 5,
    rim_share: float = 0.66,
) -> list[Part]:
    """A wheel on an axle along Y whose spoked rim shows towards +Y; 0 spokes give a plain disc."""
    x, y, z = centre
    half = width / 2
    turn = rotation("x", -90.0)
    profile = [
        (0.82, -half),
        (0.98, -half * 0.7),
        (1.0, half * 0.4),
        (0.93, half * 0.9),
        (0.8, half),
    ]
    parts = lathe([(radius * r, h) for r, h in profile], tyre, sides=20)
    hub = radius * rim_share
    parts.append(cylinder(hub, 0.02 * radius, (0, 0, half), rim, sides=16))
    if spokes:
        dark = (0.09, 0.09, 0.10)
        parts.append(cylinder(hub * 0.86, 0.03 * radius, (0, 0, half), dark, sides=16))
        for k in range(spokes):
            spoke = box((hub * 0.84, hub * 0.26, 0.06 * radius), (hub * 0.42, 0, half), rim)
            parts.append(spoke.turned(rotation("z", 90.0 + 360.0 * k / spokes)))
        parts.append(cylinder(hub * 0.26, 0.08 * radius, (0, 0, half), rim, sides=10))
    else:
        parts.append(cylinder(hub * 0.3, 0.08 * radius, (0, 0, half), rim, sides=12))
    return moved([part.turned(turn) for part in parts], (x, y, z))


@lru_cache(maxsize=1)
def _ball() -> Array:
    """[42, 3] corners of a round body: an icosahedron, split once."""
    from studio.data.procedural.parts import _icosphere

    return np.unique(_icosphere(1).reshape(-1, 3).round(12), axis=0)


@lru_cache(maxsize=1)
def _rounded_template() -> tuple[Array, Array, Array]:
    """Directions [48, 3], signs [48, 3] and faces [M, 3] of a rounded box."""
    from scipy.spatial import ConvexHull

    octant = np.array([[2, 0, 0], [0, 2, 0], [0, 0, 2], [1, 1, 0], [1, 0, 1], [0, 1, 1]], float)
    corners = np.array([[(i >> k & 1) * 2.0 - 1.0 for k in range(3)] for i in range(8)])
    signs = np.repeat(corners, len(octant), axis=0)
    directions = unit(np.tile(octant, (8, 1)) * signs)
    points = signs + directions
    faces = ConvexHull(points).simplices
    a, b, c = (points[faces[:, k]] for k in range(3))
    inward = (np.cross(b - a, c - a) * a).sum(-1) < 0
    faces[inward] = faces[inward][:, ::-1]
    return directions, signs, faces
