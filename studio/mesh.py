"""`Mesh`: triangles with colours or a texture, in world units, faces outward; how one is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, UInt8

from studio.plugins.discovery import find


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh (numpy arrays), +Z up, counter-clockwise faces seen from outside.

    Attributes:
        vertices: world positions.
        faces: vertex indices.
        colours: vertex colours, linear in the stored value, [0, 1].
        uv: texture coordinates, origin at the bottom left, [0, 1].
        texture: base colour picture, first row at the top.
        normals: unit vertex normals.
        normal_map: unit normals in tangent space as glTF has them, first row at the top.
        quads: whether faces 2i and 2i + 1, (a, b, c) and (a, c, d), are halves of one quad; they
            may come apart at a seam.
        occlusion_map: how much of the sky each place sees, 255 for all, first row at the top.
    """

    vertices: Float[np.ndarray, "n 3"]
    faces: Int64[np.ndarray, "m 3"]
    colours: Float[np.ndarray, "n 3"] | None = None
    uv: Float[np.ndarray, "n 2"] | None = None
    texture: UInt8[np.ndarray, "h w 3"] | None = None
    normals: Float[np.ndarray, "n 3"] | None = None
    normal_map: UInt8[np.ndarray, "h w 3"] | None = None
    quads: bool = False
    occlusion_map: UInt8[np.ndarray, "a b"] | None = None

    def polygons(self) -> tuple[Int64[np.ndarray, "q 4"], Int64[np.ndarray, "t 3"]]:
        """Quads that are whole, and all other faces."""
        if not self.quads:
            return np.zeros((0, 4), np.int64), self.faces
        first, second = self.faces[0::2], self.faces[1::2]
        whole = (first[:, [0, 2]] == second[:, :2]).all(1)
        quads = np.concatenate([first[whole], second[whole, 2:]], axis=1)
        return quads, self.faces[np.repeat(~whole, 2)]

    @property
    def face_normals(self) -> Float[np.ndarray, "m 3"]:
        """Outward face normals, scaled by twice the face area."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        return np.cross(b - a, c - a)

    @property
    def area(self) -> float:
        """Surface area."""
        return float(0.5 * np.linalg.norm(self.face_normals, axis=1).sum())

    @property
    def volume(self) -> float:
        """Signed volume: positive for a closed mesh with outward faces."""
        a, b, c = (self.vertices[self.faces[:, i]].astype(np.float64) for i in range(3))
        return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0)

    def with_normals(self) -> Mesh:
        """Return the mesh with area-weighted vertex normals."""
        normals = np.zeros_like(self.vertices, dtype=np.float64)
        for i in range(3):
            np.add.at(normals, self.faces[:, i], self.face_normals)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        unit = normals / np.maximum(length, 1e-12)
        return replace(self, normals=unit.astype(np.float32))

    def flipped(self) -> Mesh:
        """Return the mesh with all faces turned inside out."""
        normals = None if self.normals is None else -self.normals
        faces = np.ascontiguousarray(self.faces[:, ::-1])
        return replace(self, faces=faces, normals=normals, quads=False)

    def save(self, path: str | Path, format: str | None = None) -> Path:
        """Write a file, in the format that its suffix names: `mesh.save("car.glb")`.

        Args:
            path: of the file; its folder is made if missing. Formats with pictures of their own
                (obj) put these beside it.
            format: name of a registered format, for files whose suffix is not its name.

        Returns:
            The path.

        Raises:
            PluginError: if there is no such format; names those that there are.
            ExportError: if the mesh is empty or holds a NaN.
            StudioError: if the system refuses to write.
        """
        path = Path(path)
        name = format or path.suffix[1:].lower()
        kind = find("format", name, key="format" if format else f"the suffix of {path}")
        main: Path = kind().write(self, path)[0]
        return main


@dataclass(frozen=True)
class MeshOptions:
    """How a surface becomes triangles.

    Attributes:
        faces: about how many even triangles at most; 0 keeps those that the surface is found with.
        smooth: rounds of Taubin smoothing before that.
        keep_components: loose parts with less than this share of the largest part's area are
            dropped, unless the outlines in the views need them; 0 keeps all.
        slope: largest gradient length to expect of a distance field.
        memory_gb: sampling grids that would need more are refused.
    """

    faces: int = 20000
    smooth: int = 0
    keep_components: float = 0.05
    slope: float = 2.0
    memory_gb: float = 4.0
