"""Writing meshes as GLB, PLY and OBJ. All writes are atomic; PLY and OBJ keep the world's axes."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from studio.errors import ExportError
from studio.files import write_bytes, write_text
from studio.mesh import Mesh

Z_UP_TO_Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float32)
"""World to glTF: -90 degrees about X. Blender's importer turns it back, so coordinates agree."""

ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963  # glTF 2.0, section 3.6.2
FLOAT, UNSIGNED_INT = 5126, 5125


def write_glb(mesh: Mesh, path: str | Path) -> Path:
    """Write a binary glTF 2.0 file: Y-up, with normals, texture or vertex colours.

    The material is fully rough and not metallic. Vertex colours are stored linear, as glTF
    defines them; textures are sRGB.

    Raises:
        ExportError: if the mesh is empty or holds a NaN.
        StudioError: if the system refuses to write.
    """
    _check(mesh, path)
    normals = smooth_normals(mesh) if mesh.normals is None else mesh.normals
    attributes = {
        "POSITION": mesh.vertices @ Z_UP_TO_Y_UP.T,
        "NORMAL": _normalised(normals) @ Z_UP_TO_Y_UP.T,
    }
    if mesh.texture is not None and mesh.uv is not None:
        attributes["TEXCOORD_0"] = np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], axis=1)
    elif mesh.colours is not None:
        attributes["COLOR_0"] = srgb_to_linear(mesh.colours)
    write_bytes(path, _glb(*_document(mesh, attributes)))
    return Path(path)


def _document(mesh: Mesh, attributes: dict[str, np.ndarray]) -> tuple[dict[str, Any], bytes]:
    chunks: list[bytes] = []
    views: list[dict[str, int]] = []

    def add(content: bytes, **keys: int) -> int:
        start = sum(map(len, chunks))
        views.append({"buffer": 0, "byteOffset": start, "byteLength": len(content), **keys})
        chunks.append(content + b"\0" * (-len(content) % 4))
        return len(views) - 1

    accessors: list[dict[str, Any]] = []
    for name, values in attributes.items():
        array = np.ascontiguousarray(values, dtype="<f4")
        accessor = {
            "bufferView": add(array.tobytes(), target=ARRAY_BUFFER),
            "componentType": FLOAT,
            "count": len(array),
            "type": f"VEC{array.shape[1]}",
        }
        if name == "POSITION":
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        accessors.append(accessor)
    indices = np.ascontiguousarray(mesh.faces, dtype="<u4")
    accessors.append(
        {
            "bufferView": add(indices.tobytes(), target=ELEMENT_ARRAY_BUFFER),
            "componentType": UNSIGNED_INT,
            "count": indices.size,
            "type": "SCALAR",
        }
    )
    primitive = {
        "attributes": {name: i for i, name in enumerate(attributes)},
        "indices": len(accessors) - 1,
        "material": 0,
    }
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "studio"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "object"}],
        "meshes": [{"primitives": [primitive], "name": "object"}],
        "materials": [{"name": "surface", "pbrMetallicRoughness": surface}],
        "accessors": accessors,
    }
    if "TEXCOORD_0" in attributes:
        surface["baseColorTexture"] = {"index": 0}
        document |= {
            "textures": [{"source": 0, "sampler": 0}],
            "images": [{"bufferView": add(_png(mesh)), "mimeType": "image/png"}],
            # linear with mip-maps, clamped to the edge
            "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
        }
    binary = b"".join(chunks)
    document |= {"bufferViews": views, "buffers": [{"byteLength": len(binary)}]}
    return document, binary


def _glb(document: dict[str, Any], binary: bytes) -> bytes:
    """Pack the two chunks (glTF 2.0, section 4.4); `binary` is already a multiple of 4 long."""
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(binary)
    return b"".join(
        [
            struct.pack("<4sII", b"glTF", 2, total),
            struct.pack("<I4s", len(text), b"JSON"),
            text,
            struct.pack("<I4s", len(binary), b"BIN\0"),
            binary,
        ]
    )


def write_ply(mesh: Mesh, path: str | Path) -> Path:
    """Write a binary PLY with vertex colours (from the texture if there are none), world axes.

    Raises:
        ExportError: if the mesh is empty or holds a NaN.
        StudioError: if the system refuses to write.
    """
    _check(mesh, path)
    columns = [(axis, "<f4", mesh.vertices[:, i]) for i, axis in enumerate("xyz")]
    if mesh.normals is not None:
        columns += [(f"n{a}", "<f4", mesh.normals[:, i]) for i, a in enumerate("xyz")]
    colours = mesh.colours if mesh.colours is not None else texture_colours(mesh)
    if colours is not None:
        pixels = (np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8)
        columns += [(c, "u1", pixels[:, i]) for i, c in enumerate(("red", "green", "blue"))]
    vertices = np.empty(len(mesh.vertices), dtype=[(name, kind) for name, kind, _ in columns])
    for name, _, values in columns:
        vertices[name] = values
    faces = np.empty(len(mesh.faces), dtype=[("count", "u1"), ("index", "<i4", 3)])
    faces["count"], faces["index"] = 3, mesh.faces
    kinds = {"<f4": "float", "u1": "uchar"}
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [f"property {kinds[kind]} {name}" for name, kind, _ in columns]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    write_bytes(path, "\n".join([*header, ""]).encode() + vertices.tobytes() + faces.tobytes())
    return Path(path)


def write_obj(mesh: Mesh, path: str | Path) -> Path:
    """Write an OBJ and, for a textured mesh, its MTL and PNG beside it; world axes.

    Without a texture, vertex colours follow the positions (read by MeshLab and Blender).

    Raises:
        ExportError: if the mesh is empty or holds a NaN.
        StudioError: if the system refuses to write.
    """
    _check(mesh, path)
    path = Path(path)
    base = path.stem.replace(" ", "_")  # names in OBJ and MTL end at a space
    textured = mesh.texture is not None and mesh.uv is not None
    lines: list[str] = []
    if textured:
        write_bytes(path.with_name(f"{base}.png"), _png(mesh))
        material = f"newmtl surface\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {base}.png\n"
        write_text(path.with_name(f"{base}.mtl"), material)
        lines = [f"mtllib {base}.mtl", "usemtl surface"]
    positions = mesh.vertices
    if not textured and mesh.colours is not None:
        positions = np.concatenate([mesh.vertices, mesh.colours], axis=1)
    lines += _rows("v", positions)
    lines += _rows("vt", mesh.uv) if textured and mesh.uv is not None else []
    lines += _rows("vn", mesh.normals) if mesh.normals is not None else []
    normals = mesh.normals is not None
    corner = {
        (False, False): "%d",
        (True, False): "%d/%d",
        (False, True): "%d//%d",
        (True, True): "%d/%d/%d",
    }[textured, normals]
    row = f"f {corner} {corner} {corner}"
    repeated = np.repeat(mesh.faces + 1, corner.count("%d"), axis=1)
    lines += [row % tuple(face) for face in repeated.tolist()]
    write_text(path, "\n".join(lines) + "\n")
    return path


def _rows(keyword: str, values: np.ndarray) -> list[str]:
    row = keyword + " %.9g" * values.shape[1]  # nine digits keep a float32 exactly
    return [row % tuple(value) for value in values.tolist()]


def texture_colours(mesh: Mesh) -> Float[np.ndarray, "n 3"] | None:
    """Return the texture's colour at every vertex (bilinear) in [0, 1], None without a texture."""
    if mesh.texture is None or mesh.uv is None:
        return None
    from scipy.ndimage import map_coordinates

    height, width = mesh.texture.shape[:2]
    rows = (1 - mesh.uv[:, 1]) * height - 0.5
    columns = mesh.uv[:, 0] * width - 0.5
    channels = [
        map_coordinates(
            mesh.texture[..., c].astype(np.float32), [rows, columns], order=1, mode="nearest"
        )
        for c in range(3)
    ]
    return np.stack(channels, axis=1) / np.float32(255)


def smooth_normals(mesh: Mesh) -> Float[np.ndarray, "n 3"]:
    """Return area-weighted unit vertex normals that do not break at texture seams."""
    positions, index = np.unique(mesh.vertices, axis=0, return_inverse=True)
    index = index.reshape(-1)
    welded = Mesh(positions, index[mesh.faces]).with_normals()
    return np.asarray(welded.normals)[index]


def srgb_to_linear(colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Decode sRGB values in [0, 1] (IEC 61966-2-1)."""
    colours = np.clip(colours, 0, 1)
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Encode linear values in [0, 1] as sRGB."""
    colours = np.clip(colours, 0, 1)
    return np.where(colours <= 0.0031308, colours * 12.92, 1.055 * colours ** (1 / 2.4) - 0.055)


def _normalised(normals: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Return unit normals; +Z where a vertex has none (glTF allows no zero normals)."""
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(
        length > 1e-6, normals / np.maximum(length, 1e-6), np.array([0, 0, 1], dtype=np.float32)
    )


def _png(mesh: Mesh) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(mesh.texture)).save(buffer, format="PNG")
    return buffer.getvalue()


def _check(mesh: Mesh, path: str | Path) -> None:
    if len(mesh.vertices) == 0 or len(mesh.faces) == 0:
        raise ExportError(
            f"{path} is not written: the mesh is empty.",
            hint="No surface was found: look at the views and masks, train longer, or check\n"
            "  data.bound (half the side of the cube that holds the object).",
        )
    if not np.isfinite(mesh.vertices).all():
        raise ExportError(f"{path} is not written: a vertex is NaN or infinite.")
    if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
        raise ValueError("a face refers to a vertex that does not exist")
    for name in ("colours", "uv", "normals"):
        values = getattr(mesh, name)
        if values is not None and len(values) != len(mesh.vertices):
            raise ValueError(f"{len(values)} {name} for {len(mesh.vertices)} vertices")
