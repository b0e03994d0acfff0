"""Points of a surface at an even density: many random ones, of which no two are too near."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from studio.mesh import Mesh
from studio.metrics.surface import Surface
from studio.ops.compiled import kernel, part

Array = np.ndarray
Points = Float[np.ndarray, "n 3"]

CANDIDATES = 2.0
"""Random points, per square of the spacing, of which a dense subset is kept."""
BLOCK = 2_000_000
"""Random points at a time."""


def evenly_sampled(mesh: Mesh, spacing: float, seed: int = 0) -> Points:
    """Return random points of a surface, no two of them nearer than a distance.

    Args:
        mesh: triangles.
        spacing: in world units.
        seed: of the points and of the order in which they are kept.
    """
    return spaced(_dense(mesh, spacing, seed), spacing, seed)


def _dense(mesh: Mesh, spacing: float, seed: int) -> Points:
    """Vertices, and area-uniform points between them; faces in blocks, for the memory's sake."""
    areas = 0.5 * np.linalg.norm(mesh.face_normals.astype(np.float64), axis=1)
    wanted = np.cumsum(areas) * CANDIDATES / spacing**2
    block = (wanted // BLOCK).astype(np.int64)
    used = np.unique(mesh.faces[areas > 0])
    found = [mesh.vertices[used].astype(np.float64)]
    for number in np.unique(block[areas > 0]):
        faces = block == number
        count = int(np.ceil(areas[faces].sum() * CANDIDATES / spacing**2))
        some = replace(mesh, faces=mesh.faces[faces])
        found.append(Surface(some).sample(count, seed=seed + int(number))[0])
    return np.concatenate(found)


def spaced(points: Points, distance: float, seed: int = 0) -> Points:
    """Return a subset without two points nearer than a distance, to which no point can be added.

    Points are taken in random order, each that is far enough from all that were kept before it.

    Args:
        points: any.
        distance: in their units.
        seed: of the order.
    """
    if not len(points):
        return points
    points = np.asarray(points, dtype=np.float64)
    cell = np.floor((points - points.min(0)) / distance).astype(np.int64) + 1
    size = cell.max(0) + 2
    if float(np.prod(size.astype(np.float64))) >= 2.0**62:
        raise ValueError(f"points over {size.max():,} times {distance:g} are not thinned")
    key = (cell[:, 0] * size[1] + cell[:, 1]) * size[2] + cell[:, 2]
    order = np.argsort(key, kind="stable")
    points, key = np.ascontiguousarray(points[order]), key[order]
    visits = np.random.default_rng(seed).permutation(len(points))
    kept: Bool[np.ndarray, " n"] = _kept(points, key, visits, size[1], size[2], distance**2)
    return points[kept]


@kernel
def _kept(
    points: Array, key: Array, visits: Array, size_y: int, size_z: int, distance2: float
) -> Array:
    """Which points stay; ``key`` is sorted, and neighbours in z have neighbouring keys."""
    kept = np.zeros(len(points), np.bool_)
    for i in visits:
        free = True
        for dx in range(-1, 2):
            for dy in range(-1, 2):
                row = key[i] + (dx * size_y + dy) * size_z
                j = _first(key, row - 1)
                while free and j < len(key) and key[j] <= row + 1:
                    if kept[j]:
                        x = points[j, 0] - points[i, 0]
                        y = points[j, 1] - points[i, 1]
                        z = points[j, 2] - points[i, 2]
                        free = x * x + y * y + z * z >= distance2
                    j += 1
        kept[i] = free
    return kept


@part
def _first(key: Array, value: int) -> int:
    """Position of the first key that is not below a value."""
    low, high = 0, len(key)
    while low < high:
        middle = (low + high) // 2
        if key[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low
