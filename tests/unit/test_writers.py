"""Meshes on disk: axes, texture orientation, colours and winding, read back by trimesh."""

import dataclasses
import errno
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from studio.cameras import orbit_cameras
from studio.errors import DataError, ExportError, StudioError
from studio.export.attributes import (
    linear_to_srgb,
    smooth_normals,
    srgb_to_linear,
    texture_colours,
)
from studio.export.inspection import write_inspection
from studio.export.readers import read_mesh
from studio.mesh import Mesh
from studio.ops.ray_caster import render_mesh

FORMATS = ("3mf", "glb", "obj", "ply", "stl", "usdz")
SIZE = (0.2, 0.5, 0.9)  # of the box along x, y, z
TILES = {  # colour of the tile of each side, by its outward axis
    (0, 1): (255, 0, 0),
    (0, -1): (0, 255, 255),
    (1, 1): (0, 255, 0),
    (1, -1): (255, 0, 255),
    (2, 1): (0, 0, 255),
    (2, -1): (255, 255, 0),
}


def textured_box() -> Mesh:
    """A box of three different sides, off the origin, each face with its own tile and gradient.

    A tile is a column of the atlas; from its lower to its upper end it gets brighter, and on the
    box that is the direction of the face's second free axis.
    """
    height, tile = 40, 16
    atlas = np.zeros((height, tile * 6, 3), np.uint8)
    bright = np.linspace(1.0, 0.25, height)[:, None, None]  # first row at the top: bright
    vertices, faces, uv = [], [], []
    for column, ((axis, sign), colour) in enumerate(TILES.items()):
        atlas[:, column * tile : (column + 1) * tile] = np.array(colour) * bright
        first, second = (a for a in range(3) if a != axis)
        start = len(vertices)
        for s, t in ((0, 0), (1, 0), (1, 1), (0, 1)):
            point = np.zeros(3)
            point[axis] = sign * SIZE[axis] / 2
            point[first] = (s - 0.5) * SIZE[first]
            point[second] = (t - 0.5) * SIZE[second]
            vertices.append(point)
            uv.append(((column + 0.2 + 0.6 * s) / 6, 0.1 + 0.8 * t))
        outward = np.cross(np.eye(3)[first], np.eye(3)[second])[axis] == sign
        order = (0, 1, 2, 3) if outward else (0, 3, 2, 1)
        faces += [[start + order[i] for i in corner] for corner in ((0, 1, 2), (0, 2, 3))]
    offset = np.array([0.3, -0.2, 0.1])
    return Mesh(
        (np.array(vertices) + offset).astype(np.float32),
        np.array(faces, dtype=np.int64),
        uv=np.array(uv, dtype=np.float32),
        texture=atlas,
    )


def colour_at(mesh: Mesh, point: np.ndarray) -> np.ndarray:
    """Colour of the texture at a surface point, by barycentric interpolation of uv (nearest)."""
    triangles = mesh.vertices[mesh.faces].astype(np.float64)
    closest, _, index = trimesh.proximity.closest_point_naive(
        trimesh.Trimesh(mesh.vertices, mesh.faces, process=False), point[None]
    )
    weights = trimesh.triangles.points_to_barycentric(triangles[index], closest)[0]
    assert mesh.uv is not None and mesh.texture is not None
    u, v = weights @ mesh.uv[mesh.faces[index[0]]]
    height, width = mesh.texture.shape[:2]
    return mesh.texture[int((1 - v) * height), int(u * width)]


@pytest.mark.parametrize("kind", ["glb", "obj", "3mf"])
def test_texture_lands_where_it_was(tmp_path: Path, kind: str) -> None:
    """The classic trap: V flipped, axes swapped or mirrored would show another colour."""
    mesh = textured_box()
    mesh.save(tmp_path / f"box.{kind}")
    loaded = read_mesh(tmp_path / f"box.{kind}")
    for (axis, sign), colour in TILES.items():
        free = [a for a in range(3) if a != axis]
        for up in (-0.35, 0.35):
            point = np.array([0.3, -0.2, 0.1])
            point[axis] += sign * SIZE[axis] / 2
            point[free[0]] += 0.2 * SIZE[free[0]]
            point[free[1]] += up * SIZE[free[1]]
            got, true = colour_at(loaded, point), colour_at(mesh, point)
            assert np.array_equal(got, true)
            assert (got.max() > 150) == (up > 0)
            assert np.array_equal(got > 0, np.array(colour) > 0)


@pytest.mark.parametrize("kind", ["glb", "obj", "ply"])
def test_geometry_round_trip_and_outward_faces(tmp_path: Path, kind: str) -> None:
    mesh = textured_box()
    mesh.save(tmp_path / f"box.{kind}")
    loaded = read_mesh(tmp_path / f"box.{kind}")
    np.testing.assert_allclose(loaded.vertices, mesh.vertices, atol=1e-7)
    assert np.array_equal(loaded.faces, mesh.faces)
    assert loaded.volume == pytest.approx(np.prod(SIZE), rel=1e-5)
    if kind != "ply":
        assert loaded.uv is not None and mesh.uv is not None
        np.testing.assert_allclose(loaded.uv, mesh.uv, atol=1e-6)
        assert np.array_equal(loaded.texture, mesh.texture)


def glb_parts(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    magic, version, total = struct.unpack_from("<4sII", content)
    assert (magic, version, total) == (b"glTF", 2, len(content))
    length, kind = struct.unpack_from("<I4s", content, 12)
    assert kind == b"JSON" and length % 4 == 0
    size, kind = struct.unpack_from("<I4s", content, 20 + length)
    assert kind == b"BIN\0" and size % 4 == 0 and 28 + length + size == total
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def floats(document: dict[str, Any], binary: bytes, name: str) -> np.ndarray:
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    accessor = document["accessors"][attributes[name]]
    view = document["bufferViews"][accessor["bufferView"]]
    width = int(accessor["type"][-1])
    count = accessor["count"] * width
    values = np.frombuffer(binary, "<f4", count, view["byteOffset"])
    return values.reshape(-1, width)


def test_glb_is_y_up_with_unit_outward_normals(tmp_path: Path) -> None:
    mesh = textured_box()
    document, binary = glb_parts(mesh.save(tmp_path / "box.glb"))
    position, normal = (floats(document, binary, n) for n in ("POSITION", "NORMAL"))
    np.testing.assert_allclose(np.ptp(position, axis=0), (SIZE[0], SIZE[2], SIZE[1]), rtol=1e-5)
    x, y, z = mesh.vertices.T
    np.testing.assert_allclose(position, np.stack([x, z, -y], axis=1))  # a rotation, no mirror
    as_stored = trimesh.load_mesh(tmp_path / "box.glb", process=False)
    assert as_stored.volume > 0
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)
    centre = position.min(axis=0) / 2 + position.max(axis=0) / 2
    assert ((position - centre) * normal > 0).all()
    accessor = document["accessors"][0]
    np.testing.assert_array_equal(accessor["min"], position.min(axis=0))
    np.testing.assert_array_equal(accessor["max"], position.max(axis=0))
    material = document["materials"][0]["pbrMetallicRoughness"]
    assert (material["metallicFactor"], material["roughnessFactor"]) == (0, 1)


def test_normals_do_not_break_at_texture_seams() -> None:
    """The box's 24 vertices are 8 corners; each corner has one normal, along its diagonal."""
    mesh = textured_box()
    normals = smooth_normals(mesh)
    corners = {tuple(v): n for v, n in zip(mesh.vertices.tolist(), normals, strict=True)}
    for vertex, normal in zip(mesh.vertices.tolist(), normals, strict=True):
        np.testing.assert_array_equal(normal, corners[tuple(vertex)])
    assert len(corners) == 8


def test_vertex_colours(tmp_path: Path) -> None:
    """PLY and OBJ keep them; GLB stores them linear, so that a viewer shows the same colour."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    vertices = np.asarray(ball.vertices, dtype=np.float32)
    colours = (vertices * 0.5 + 0.5).astype(np.float32)
    mesh = Mesh(vertices, np.asarray(ball.faces, dtype=np.int64), colours=colours)
    for kind, tolerance in (("ply", 0.0021), ("obj", 0.0021), ("glb", 1e-5)):
        mesh.save(tmp_path / f"b.{kind}")
        loaded = read_mesh(tmp_path / f"b.{kind}")
        assert loaded.texture is None and loaded.colours is not None
        np.testing.assert_allclose(loaded.colours, colours, atol=tolerance, err_msg=kind)
    stored = floats(*glb_parts(tmp_path / "b.glb"), "COLOR_0")
    np.testing.assert_allclose(stored, srgb_to_linear(colours), atol=1e-6)


def test_srgb_curve() -> None:
    values = np.linspace(0, 1, 1001)[:, None].repeat(3, axis=1)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-6)
    assert srgb_to_linear(np.array([[0.5, 0.0, 1.0]]))[0] == pytest.approx(
        [0.21404, 0, 1], abs=1e-5
    )


def test_ply_takes_its_colours_from_the_texture(tmp_path: Path) -> None:
    mesh = textured_box()
    mesh.save(tmp_path / "box.ply")
    loaded = read_mesh(tmp_path / "box.ply")
    assert loaded.colours is not None
    tiles = np.repeat(list(TILES.values()), 4, axis=0)
    assert np.array_equal(loaded.colours > 0.05, tiles > 0)
    upper = np.tile([False, False, True, True], 6)  # of each side; the atlas is bright above
    assert np.array_equal(loaded.colours.max(axis=1) > 0.6, upper)
    expected = texture_colours(mesh)
    np.testing.assert_allclose(loaded.colours, expected, atol=0.0021)


def test_obj_names_its_material_and_texture(tmp_path: Path) -> None:
    textured_box().save(tmp_path / "my box.obj")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["my box.obj", "my_box.mtl", "my_box.png"]
    assert "mtllib my_box.mtl" in (tmp_path / "my box.obj").read_text()
    assert "map_Kd my_box.png" in (tmp_path / "my_box.mtl").read_text()


@pytest.mark.parametrize("kind", FORMATS)
def test_refusals(tmp_path: Path, kind: str) -> None:
    def write(mesh: Mesh, path: Path) -> None:
        mesh.save(path, format=kind)

    mesh = textured_box()
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64))
    with pytest.raises(ExportError, match="the mesh is empty(.|\n)*data.bound"):
        write(empty, tmp_path / "a")
    vertices = mesh.vertices.copy()
    vertices[3, 1] = np.nan
    with pytest.raises(ExportError, match="NaN"):
        write(dataclasses.replace(mesh, vertices=vertices), tmp_path / "a")
    with pytest.raises(ValueError, match="does not exist"):
        write(dataclasses.replace(mesh, faces=mesh.faces + 1), tmp_path / "a")
    with pytest.raises(ValueError, match="3 uv for 24 vertices"):
        write(dataclasses.replace(mesh, uv=np.zeros((3, 2), np.float32)), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_full_disk_leaves_the_old_file(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StudioError, match="disk is full"):
        textured_box().save(path)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.glb", None, "does not exist"),
        ("mesh.blend", b"x", "unknown format"),
        ("cut.glb", b"glTF\x02\0\0\0", "is broken"),
        ("empty.ply", b"", "is broken"),
        ("mixed.obj", b"v 0 0 0 1 1 1\nv 1 1\nv 0 1 0 1 1 1\nf 1 2 3\n", "three numbers"),
        ("nan.obj", b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not finite"),
        ("range.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", "is broken"),
        ("points.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "no triangles|broken"),
    ],
)
def test_unreadable_meshes(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_mesh(tmp_path / name)


def test_inspection_holds_mesh_cameras_and_pictures(tmp_path: Path) -> None:
    mesh = textured_box()
    cameras = orbit_cameras([10, 100, 250], [0.0, 30.0, -20.0], 2.0, 40.0, (48, 64))
    views = dataclasses.replace(render_mesh(mesh, cameras, shading=False), names=("a", "b", "c"))
    document, _ = glb_parts(write_inspection(mesh, views, tmp_path / "inspect.glb"))
    named = {node["name"]: node for node in document["nodes"]}
    assert list(named) == ["object", "frusta", "pictures", "a", "b", "c"]
    for i, name in enumerate("abc"):  # glTF cameras look along -z, +y is up
        matrix = np.array(named[name]["matrix"]).reshape(4, 4).T
        x, y, z = cameras.centres[i].tolist()
        np.testing.assert_allclose(matrix[:3, 3], (x, z, -y), atol=1e-6)
        towards = -matrix[:3, 3] / np.linalg.norm(matrix[:3, 3])
        np.testing.assert_allclose(-matrix[:3, 2], towards, atol=1e-5)
        assert matrix[1, 1] > 0 and np.linalg.det(matrix) == pytest.approx(1)
    lens = document["cameras"][0]["perspective"]
    assert np.degrees(lens["yfov"]) == pytest.approx(40) and lens["aspectRatio"] == 64 / 48
    scene = trimesh.load_scene(tmp_path / "inspect.glb", process=False)
    stored = scene.geometry["object"]
    assert stored.volume == pytest.approx(mesh.volume, rel=1e-5)
    assert np.array_equal(np.asarray(stored.visual.material.baseColorTexture), mesh.texture)
    assert np.array_equal(
        np.asarray(read_mesh(tmp_path / "inspect.glb").vertices)[:24].shape, (24, 3)
    )


def test_inspected_pictures_hang_where_their_cameras_see_them(tmp_path: Path) -> None:
    """From its own camera each picture covers the view, the right way round."""
    mesh = textured_box()
    cameras = orbit_cameras([10, 100, 250], [0.0, 30.0, -20.0], 2.0, 40.0, (48, 64))
    views = render_mesh(mesh, cameras, shading=False)
    write_inspection(mesh, views, tmp_path / "inspect.glb")
    quads = trimesh.load_scene(tmp_path / "inspect.glb", process=False).geometry["pictures"]
    corners = np.asarray(quads.vertices) @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]).T
    sheet = np.asarray(quads.visual.material.baseColorTexture)
    for i in range(3):
        own = torch.from_numpy(corners[4 * i : 4 * i + 4]).float()
        pixel, depth = cameras[[i]].project(own)
        np.testing.assert_allclose(pixel[0], [[0, 0], [64, 0], [64, 48], [0, 48]], atol=1e-3)
        assert 0 < depth.min() and depth.max() < 1
        u, v = np.asarray(quads.visual.uv)[4 * i : 4 * i + 4].T
        rows, columns = (1 - v) * len(sheet), u * sheet.shape[1]
        assert rows[0] == rows.min() and columns[0] == columns.min()
        top, left = int(rows.min()), int(columns.min())
        shown = (views.images[i, 3] * 255).round().numpy()
        assert np.abs(sheet[top : top + 48, left : left + 64, 3] - shown).max() <= 1


def obj_corners(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Position [M, 3, 3] and texture coordinate [M, 3, 2] of every face's corners, read by hand."""
    rows: dict[str, list[list[str]]] = {"v": [], "vt": [], "f": []}
    for line in path.read_text().splitlines():
        keyword, *words = line.split() or [""]
        if keyword in rows:
            rows[keyword].append(words)
    v = np.array(rows["v"], dtype=float)[:, :3]
    vt = np.array(rows["vt"], dtype=float)[:, :2]
    index = np.array([[corner.split("/")[:2] for corner in face] for face in rows["f"]], dtype=int)
    return v[index[..., 0] - 1], vt[index[..., 1] - 1]


def test_obj_keeps_seams_where_a_vertex_has_two_texture_coordinates(tmp_path: Path) -> None:
    """Two triangles share an edge, but not its texture coordinates."""
    path = tmp_path / "seam.obj"
    path.write_text(
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
        "vt 0 0\nvt 0.4 0\nvt 0.4 0.4\nvt 0.6 0.6\nvt 1 1\nvt 0.6 1\n"
        "f 1/1 2/2 3/3\nf 1/4 3/5 4/6\n"
    )
    mesh = read_mesh(path)
    positions, uv = obj_corners(path)
    assert mesh.uv is not None and mesh.texture is None and mesh.colours is None
    np.testing.assert_allclose(mesh.vertices[mesh.faces], positions)
    np.testing.assert_allclose(mesh.uv[mesh.faces], uv, atol=1e-7)


@pytest.mark.skipif(not os.environ.get("STUDIO_TEST_DATA"), reason="STUDIO_TEST_DATA is not set")
def test_spot_keeps_its_texture_coordinates(tmp_path: Path) -> None:
    source = Path(os.environ["STUDIO_TEST_DATA"]) / "meshes" / "spot_triangulated.obj"
    mesh = read_mesh(source)
    positions, uv = obj_corners(source)
    assert mesh.uv is not None and mesh.volume > 0
    np.testing.assert_allclose(mesh.vertices[mesh.faces], positions, atol=1e-6)
    np.testing.assert_allclose(mesh.uv[mesh.faces], uv, atol=1e-6)
    grid = np.add.outer(np.arange(64) * 3, np.arange(64)).astype(np.uint8)
    mesh = dataclasses.replace(mesh, texture=np.stack([grid, grid.T, grid], axis=-1))
    loaded = read_mesh(mesh.save(tmp_path / "spot.glb"))
    np.testing.assert_allclose(loaded.uv, mesh.uv, atol=1e-6)
    assert loaded.volume == pytest.approx(mesh.volume, rel=1e-5)
