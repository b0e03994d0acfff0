"""How well shaped the triangles of a mesh are."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from studio.mesh import Mesh


def aspect_ratios(mesh: Mesh) -> Float[np.ndarray, " m"]:
    """Longest side by the height over it, of every triangle, in units of an equilateral one's.

    1 for equal sides, 1.15 for half a cube's face, infinite where all three corners lie on a line.
    """
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    sides = np.roll(corners, -1, axis=1) - corners
    longest2 = np.einsum("mkd,mkd->mk", sides, sides).max(1)
    doubled = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        found = longest2 / doubled * np.sqrt(0.75)
    return np.where(doubled > 0, found, np.inf)


def triangle_figures(mesh: Mesh) -> dict[str, Any]:
    """Return ``aspect_ratio``: of `aspect_ratios` the median and the 99th percentile."""
    found = np.quantile(aspect_ratios(mesh), [0.5, 0.99])
    return {"aspect_ratio": {"median": round(float(found[0]), 3), "p99": round(float(found[1]), 3)}}
