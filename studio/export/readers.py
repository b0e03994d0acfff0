"""Reading meshes: GLB, PLY, OBJ, 3MF and what else trimesh knows, into the world's axes (+Z up).

Files of this program say which way is up and how to come back to the cameras that they were made
from (`studio.export.notes`). Of others, glTF is +Y up by definition, the rest is taken as it is.
3MF files become metres, and so do STL files of this program; of others, nobody knows the unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studio.errors import DataError
from studio.export.attributes import linear_to_srgb
from studio.export.formats.stl import counts_millimetres
from studio.export.mesh_limits import check_mesh
from studio.export.notes import read_record
from studio.export.threemf_reader import read_3mf
from studio.export.world import Z_UP_TO_Y_UP, far_offset, moved, transformed
from studio.io.picture_files import allowed_formats, check_size
from studio.io.reading import reading
from studio.mesh import Mesh

FORMATS = (".glb", ".gltf", ".ply", ".obj", ".stl", ".off", ".3mf")

USD = (".usdz", ".usd", ".usda", ".usdc")
"""Formats that are written or known, and not read."""

UPS = ("auto", "+y", "+z")


def read_mesh(path: str | Path, up: str = "auto") -> Mesh:
    """Read a mesh with its texture or vertex colours, +Z up, where its file has it.

    Several parts become one mesh. Of glTF files the normal map is read as well. Vertices keep the
    file's order, but for OBJ, where a vertex is doubled for each texture coordinate that its faces
    give it; stored normals are not read.

    Args:
        path: of the file.
        up: which way is up in it; "auto": what glTF defines, what a file of this program says,
            else +z.

    Raises:
        DataError: if the file is missing, of another format, broken or without triangles.
    """
    path = Path(path)
    return transformed(read_exact(path), _axes(path, up))


def read_back(path: str | Path, world: str = "views", up: str = "auto") -> Mesh:
    """Read a mesh in the world of the cameras that it was made from, where the file tells it.

    Args:
        path: of the file. One that this program did not write is read as `read_mesh` does.
        world: "views": of the views that it was fitted to; "capture": of the capture's files.
        up: see `read_mesh`.

    Raises:
        DataError: see `read_mesh`.
    """
    path = Path(path)
    return transformed(read_exact(path), way_back(path, world, up))


def read_together(sources: Sequence[Path | Mesh], ups: Sequence[str]) -> list[Mesh]:
    """Read meshes that are to be compared into one world: that of the capture, see `read_back`.

    Meshes that are in memory are taken as they are. Where the last one is so far from the origin
    that float32 would round it, all are moved alike.

    Raises:
        DataError: see `read_mesh`.
    """
    exact = [source if isinstance(source, Mesh) else read_exact(source) for source in sources]
    back = [
        np.eye(4) if isinstance(source, Mesh) else way_back(source, "capture", up)
        for source, up in zip(sources, ups, strict=True)
    ]
    nearer = moved(-far_offset(exact[-1], back[-1]))
    return [transformed(mesh, nearer @ way) for mesh, way in zip(exact, back, strict=True)]


def way_back(path: Path, world: str = "views", up: str = "auto") -> np.ndarray:
    """Return the similarity [4, 4] from a file's coordinates to what `read_back` returns."""
    record = read_record(path) if up == "auto" else None
    return _axes(path, up) if record is None else np.array(record[f"to_{world}"], float)


def _axes(path: Path, up: str) -> np.ndarray:
    """The turn [4, 4] from a file's axes to the world's."""
    if up == "auto":
        gltf = path.suffix.lower() in (".glb", ".gltf")
        up = "+y" if gltf else (read_record(path) or {}).get("up", "+z")
    turn = np.eye(4)
    if up == "+y":
        turn[:3, :3] = Z_UP_TO_Y_UP.T
    return turn


def read_exact(path: Path) -> Mesh:
    """Read a file in its own axes, vertices in float64: some lie millions of metres away.

    Raises:
        DataError: see `read_mesh`.
    """
    import trimesh

    if not path.is_file():
        raise DataError(f"mesh {path} does not exist.", allowed=f"a {', '.join(FORMATS)} file")
    if path.suffix.lower() not in FORMATS:
        raise unreadable(f"mesh {path}", path)
    with reading(path, problem="is broken", hint="Export it again."), allowed_formats():
        check_mesh(path)
        if path.suffix.lower() == ".3mf":
            mesh = read_3mf(path)
            _check_numbers(path, mesh)
            return mesh
        # trimesh keeps an OBJ's order by giving every vertex one of its texture coordinates
        keep_order = path.suffix.lower() != ".obj"
        scene = trimesh.load_scene(path, process=False, maintain_order=keep_order)
        nodes = [scene.graph[name] for name in scene.graph.nodes_geometry]
        if len(nodes) == 1:  # `dump` would drop a glTF's vertex colours
            loaded = scene.geometry[nodes[0][1]]
            loaded.apply_transform(nodes[0][0])
        else:
            loaded = scene.to_mesh()
        if not isinstance(loaded, trimesh.Trimesh) or len(loaded.faces) == 0:
            raise DataError(f"mesh {path} has no triangles.")
        _check_numbers(path, loaded)
        if path.suffix.lower() == ".stl" and counts_millimetres(path):
            loaded.apply_scale(0.001)
        return _converted(loaded, gltf=path.suffix.lower() in (".glb", ".gltf"))


def unreadable(what: str, path: Path) -> DataError:
    """The error for a file of a format that is not read.

    Args:
        what: the file, as the message calls it.
        path: of it.
    """
    allowed = ", ".join(FORMATS)
    if path.suffix.lower() not in USD:
        return DataError(f"{what} has an unknown format.", allowed=allowed)
    return DataError(
        f"{what} is USD, which is written here, but not read.",
        allowed=allowed,
        hint="give the GLB file of the same export, or convert it (Blender and usdview can)",
    )


def _check_numbers(path: Path, loaded: Any) -> None:
    """Refuse what trimesh hands on unchecked, as damaged files have it."""
    vertices, faces = np.asarray(loaded.vertices), np.asarray(loaded.faces)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise DataError(
            f"mesh {path} is broken: not all of its vertices have three numbers.",
            allowed="three, x y z, and perhaps colours, the same for all vertices",
        )
    if not np.isfinite(vertices).all():
        raise DataError(f"mesh {path} is broken: a vertex is not finite.")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise DataError(
            f"mesh {path} is broken: a face names vertex {int(faces.max())} of {len(vertices)}."
        )


def _converted(loaded: Any, gltf: bool) -> Mesh:
    vertices = np.asarray(loaded.vertices, dtype=np.float64)
    uv, texture = _texture(loaded.visual)
    colours = None if texture is not None else _colours(loaded.visual)
    if colours is not None and gltf:
        colours = linear_to_srgb(colours).astype(np.float32)
    faces = np.asarray(loaded.faces, dtype=np.int64)
    bumps = None if texture is None else _normal_map(loaded.visual.material)
    return Mesh(vertices, faces, colours=colours, uv=uv, texture=texture, normal_map=bumps)


def _texture(visual: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return texture coordinates (origin bottom left) and base colour picture, None without."""
    if visual.kind != "texture" or visual.uv is None:
        return None, None
    uv, material = np.asarray(visual.uv, dtype=np.float32), visual.material
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if picture is None or _is_placeholder(picture):
        return uv, None
    check_size("its texture", picture.size)
    return uv, np.asarray(picture.convert("RGB"))


def _normal_map(material: Any) -> np.ndarray | None:
    """Return what glTF's material has for one."""
    picture = getattr(material, "normalTexture", None)
    if picture is None:
        return None
    check_size("its normal map", picture.size)
    return np.asarray(picture.convert("RGB"))


def _is_placeholder(picture: Any) -> bool:
    """Whether trimesh made the picture up, for texture coordinates that came without any."""
    return picture.format is None and picture.size == (2, 2)


def _colours(visual: Any) -> np.ndarray | None:
    """Return vertex colours in [0, 1] as stored, None without."""
    stored = None
    if visual.kind == "vertex":
        stored = np.asarray(visual.vertex_colors)
    elif visual.kind == "texture":  # a glTF material with COLOR_0 and no picture
        stored = visual.vertex_attributes.get("color")
    if stored is None:
        return None
    top = np.iinfo(stored.dtype).max if stored.dtype.kind in "iu" else 1
    return (stored[:, :3] / top).astype(np.float32)
