"""GLB files with JPEG, WebP and Draco: what they declare, and what readers get back."""

from __future__ import annotations

import importlib.util
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.config import parse_config
from studio.errors import ConfigError
from studio.export.cleanup import is_watertight
from studio.export.exporter import MeshExporter
from studio.export.formats.glb import Glb
from studio.export.readers import read_mesh
from studio.mesh import Mesh
from tests.unit.test_formats import ball, bumpy_box
from tests.unit.test_levels import Ball
from tests.unit.test_writers import glb_parts

needs_draco = pytest.mark.skipif(
    importlib.util.find_spec("DracoPy") is None, reason="DracoPy is not installed"
)
QUIET = {"turntable": False, "preview": False, "inspect": False, "formats": ["glb"]}


def photo_box() -> Mesh:
    """The box with a texture as photographs are: smooth, with some grain."""
    box = bumpy_box()
    y, x = np.mgrid[:256, :256] / 255
    texture = np.stack([x, y, 0.5 + 0.4 * np.sin(9 * x * y)], -1)
    texture += np.random.default_rng(0).normal(0, 0.01, texture.shape)
    return replace(box, texture=np.round(255 * texture.clip(0, 1)).astype(np.uint8))


def written(mesh: Mesh, path: Path, pictures: str = "png", compression: str = "none") -> Path:
    kind = Glb()
    kind.pictures, kind.compression = pictures, compression
    return kind.write(mesh, path)[0]


@pytest.mark.parametrize("pictures", ["jpeg", "webp"])
def test_pictures_are_small_and_what_is_no_colour_is_exact(tmp_path, pictures) -> None:
    box = photo_box()
    path = written(box, tmp_path / "small.glb", pictures)
    document, binary = glb_parts(path)
    kinds = []
    for image in document["images"]:
        view = document["bufferViews"][image["bufferView"]]
        content = binary[view["byteOffset"] :][: view["byteLength"]]
        kinds.append((image["mimeType"], Image.open(io.BytesIO(content)).format))
    assert kinds[0] == (f"image/{pictures}", pictures.upper())
    for texture in document["textures"]:
        source = texture.get("extensions", {}).get("EXT_texture_webp", texture)["source"]
        assert document["images"][source]["mimeType"] == kinds[source][0]
    required = ["EXT_texture_webp"] if pictures == "webp" else None
    assert document.get("extensionsRequired") == document.get("extensionsUsed") == required
    loaded = read_mesh(path)
    assert loaded.texture is not None and np.array_equal(loaded.normal_map, box.normal_map)
    assert np.abs(loaded.texture.astype(int) - box.texture).mean() < 4
    assert path.stat().st_size < 0.6 * written(box, tmp_path / "plain.glb").stat().st_size


@needs_draco
def test_draco_keeps_a_closed_mesh_closed_and_its_texture_in_place(tmp_path) -> None:
    box = photo_box()
    path = written(box, tmp_path / "small.glb", "webp", "draco")
    document, _ = glb_parts(path)
    primitive = document["meshes"][0]["primitives"][0]
    assert "KHR_draco_mesh_compression" in document["extensionsRequired"]
    named = primitive["extensions"]["KHR_draco_mesh_compression"]["attributes"]
    assert set(named) == set(primitive["attributes"]) == {"POSITION", "NORMAL", "TEXCOORD_0"}
    assert all("bufferView" not in accessor for accessor in document["accessors"])
    loaded = read_mesh(path)
    assert loaded.volume == pytest.approx(box.volume, rel=1e-3)
    joined = np.unique(loaded.vertices, axis=0, return_inverse=True)[1].reshape(-1)
    assert is_watertight(joined[loaded.faces])
    position = document["accessors"][primitive["attributes"]["POSITION"]]
    turned = loaded.vertices[:, [0, 2, 1]] * [1, 1, -1]
    np.testing.assert_allclose(position["min"], turned.min(0), atol=1e-6)
    corners = {tuple(row) for row in np.round(np.hstack([box.vertices, box.uv]), 3).tolist()}
    got = np.round(np.hstack([loaded.vertices, loaded.uv]), 3)
    assert {tuple(row) for row in got.tolist()} == corners


@needs_draco
def test_draco_keeps_vertex_colours_and_is_small(tmp_path) -> None:
    plain, small = (written(ball(), tmp_path / f"{c}.glb", "png", c) for c in ("none", "draco"))
    assert small.stat().st_size < 0.6 * plain.stat().st_size
    one, other = read_mesh(plain), read_mesh(small)
    order = [np.lexsort(np.round(m.vertices, 2).T) for m in (one, other)]
    np.testing.assert_allclose(one.vertices[order[0]], other.vertices[order[1]], atol=1e-4)
    np.testing.assert_allclose(one.colours[order[0]], other.colours[order[1]], atol=1e-4)


@needs_draco
def test_an_export_is_measured_from_the_compressed_file(tmp_path) -> None:
    options = {"resolution": 32, "faces": 600, "glb_compression": "draco", "glb_textures": "webp"}
    exporter = MeshExporter(parse_config(MeshExporter.Config, {**QUIET, **options}, key="x"))
    exporter.export(Ball(), None, tmp_path)
    assert exporter.figures["measured"] == "model.glb, read back" and exporter.figures["watertight"]


def test_without_the_package_it_is_refused_with_its_name(monkeypatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "DracoPy" else found(name, *a)
    )
    with pytest.raises(ConfigError, match=r"glb_compression is 'draco'(.|\n)*pip install DracoPy"):
        parse_config(MeshExporter.Config, {"glb_compression": "draco"}, key="exporter")
