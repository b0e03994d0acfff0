"""Levels of detail and normal maps: few triangles that look like many."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.cameras import orbit_cameras
from studio.errors import ConfigError
from studio.export.exporter import MeshExporter
from studio.export.formats.glb import Glb
from studio.export.isosurface import extract_mesh
from studio.export.levels import reduced
from studio.export.normal_map import shading_normals, tangents, with_normal_map
from studio.export.readers import read_mesh
from studio.export.unwrap import unwrap
from studio.mesh import Mesh, MeshOptions
from studio.metrics.renders import mesh_psnr
from studio.ops.ray_caster import RayCaster, render_mesh


def bumpy(points: torch.Tensor) -> torch.Tensor:
    """A ball with bumps that 600 triangles cannot hold."""
    unit = torch.nn.functional.normalize(points, dim=1)
    return points.norm(dim=1) - 0.35 - 0.008 * torch.sin(14 * unit).prod(1)


class Ball:
    """What is exported: colours are the places."""

    device = torch.device("cpu")

    def mesh(self, resolution=64, options=MeshOptions(), *, report=None):  # noqa: B008
        return extract_mesh(bumpy, 0.5, resolution, faces=options.faces or None).with_normals()

    def gloss(self, points, normals, directions):
        return None

    def colour(self, points, normals):
        return 0.5 + points


@pytest.fixture(scope="module")
def whole() -> Mesh:
    return Ball().mesh(96, MeshOptions(faces=0))


@pytest.fixture(scope="module")
def cut(whole) -> Mesh:
    return unwrap(reduced(whole, 600), 256)


def shaded(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Light from beside the camera on a mesh, from three sides, and where it is hit."""
    caster, pictures, masks = RayCaster(mesh.vertices, mesh.faces), [], []
    light = np.array([0.5, -0.6, 0.62])
    cameras = orbit_cameras([0, 120, 240], 20.0, size=96)
    for i in range(3):
        row, column = np.mgrid[:96, :96].reshape(2, -1)
        at = torch.from_numpy(np.stack([column, row], 1) + 0.5).float()
        rays = cameras[[i]].rays(at[None])
        found = caster.cast(rays.origins.numpy(), rays.directions.numpy())
        hit = found["primID"] >= 0
        u, v = found["u"][hit], found["v"][hit]
        normals = shading_normals(mesh, found["primID"][hit], np.stack([1 - u - v, u, v], 1))
        picture = np.zeros(len(hit))
        picture[hit] = np.clip(normals @ light, 0, 1)
        pictures.append(picture)
        masks.append(hit)
    return np.concatenate(pictures), np.concatenate(masks)


def psnr(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    both = a[1] & b[1]
    return float(-10 * np.log10(((a[0] - b[0])[both] ** 2).mean()))


def test_a_normal_map_brings_the_shading_of_the_whole_surface_back(whole, cut):
    truth = shaded(whole)
    plain, mapped = psnr(shaded(cut), truth), psnr(shaded(with_normal_map(cut, whole, 256)), truth)
    assert mapped > plain + 8 and mapped > 30, (plain, mapped)


def test_tangents_run_along_u_and_bitangents_along_v(cut):
    tangent, normals = tangents(cut), cut.normals
    np.testing.assert_allclose(np.linalg.norm(tangent[:, :3], axis=1), 1, atol=1e-6)
    assert np.abs((tangent[:, :3] * normals).sum(1)).max() < 1e-5 and (tangent[:, 3] == 1).all()
    a, b, c = cut.faces.T
    du, dv = ((cut.uv[q] - cut.uv[a]) for q in (b, c))
    edges = [cut.vertices[q] - cut.vertices[a] for q in (b, c)]
    scale = du[:, :1] * dv[:, 1:] - du[:, 1:] * dv[:, :1]
    along_v = (edges[1] * du[:, :1] - edges[0] * dv[:, :1]) / scale
    bitangent = np.cross(normals[a], tangent[a, :3])
    cosine = (along_v * bitangent).sum(1) / np.linalg.norm(along_v, axis=1)
    assert np.quantile(cosine, 0.05) > 0.9


def test_mirrored_charts_have_the_other_sign(whole, cut):
    """A chart seen from behind: w is -1, and the map still shades as before."""
    mirrored = replace(cut, uv=cut.uv * np.float32([-1, 1]) + np.float32([1, 0]))
    assert (tangents(mirrored)[:, 3] == -1).all()
    truth = shaded(whole)
    assert psnr(shaded(with_normal_map(mirrored, whole, 256)), truth) > 30


def test_glb_holds_tangents_and_the_map(whole, cut, tmp_path):
    mesh = replace(cut, texture=np.full((8, 8, 3), 200, np.uint8))
    Glb().write(with_normal_map(mesh, whole, 128), tmp_path / "ball.glb")
    content = (tmp_path / "ball.glb").read_bytes()
    length = struct.unpack("<I", content[12:16])[0]
    document = json.loads(content[20 : 20 + length])
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    accessor = document["accessors"][attributes["TANGENT"]]
    view = document["bufferViews"][accessor["bufferView"]]
    start = 28 + length + view["byteOffset"]
    stored = np.frombuffer(content[start : start + view["byteLength"]], "<f4").reshape(-1, 4)
    turned = tangents(mesh)[:, [0, 2, 1, 3]] * [1, 1, -1, 1]  # +y up
    np.testing.assert_allclose(stored, turned, atol=1e-5)
    assert accessor["type"] == "VEC4" and len(document["images"]) == 2
    assert document["materials"][0]["normalTexture"]["index"] == 1


def test_levels_lie_where_the_finest_one_does_and_show_its_colours(tmp_path: Path):
    options = {"turntable": False, "preview": False, "inspect": False, "formats": ["glb", "ply"]}
    cfg = MeshExporter.Config(
        resolution=48, faces=[2000, 500, 120], normal_map=True, world="ground", **options
    )
    exporter = MeshExporter(cfg)
    written = exporter.export(Ball(), None, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        *(f"model{level}.{kind}" for kind in ("glb", "ply") for level in ("", "_lod1", "_lod2"))
    }
    assert written["glb_lod2"] == tmp_path / "model_lod2.glb"
    finest = read_mesh(tmp_path / "model.glb")
    views = render_mesh(finest, orbit_cameras([0, 120, 240], 20.0, size=96), shading=False)
    views = replace(views, images=views.images)
    for number, faces in ((1, 500), (2, 120)):
        for kind in ("glb", "ply"):
            level = read_mesh(tmp_path / f"model_lod{number}.{kind}")
            assert 0.8 * faces <= len(level.faces) <= 1.1 * faces
            np.testing.assert_allclose(level.vertices.min(0), finest.vertices.min(0), atol=0.03)
        glb = read_mesh(tmp_path / f"model_lod{number}.glb")
        assert mesh_psnr(glb, views) > 20
    assert exporter.figures["level_faces"] == [
        len(read_mesh(tmp_path / f"model_lod{n}.glb").faces) for n in (1, 2)
    ]
    one = MeshExporter(MeshExporter.Config(resolution=48, faces=2000, **options))
    one.export(Ball(), None, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.glb", "model.ply"}


def test_counts_that_no_shape_can_have_are_told(tmp_path):
    options = {"turntable": False, "preview": False, "inspect": False, "formats": ["ply"]}
    exporter = MeshExporter(MeshExporter.Config(resolution=32, faces=[500, 4], **options))
    exporter.export(Ball(), None, tmp_path)
    kept = exporter.figures["level_faces"][0]
    assert exporter.figures["warnings"][0].startswith(
        f"4 faces are too few for this shape, {kept} were kept"
    )


def test_levels_get_coarser():
    with pytest.raises(ConfigError, match="each level with fewer"):
        MeshExporter.Config(faces=[1000, 5000])
