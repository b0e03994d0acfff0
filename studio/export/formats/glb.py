"""GLB, binary glTF 2.0."""

from __future__ import annotations

from studio.export.formats.base import MeshFormat
from studio.export.gltf import GltfScene
from studio.export.notes import Notes
from studio.mesh import Mesh
from studio.plugins.registry import register


@register("format", "glb")
class Glb(MeshFormat):
    """Binary glTF 2.0: metres, texture or vertex colours; for viewers, engines, Blender."""

    suffix = ".glb"
    up = "+y"
    wants_texture = True
    holds_offset = True
    pictures = "png"
    """Of its textures: see `GltfScene`."""
    compression = "none"
    """Of its triangles."""

    def encode(self, mesh: Mesh, name: str, notes: Notes) -> dict[str, bytes]:
        """Return one file; see `GltfScene.add_object`."""
        scene = GltfScene(notes, self.pictures, self.compression)
        scene.add_object(mesh)
        return {name: scene.content()}
