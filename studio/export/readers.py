"""Reading meshes: GLB, PLY, OBJ and what else trimesh knows, into the world's axes (+Z up)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from studio.errors import DataError
from studio.export.gltf import Z_UP_TO_Y_UP
from studio.export.writers import linear_to_srgb
from studio.mesh import Mesh

FORMATS = (".glb", ".gltf", ".ply", ".obj", ".stl", ".off")


def read_mesh(path: str | Path) -> Mesh:
    """Read a mesh with its texture or vertex colours; glTF's Y-up is turned to +Z up.

    Several parts become one mesh. Vertices keep the file's order, but for OBJ, where a vertex is
    doubled for each texture coordinate that its faces give it; stored normals are not read.

    Raises:
        DataError: if the file is missing, of another format, broken or without triangles.
    """
    import trimesh

    path = Path(path)
    if not path.is_file():
        raise DataError(f"mesh {path} does not exist.", allowed=f"a {', '.join(FORMATS)} file")
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"mesh {path} has an unknown format.", allowed=", ".join(FORMATS))
    try:
        # trimesh keeps an OBJ's order by giving every vertex one of its texture coordinates
        keep_order = path.suffix.lower() != ".obj"
        scene = trimesh.load_scene(path, process=False, maintain_order=keep_order)
        nodes = [scene.graph[name] for name in scene.graph.nodes_geometry]
        if len(nodes) == 1:  # `dump` would drop a glTF's vertex colours
            loaded = scene.geometry[nodes[0][1]]
            loaded.apply_transform(nodes[0][0])
        else:
            loaded = scene.to_mesh()
    except Exception as error:  # trimesh's parsers raise whatever their input provokes
        raise DataError(f"mesh {path} is broken ({type(error).__name__}: {error}).") from error
    if not isinstance(loaded, trimesh.Trimesh) or len(loaded.faces) == 0:
        raise DataError(f"mesh {path} has no triangles.")
    return _converted(loaded, gltf=path.suffix.lower() in (".glb", ".gltf"))


def _converted(loaded: Any, gltf: bool) -> Mesh:
    vertices = np.asarray(loaded.vertices, dtype=np.float32)
    vertices = vertices @ Z_UP_TO_Y_UP if gltf else vertices
    uv, texture = _texture(loaded.visual)
    colours = None if texture is not None else _colours(loaded.visual)
    if colours is not None and gltf:
        colours = linear_to_srgb(colours).astype(np.float32)
    faces = np.asarray(loaded.faces, dtype=np.int64)
    return Mesh(vertices, faces, colours=colours, uv=uv, texture=texture)


def _texture(visual: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return texture coordinates (origin bottom left) and base colour picture, None without."""
    if visual.kind != "texture" or visual.uv is None:
        return None, None
    uv, material = np.asarray(visual.uv, dtype=np.float32), visual.material
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if picture is None or _is_placeholder(picture):
        return uv, None
    return uv, np.asarray(picture.convert("RGB"))


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
