"""OBJ with its MTL and PNGs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from studio.export.attributes import png_bytes
from studio.export.formats.base import MeshFormat
from studio.export.notes import Notes
from studio.export.world import Z_UP_TO_Y_UP
from studio.mesh import Mesh
from studio.plugins.registry import register


@register("format", "obj")
class Obj(MeshFormat):
    """Wavefront OBJ with MTL and PNG: texture or vertex colours; read by everything."""

    suffix = ".obj"
    beside = (".mtl", ".png", "_normal.png")
    up = "+y"
    wants_texture = True

    def encode(self, mesh: Mesh, name: str, notes: Notes) -> dict[str, bytes]:
        """Return the OBJ and, for a textured mesh, its MTL, PNG and normal map.

        Without a texture, vertex colours follow the positions (read by MeshLab and Blender).
        """
        base = Path(name).stem.replace(" ", "_")  # names in OBJ and MTL end at a space
        surface = f"{notes.identifier}_surface"
        others: dict[str, bytes] = {}
        lines = [f"# {line}" for line in notes.lines(self.record(notes.placement))]
        textured = mesh.texture is not None and mesh.uv is not None
        if mesh.texture is not None and textured:
            bumps = "" if mesh.normal_map is None else f"{base}_normal.png"
            others[f"{base}.mtl"] = _material(surface, f"{base}.png", bumps).encode()
            others[f"{base}.png"] = png_bytes(mesh.texture)
            if mesh.normal_map is not None:
                others[bumps] = png_bytes(mesh.normal_map)
            lines += [f"mtllib {base}.mtl"]
        lines += [f"o {notes.identifier}"]
        positions = mesh.vertices @ Z_UP_TO_Y_UP.T.astype(np.float32)
        if not textured and mesh.colours is not None:
            positions = np.concatenate([positions, mesh.colours], axis=1)
        lines += _rows("v", positions)
        lines += _rows("vt", mesh.uv) if textured and mesh.uv is not None else []
        normals = mesh.normals is not None
        if mesh.normals is not None:
            lines += _rows("vn", mesh.normals @ Z_UP_TO_Y_UP.T.astype(np.float32))
        lines += [f"usemtl {surface}"] if textured else []
        for polygons in mesh.polygons():
            lines += _faces(polygons, textured, normals)
        return {name: ("\n".join(lines) + "\n").encode(), **others}


def _faces(polygons: Int64[np.ndarray, "m k"], textured: bool, normals: bool) -> list[str]:
    """One line a face; a corner is position, texture coordinate and normal, counted from one."""
    corner = {
        (False, False): "%d",
        (True, False): "%d/%d",
        (False, True): "%d//%d",
        (True, True): "%d/%d/%d",
    }[textured, normals]
    row = " ".join(["f", *[corner] * polygons.shape[1]])
    repeated = np.repeat(polygons + 1, corner.count("%d"), axis=1)
    return [row % tuple(face) for face in repeated.tolist()]


def _material(name: str, picture: str, normal_map: str) -> str:
    """A rough, not metallic surface, in the old keys and in the physical ones (Pr, Pm).

    Programs that know physical keys find the normal map as `norm`; Blender takes `map_Bump` for
    one, and three.js, which takes that for heights, prefers `norm`.
    """
    colours = "Ka 0 0 0\nKd 1 1 1\nKs 0 0 0\nd 1\nillum 1\nPr 1\nPm 0\n"
    bumps = f"norm {normal_map}\nmap_Bump -bm 1 {normal_map}\n" if normal_map else ""
    return f"newmtl {name}\n{colours}map_Kd {picture}\n{bumps}"


def _rows(keyword: str, values: np.ndarray) -> list[str]:
    row = keyword + " %.9g" * values.shape[1]  # nine digits keep a float32 exactly
    return [row % tuple(value) for value in values.tolist()]
