"""Ambient occlusion maps: known shapes, and the files that hold them."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from studio.export.exporter import MeshExporter
from studio.export.occlusion import with_occlusion_map
from studio.mesh import Mesh
from tests.unit.test_formats import usdz_parts, written
from tests.unit.test_levels import Ball
from tests.unit.test_writers import glb_parts, textured_box

QUAD = np.array([[0, 1, 2], [0, 2, 3]])


def test_a_floor_beside_a_wall_sees_what_geometry_says():
    """A long wall of height 1 hides half of 1 - d / sqrt(d^2 + 1) of the sky at distance d."""
    floor = np.array([[0, -0.5, 0], [1, -0.5, 0], [1, 0.5, 0], [0, 0.5, 0]], np.float32)
    wall = np.array([[0, -4, 0], [0, 4, 0], [0, 4, 1], [0, -4, 1]], np.float32)
    whole = Mesh(np.concatenate([floor, wall]), np.concatenate([QUAD, QUAD + 4])).with_normals()
    uv = (floor[:, :2] + [0, 0.5]).astype(np.float32)
    mesh = replace(Mesh(floor, QUAD, uv=uv).with_normals())
    found = with_occlusion_map(mesh, whole, 64).occlusion_map
    assert found is not None and found.shape == (64, 64)
    away = (np.arange(64) + 0.5) / 64
    hidden = 0.5 * (1 - away / np.sqrt(away**2 + 1))
    np.testing.assert_allclose(found.mean(0)[2:] / 255, (1 - hidden)[2:], atol=0.03)
    assert found.std(0).max() < 8  # no grain


def test_what_is_convex_hides_nothing():
    box = textured_box().with_normals()
    found = with_occlusion_map(box, box, 1024).occlusion_map
    assert found is not None and found.shape == (512, 512) and found.min() > 250


def test_glb_and_usdz_hold_the_map(tmp_path):
    box = replace(textured_box(), occlusion_map=np.full((8, 8), 77, np.uint8))
    document, binary = glb_parts(written(box, tmp_path / "box.glb"))
    texture = document["textures"][document["materials"][0]["occlusionTexture"]["index"]]
    view = document["bufferViews"][document["images"][texture["source"]]["bufferView"]]
    stored = binary[view["byteOffset"] :][: view["byteLength"]]
    assert (np.asarray(Image.open(io.BytesIO(stored)).convert("RGB")) == 77).all()
    parts = usdz_parts(written(box, tmp_path / "box.usdz"))
    layer = parts["object.usda"].decode()
    assert "inputs:occlusion.connect = </object/surface/occlusion.outputs:r>" in layer
    assert (np.asarray(Image.open(io.BytesIO(parts["occlusion.png"]))) == 77).all()


def test_an_export_bakes_it_for_every_level(tmp_path):
    options = {"turntable": False, "preview": False, "inspect": False, "formats": ["glb"]}
    cfg = MeshExporter.Config(resolution=32, faces=[600, 300], occlusion_map=True, **options)
    MeshExporter(cfg).export(Ball(), None, tmp_path)
    for name in ("model", "model_lod1"):
        document, _ = glb_parts(tmp_path / f"{name}.glb")
        assert "occlusionTexture" in document["materials"][0]
        assert "normalTexture" not in document["materials"][0]
