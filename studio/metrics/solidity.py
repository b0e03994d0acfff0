"""Solidity of a finished mesh: closed, outward, in how many parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from studio.export.cleanup import face_components, open_edges
from studio.mesh import Mesh


def solidity(mesh: Mesh) -> dict[str, Any]:
    """Measure a mesh as a file holds it; vertices that textures doubled count as one.

    Returns:
        ``watertight`` (every edge between two faces of like orientation), ``open_edges``,
        ``components`` (of faces that share vertices), ``volume`` with its sign (positive for
        outward faces; means little for an open mesh) and ``outward``.
    """
    _, same = np.unique(mesh.vertices, axis=0, return_inverse=True)
    faces = same.reshape(-1)[mesh.faces]
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(1)]
    holes = len(open_edges(faces))
    return {
        "watertight": holes == 0,
        "open_edges": holes,
        "components": int(face_components(faces).max()) + 1,
        "volume": mesh.volume,
        "outward": mesh.volume > 0,
    }
