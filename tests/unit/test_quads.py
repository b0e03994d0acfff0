"""Quads: made by Instant Meshes where it is installed, and in the files that hold them."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from studio.errors import ConfigError
from studio.export.cleanup import is_watertight
from studio.export.exporter import MeshExporter
from studio.export.readers import read_mesh
from studio.mesh import MeshOptions
from studio.metrics.mesh import chamfer
from tests.unit.test_formats import numbers, usdz_parts
from tests.unit.test_levels import Ball
from tests.unit.test_writers import textured_box

needs_quads = pytest.mark.skipif(
    importlib.util.find_spec("pyinstantmeshes") is None, reason="pyinstantmeshes is not installed"
)


def test_obj_and_usdz_hold_quads_and_halves_where_a_seam_cuts_one(tmp_path):
    box = replace(textured_box(), quads=True)
    faces = box.faces.copy()
    faces[1, 0] = len(box.vertices)  # a corner of its own: a seam along the first diagonal
    cut = replace(
        box,
        faces=faces,
        vertices=np.concatenate([box.vertices, box.vertices[:1]]),
        uv=np.concatenate([box.uv, box.uv[:1]]),
    )
    for mesh, quads in ((box, 6), (cut, 5)):
        lines = mesh.save(tmp_path / "box.obj").read_text().splitlines()
        corners = [len(line.split()) - 1 for line in lines if line.startswith("f ")]
        assert corners == [4] * quads + [3] * (12 - 2 * quads)
        layer = usdz_parts(mesh.save(tmp_path / "box.usdz"))["object.usda"].decode()
        assert numbers(layer, "faceVertexCounts")[0].tolist() == corners
        loaded = trimesh.load_mesh(tmp_path / "box.obj", process=False)
        assert loaded.volume == pytest.approx(box.volume, rel=1e-5) and len(loaded.faces) == 12
    assert np.array_equal(read_mesh(box.save(tmp_path / "box.glb")).faces, box.faces)


@needs_quads
def test_an_export_makes_quads_that_lie_on_the_surface(tmp_path):
    options = {"turntable": False, "preview": False, "inspect": False, "resolution": 64}
    cfg = MeshExporter.Config(faces=[2400, 600], quads=True, formats=["obj", "glb"], **options)
    exporter = MeshExporter(cfg)
    exporter.export(Ball(), None, tmp_path)
    whole = Ball().mesh(64, MeshOptions(faces=0))
    for name, wanted in (("model", 1200), ("model_lod1", 300)):
        lines = (tmp_path / f"{name}.obj").read_text().splitlines()
        corners = np.array([len(line.split()) - 1 for line in lines if line.startswith("f ")])
        assert 0.7 * wanted < (corners == 4).sum() + (corners == 3).sum() / 2 < 1.4 * wanted
        assert (corners == 4).mean() > 0.6  # all but those at seams
        mesh = read_mesh(tmp_path / f"{name}.obj")
        joined = np.unique(mesh.vertices, axis=0, return_inverse=True)[1].reshape(-1)
        assert is_watertight(joined[mesh.faces]) and chamfer(mesh, whole) < 0.004
    assert exporter.figures["watertight"] and exporter.figures["warnings"] == []


def test_quads_are_refused_where_they_cannot_be_made(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *a: None)
    with pytest.raises(ConfigError, match=r"needs pyinstantmeshes(.|\n)*pip install pyinst"):
        MeshExporter.Config(quads=True)
    with pytest.raises(ConfigError, match="quads with a number of faces"):
        MeshExporter.Config(quads=True, faces=0)
