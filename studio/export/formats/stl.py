"""STL."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from studio.export.formats.base import MeshFormat
from studio.export.notes import GENERATOR, Notes
from studio.mesh import Mesh
from studio.plugins.registry import register

_HEADER = 80  # bytes
_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


@register("format", "stl")
class Stl(MeshFormat):
    """Binary STL: the bare shape in millimetres, no colours; for printers and CAD."""

    suffix = ".stl"
    metres_per_unit = 0.001

    def encode(self, mesh: Mesh, name: str, notes: Notes) -> dict[str, bytes]:
        """Return one file: a header, a count, and 50 bytes a triangle with its own corners."""
        facets = np.zeros(len(mesh.faces), dtype=_FACET)
        vertices = mesh.vertices.astype(np.float64) / self.metres_per_unit
        facets["corners"] = vertices[mesh.faces]
        normals = mesh.face_normals
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        facets["normal"] = normals / np.where(length > 0, length, 1)
        said = f"{GENERATOR}: +z is up, mm"  # which does not begin with "solid", as text files do
        if notes.offset.any():
            said += f", counted from {' '.join(f'{value:.10g}' for value in notes.offset)} m"
        header = said.encode("ascii", "replace")[:_HEADER].ljust(_HEADER)
        return {name: header + np.uint32(len(facets)).astype("<u4").tobytes() + facets.tobytes()}


def counts_millimetres(path: Path) -> bool:
    """Whether an STL file says so, as those of this program do."""
    with path.open("rb") as file:
        return re.match(rb"studio [^:]*: \+z is up, mm", file.read(_HEADER)) is not None
