"""A small builder of binary glTF 2.0 files: meshes, lines, textures, cameras, nodes.

Everything given is in the world (+Z up) and turned to glTF's +Y up in the numbers themselves, so
that readers that ignore node transforms agree with those that do not. One exception: what lies so
far from the origin that float32 would round it stands under a node that moves it there.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, UInt8

from studio.export.attributes import srgb_to_linear, stored, unit_normals, welded
from studio.export.cleanup import open_edges
from studio.export.draco import compressed
from studio.export.normal_map import tangents
from studio.export.notes import GENERATOR, Notes
from studio.export.world import Z_UP_TO_Y_UP
from studio.mesh import Mesh

ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963  # glTF 2.0, section 3.6.2
FLOAT, UNSIGNED_INT = 5126, 5125
LINES, TRIANGLES = 1, 4
LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP_TO_EDGE = 9729, 9987, 33071


class GltfScene:
    """Collects what a file holds; :meth:`content` packs it."""

    def __init__(
        self, notes: Notes | None = None, pictures: str = "png", compression: str = "none"
    ) -> None:
        """Start an empty scene.

        Args:
            notes: name, copyright and place of what it will hold.
            pictures: the kind of its textures: "png", "jpeg" or "webp"; all that is no colour is
                stored without loss.
            compression: of the triangles: "none" or "draco", which needs DracoPy.
        """
        self.pictures, self.compression = pictures, compression
        self.notes = notes = notes or Notes()
        self._chunks: list[bytes] = []
        self._length = 0
        asset: dict[str, Any] = {"version": "2.0", "generator": GENERATOR}
        if notes.copyright:
            asset["copyright"] = notes.copyright
        asset["extras"] = {"studio": notes.placement.record("+y", True)}
        self._document: dict[str, Any] = {
            "asset": asset,
            "scene": 0,
            "scenes": [{"nodes": []}],
            "nodes": [],
        }

    def add_object(self, mesh: Mesh) -> None:
        """Add a mesh with its texture and further maps, or vertex colours, named as the notes say.

        The material is fully rough and not metallic, and shows from both sides where the surface is
        open. Vertex colours are stored linear, as glTF defines them; textures are sRGB.
        """
        attributes = {"POSITION": mesh.vertices, "NORMAL": unit_normals(mesh)}
        picture = relief = shade = None
        if mesh.texture is not None and mesh.uv is not None:
            picture, relief, shade = mesh.texture, mesh.normal_map, mesh.occlusion_map
            attributes["TEXCOORD_0"] = np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], axis=1)
            if relief is not None:
                attributes["TANGENT"] = tangents(mesh)
        elif mesh.colours is not None:
            attributes["COLOR_0"] = srgb_to_linear(mesh.colours)
        name, is_open = self.notes.name, len(open_edges(welded(mesh)[1][mesh.faces])) > 0
        material = self.add_material(
            f"{name} surface", picture, normal_map=relief, occlusion=shade, both_sides=is_open
        )
        self.add_mesh(name, attributes, mesh.faces.reshape(-1), material)

    def add_mesh(
        self,
        name: str,
        attributes: dict[str, Float[np.ndarray, "n c"]],
        indices: Int64[np.ndarray, " k"],
        material: int,
        mode: int = TRIANGLES,
    ) -> None:
        """Add a node with one mesh; directions are in the world, uv start at the top."""
        arrays = {key: np.array(values, dtype="<f4") for key, values in attributes.items()}
        for key in {"POSITION", "NORMAL", "TANGENT"} & set(arrays):
            arrays[key][:, :3] = attributes[key][:, :3] @ Z_UP_TO_Y_UP.T
        if self.compression == "draco" and mode == TRIANGLES:
            primitive = self._compressed(arrays, indices.reshape(-1, 3))
        else:
            primitive = self._plain(arrays, indices)
        primitive |= {"material": material} | ({} if mode == TRIANGLES else {"mode": mode})
        mesh = self._append("meshes", {"primitives": [primitive], "name": name})
        self._add_node({"mesh": mesh, "name": name})

    def _plain(
        self, arrays: dict[str, Float[np.ndarray, "n c"]], indices: Int64[np.ndarray, " k"]
    ) -> dict[str, Any]:
        named = {}
        for key, array in arrays.items():
            bounds = (
                {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
                if key == "POSITION"
                else {}
            )
            named[key] = self._accessor(array, ARRAY_BUFFER, FLOAT, bounds)
        flat = np.ascontiguousarray(indices, dtype="<u4").reshape(-1, 1)
        index = self._accessor(flat, ELEMENT_ARRAY_BUFFER, UNSIGNED_INT, {})
        return {"attributes": named, "indices": index}

    def _compressed(
        self, arrays: dict[str, Float[np.ndarray, "n c"]], faces: Int64[np.ndarray, "m 3"]
    ) -> dict[str, Any]:
        made = compressed(arrays, faces)
        self._use("KHR_draco_mesh_compression", required=True)
        named = {key: self._append("accessors", made.accessor(key)) for key in made.ids}
        scalars = {"type": "SCALAR", "count": 3 * made.faces, "componentType": UNSIGNED_INT}
        draco = {"bufferView": self._view(made.content), "attributes": made.ids}
        return {
            "attributes": named,
            "indices": self._append("accessors", scalars),
            "extensions": {"KHR_draco_mesh_compression": draco},
        }

    def add_camera(self, name: str, c2w: Float[np.ndarray, "4 4"], lens: dict[str, Any]) -> None:
        """Add a camera node: pose with OpenCV axes in the world, and glTF's lens properties."""
        matrix = np.eye(4)
        matrix[:3, :3] = Z_UP_TO_Y_UP @ c2w[:3, :3] @ np.diag([1.0, -1.0, -1.0])
        matrix[:3, 3] = Z_UP_TO_Y_UP @ c2w[:3, 3]
        camera = self._append("cameras", {"name": name, **lens})
        self._add_node({"camera": camera, "name": name, "matrix": matrix.T.reshape(-1).tolist()})

    def add_material(
        self,
        name: str,
        picture: UInt8[np.ndarray, "h w c"] | None = None,
        *,
        normal_map: UInt8[np.ndarray, "h w 3"] | None = None,
        occlusion: UInt8[np.ndarray, "a b"] | None = None,
        colour: tuple[float, float, float] | None = None,
        unlit: bool = False,
        both_sides: bool = False,
    ) -> int:
        """Add a rough, not metallic material; ``unlit`` ones show their colours as they are.

        A picture with four channels is blended by its alpha and shows from both sides.
        """
        surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
        material: dict[str, Any] = {"name": name, "pbrMetallicRoughness": surface}
        if colour is not None:
            surface["baseColorFactor"] = [*colour, 1.0]
        if picture is not None:
            surface["baseColorTexture"] = {"index": self._add_texture(name, picture)}
            if picture.shape[-1] == 4:
                material["alphaMode"], both_sides = "BLEND", True
        if normal_map is not None:
            index = self._add_texture(f"{name} normals", normal_map, exact=True)
            material["normalTexture"] = {"index": index}
        if occlusion is not None:
            index = self._add_texture(f"{name} occlusion", occlusion, exact=True)
            material["occlusionTexture"] = {"index": index}
        if both_sides:
            material["doubleSided"] = True
        if unlit:
            material["extensions"] = {"KHR_materials_unlit": {}}
            self._use("KHR_materials_unlit")
        return self._append("materials", material)

    def content(self) -> bytes:
        """The whole file (glTF 2.0, section 4.4: a JSON and a binary chunk)."""
        binary = b"".join(self._chunks)
        document = self._placed() | {"buffers": [{"byteLength": len(binary)}]}
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(binary))
        parts = [head, struct.pack("<I4s", len(text), b"JSON"), text]
        return b"".join([*parts, struct.pack("<I4s", len(binary), b"BIN\0"), binary])

    def _placed(self) -> dict[str, Any]:
        """The document, all under one node that adds the offset if there is one."""
        if not self.notes.offset.any():
            return self._document
        scene, nodes = self._document["scenes"][0], self._document["nodes"]
        translation = (Z_UP_TO_Y_UP @ self.notes.offset + 0.0).tolist()
        place = {"name": "place", "translation": translation, "children": scene["nodes"]}
        return self._document | {
            "scenes": [scene | {"nodes": [len(nodes)]}],
            "nodes": [*nodes, place],
        }

    def _append(self, key: str, entry: dict[str, Any]) -> int:
        entries: list[dict[str, Any]] = self._document.setdefault(key, [])
        entries.append(entry)
        return len(entries) - 1

    def _add_node(self, node: dict[str, Any]) -> None:
        self._document["scenes"][0]["nodes"].append(self._append("nodes", node))

    def _use(self, extension: str, required: bool = False) -> None:
        for key in ("extensionsUsed", *(("extensionsRequired",) if required else ())):
            names = self._document.setdefault(key, [])
            if extension not in names:
                names.append(extension)

    def _add_texture(
        self, name: str, picture: UInt8[np.ndarray, "..."], exact: bool = False
    ) -> int:
        file = stored(picture, self.pictures, exact)
        image = {"name": name, "bufferView": self._view(file.content), "mimeType": file.mime}
        sampler = {
            "magFilter": LINEAR,
            "minFilter": LINEAR_MIPMAP_LINEAR,
            "wrapS": CLAMP_TO_EDGE,
            "wrapT": CLAMP_TO_EDGE,
        }
        source: dict[str, Any] = {"source": self._append("images", image)}
        if file.mime == "image/webp":
            source = {"extensions": {"EXT_texture_webp": source}}
            self._use("EXT_texture_webp", required=True)
        texture = source | {"sampler": self._append("samplers", sampler)}
        return self._append("textures", texture)

    def _accessor(self, array: np.ndarray, target: int, kind: int, keys: dict[str, Any]) -> int:
        accessor = {
            "bufferView": self._view(array.tobytes(), target=target),
            "componentType": kind,
            "count": len(array),
            "type": "SCALAR" if array.shape[1] == 1 else f"VEC{array.shape[1]}",
            **keys,
        }
        return self._append("accessors", accessor)

    def _view(self, content: bytes, **keys: int) -> int:
        view = {"buffer": 0, "byteOffset": self._length, "byteLength": len(content), **keys}
        self._chunks.append(content + b"\0" * (-len(content) % 4))
        self._length += len(self._chunks[-1])
        return self._append("bufferViews", view)
