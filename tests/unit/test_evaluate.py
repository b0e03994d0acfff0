"""`--evaluate`: meshes and folders of views, every protocol, and what it refuses."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from studio.app.cli import main
from studio.cameras import orbit_cameras
from studio.evaluation.meshes import turned
from studio.io.images import save_png
from studio.mesh import Mesh
from studio.metrics.lpips import expected_shapes
from studio.metrics.protocols import PROTOCOLS
from studio.views import ViewSet


def ellipsoid(scale: float = 1.0, shift: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    """Sides 1 x 0.6 x 0.4 around the origin, times and plus something."""
    ball = trimesh.creation.icosphere(2, radius=0.5)
    vertices = np.asarray(ball.vertices) * [1, 0.6, 0.4] * scale + np.array(shift)
    return Mesh(vertices.astype(np.float32), np.asarray(ball.faces, np.int64))


def write(mesh: Mesh, path: Path) -> str:
    trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(path)
    return str(path)


def evaluate(*words: str) -> dict:
    assert main(["--evaluate", *words]) == 0
    return json.loads(Path("evaluation.json").read_text())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pictures() -> torch.Tensor:
    """Three noisy RGBA pictures whose upper rows are transparent."""
    random = torch.Generator().manual_seed(0)
    rgba = torch.rand(3, 4, 40, 48, generator=random)
    rgba[:, 3] = 1.0
    rgba[:, 3, :10] = 0.0
    return (rgba * 255).round() / 255


def test_equal_meshes_by_every_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    path = write(ellipsoid(), Path("a.ply"))
    for name, protocol in PROTOCOLS.items():
        result = evaluate(f"pred={path}", f"reference={path}", f"protocol={name}")
        figures = result["metrics"]
        assert set(figures) == set(protocol.meshes.figures)
        assert result["protocol"]["name"] == name and result["protocol"]["normalises"]
        assert (result["pred"]["faces"], result["pred"]["open_edges"]) == (320, 0)
        assert figures.get("volume_iou", 1.0) == 1.0
        distance = figures.get("chamfer", figures.get("chamfer_squared_sum"))
        assert distance < (2e-3 if name == "viewfusion" else 1e-6)  # its samples are random
        printed = capsys.readouterr().out
        assert f"protocol {name}: a.ply | a.ply" in printed
        assert printed.endswith("evaluation.json\n")


def test_what_each_protocol_normalises() -> None:
    """Twice the size, elsewhere: only protocols that align each mesh by itself do not see it."""
    small, big = write(ellipsoid(), Path("a.ply")), write(ellipsoid(2.0, (3, 0, 0)), Path("b.ply"))
    alone = {}
    for name in ("eschernet", "viewfusion", "studio"):
        alone[name] = evaluate(f"pred={big}", f"reference={small}", f"protocol={name}")["metrics"]
    assert alone["eschernet"]["chamfer"] < 1e-6 and alone["eschernet"]["volume_iou"] == 1.0
    assert alone["viewfusion"]["f_score"] == 1.0
    assert alone["studio"]["volume_iou"] == 0.0 and alone["studio"]["chamfer"] > 1.5


def test_studio_figures_are_in_units_of_the_reference() -> None:
    paths = [write(ellipsoid(s), Path(f"{s}.ply")) for s in (10.0, 10.5)]
    figures = evaluate(f"pred={paths[1]}", f"reference={paths[0]}")["metrics"]
    assert figures["volume_iou"] == pytest.approx(1 / 1.05**3, abs=0.005)
    assert 0.01 < figures["chamfer"] < 0.025  # half of 5 % of the half axes 0.5, 0.3, 0.2
    assert figures["f_score@0.02"] > figures["f_score@0.01"]


def test_turning_the_judged_mesh() -> None:
    original = ellipsoid()
    quarter = turned(original, 90)
    assert np.ptp(quarter.vertices, axis=0) == pytest.approx([0.6, 1.0, 0.4], abs=1e-5)
    tip = original.vertices[:, 0].argmax()  # from +X to +Y
    assert quarter.vertices[tip] == pytest.approx([0, 0.5, 0], abs=1e-5)
    a, b = write(quarter, Path("a.ply")), write(original, Path("b.ply"))
    words = (f"pred={a}", f"reference={b}", "protocol=eschernet")
    assert evaluate(*words)["metrics"]["volume_iou"] < 0.7
    mended = evaluate(*words, "rotate_deg=-90")
    assert mended["metrics"]["volume_iou"] > 0.98
    assert mended["protocol"]["rotate_deg"] == -90


def test_open_meshes_are_named() -> None:
    mesh = ellipsoid()
    path = write(replace(mesh, faces=mesh.faces[5:]), Path("open.ply"))
    closed = write(mesh, Path("closed.ply"))
    result = evaluate(f"pred={path}", f"reference={closed}", "protocol=eschernet")
    assert result["pred"]["open_edges"] > 0 and result["reference"]["open_edges"] == 0
    assert len(result["warnings"]) == 1 and result["warnings"][0].startswith("open.ply has")


def test_views_against_a_folder_of_pictures(pictures: torch.Tensor) -> None:
    cameras = orbit_cameras([0, 120, 240], 30, size=(40, 48))
    ViewSet(pictures, cameras).save("views")
    worse = pictures.clone()
    worse[:, :3] = (worse[:, :3] + 25 / 255).clamp(0, 1)
    for i, picture in enumerate(worse):
        save_png(f"plain/{i:03d}.png", picture)
    save_png("plain/999.png", worse[0])  # references that nothing is judged by do not matter
    result = evaluate("pred=views", "reference=plain")
    assert (result["pairs"], result["reference"]["pictures"]) == (3, 4)
    white = pictures[:, :3] * pictures[:, 3:] + 1 - pictures[:, 3:]
    shown = worse[:, :3] * worse[:, 3:] + 1 - worse[:, 3:]
    wanted = [-10 * math.log10(((white - shown)[i] ** 2).mean()) for i in range(3)]
    assert result["metrics"]["psnr"] == pytest.approx(np.mean(wanted), abs=0.02)
    assert [row["psnr"] for row in result["views"]] == pytest.approx(wanted, abs=0.05)
    assert result["metrics"]["mask_iou"] == 1.0
    assert "alexnet" in result["left_out"]["lpips"]


def test_pictures_by_eschernets_protocol(pictures: torch.Tensor) -> None:
    from skimage.metrics import structural_similarity

    first, second = pictures[0], pictures[1]
    first[3] = second[3] = 1
    save_png("a/x.png", first)
    save_png("b/y.png", second)
    result = evaluate("pred=a", "reference=b", "protocol=eschernet", "match=order")
    bytes_ = [(p[:3] * 255).round().permute(1, 2, 0).byte().numpy() for p in (first, second)]
    wanted = structural_similarity(*bytes_, channel_axis=2)
    assert result["metrics"]["ssim"] == pytest.approx(wanted, abs=1e-5)
    assert (result["views"][0]["pred"], result["views"][0]["reference"]) == ("x", "y")


def test_equal_pictures(pictures: torch.Tensor) -> None:
    save_png("a/x.png", pictures[0])
    for name, protocol in PROTOCOLS.items():
        figures = evaluate("pred=a", "reference=a", f"protocol={name}")["metrics"]
        assert figures["psnr"] == "inf" and figures["ssim"] == pytest.approx(1)
        assert ("mask_iou" in figures) == protocol.views.masks


def test_lpips_where_there_are_weights(pictures: torch.Tensor) -> None:
    shapes = {n: s for n, s in expected_shapes("alex").items() if "head" not in n}
    random = torch.Generator().manual_seed(0)
    weights = {f"features.{n}": torch.randn(s, generator=random) / 30 for n, s in shapes.items()}
    torch.save(weights, "alexnet.pth")
    save_png("a/x.png", pictures[0])
    save_png("b/x.png", pictures[1])
    equal = evaluate("pred=a", "reference=a", "lpips=alexnet.pth")
    other = evaluate("pred=a", "reference=b", "lpips=alexnet.pth")
    assert equal["metrics"]["lpips"] == 0.0 < other["metrics"]["lpips"]
    assert other["left_out"] == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "pred=... has to be given"),
        (("pred=a.ply",), "reference=... has to be given"),
        (("pred=a.ply", "reference=none.ply"), "none.ply, which does not exist"),
        (("pred=a.ply", "reference=views"), "pred is a mesh, reference is a folder of views"),
        (("pred=a.txt", "reference=a.ply"), "a.txt, a file of another kind"),
        (("pred=a.usdz", "reference=a.ply"), "a.usdz is USD, which is written here, but not read"),
        (("pred=flat.ply", "reference=a.ply"), "flat.ply has no area"),
        (("pred=empty", "reference=views"), "folder empty holds no pictures"),
        (("pred=views", "reference=other"), "no picture named x"),
        (("pred=views", "reference=two", "match=order"), "pred has 1 pictures and reference 2"),
        (("pred=views", "reference=large"), "have 40x40 and 80x40 pixels"),
        (("pred=tiny", "reference=tiny"), "smaller than 32 pixels"),
        (("pred=a.ply", "reference=a.ply", "protocol=best"), "protocol is 'best'"),
        (("pred=a.ply", "reference=a.ply", "protocl=studio"), "did you mean 'protocol'"),
        (("pred=a.ply", "reference=a.ply", "rotate_deg=left"), "rotate_deg"),
        (("pred=views", "reference=views", "match=luck"), "match is 'luck'"),
        (("pred=views", "reference=views", "lpips=none"), "none does not exist"),
        (("pred=far.ply", "reference=a.ply", "protocol=syncdreamer"), "sees nothing"),
        (("pred=a.ply", "reference=a.ply", "--train"), "--evaluate stands alone"),
        (("pred=a.ply", "nonsense"), "'nonsense' is not key=value"),
    ],
)
def test_mistakes_end_in_one_message(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(ellipsoid(), Path("a.ply"))
    write(ellipsoid(1.0, (40, 0, 0)), Path("far.ply"))
    write(Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]])), Path("flat.ply"))
    Path("a.usdz").write_bytes(b"PK")
    Path("a.txt").write_text("hello")
    Path("empty").mkdir()
    for name in ("views/x", "other/y", "two/x", "two/y"):
        save_png(f"{name}.png", torch.ones(4, 40, 40))
    save_png("tiny/x.png", torch.ones(4, 20, 20))
    save_png("large/x.png", torch.ones(4, 40, 80))
    before = sorted(Path().rglob("*"))
    assert main(["--evaluate", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert sorted(Path().rglob("*")) == before


def test_a_result_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    path = write(ellipsoid(), Path("a.ply"))
    words = [f"pred={path}", f"reference={path}", "protocol=eschernet", "out=a.ply/x.json"]
    assert main(["--evaluate", *words]) == 2
    assert "cannot write a.ply" in capsys.readouterr().err
