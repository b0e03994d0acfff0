"""Pivot, front, height and unit: every format says the same; what slicers are told of a solid."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from studio.cameras import orbit_cameras
from studio.errors import ConfigError
from studio.export.exporter import MeshExporter
from studio.export.readers import read_back, read_mesh
from studio.export.world import Wanted, place
from studio.mesh import Mesh
from studio.metrics.walls import print_figures, thinnest_wall
from studio.plugins.discovery import available, find
from studio.systems.originals import written_cameras
from studio.views import ViewSet
from tests.unit.test_formats import numbers, usdz_parts
from tests.unit.test_placement import exported_with, similarity
from tests.unit.test_preview import lamp_views  # noqa: F401  (a fixture)
from tests.unit.test_writers import textured_box

FRONT_DEG = 130.0
AXES = {"+z": (0, -1, 0), "-z": (0, 1, 0), "+x": (1, 0, 0), "-x": (-1, 0, 0)}
"""Of files with +y up, as the same ones with +z up have them."""


def generated(views: ViewSet) -> ViewSet:
    asked = written_cameras(orbit_cameras([FRONT_DEG], 20.0, size=8))
    return replace(views, meta={"guidance": "epidiff", "condition_cameras": asked})


def as_others_read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the box of a file in +z up metres, read by other programs or by hand."""
    if path.suffix == ".usdz":
        points = numbers(usdz_parts(path)["object.usda"].decode(), "points")
    elif path.suffix == ".3mf":
        points = read_mesh(path).vertices
    else:
        points = trimesh.load_scene(path, process=False).to_mesh().vertices
    points = points / (1000 if path.suffix == ".stl" else 1)
    if find("format", path.suffix[1:]).up == "+y":
        points = points[:, [0, 2, 1]] * [1, -1, 1]
    return points.min(0), points.max(0)


@pytest.mark.parametrize(
    ("pivot", "front", "height"), [("auto", "auto", 0.08), ("centre", "-x", 1.7), ("base", "+x", 0)]
)
def test_all_formats_agree(tmp_path, lamp_views, pivot, front, height):  # noqa: F811
    options = {"pivot": pivot, "front": front, "height": height, "inspect": False}
    formats = available("format")
    views = generated(lamp_views)
    written, exporter = exported_with(tmp_path, views, formats=formats, psnr_views=0, **options)
    boxes = {kind: np.array(as_others_read(path)) for kind, path in written.items()}
    low, high = boxes["glb"]
    for kind, box in boxes.items():
        np.testing.assert_allclose(box, [low, high], atol=2e-6, err_msg=kind)
    if height:
        assert high[2] - low[2] == pytest.approx(height, rel=1e-5)
    pivot_point = [*(low + high)[:2] / 2, low[2] if pivot != "centre" else (low + high)[2] / 2]
    np.testing.assert_allclose(pivot_point, 0, atol=1e-5)
    azimuth = math.radians(FRONT_DEG)
    camera = [math.cos(azimuth), math.sin(azimuth), 0]
    record = exporter.figures["files"]["model.stl"]
    towards = np.linalg.inv(np.array(record["to_views"])[:3, :3]) @ camera
    towards /= np.linalg.norm(towards)
    np.testing.assert_allclose(towards, AXES["+z" if front == "auto" else front], atol=1e-6)
    assert record["metres_per_unit"] == 0.001
    home = read_back(written["glb"])
    for kind in ("3mf", "ply", "obj"):
        got = read_back(written[kind])
        np.testing.assert_allclose(got.vertices.min(0), home.vertices.min(0), atol=1e-5)
    said = exporter.figures["print"]
    np.testing.assert_allclose(said["size_mm"], 1000 * (high - low), rtol=1e-4)
    volume = trimesh.load_mesh(written["stl"]).volume  # mm3
    assert said["watertight"] and said["volume_cm3"] == pytest.approx(volume / 1000, rel=1e-3)
    assert 0 < said["thinnest_wall_mm"] < 1000 * (high - low).min()


def test_a_pivot_of_a_capture_stands_it_on_the_ground_and_its_own_world_refuses(lamp_views):  # noqa: F811
    mesh = textured_box()
    views = replace(lamp_views, meta={"to_world": similarity("z", 120.0).tolist()})
    assert place(mesh, views, "+y").world == "capture"
    for wanted in (Wanted(pivot="centre"), Wanted(front="+x"), Wanted(height=2.0)):
        assert place(mesh, views, "+y", wanted).world == "ground"
    stays = place(mesh, views, "+y", Wanted("views", pivot="fitted"))
    np.testing.assert_array_equal(stays.to_file, np.eye(4))
    centred = place(mesh, views, "+y", Wanted("views", pivot="centre")).mesh(mesh)
    np.testing.assert_allclose(centred.vertices.min(0), -centred.vertices.max(0), atol=1e-6)
    for name, value in (("pivot", "base"), ("front", "-z"), ("height", 1.0)):
        with pytest.raises(ConfigError, match=f"{name} is {value} and world 'capture'"):
            MeshExporter.Config(world="capture", **{name: value})
    MeshExporter.Config(world="capture", pivot="fitted")


def shell(wall: float) -> Mesh:
    """A cube with a cavity."""
    outer = trimesh.creation.box((1, 1, 1))
    inner = trimesh.creation.box([1 - 2 * wall] * 3)
    faces = np.concatenate([outer.faces, inner.faces[:, ::-1] + 8])
    return Mesh(np.concatenate([outer.vertices, inner.vertices]).astype(np.float32), faces)


def test_the_thinnest_wall_is_measured_through_the_solid():
    assert thinnest_wall(shell(0.1)) == pytest.approx(0.1, abs=1e-4)
    assert thinnest_wall(textured_box()) == pytest.approx(0.2, abs=1e-4)
    ball = trimesh.creation.icosphere(subdivisions=4)
    found = thinnest_wall(Mesh(ball.vertices.astype(np.float32), np.asarray(ball.faces)))
    assert found == pytest.approx(2, rel=0.01)  # not the edges between its faces


def test_what_slicers_are_told():
    told = print_figures(shell(0.1), 0.05)  # a cube of 5 cm
    assert told["watertight"] and told["size_mm"] == [50, 50, 50]
    assert told["volume_cm3"] == pytest.approx(125 * (1 - 0.8**3), rel=1e-4)
    assert told["thinnest_wall_mm"] == pytest.approx(5, abs=0.01)
    solid = shell(0.1)
    opened = print_figures(replace(solid, faces=solid.faces[2:12]), 0.05)
    assert not opened["watertight"] and opened["volume_cm3"] is None


def test_our_stl_is_in_millimetres_and_others_are_taken_as_they_are(tmp_path):
    box = textured_box()
    path = box.save(tmp_path / "box.stl")
    raw = trimesh.load_mesh(path)
    np.testing.assert_allclose(raw.extents, [200, 500, 900], rtol=1e-6)
    np.testing.assert_allclose(np.ptp(read_mesh(path).vertices, axis=0), [0.2, 0.5, 0.9], rtol=1e-6)
    raw.export(tmp_path / "other.stl")
    assert np.ptp(read_mesh(tmp_path / "other.stl").vertices) > 500
