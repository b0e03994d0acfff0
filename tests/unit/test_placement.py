"""Where exported files lie, how to come back from there, and what they say of themselves."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

import studio
from studio.cameras import orbit_cameras
from studio.errors import ConfigError
from studio.evaluation.meshes import read_pair
from studio.evaluation.options import EvaluateConfig
from studio.evaluation.record import run_evaluation
from studio.export.exporter import MeshExporter
from studio.export.notes import notes_of, read_record
from studio.export.readers import read_back, read_exact, read_mesh, read_together
from studio.export.world import transformed
from studio.mesh import Mesh
from studio.systems.originals import written_cameras
from studio.views import ViewSet
from tests.unit.test_preview import Lamp, lamp_views  # noqa: F401  (a fixture)

BARE = {
    "resolution": 48,
    "faces": 2000,
    "texture_size": 128,
    "texture_source": "field",
    "unwrap": "box",
    "turntable": False,
    "preview": False,
    "psnr_views": 3,
}


def exported_with(folder: Path, views: ViewSet, **options) -> tuple[dict[str, Path], MeshExporter]:
    config = MeshExporter.Config(**{**BARE, "formats": ["glb", "ply", "obj", "3mf"], **options})
    exporter = MeshExporter(config)
    return exporter.export(Lamp(), views, folder), exporter


def similarity(axis: str, degrees: float) -> torch.Tensor:
    """Turn about an axis, double, move."""
    angle = math.radians(degrees)
    c, s = math.cos(angle), math.sin(angle)
    turn = {"z": [[c, -s, 0], [s, c, 0], [0, 0, 1]], "x": [[1, 0, 0], [0, c, -s], [0, s, c]]}
    matrix = torch.eye(4)
    matrix[:3, :3] = 2 * torch.tensor(turn[axis])
    matrix[:3, 3] = torch.tensor([3.0, -1.0, 0.5])
    return matrix


@pytest.fixture(scope="module")
def home(tmp_path_factory, lamp_views) -> dict[str, Mesh]:  # noqa: F811
    """The files of views that say nothing of where they are."""
    views = replace(lamp_views, meta={})
    written, _ = exported_with(tmp_path_factory.mktemp("home"), views, inspect=False)
    return {kind: read_mesh(path) for kind, path in written.items()}


@pytest.mark.parametrize(
    ("axis", "world", "moved"),
    [
        ("z", "auto", {"glb": True, "obj": True, "ply": True, "3mf": True}),
        # +Z is not up there: viewers get it upright
        ("x", "auto", {"glb": False, "obj": False, "ply": True, "3mf": True}),
        ("x", "capture", {"glb": True, "obj": True, "ply": True, "3mf": True}),
        ("z", "views", {"glb": False, "obj": False, "ply": False, "3mf": False}),
    ],
)
def test_files_lie_in_the_captures_own_world(tmp_path, lamp_views, home, axis, world, moved):  # noqa: F811
    matrix = similarity(axis, 120.0)
    views = replace(lamp_views, meta={"to_world": matrix.tolist()})
    written, exporter = exported_with(tmp_path, views, world=world)
    for kind, is_moved in moved.items():
        there = transformed(home[kind], matrix.double().numpy())
        expected = there if is_moved else home[kind]
        for got, true in (
            (read_mesh(written[kind]), expected),
            (read_back(written[kind]), home[kind]),  # the file tells how to come back
            (read_back(written[kind], "capture"), there),
        ):
            np.testing.assert_allclose(got.vertices, true.vertices, atol=1e-5)
    assert exporter.figures["mesh_psnr"] > 25 and exporter.figures["outward"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("stl", "model.stl, read back; its colours on the mesh itself, as it has none"),
        ("usdz", "the mesh itself: model.usdz cannot be read back"),
    ],
)
def test_files_that_tell_less_are_measured_with_the_mesh_itself(tmp_path, lamp_views, kind, said):  # noqa: F811
    views = replace(lamp_views, meta={"to_world": similarity("z", 120.0).tolist()})
    _, exporter = exported_with(tmp_path, views, formats=[kind])
    figures = exporter.figures
    assert figures["measured"] == said
    assert figures["watertight"] and figures["outward"] and figures["mesh_psnr"] > 25
    _, other = exported_with(tmp_path, views, formats=["ply"])
    assert figures["volume"] == pytest.approx(other.figures["volume"], rel=1e-4)  # the file's
    assert other.figures["measured"] == "model.ply, read back"


def asked_from(azimuth_deg: float) -> dict:
    return {"condition_cameras": written_cameras(orbit_cameras([azimuth_deg], 20.0, size=8))}


@pytest.mark.parametrize("front", [0.0, 130.0, None])
def test_generated_objects_stand_on_the_ground_and_show_their_front(tmp_path, lamp_views, front):  # noqa: F811
    """The picture's camera is on +z of Y-up files, as glTF's front is, and on -y of PLY."""
    meta = {"guidance": "epidiff"} | ({} if front is None else asked_from(front))
    views = replace(lamp_views, meta=meta).select([2, 1, 3])  # the first one at 80 degrees
    formats = ["glb", "ply", "obj"]  # which trimesh reads without further packages
    written, exporter = exported_with(tmp_path, views, height=1.8, formats=formats)
    azimuth = math.radians(80.0 if front is None else front)
    camera = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    for kind, path in written.items():
        record = exporter.figures["files"][path.name]
        assert record == read_record(path)
        assert record["world"] == "ground" and not any(record["offset"])
        scene = trimesh.load_scene(path, process=False)
        low, high = scene.geometry["object"].bounds if kind == "inspect" else scene.bounds
        up = {"+y": 1, "+z": 2}[record["up"]]
        assert low[up] == pytest.approx(0, abs=1e-6) and high[up] == pytest.approx(1.8)
        across = [i for i in range(3) if i != up]
        np.testing.assert_allclose((low + high)[across], 0, atol=1e-5)
        turn = np.linalg.inv(np.array(record["to_views"]))[:3, :3]
        towards = turn @ camera / np.linalg.norm(turn @ camera)
        front_axis = {"+y": [0, 0, 1], "+z": [0, -1, 0]}[record["up"]]
        np.testing.assert_allclose(towards, front_axis, atol=1e-6)
    assert exporter.figures["mesh_psnr"] > 25  # read back, from where the cameras are
    assert exporter.figures["volume"] == pytest.approx(read_mesh(written["glb"]).volume, rel=1e-4)


@pytest.mark.parametrize("elevation", [89.5, -89.5])
def test_the_front_of_a_picture_from_above_is_what_is_low_in_it(lamp_views, elevation):  # noqa: F811
    from studio.export.world import place

    cameras = orbit_cameras([30.0], elevation, size=4)
    views = ViewSet(torch.zeros(1, 4, 4, 4), cameras, meta={"guidance": "zero123"})
    mesh = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]]))
    angle = math.radians(30.0)
    front = place(mesh, views, "+z").to_file[:3, :3] @ [math.cos(angle), math.sin(angle), 0]
    np.testing.assert_allclose(front, [0, -1, 0], atol=1e-4)


FAR = torch.tensor([4_075_531.7, 931_781.2, -4_801_619.4], dtype=torch.float64)


def far_views(views: ViewSet) -> tuple[ViewSet, np.ndarray]:
    """A capture in Earth-centred or UTM metres."""
    matrix = similarity("z", 120.0).double()
    matrix[:3, 3] = FAR
    return replace(views, meta={"to_world": matrix.tolist()}), matrix.numpy()


@pytest.mark.parametrize("kind", ["glb", "ply", "obj", "3mf"])
def test_far_from_the_origin_the_offset_is_kept_apart(tmp_path, lamp_views, home, kind, caplog):  # noqa: F811
    """float32 would merge the vertices."""
    views, matrix = far_views(lamp_views)
    with caplog.at_level("INFO"):
        written, exporter = exported_with(tmp_path, views, formats=[kind])
    record = exporter.figures["files"][written[kind].name]
    assert record["world"] == "capture"
    assert f"model.{kind}: vertices are counted from" in caplog.text
    assert np.abs(np.array(record["offset"]) - FAR.numpy()).max() < 2
    way = np.array(record["to_capture"])
    there = read_exact(written[kind]).vertices @ way[:3, :3].T + way[:3, 3]
    ours = (there - matrix[:3, 3]) @ np.linalg.inv(matrix[:3, :3]).T
    np.testing.assert_allclose(ours, home[kind].vertices, atol=1e-5)
    np.testing.assert_allclose(read_back(written[kind]).vertices, home[kind].vertices, atol=1e-5)
    assert exporter.figures["watertight"] and exporter.figures["mesh_psnr"] > 25
    pair = read_together([written[kind]] * 2, ["auto"] * 2)
    np.testing.assert_allclose(np.ptp(pair[0].vertices, 0), np.ptp(there, 0), rtol=1e-5)


def test_the_parts_of_a_far_inspection_file_stay_together(tmp_path, lamp_views):  # noqa: F811
    written, _ = exported_with(tmp_path, far_views(lamp_views)[0], formats=["glb"])
    scene = trimesh.load_scene(written["inspect"], process=False)
    assert np.ptp(scene.bounds, axis=0).max() < 20 and np.abs(scene.bounds).max() > 4e6


@pytest.mark.parametrize("kind", ["glb", "ply", "obj", "3mf"])
def test_evaluation_compares_where_the_cameras_are(tmp_path, lamp_views, home, kind):  # noqa: F811
    """A generated object is on the ground in its file, a capture elsewhere; truth is at home."""
    home[kind].save(tmp_path / "home.ply")
    generated = replace(lamp_views, meta={"guidance": "epidiff"} | asked_from(75.0))
    captured, matrix = far_views(lamp_views)
    truth = trimesh.Trimesh(home[kind].vertices, home[kind].faces, process=False)
    truth.apply_transform(matrix)  # in float64, by another program
    truth.export(tmp_path / "far.obj", digits=9)
    for views, reference, world, height in (
        (generated, "home.ply", "ground", 0.3),
        (captured, "far.obj", "capture", 0.0),
    ):
        options = {"formats": [kind], "inspect": False, "psnr_views": 0, "height": height}
        written, _ = exported_with(tmp_path / "export", views, **options)
        cfg = EvaluateConfig(pred=str(written[kind]), reference=str(tmp_path / reference))
        (mesh, about), (true, about_true) = read_pair(cfg, cfg.pred, cfg.reference)
        assert (about["brought_back_from"], about_true["brought_back_from"]) in (
            (world, "views" if reference == "home.ply" else None),
        )
        size = float(np.ptp(true.vertices, axis=0).max())
        np.testing.assert_allclose(mesh.vertices, true.vertices, atol=1e-5 * size)


def test_which_way_is_up_can_be_told(tmp_path, home, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"pred_up is 'x'(.|\n)*auto, \+y, \+z"):
        run_evaluation(["pred=a.obj", "reference=a.obj", "pred_up=x"])


def test_other_programs_files_are_taken_as_they_are_or_as_told(tmp_path, home):
    mesh = home["ply"]
    trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(tmp_path / "a.obj", digits=9)
    np.testing.assert_allclose(read_mesh(tmp_path / "a.obj").vertices, mesh.vertices, atol=1e-6)
    x, y, z = mesh.vertices.T
    turned = read_mesh(tmp_path / "a.obj", up="+y").vertices
    np.testing.assert_allclose(turned, np.stack([x, -z, y], 1), atol=1e-6)


def test_an_earlier_export_leaves_nothing_beside_a_new_one(tmp_path, lamp_views):  # noqa: F811
    exported_with(tmp_path, lamp_views, preview=True)
    (tmp_path / "mine.glb").write_text("not ours")
    exported_with(tmp_path, lamp_views, formats=["ply"], inspect=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.glb", "model.ply"]
    exported_with(tmp_path, lamp_views, formats=["obj"], inspect=False)
    names = ["mine.glb", "model.mtl", "model.obj", "model.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names


@pytest.mark.parametrize(
    ("meta", "name"),
    [
        ({"condition": {"image": "load/images/my red car.png"}}, "my red car"),
        ({"condition": {"text": "a red\ncar " * 20}}, ("a red car " * 20)[:59]),
        ({"condition": {"images": ["a/left.png", "a/right.png"]}}, "left"),
        ({"condition": {"root": "captures/mug/"}}, "mug"),
        ({"source": "captures/Spot/sparse/0"}, "Spot"),
        ({"source": "captures/Spot/transforms_train.json"}, "Spot"),
        ({"source": "captures/Spot/cameras_sphere.npz"}, "Spot"),
        ({}, "object"),
        ({"condition": "broken"}, "object"),
    ],
)
def test_files_name_what_they_show(meta, name):
    views = ViewSet(torch.zeros(1, 4, 4, 4), orbit_cameras([0.0], 0.0, size=4), meta=meta)
    assert notes_of(views).name == name


def test_files_name_their_parts_their_maker_and_the_weights_licence(tmp_path, lamp_views):  # noqa: F811
    meta = {
        "guidance": "epidiff",
        "condition": {"image": "pictures/my car.png"},
        "weights": {"source": "load/nano/epidiff", "licence": "Apache-2.0"},
    }
    written, _ = exported_with(tmp_path, replace(lamp_views, meta=meta))
    content = written["glb"].read_bytes()
    document = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    asset = document["asset"]
    assert asset["generator"] == f"studio {studio.__version__}"
    assert "load/nano/epidiff" in asset["copyright"] and "Apache-2.0" in asset["copyright"]
    assert [node["name"] for node in document["nodes"]] == ["my car"]
    assert document["materials"][0]["name"] == document["images"][0]["name"] == "my car surface"
    assert "doubleSided" not in document["materials"][0]  # a solid
    lines = written["obj"].read_text().splitlines()
    assert "o my_car" in lines and lines.index("usemtl my_car_surface") > lines.index("o my_car")
    assert "newmtl my_car_surface" in (tmp_path / "model.mtl").read_text()
    assert b"comment copyright: Views made by epidiff" in written["ply"].read_bytes()[:4000]
