"""PLY."""

from __future__ import annotations

import numpy as np

from studio.export.attributes import texture_colours
from studio.export.formats.base import MeshFormat
from studio.export.notes import Notes
from studio.mesh import Mesh
from studio.plugins.registry import register


@register("format", "ply")
class Ply(MeshFormat):
    """Binary PLY: colours per vertex (sRGB), normals; for MeshLab, CloudCompare, Blender."""

    suffix = ".ply"

    def encode(self, mesh: Mesh, name: str, notes: Notes) -> dict[str, bytes]:
        """Return one file; its colours come from the texture where vertices have none."""
        columns = [(axis, "<f4", mesh.vertices[:, i]) for i, axis in enumerate("xyz")]
        if mesh.normals is not None:
            columns += [(f"n{a}", "<f4", mesh.normals[:, i]) for i, a in enumerate("xyz")]
        colours = mesh.colours if mesh.colours is not None else texture_colours(mesh)
        if colours is not None:
            pixels = (np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8)
            columns += [(c, "u1", pixels[:, i]) for i, c in enumerate(("red", "green", "blue"))]
        vertices = np.empty(len(mesh.vertices), dtype=[(name, kind) for name, kind, _ in columns])
        for column, _, values in columns:
            vertices[column] = values
        faces = np.empty(len(mesh.faces), dtype=[("count", "u1"), ("index", "<i4", 3)])
        faces["count"], faces["index"] = 3, mesh.faces
        kinds = {"<f4": "float", "u1": "uchar"}
        header = ["ply", "format binary_little_endian 1.0"]
        header += [f"comment {_ascii(line)}" for line in notes.lines(self.record(notes.placement))]
        header += [f"element vertex {len(vertices)}"]
        header += [f"property {kinds[kind]} {column}" for column, kind, _ in columns]
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        head = "\n".join([*header, "end_header", ""]).encode()
        return {name: head + vertices.tobytes() + faces.tobytes()}


def _ascii(line: str) -> str:
    """A line of a PLY header, which is ASCII."""
    return line.encode("ascii", "backslashreplace").decode()
