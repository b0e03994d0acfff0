"""Writing meshes as GLB and OBJ (+Y up) and PLY (+Z up, as the world is). All writes are atomic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64

from studio.errors import ExportError
from studio.export.cleanup import open_edges
from studio.export.gltf import GltfScene, png_bytes
from studio.export.notes import Notes
from studio.export.world import Z_UP_TO_Y_UP
from studio.files import write_bytes, write_text
from studio.mesh import Mesh


def write_glb(mesh: Mesh, path: str | Path, notes: Notes | None = None) -> Path:
    """Write a binary glTF 2.0 file: +Y up, with normals, texture or vertex colours.

    The material is fully rough and not metallic, and shows from both sides where the surface is
    open. Vertex colours are stored linear, as glTF defines them; textures are sRGB.

    Args:
        mesh: counted from the offset of `notes`.
        path: of the file.
        notes: what the file says of itself.

    Raises:
        ExportError: if the mesh is empty or holds a NaN.
        StudioError: if the system refuses to write.
    """
    check_mesh(mesh, path)
    scene = GltfScene(notes)
    add_object(scene, mesh)
    return scene.write(path)


def add_object(scene: GltfScene, mesh: Mesh) -> None:
    """Add a mesh with its texture or vertex colours to a scene, under the name in its notes."""
    normals = smooth_normals(mesh) if mesh.normals is None else mesh.normals
    attributes = {"POSITION": mesh.vertices, "NORMAL": _normalised(normals)}
    picture = None
    if mesh.texture is not None and mesh.uv is not None:
        picture = mesh.texture
        attributes["TEXCOORD_0"] = np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], axis=1)
    elif mesh.colours is not None:
        attributes["COLOR_0"] = srgb_to_linear(mesh.colours)
    name, is_open = scene.notes.name, len(open_edges(_welded(mesh)[1][mesh.faces])) > 0
    material = scene.add_material(f"{name} surface", picture, both_sides=is_open)
    scene.add_mesh(name, attributes, mesh.faces.reshape(-1), material)


def write_ply(mesh: Mesh, path: str | Path, notes: Notes | None = None) -> Path:
    """Write a binary PLY with vertex colours (sRGB; from the texture if there are none), +Z up.

    Args:
        mesh: counted from the offset of `notes`, which its header tells.
        path: of the file.
        notes: what the file says of itself.

    Raises:
        ExportError: if the mesh is empty or holds a NaN.
        StudioError: if the system refuses to write.
    """
    check_mesh(mesh, path)
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
    header = ["ply", "format binary_little_endian 1.0"]
    header += [f"comment {_ascii(line)}" for line in (notes or Notes()).lines("ply")]
    header += [f"element vertex {len(vertices)}"]
    header += [f"property {kinds[kind]} {name}" for name, kind, _ in columns]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    write_bytes(path, "\n".join([*header, ""]).encode() + vertices.tobytes() + faces.tobytes())
    return Path(path)


def write_obj(mesh: Mesh, path: str | Path, notes: Notes | None = None) -> Path:
    """Write an OBJ and, for a textured mesh, its MTL and PNG beside it; +Y up.

    Without a texture, vertex colours follow the positions (read by MeshLab and Blender).

    Args:
        mesh: counted from the offset of `notes`, which the file's comments tell.
        path: of the file.
        notes: what the file says of itself.

    Raises:
        ExportError: if the mesh is empty or holds a NaN.
        StudioError: if the system refuses to write.
    """
    check_mesh(mesh, path)
    path, notes = Path(path), notes or Notes()
    base = path.stem.replace(" ", "_")  # names in OBJ and MTL end at a space
    surface = f"{notes.identifier}_surface"
    textured = mesh.texture is not None and mesh.uv is not None
    lines = [f"# {line}" for line in notes.lines("obj")]
    if mesh.texture is not None and textured:
        write_bytes(path.with_name(f"{base}.png"), png_bytes(mesh.texture))
        write_text(path.with_name(f"{base}.mtl"), _material(surface, f"{base}.png"))
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


def _material(name: str, picture: str) -> str:
    """A rough, not metallic surface, in the old keys and in the physical ones (Pr, Pm)."""
    colours = "Ka 0 0 0\nKd 1 1 1\nKs 0 0 0\nd 1\nillum 1\nPr 1\nPm 0\n"
    return f"newmtl {name}\n{colours}map_Kd {picture}\n"


def _ascii(line: str) -> str:
    """A line of a PLY header, which is ASCII."""
    return line.encode("ascii", "backslashreplace").decode()


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
    positions, index = _welded(mesh)
    welded = Mesh(positions, index[mesh.faces]).with_normals()
    return np.asarray(welded.normals)[index]


def _welded(mesh: Mesh) -> tuple[Float[np.ndarray, "k 3"], Int64[np.ndarray, " n"]]:
    """Distinct positions, and which of them every vertex has."""
    positions, index = np.unique(mesh.vertices, axis=0, return_inverse=True)
    return positions, index.reshape(-1)


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


def check_mesh(mesh: Mesh, path: str | Path) -> None:
    """Refuse a mesh that is empty, not finite or inconsistent."""
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
