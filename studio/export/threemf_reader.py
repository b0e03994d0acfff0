"""Reading 3MF: the triangles of what its build holds, with texture or colours, in metres."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from studio.export.formats.threemf import CORE, KINDS, MATERIALS, RELATIONS
from studio.io.picture_files import opened
from studio.io.reading import MOST_TEXT, check_count
from studio.mesh import Mesh

_METRES = {
    "micron": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "inch": 0.0254,
    "foot": 0.3048,
    "meter": 1.0,
}
_DEEPEST = 16  # levels of components
_C, _M = f"{{{CORE}}}", f"{{{MATERIALS}}}"


@dataclass
class _Piece:
    """Triangles of one object, and what colours their corners: uv [n, 2] or rgb [n, 3] or none."""

    vertices: np.ndarray
    faces: np.ndarray
    values: np.ndarray | None = None
    texture: str = ""


def read_3mf(path: Path) -> Mesh:
    """Read a file in its own axes, vertices in float64.

    Colours are kept where the whole build has them: one texture, or a colour at every corner.

    Raises:
        ValueError, KeyError and what the parsers raise: for a file that is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        name = _model_part(archive)
        root = _xml(archive, name)
        scale = np.diag([_METRES[root.get("unit", "millimeter")]] * 3 + [1.0])
        objects = {node.get("id", ""): node for node in root.iter(f"{_C}object")}
        groups = dict(_groups(root))
        pieces: list[_Piece] = []
        for item in root.iterfind(f"{_C}build/{_C}item"):
            pieces += _pieces(item, objects, groups, scale, _DEEPEST)
        return _joined(archive, pieces)


def _model_part(archive: zipfile.ZipFile) -> str:
    for relation in _xml(archive, "_rels/.rels").iter(f"{{{RELATIONS}}}Relationship"):
        if relation.get("Type") == f"{KINDS}/3dmodel":
            return posixpath.normpath(relation.get("Target", "")).lstrip("/")
    raise ValueError("it has no 3D model")


def _bytes(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as part:
        content = part.read(MOST_TEXT + 1)
    check_count(len(content), 1, MOST_TEXT, "bytes")
    return content


def _xml(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    content = _bytes(archive, name)
    if b"<!DOCTYPE" in content[:4096]:
        raise ValueError("its XML has a document type, which 3MF does not allow")
    return ElementTree.fromstring(content)


def _groups(root: ElementTree.Element) -> Iterator[tuple[str, tuple[np.ndarray, str]]]:
    """By resource: texture coordinates and the part with the picture, or colours and nothing."""
    paths = {t.get("id"): t.get("path", "").lstrip("/") for t in root.iter(f"{_M}texture2d")}
    for group in root.iter(f"{_M}texture2dgroup"):
        uv = [[float(c.attrib["u"]), float(c.attrib["v"])] for c in group]
        yield group.attrib["id"], (np.array(uv, np.float32), paths[group.get("texid")])
    for tag, child in ((f"{_M}colorgroup", "color"), (f"{_C}basematerials", "displaycolor")):
        for group in root.iter(tag):
            rgb = [list(bytes.fromhex(c.attrib[child][1:7])) for c in group]
            yield group.attrib["id"], (np.array(rgb, np.float32) / 255, "")


def _pieces(
    node: ElementTree.Element,
    objects: dict[str, ElementTree.Element],
    groups: dict[str, tuple[np.ndarray, str]],
    to_world: np.ndarray,
    levels: int,
) -> Iterator[_Piece]:
    """What an item or component holds, moved to where it says."""
    if levels == 0:
        raise ValueError("its components contain each other")
    thing, to_world = objects[node.attrib["objectid"]], to_world @ _matrix(node.get("transform"))
    for component in thing.iterfind(f"{_C}components/{_C}component"):
        yield from _pieces(component, objects, groups, to_world, levels - 1)
    mesh = thing.find(f"{_C}mesh")
    if mesh is not None:
        piece = _piece(mesh, thing, groups)
        piece.vertices = piece.vertices @ to_world[:3, :3].T + to_world[:3, 3]
        yield piece


def _matrix(text: str | None) -> np.ndarray:
    """The transform [4, 4] of twelve numbers, which multiply rows from the right."""
    matrix = np.eye(4)
    if text:
        matrix[:3] = np.array(text.split(), float).reshape(4, 3).T
    return matrix


def _piece(
    mesh: ElementTree.Element,
    thing: ElementTree.Element,
    groups: dict[str, tuple[np.ndarray, str]],
) -> _Piece:
    corners = mesh.iterfind(f"{_C}vertices/{_C}vertex")
    vertices = np.array([[float(v.attrib[a]) for a in "xyz"] for v in corners]).reshape(-1, 3)
    triangles = mesh.findall(f"{_C}triangles/{_C}triangle")
    at = [[int(t.attrib[f"v{i}"]) for i in (1, 2, 3)] for t in triangles]
    faces = np.array(at, np.int64).reshape(-1, 3)
    named = {t.get("pid", thing.get("pid", "")) for t in triangles}
    group = groups.get(named.pop()) if len(named) == 1 else None
    if group is None or not len(faces) or faces.min() < 0 or faces.max() >= len(vertices):
        return _Piece(vertices, faces)
    usual = thing.get("pindex", "0")
    first = [t.get("p1", usual) for t in triangles]
    index = np.array(
        [[p, t.get("p2", p), t.get("p3", p)] for p, t in zip(first, triangles, strict=True)]
    )
    pairs = np.stack([faces.reshape(-1), index.astype(np.int64).reshape(-1)], 1)
    distinct, inverse = np.unique(pairs, axis=0, return_inverse=True)
    values, texture = group
    return _Piece(vertices[distinct[:, 0]], inverse.reshape(-1, 3), values[distinct[:, 1]], texture)


def _joined(archive: zipfile.ZipFile, pieces: list[_Piece]) -> Mesh:
    """One mesh, coloured if all pieces are, and alike."""
    if not sum(len(piece.faces) for piece in pieces):
        raise ValueError("it has no triangles")
    start = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    vertices = np.concatenate([piece.vertices for piece in pieces])
    faces = np.concatenate([p.faces + n for p, n in zip(pieces, start[:-1], strict=True)])
    values = [piece.values for piece in pieces if piece.values is not None]
    if len(values) < len(pieces) or len({piece.texture for piece in pieces}) > 1:
        return Mesh(vertices, faces)
    joined = np.concatenate(values)
    if not pieces[0].texture:
        return Mesh(vertices, faces, colours=joined)
    with opened("its texture", _bytes(archive, pieces[0].texture)) as picture:
        return Mesh(vertices, faces, uv=joined, texture=np.asarray(picture.convert("RGB")))
