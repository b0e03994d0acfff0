"""Convex coloured solids that procedural objects are put together from.

Every part is closed and convex, so "inside the object" is exact: a point is inside if it lies
behind all faces of any part. Lengths are free; :mod:`studio.data.procedural.objects` normalises
the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Colour = tuple[float, float, float]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """A closed convex solid of one colour.

    Corners and shading normals are stored per triangle corner, so flat and smooth parts look alike
    to everyone who reads them.
    """

    corners: Array
    """[M, 3, 3] triangles, counter-clockwise from outside."""
    normals: Array
    """[M, 3, 3] unit shading normal of each corner."""
    colour: Colour
    """In [0, 1]."""

    def mirrored(self) -> Part:
        """The same part on the other side of the XZ plane (left-right symmetry)."""
        flip = np.array([1.0, -1.0, 1.0])
        return replace(
            self, corners=(self.corners * flip)[:, ::-1], normals=(self.normals * flip)[:, ::-1]
        )

    def turned(self, matrix: Array, about: Triple = (0.0, 0.0, 0.0)) -> Part:
        """Rotate by a [3, 3] matrix about a point."""
        pivot = np.asarray(about)
        return replace(
            self,
            corners=(self.corners - pivot) @ matrix.T + pivot,
            normals=self.normals @ matrix.T,
        )

    def contains(self, points: Array) -> Array:
        """[P] bool: which of the [P, 3] points lie inside."""
        a, b, c = self.corners[:, 0], self.corners[:, 1], self.corners[:, 2]
        outward = np.cross(b - a, c - a)
        inside: Array = np.all(points @ outward.T <= (outward * a).sum(-1), axis=-1)
        return inside


def rotation(axis: str, degrees: float) -> Array:
    """[3, 3] right-handed rotation about a named axis; +Y pitches the front (+X) downwards."""
    angle = np.deg2rad(degrees)
    c, s = np.cos(angle), np.sin(angle)
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def loft(low: Array, high: Array, colour: Colour, *, smooth: bool = False) -> Part:
    """The solid between two parallel convex polygons [K, 3], counter-clockwise seen from ``high``.

    With ``smooth`` the sides are shaded round, as on a cylinder.
    """
    count = len(low)
    after = np.roll(np.arange(count), -1)
    sides = np.concatenate(
        [
            np.stack([low, low[after], high[after]], 1),
            np.stack([low, high[after], high], 1),
        ]
    )
    fan = np.arange(1, count - 1)
    caps = np.concatenate(
        [
            np.stack([np.broadcast_to(low[0], (count - 2, 3)), low[fan + 1], low[fan]], 1),
            np.stack([np.broadcast_to(high[0], (count - 2, 3)), high[fan], high[fan + 1]], 1),
        ]
    )
    side_normals = _face_normals(sides)
    if smooth:
        flat = _unit(side_normals[:count, 0] + side_normals[count:, 0])
        round_ = _unit(flat + flat[(np.arange(count) - 1) % count])
        mine, next_ = round_, round_[after]
        side_normals = np.concatenate(
            [np.stack([mine, next_, next_], 1), np.stack([mine, next_, mine], 1)]
        )
    corners, normals = (
        np.concatenate([sides, caps]),
        np.concatenate([side_normals, _face_normals(caps)]),
    )
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1
    )
    keep = area > 1e-10
    return Part(corners[keep], normals[keep], colour)


def box(size: Triple, centre: Triple, colour: Colour, *, bevel: float = 0.0) -> Part:
    """An axis-aligned box, with its edges chamfered by ``bevel``."""
    half = np.asarray(size, float) / 2
    bevel = min(bevel, 0.45 * float(half.min()) * 2)
    signs, inset, faces = _bevel_template(bevel > 0)
    corners = (signs * (half - inset * bevel))[faces] + np.asarray(centre)
    return Part(corners, _face_normals(corners), colour)


def taper(
    low: tuple[float, float],
    high: tuple[float, float],
    height: float,
    centre: Triple,
    colour: Colour,
    *,
    shift: float = 0.0,
) -> Part:
    """A frustum: rectangle ``low`` (x, y sizes) below, ``high`` above, the top shifted along X."""
    square = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2
    x, y, z = centre
    bottom = np.c_[square * low, np.full(4, -height / 2)] + (x, y, z)
    top = np.c_[square * high, np.full(4, height / 2)] + (x + shift, y, z)
    return loft(bottom, top, colour)


def cylinder(
    radius: float,
    length: float,
    centre: Triple,
    colour: Colour,
    *,
    axis: str = "z",
    top_radius: float | None = None,
    sides: int = 20,
) -> Part:
    """A cylinder or, with ``top_radius``, a cone frustum that narrows towards +axis."""
    angle = (np.arange(sides) + 0.5) * (2 * np.pi / sides)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    end = radius if top_radius is None else top_radius
    low = np.c_[ring * radius, np.full(sides, -length / 2)]
    high = np.c_[ring * max(end, 1e-3), np.full(sides, length / 2)]
    order = {"z": [0, 1, 2], "x": [2, 0, 1], "y": [1, 2, 0]}[axis]
    shift = np.asarray(centre)
    return loft(low[:, order] + shift, high[:, order] + shift, colour, smooth=True)


def ellipsoid(radii: Triple, centre: Triple, colour: Colour) -> Part:
    """An axis-aligned ellipsoid (320 triangles)."""
    sphere = _icosphere()
    scale = np.asarray(radii, float)
    return Part(sphere * scale + np.asarray(centre), _unit(sphere / scale), colour)


def prism(
    profile: Sequence[tuple[float, float]], width: float, colour: Colour, *, y: float = 0.0
) -> Part:
    """A convex (x, z) outline extruded along Y by ``width``, centred at ``y``."""
    outline = np.asarray(profile, float)
    x, z = outline[:, 0], outline[:, 1]
    if (x * np.roll(z, -1) - np.roll(x, -1) * z).sum() > 0:
        outline = outline[::-1]
    low = np.stack([outline[:, 0], np.full(len(outline), y - width / 2), outline[:, 1]], 1)
    high = low + (0.0, width, 0.0)
    return loft(low, high, colour)


def _unit(vectors: Array) -> Array:
    unit: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return unit


def _face_normals(corners: Array) -> Array:
    normal = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    return np.repeat(normal[:, None], 3, axis=1)


@lru_cache(maxsize=2)
def _bevel_template(bevelled: bool) -> tuple[Array, Array, Array]:
    """Signs [N, 3], inset mask [N, 3] and faces [M, 3] of a box, plain or chamfered."""
    from scipy.spatial import ConvexHull

    signs = np.array([[(i >> k & 1) * 2.0 - 1.0 for k in range(3)] for i in range(8)])
    inset = np.zeros_like(signs)
    if bevelled:
        signs = np.repeat(signs, 3, axis=0)
        inset = np.tile(1.0 - np.eye(3), (8, 1))
    points = signs * (1.0 - 0.3 * inset)
    faces = ConvexHull(points).simplices
    a, b, c = (points[faces[:, k]] for k in range(3))
    inward = (np.cross(b - a, c - a) * a).sum(-1) < 0
    faces[inward] = faces[inward][:, ::-1]
    return signs, inset, faces


@lru_cache(maxsize=2)
def _icosphere(splits: int = 2) -> Array:
    """[20 * 4^splits, 3, 3] corners of a unit sphere: an icosahedron whose faces are split."""
    from scipy.spatial import ConvexHull

    g = (1 + 5**0.5) / 2
    points = _unit(np.array([[0, a, b * g] for a in (-1, 1) for b in (-1, 1)], float))
    points = np.concatenate([np.roll(points, k, axis=1) for k in range(3)])
    faces = points[ConvexHull(points).simplices]
    inward = np.linalg.det(faces) < 0
    faces[inward] = faces[inward][:, ::-1]
    for _ in range(splits):
        a, b, c = faces[:, 0], faces[:, 1], faces[:, 2]
        ab, bc, ca = _unit(a + b), _unit(b + c), _unit(c + a)
        rows = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        faces = np.concatenate([np.stack(row, 1) for row in rows])
    sphere: Array = faces
    return sphere
