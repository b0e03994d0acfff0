"""STL, 3MF and USDZ by their bytes, by other readers where these are installed, and by our own."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import trimesh
from PIL import Image

from studio.export.formats.base import MeshFormat
from studio.export.formats.threemf import CORE, MATERIALS
from studio.export.notes import Notes, read_record
from studio.export.readers import read_back, read_mesh
from studio.export.world import Placement
from studio.mesh import Mesh
from studio.plugins.discovery import available, find
from tests.unit.test_writers import SIZE, textured_box

NAME = 'a "car" & <co> ä'
FAR = np.array([4_075_531.0, 931_781.0, -4_801_619.0])


def ball(colours: bool = True) -> Mesh:
    made = trimesh.creation.icosphere(subdivisions=2)
    vertices = np.asarray(made.vertices, dtype=np.float32)
    rgb = (vertices * 0.5 + 0.5).astype(np.float32) if colours else None
    return Mesh(vertices, np.asarray(made.faces, dtype=np.int64), colours=rgb)


def written(mesh: Mesh, path: Path, offset: np.ndarray | None = None) -> Path:
    """A file with a name, a copyright, and perhaps an offset, which is counted from."""
    placement = Placement(offset=np.zeros(3) if offset is None else offset)
    notes = Notes(NAME, "nobody's & all", placement)
    return find("format", path.suffix[1:])().write(mesh, path, notes)[0]


def test_every_format_is_a_plugin_that_says_what_it_is() -> None:
    assert available("format") == ["3mf", "glb", "obj", "ply", "stl", "usdz"]
    for name in available("format"):
        kind = find("format", name)
        assert issubclass(kind, MeshFormat) and kind.suffix == f".{name}"
    y_up = [name for name in available("format") if find("format", name).up == "+y"]
    assert y_up == ["glb", "obj", "usdz"]


def test_stl_holds_every_triangle_with_its_outward_normal(tmp_path: Path) -> None:
    mesh = ball()
    content = mesh.save(tmp_path / "b.stl").read_bytes()
    assert not content.startswith(b"solid") and len(content) == 84 + 50 * len(mesh.faces)
    assert struct.unpack_from("<I", content, 80) == (len(mesh.faces),)
    first = np.frombuffer(content, "<f4", 12, 84).reshape(4, 3)
    np.testing.assert_allclose(first[1:], 1000 * mesh.vertices[mesh.faces[0]], rtol=1e-6)
    outward = first[1:].mean(0) / np.linalg.norm(first[1:].mean(0))
    np.testing.assert_allclose(np.linalg.norm(first[0]), 1, atol=1e-6)
    assert first[0] @ outward > 0.99
    closed = trimesh.load_mesh(tmp_path / "b.stl")
    assert closed.is_watertight and closed.volume == pytest.approx(1e9 * mesh.volume, rel=1e-5)
    loaded = read_mesh(tmp_path / "b.stl")
    assert loaded.colours is None
    np.testing.assert_allclose(loaded.vertices[loaded.faces], mesh.vertices[mesh.faces], rtol=1e-6)
    header = written(mesh, tmp_path / "far.stl", FAR).read_bytes()[:80]
    assert b"4075531 931781 -4801619" in header


def model_of(path: Path) -> ElementTree.Element:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None and archive.namelist()[0] == "[Content_Types].xml"
        return ElementTree.fromstring(archive.read("3D/3dmodel.model"))


def test_3mf_is_one_solid_whose_corners_keep_their_texture_coordinates(tmp_path: Path) -> None:
    mesh = textured_box()
    path = written(mesh, tmp_path / "box.3mf")
    root = model_of(path)
    assert root.get("unit") == "millimeter"
    said = {node.get("name"): node.text for node in root.iter(f"{{{CORE}}}metadata")}
    assert said["Title"] == NAME and said["Copyright"] == "nobody's & all"
    corners = [c for c in root.iter(f"{{{CORE}}}vertex")]
    triangles = [t.attrib for t in root.iter(f"{{{CORE}}}triangle")]
    coordinates = [c.attrib for c in root.iter(f"{{{MATERIALS}}}tex2coord")]
    assert (len(corners), len(triangles), len(coordinates)) == (8, 12, 24)  # welded at the seams
    loaded = read_mesh(path)
    assert loaded.volume == pytest.approx(np.prod(SIZE), rel=1e-5)
    assert np.array_equal(loaded.texture, mesh.texture)
    np.testing.assert_allclose(loaded.vertices[loaded.faces], mesh.vertices[mesh.faces], atol=1e-7)
    np.testing.assert_allclose(loaded.uv[loaded.faces], mesh.uv[mesh.faces], atol=1e-7)
    assert written(mesh, tmp_path / "again.3mf").read_bytes() == path.read_bytes()


def test_3mf_holds_vertex_colours_or_none(tmp_path: Path) -> None:
    mesh = ball()
    loaded = read_mesh(mesh.save(tmp_path / "b.3mf"))
    np.testing.assert_allclose(loaded.colours[loaded.faces], mesh.colours[mesh.faces], atol=0.0021)
    bare = read_mesh(ball(colours=False).save(tmp_path / "c.3mf"))
    assert bare.colours is None and len(bare.vertices) == len(mesh.vertices)
    np.testing.assert_allclose(bare.vertices[bare.faces], mesh.vertices[mesh.faces], atol=1e-7)


def test_3mf_far_from_the_origin(tmp_path: Path) -> None:
    mesh = ball()
    path = written(mesh, tmp_path / "far.3mf", FAR)
    back = read_back(path)
    np.testing.assert_allclose(
        back.vertices[back.faces], (mesh.vertices + FAR)[mesh.faces], atol=1e-6
    )
    record = read_record(path)
    assert record is not None and record["offset"] == FAR.tolist() and record["up"] == "+z"


MODEL = f"""<?xml version="1.0"?>
<model unit="millimeter" xmlns="{CORE}"><resources>
<basematerials id="7"><base name="x" displaycolor="#FF0000FF"/></basematerials>
<object id="1" pid="7" pindex="0"><mesh><vertices>
<vertex x="0" y="0" z="0"/><vertex x="1" y="0" z="0"/><vertex x="0" y="1" z="0"/></vertices>
<triangles><triangle v1="0" v2="1" v3="2"/></triangles></mesh>
</object><object id="2"><components>
<component objectid="1" transform="0 1 0 -1 0 0 0 0 1 10 0 0"/><component objectid="1"/>
</components></object></resources>
<build><item objectid="2" transform="2 0 0 0 2 0 0 0 2 0 0 5"/></build></model>"""
START = """<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="a" Target="/3D/x.model"
 Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>"""


def test_3mf_of_other_programs(tmp_path: Path) -> None:
    """Components, transforms (row vectors), millimetres, materials, another part name."""
    with zipfile.ZipFile(tmp_path / "o.3mf", "w") as archive:
        archive.writestr("_rels/.rels", START)
        archive.writestr("3D/x.model", MODEL)
    mesh = read_mesh(tmp_path / "o.3mf")
    turned = np.array([[20, 0, 5], [20, 2, 5], [18, 0, 5]]) / 1000
    plain = np.array([[0, 0, 5], [2, 0, 5], [0, 2, 5]]) / 1000
    np.testing.assert_allclose(mesh.vertices[mesh.faces], [turned, plain], atol=1e-12)
    assert mesh.colours is not None and (mesh.colours == [1, 0, 0]).all()


def usdz_parts(path: Path) -> dict[str, bytes]:
    """Names and contents, read by hand; every content is stored, at a multiple of 64 bytes."""
    content, at, parts = path.read_bytes(), 0, {}
    while content[at : at + 4] == b"PK\x03\x04":
        flags, method = struct.unpack_from("<HH", content, at + 6)
        size, full, name_length, extra = struct.unpack_from("<IIHH", content, at + 18)
        begin = at + 30 + name_length + extra
        assert method == 0 and size == full and flags == 0 and begin % 64 == 0
        parts[content[at + 30 : at + 30 + name_length].decode()] = content[begin : begin + size]
        at = begin + size
    return parts


def numbers(layer: str, name: str) -> np.ndarray:
    row = next(line for line in layer.splitlines() if f" {name} = [" in line)
    inside = row.partition(" = [")[2].partition("]")[0]
    groups = re.findall(r"\(([^)]*)\)", inside) or [inside]
    return np.array([[float(v) for v in group.split(",")] for group in groups])


def test_usdz_is_stored_aligned_and_states_unit_and_axis(tmp_path: Path) -> None:
    mesh = textured_box()
    parts = usdz_parts(written(mesh, tmp_path / "box.usdz", FAR))
    assert list(parts) == ["object.usda", "colour.png"]  # the layer comes first
    picture = np.asarray(Image.open(io.BytesIO(parts["colour.png"])))
    assert np.array_equal(picture, mesh.texture)
    layer = parts["object.usda"].decode()
    assert layer.startswith("#usda 1.0\n")
    assert "metersPerUnit = 1\n" in layer and 'upAxis = "Y"' in layer
    x, y, z = mesh.vertices.T
    np.testing.assert_allclose(numbers(layer, "points"), np.stack([x, z, -y], 1), atol=1e-7)
    np.testing.assert_allclose(numbers(layer, "primvars:st"), mesh.uv, atol=1e-7)
    normals = numbers(layer, "normals")
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert np.array_equal(numbers(layer, "faceVertexIndices")[0], mesh.faces.reshape(-1))
    assert "double3 xformOp:translate = (4075531, -4801619, -931781)" in layer


def bumpy_box() -> Mesh:
    """The box with a normal map that tells left from right and up from down."""
    box = textured_box().with_normals()
    across = np.linspace(64, 192, 32).astype(np.uint8)
    map_ = np.stack([*np.meshgrid(across, across[::-1]), np.full((32, 32), 220, np.uint8)], -1)
    return replace(box, normal_map=map_, occlusion_map=map_[..., 0])


def test_obj_and_usdz_hold_the_normal_map(tmp_path: Path) -> None:
    box = bumpy_box()
    path = written(box, tmp_path / "my box.obj")
    assert path.with_name("my_box_normal.png").is_file()
    lines = (tmp_path / "my_box.mtl").read_text().splitlines()
    assert lines[-2:] == ["norm my_box_normal.png", "map_Bump -bm 1 my_box_normal.png"]
    stored = np.asarray(Image.open(tmp_path / "my_box_normal.png"))
    assert np.array_equal(stored, box.normal_map)
    parts = usdz_parts(written(box, tmp_path / "box.usdz"))
    assert list(parts) == ["object.usda", "colour.png", "normals.png", "occlusion.png"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(parts["normals.png"]))), box.normal_map)
    shader = parts["object.usda"].decode().partition('Shader "normals"')[2].partition("}")[0]
    assert '"raw"' in shader and "scale = (2, 2, 2, 1)" in shader and "(-1, -1, -1, 0)" in shader
    loaded = read_mesh(written(box, tmp_path / "box.glb"))
    assert np.array_equal(loaded.normal_map, box.normal_map)


def test_usdz_as_pixar_reads_it(tmp_path: Path) -> None:
    usd = pytest.importorskip("pxr.Usd")
    from pxr import UsdGeom, UsdShade, UsdValidation

    rules = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert len(rules) > 20

    meshes = {"box": textured_box(), "bumpy": bumpy_box()}
    meshes |= {"ball": ball(), "bare": ball(colours=False)}
    for name, mesh in meshes.items():
        path = written(mesh, tmp_path / f"{name}.usdz", FAR)
        stage = usd.Stage.Open(str(path))
        assert UsdValidation.ValidationContext(rules).Validate(stage) == []
        assert UsdGeom.GetStageUpAxis(stage) == "Y" and UsdGeom.GetStageMetersPerUnit(stage) == 1
        prim = UsdGeom.Mesh(stage.GetPrimAtPath("/object/mesh"))
        points = np.array(prim.GetPointsAttr().Get())
        x, y, z = mesh.vertices.T
        np.testing.assert_allclose(points, np.stack([x, z, -y], 1), atol=1e-7)
        assert stage.GetDefaultPrim().GetDisplayName() == NAME
        bound, _ = UsdShade.MaterialBindingAPI(prim.GetPrim()).ComputeBoundMaterial()
        assert bound.ComputeSurfaceSource()[0].GetIdAttr().Get() == "UsdPreviewSurface"
        assert stage.GetPrimAtPath("/object/surface/normals").IsValid() == (name == "bumpy")


def test_3mf_as_the_consortium_reads_it(tmp_path: Path) -> None:
    lib3mf = pytest.importorskip("lib3mf")
    wrapper = lib3mf.Wrapper()
    for mesh in (textured_box(), ball(), ball(colours=False)):
        path = written(mesh, tmp_path / "x.3mf", FAR)
        model = wrapper.CreateModel()
        reader = model.QueryReader("3mf")
        reader.SetStrictModeActive(True)
        reader.ReadFromFile(str(path))
        assert reader.GetWarningCount() == 0
        objects = model.GetMeshObjects()
        assert objects.MoveNext()
        thing = objects.GetCurrentMeshObject()
        assert thing.IsManifoldAndOriented() and thing.GetTriangleCount() == len(mesh.faces)
        textures = model.GetTexture2Ds()
        assert textures.MoveNext() == (mesh.texture is not None)
