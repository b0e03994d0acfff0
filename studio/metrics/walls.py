"""What a printer asks of a solid: its size, whether it is closed, and its thinnest wall."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from studio.mesh import Mesh
from studio.metrics.solidity import solidity
from studio.ops.ray_caster import RayCaster

POINTS = 20_000
LEFT_OUT = 0.001
"""Share of the surface that a wall may be thinner at: the grain of a fit."""
OPPOSITE = 0.7
"""Least cosine between a way through a wall and the normal where it ends: edges are no walls."""
_STEP = np.array([0.7548776662466927, 0.5698402909980532])  # of an even sequence in the square


def print_figures(mesh: Mesh, metres: float) -> dict[str, Any]:
    """Measure a solid.

    Args:
        mesh: +Z up.
        metres: length of its unit.

    Returns:
        ``watertight``, ``size_mm`` along x, y and z, ``volume_cm3`` (null unless watertight) and
        ``thinnest_wall_mm`` (null where nothing is opposite to any place, as in open surfaces).
    """
    closed = solidity(mesh)["watertight"]
    wall = thinnest_wall(mesh)
    return {
        "watertight": closed,
        "size_mm": [round(1e3 * metres * float(side), 3) for side in np.ptp(mesh.vertices, axis=0)],
        "volume_cm3": round(1e6 * metres**3 * mesh.volume, 4) if closed else None,
        "thinnest_wall_mm": None if wall is None else round(1e3 * metres * wall, 3),
    }


def thinnest_wall(mesh: Mesh) -> float | None:
    """How far it is through a solid, straight inwards from its surface, at its thinnest place.

    Asked at points spread evenly over the surface, all but a `LEFT_OUT` of which have more below
    them; ways that end at a surface that is not `OPPOSITE` do not count. None without any.
    """
    doubled = mesh.face_normals.astype(np.float64)
    size = np.linalg.norm(doubled, axis=1)
    normals = doubled / np.maximum(size, 1e-30)[:, None]
    sums = np.cumsum(size)
    number = np.arange(POINTS)
    face = np.searchsorted(sums, (number + 0.5) / POINTS * sums[-1])
    points = _within(mesh.vertices[mesh.faces[face]].astype(np.float64), number)
    extent = float(np.ptp(mesh.vertices, axis=0).max())
    inwards = -normals[face]
    found = RayCaster(mesh.vertices, mesh.faces).cast(points + 1e-5 * extent * inwards, inwards)
    hit = found["primID"] >= 0
    hit[hit] = (normals[found["primID"][hit]] * inwards[hit]).sum(1) > OPPOSITE
    return float(np.quantile(found["tfar"][hit], LEFT_OUT)) if hit.any() else None


def _within(corners: Float[np.ndarray, "n 3 3"], number: np.ndarray) -> Float[np.ndarray, "n 3"]:
    """A point of each triangle; together they are spread evenly."""
    u, v = (number[:, None] * _STEP % 1).T
    beyond = u + v > 1
    u, v = np.where(beyond, 1 - u, u), np.where(beyond, 1 - v, v)
    return np.einsum("nk,nkd->nd", np.stack([1 - u - v, u, v], 1), corners)
