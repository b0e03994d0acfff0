"""Marching cubes block by block over sparse samples, welded exactly along shared grid edges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from studio.export.grid import Grid

BLOCK = 64  # cells per side that marching cubes sees at once


def march(
    grid: Grid, inside: np.ndarray, index: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Marching cubes in blocks, welded.

    Values are kept away from zero by a few thousandths of their usual size, so every vertex lies
    strictly inside a grid edge: no triangle collapses, and the edge names the vertex at joints.
    """
    from skimage.measure import marching_cubes

    unit = float(np.median(np.abs(values))) or grid.voxel
    magnitude = np.clip(np.abs(values), 3e-3 * unit, 20 * unit)
    values = np.where(values < 0, -magnitude, magnitude).astype(np.float32)
    parts, triangles, names, count = [], [], [], 0
    for corner, volume in _volumes(grid, inside, index, values, unit):
        vertices, block_faces, _, _ = marching_cubes(volume, 0.0)
        vertices = vertices.astype(np.float64) + corner
        parts.append(vertices)
        triangles.append(block_faces.astype(np.int64) + count)
        names.append(_edge_names(vertices, grid.samples, count))
        count += len(vertices)
    _, first, inverse = np.unique(np.concatenate(names), return_index=True, return_inverse=True)
    return np.concatenate(parts)[first], inverse[np.concatenate(triangles)]


def _volumes(
    grid: Grid, inside: np.ndarray, index: np.ndarray, values: np.ndarray, unit: float
) -> Iterator[tuple[tuple[int, int, int], np.ndarray]]:
    """Blocks of samples that the surface passes through, with the corner of each.

    Samples that were not evaluated hold ``unit`` with their sign.
    """
    plane = grid.samples[1] * grid.samples[2]
    for x in range(0, grid.cells[0], BLOCK):
        slab = slice(*np.searchsorted(index, [x * plane, (x + BLOCK + 1) * plane]))
        flat, slab_values = index[slab], values[slab]
        rows = flat // grid.samples[2] % grid.samples[1]
        for y in range(0, grid.cells[1], BLOCK):
            in_row = np.flatnonzero((rows >= y) & (rows <= y + BLOCK))
            columns = flat[in_row] % grid.samples[2]
            for z in range(0, grid.cells[2], BLOCK):
                signs = inside[x : x + BLOCK + 1, y : y + BLOCK + 1, z : z + BLOCK + 1]
                if signs.all() or not signs.any():
                    continue
                volume = np.where(signs, -unit, unit).astype(np.float32)
                here = in_row[(columns >= z) & (columns <= z + BLOCK)]
                i, j, k = np.unravel_index(flat[here], grid.samples)
                volume[i - x, j - y, k - z] = slab_values[here]
                yield (x, y, z), volume


def _edge_names(vertices: np.ndarray, samples: tuple[int, int, int], count: int) -> np.ndarray:
    """A number that two vertices share if and only if they lie on the same grid edge.

    Marching cubes may add a vertex in the middle of a cell; it belongs to one block and gets a
    negative number.
    """
    fractional = np.abs(vertices - np.round(vertices)) > 3e-5
    base = np.where(fractional, np.floor(vertices), np.round(vertices)).astype(np.int64)
    names = np.ravel_multi_index(tuple(base.T), samples) * 3 + fractional.argmax(1)
    own = fractional.sum(1) != 1
    names[own] = -1 - count - np.flatnonzero(own)
    return names
