"""Tables over public data sets: layouts, protocols and the command, on made-up scenes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from scipy.io import savemat

from benchmarks.public import SETS, listed, main
from studio.data.layouts.capture import CaptureData, recognise
from studio.errors import ConfigError, DataError
from studio.export.readers import read_mesh
from studio.jobs.record import Job
from studio.mesh import Mesh
from studio.metrics.culling import within_masks
from studio.metrics.dtu import DTUScan, dtu_figures
from studio.metrics.spacing import evenly_sampled, spaced
from studio.views import ViewSet
from tests.unit import public_scenes as made
from tests.unit.test_job_tasks import run

QUICK = {
    "system.hull.resolution": 32,
    "system.hull.fit_steps": 40,
    "system.geometry.levels": 3,
    "system.geometry.max_resolution": 32,
    "system.samples_per_step": 1024,
    "trainer.max_steps": 30,
    "task.resolution": 40,
    "task.test_views": 2,
}


def load(root: Path, **options: object) -> tuple[ViewSet, ViewSet | None]:
    data = CaptureData(CaptureData.Config(root=str(root), **options))  # type: ignore[arg-type]
    return data.load(), data.test()


def ball(radius: float, centre: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    body = trimesh.creation.icosphere(4, radius)
    vertices = np.asarray(body.vertices, np.float32) + np.array(centre, np.float32)
    return Mesh(vertices, np.asarray(body.faces, np.int64))


def together(*meshes: Mesh) -> Mesh:
    counts = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    faces = [m.faces + n for m, n in zip(meshes, counts, strict=False)]
    return Mesh(np.concatenate([m.vertices for m in meshes]), np.concatenate(faces))


# --- the points of a surface ----------------------------------------------------------------------


def test_spaced_points_are_neither_too_near_nor_too_few() -> None:
    points = np.random.default_rng(0).random((4000, 3)) * [3, 1, 0.2] - 1
    kept = spaced(points, 0.1, seed=3)
    from scipy.spatial import cKDTree

    tree = cKDTree(kept)
    assert tree.query(kept, k=2)[0][:, 1].min() >= 0.1
    assert tree.query(points)[0].max() < 0.1, "no point could be added"
    assert np.array_equal(kept, spaced(points, 0.1, seed=3))
    assert not np.array_equal(kept, spaced(points, 0.1, seed=4))
    assert len(spaced(points[:0], 0.1)) == 0 and len(spaced(points[[0, 0, 0]], 0.1)) == 1


def test_a_surface_is_sampled_everywhere_and_only_there() -> None:
    mesh = ball(10.0)
    points = evenly_sampled(mesh, 0.5)
    radius = np.linalg.norm(points, axis=1)
    assert radius.min() > 9.9 and radius.max() < 10.001
    everywhere = evenly_sampled(mesh, 0.5, seed=9)
    from scipy.spatial import cKDTree

    assert cKDTree(points).query(everywhere)[0].max() < 0.8
    doubled = replace(mesh, faces=np.concatenate([mesh.faces, mesh.faces]))
    assert abs(len(evenly_sampled(doubled, 0.5)) / len(points) - 1) < 0.1, "density, not count"


# --- DTU ------------------------------------------------------------------------------------------


def scan_of(mesh: Mesh, plane: tuple[float, ...] = (0, 0, 1, 1e3), seen: float = 1e3) -> DTUScan:
    body = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    points = np.asarray(trimesh.sample.sample_surface(body, 40_000, seed=0)[0])
    observed = np.ones((101, 101, 101), bool)
    cells = np.linspace(-100, 100, 101)
    observed[:, :, cells > seen] = False
    return DTUScan(points, np.array([[-100.0] * 3, [100.0] * 3]), 2.0, observed, np.array(plane))


def figures(mesh: Mesh, scan: DTUScan) -> dict[str, float]:
    return dtu_figures(mesh, scan, spacing=0.5)


def test_dtu_measures_millimetres() -> None:
    scan = scan_of(ball(20.0))
    exact, off = figures(ball(20.0), scan), figures(ball(21.0), scan)
    assert exact["chamfer"] < 0.35, "what is left is the distance between samples"
    assert off["accuracy"] == pytest.approx(1.0, abs=0.06)
    assert off["completeness"] == pytest.approx(1.0, abs=0.06)
    assert off["chamfer"] == pytest.approx((off["accuracy"] + off["completeness"]) / 2)
    assert off == figures(ball(21.0), scan), "the same points every time"


def test_dtu_leaves_out_what_is_far_unobserved_or_below_the_table() -> None:
    scan, plain = scan_of(ball(20.0)), figures(ball(20.0), scan_of(ball(20.0)))
    far = figures(together(ball(20.0), ball(4.0, (60, 0, 0))), scan)
    assert far["accuracy"] == pytest.approx(plain["accuracy"], abs=0.02)
    assert far["accuracy_share"] < 0.98 and far["completeness_share"] == 1
    near = together(ball(20.0), ball(4.0, (0, 0, 32)))  # 8 to 16 mm above
    assert figures(near, scan)["accuracy"] > plain["accuracy"] + 0.3
    hidden = figures(near, scan_of(ball(20.0), seen=22.0))
    assert hidden["accuracy"] == pytest.approx(plain["accuracy"], abs=0.02)
    upper = ball(20.0)
    upper = replace(upper, faces=upper.faces[(upper.vertices[upper.faces][..., 2] > 0).all(1)])
    assert figures(upper, scan)["completeness"] > 3
    above = figures(upper, scan_of(ball(20.0), plane=(0, 0, 1, -1)))
    assert above["completeness"] < 0.5, "half of the scan lies below the table"


def test_dtu_refuses_a_mesh_of_another_world() -> None:
    with pytest.raises(DataError, match=r"(?s)in mm.*world_mat"):
        figures(ball(0.5, (300, 0, 0)), scan_of(ball(20.0)))


def test_dtu_reads_the_files_of_the_benchmark(tmp_path: Path) -> None:
    made.dtu(tmp_path, 24, count=1)
    scan = DTUScan.read(tmp_path, 24)
    assert (
        scan.points.shape == (40_000, 3) and scan.cell == 0.4 and scan.observed.shape == (121,) * 3
    )
    middle = np.array([[20.0, -30.0, 600.0]])
    assert scan.observes(middle).all() and scan.above_table(middle).all()
    assert not scan.observes(middle + [0, 0, 22]).any(), "the mask ends there"
    assert not scan.observes(middle + [0, 0, 26]).any(), "outside of the mask's box"
    assert not scan.above_table(middle - [0, 0, 14.6]).any()
    with pytest.raises(DataError, match=r"ObsMask/ObsMask37_10\.mat"):
        DTUScan.read(tmp_path, 37)
    folder = tmp_path / "SampleSet" / "MVS Data" / "ObsMask"
    savemat(folder / "Plane24.mat", {"Q": np.zeros(4)})
    with pytest.raises(DataError, match="holds no P"):
        DTUScan.read(tmp_path, 24)
    savemat(folder / "Plane24.mat", {"P": np.zeros(3)})
    with pytest.raises(DataError, match="another shape"):
        DTUScan.read(tmp_path, 24)


def test_masks_cut_what_they_do_not_show() -> None:
    seen, truth = made.views(9), made.thing()
    blob = ball(0.03, (0.3, -0.2, 0.3))  # in the pictures, beside the object
    far = ball(0.03, (0, 0, 50.0))  # in no picture
    cut = within_masks(together(truth, blob, far), seen, margin=0.03)
    kept = cut.vertices
    assert len(kept) == len(truth.vertices) + len(far.vertices)
    assert np.array_equal(kept[: len(truth.vertices)], truth.vertices)
    assert len(within_masks(together(truth, blob), seen, margin=0.5).faces) > len(truth.faces)
    with pytest.raises(DataError, match="cut the whole mesh away"):
        within_masks(ball(0.03, (0.3, -0.2, 0.3)), seen, margin=0.0)


# --- layouts --------------------------------------------------------------------------------------


def test_stanford_orb_has_masks_in_folders_beside_the_pictures(tmp_path: Path) -> None:
    made.stanford_orb(tmp_path)
    views, test = load(tmp_path / "blender_LDR" / "thing_scene001")
    assert test is not None and (len(views), len(test)) == (12, 4)
    for got, wanted in ((views, made.views(12)), (test, made.views(4, 11.0))):
        assert torch.equal(got.images[:, 3] > 0.5, wanted.images[:, 3] > 0.5)
        assert torch.allclose(got.cameras.c2w, wanted.cameras.c2w, atol=1e-5)
        assert torch.allclose(got.cameras.intrinsics, wanted.cameras.intrinsics, atol=1e-3)


@pytest.mark.parametrize(("matrix", "white"), [(True, False), (False, True)])
def test_nsvf_is_read_as_it_was_rendered(tmp_path: Path, matrix: bool, white: bool) -> None:
    made.nsvf(tmp_path, "Jade", matrix=matrix, white=white)
    root = tmp_path / "Jade"
    assert recognise(root) == "nsvf"
    views, test = load(root, up="keep")
    assert test is not None and (len(views), len(test)) == (12, 4)
    assert views.bound == pytest.approx(0.55)
    for got, wanted in ((views, made.views(12)), (test, made.views(4, 11.0))):
        assert torch.allclose(got.cameras.c2w, wanted.cameras.c2w, atol=1e-5)
        assert torch.allclose(got.cameras.intrinsics, wanted.cameras.intrinsics, atol=1e-3)
        overlap = ((got.mask > 0.5) == (wanted.mask > 0.5)).float().mean()
        assert overlap > 0.99
    assert torch.allclose(views.to_world[:3, 3], torch.tensor([3.0, -2.0, 1.0]).double())


def test_nsvf_names_say_the_split(tmp_path: Path) -> None:
    made.nsvf(tmp_path, "a")
    root = tmp_path / "a"
    for i in range(2):  # the test split of Synthetic-NSVF; those with 1 are then for validation
        for folder, suffix in (("rgb", ".png"), ("pose", ".txt")):
            source = root / folder / f"1_{i:04d}{suffix}"
            source.rename(source.with_name(f"2_{i:04d}{suffix}"))
    _, test = load(root)
    assert test is not None and [name[0] for name in test.names] == ["2", "2"]
    for kind in ("rgb", "pose"):
        for path in (root / kind).iterdir():
            path.rename(path.with_name(f"x{path.name}"))
    views, test = load(root)
    assert len(views) == 16 and test is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("intrinsics.txt", "1 2\n", "holds no intrinsics"),
        ("intrinsics.txt", "a b c\n", "lines of numbers"),
        ("bbox.txt", "0 0 0 1 1\n", "holds no box"),
        ("pose/0_0000.txt", "1 0 0 0\n0 1 0 0\n", "no 4x4 matrix"),
        ("pose/0_0000.txt", "2 0 0 0\n0 2 0 0\n0 0 2 0\n0 0 0 1\n", "not rotation"),
        ("pose/0_0000.txt", "nan 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "not finite"),
        ("pose/0_0000.txt", None, "0_0000.txt"),
    ],
)
def test_nsvf_says_which_file_is_wrong(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    made.nsvf(tmp_path, "a")
    path = tmp_path / "a" / name
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "a")


# --- the measurements -----------------------------------------------------------------------------


def measured(row: dict[str, object], words: dict[str, str], out: Path) -> dict[str, dict]:
    """What the task finds of a row of a list."""
    given = {k: v for k, v in row.items() if k not in ("label", "capture", "reference")}
    options = {**QUICK, **words, **given}
    if "reference" in row:
        options["task.reference"] = row["reference"]
    job = Job("measure", "reconstruct", [str(row["capture"])], options=options)
    return run(job, out).figures


def only_row(name: str, root: Path) -> dict[str, object]:
    (row,) = listed(SETS[name], root, "", {})
    return row


def test_stanford_orb_is_measured(tmp_path: Path) -> None:
    made.stanford_orb(tmp_path)
    row = only_row("stanford-orb", tmp_path)
    found = measured(row, SETS["stanford-orb"].words, tmp_path / "out")
    assert found["test"]["views"] == 2 and found["step_count"] == 30
    assert 13 < found["test"]["psnr"] < 40 and 0.6 < found["test"]["ssim"] < 1
    pictures = sorted(p.name for p in (tmp_path / "out").glob("test-*.png"))
    assert pictures == [f"test-{i:04d}-{kind}.png" for i in (0, 3) for kind in ("made", "true")]
    assert found["surface"]["chamfer"] < 0.04
    assert found["surface"]["chamfer_squared_sum"] < 0.01
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert record["protocol"]["name"] == "stanford-orb"


def test_dtu_is_measured_in_the_scans_own_world(tmp_path: Path) -> None:
    made.dtu(tmp_path, 24)
    found = measured(only_row("dtu", tmp_path), SETS["dtu"].words, tmp_path / "out")
    surface = found["surface"]
    assert 0.1 < surface["chamfer"] < 1.5, "of a thing of 30 mm, after a few steps"
    assert surface["accuracy_share"] == surface["completeness_share"] == 1
    mesh, truth = read_mesh(tmp_path / "out" / "model.ply"), made.in_mm(made.thing())
    assert np.abs(mesh.vertices.min(0) - truth.vertices.min(0)).max() < 3
    assert np.abs(mesh.vertices.max(0) - truth.vertices.max(0)).max() < 3


def line(label: str, state: str = "done", **figures: float) -> dict[str, object]:
    return {"label": label, "state": state, "figures": figures, "error": "it is broken.\nReally."}


def test_a_table_is_of_all_slices_in_the_sets_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for scan in (24, 37, 106):
        (tmp_path / "data" / f"scan{scan}").mkdir(parents=True)
    out = tmp_path / "out"
    out.mkdir()
    one, two = ({"surface.chamfer": x, "surface.accuracy": x / 2} for x in (1.0, 3.0))
    rows = [line("scan106", **two), line("scan37", "failed"), line("scan24", **one)]
    for part, some in ((1, rows[:2]), (2, rows[2:])):
        text = "".join(json.dumps(row) + "\n" for row in some)
        (out / f"results-{part}-of-2.jsonl").write_text(text)
    assert main(["dtu", str(tmp_path / "data"), f"out={out}", "table=only"]) == 0
    table = (out / "table.md").read_text()
    assert table.splitlines() == [
        "| scene | acc. mm | mm |",
        "| --- | --- | --- |",
        "| scan24 | 0.5 | 1 |",
        "| scan106 | 1.5 | 3 |",
        "| mean of 2 of 3 | 1 | 2 |",
        "",
        "scan37: failed: it is broken.",
    ]
    assert table in capsys.readouterr().out
    assert main(["dtu"]) == 2 and main(["moon", str(out)]) == 2


@pytest.mark.slow
def test_two_scans_by_workers_and_not_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    for scan in (24, 106):
        made.dtu(root, scan)
    options = [f"{key}={value}" for key, value in QUICK.items()]
    words = ["dtu", str(root), f"out={out}", "workers=1", *options]
    scenes = tmp_path / "scenes.json"
    scenes.write_text(json.dumps({"scan106": {"task.resolution": 32}}))
    assert main([*words, f"scenes={scenes}", "part=2/2"]) == 0
    assert "mean of 1 of 2" in capsys.readouterr().out
    for _ in range(2):
        assert main([*words, f"scenes={scenes}", "part=1/2"]) == 0
        assert "mean of 2 of 2" in capsys.readouterr().out
    logs = sorted(out.glob("results*.jsonl"))
    assert [len(log.read_text().splitlines()) for log in logs] == [1, 1]
    assert main([*words, "part=2/2"]) == 2, "another job lies in that folder"


def test_a_root_that_is_not_there_is_named_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="folder nowhere does not exist"):
        main(["nerf-synthetic", "nowhere"])
    assert not any(tmp_path.iterdir())


def test_scenes_are_found_and_named(tmp_path: Path) -> None:
    for name in SETS:
        with pytest.raises(DataError, match="holds no scenes"):
            listed(SETS[name], tmp_path, "", {})
    for name in ("nerf-synthetic", "gso30"):
        root = tmp_path / name
        made.nerf_synthetic(root) if name == "nerf-synthetic" else made.gso30(root, "chair")
        (row,) = listed(SETS[name], root, "", {})
        assert (row["label"], row["capture"]) == ("chair", str(root / "chair"))
        assert row.get("reference") == (str(root / "chair/model.obj") if name == "gso30" else None)
    assert recognise(tmp_path / "gso30" / "chair") == "syncdreamer-16"
    made.nsvf(tmp_path, "Jade")
    (tmp_path / "notes").mkdir()
    rows = listed(SETS["blendedmvs"], tmp_path, "", {"Jade": {"data.resolution": 32}})
    assert [(row["label"], row["data.resolution"]) for row in rows] == [("Jade", 32)]
    with pytest.raises(ConfigError, match="no scene Stone"):
        listed(SETS["blendedmvs"], tmp_path, "Stone", {})
