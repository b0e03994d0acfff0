"""Quads: Instant Meshes' fields of lines along the curvature, brought close to the surface."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from studio.errors import ExportError
from studio.export.levels import coloured_vertices
from studio.export.remesh import fitted
from studio.mesh import Mesh

LOST = 0.05  # change of the volume that is told


def quad_surface(whole: Mesh, faces: int, report: Callable[[str], None] | None = None) -> Mesh:
    """Return a surface of about half as many quads as a number of triangles.

    Faces 2i and 2i + 1 are the halves of a quad. A closed surface stays closed.

    Args:
        whole: the surface.
        faces: triangles that the quads are cut into.
        report: is told if the volume changes by more than 5 %.

    Raises:
        ExportError: if no quads come of it.
    """
    import pyinstantmeshes

    with _silence():
        points, triangles = pyinstantmeshes.remesh(
            whole.vertices.astype(np.float32),
            whole.faces.astype(np.int32),
            target_face_count=max(faces // 8, 1),  # each of which it cuts into four
            pure_quad=True,
            deterministic=True,
        )
    triangles = np.asarray(triangles, np.int64)
    first, second = triangles[0::2], triangles[1::2]
    paired = len(first) == len(second) > 0
    if not paired or (second[:, 1:] != first[:, [0, 2]]).any():
        raise ExportError(
            f"{faces:,} faces do not become quads on this surface.",
            hint="ask for more of them, or for triangles: system.exporter.quads=false",
        )
    triangles[1::2] = second[:, [1, 2, 0]]  # (a, b, c), (a, c, d)
    points = fitted(whole.vertices, whole.faces, np.asarray(points, np.float64), triangles)
    made = Mesh(points.astype(np.float32), triangles, quads=True).with_normals()
    change = made.volume / whole.volume - 1 if whole.volume else 0.0
    if report is not None and abs(change) > LOST:
        report(
            f"quads: the volume changed by {change:+.0%}, as thin parts do not hold so large ones; "
            "give system.exporter.faces a larger number."
        )
    return made if whole.colours is None else coloured_vertices(made, whole)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep from the terminal what the library prints by itself."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
