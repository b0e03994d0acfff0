"""EscherNet's evaluation sets: what is given and wanted of each type of folder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from studio.cameras import Cameras, opencv_to_opengl, orbit_cameras, pinhole_intrinsics
from studio.data.training.eschernet_eval import EscherNetEvalData
from studio.data.training.eschernet_eval_frames import spherical_poses, spiral
from studio.data.training.eschernet_eval_sets import SETS
from studio.errors import ConfigError, DataError
from studio.guidance.eschernet.poses import blender_w2c, poses_4dof
from studio.plugins.options import build
from tests.unit.test_exr import write_exr

SIDE = 16


def data(root: Path, kind: str, **options: object) -> EscherNetEvalData:
    given = {"root": str(root), "type": kind, "resolution": SIDE, **options}
    return build("data", "eschernet-eval", given, key="data")


def write_views(folder: Path, cameras: Cameras, axes: str = "blender") -> None:
    """Pictures, half of the object half transparent, beside w2c matrices."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((2 * SIDE, 2 * SIDE, 4), np.uint8)
    pixels[8:24, 8:24] = (200, 40, 0, 255)
    pixels[8:24, 16:24, 3] = 51
    for i, c2w in enumerate(cameras.c2w.double()):
        c2w = opencv_to_opengl(c2w) if axes == "blender" else c2w
        np.save(folder / f"{i:03d}.npy", torch.linalg.inv(c2w)[:3].numpy())
        pixels[0, 0] = (i, 0, 0, 255)  # tells the views apart
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")


def ring(count: int, elevation: float = 20.0, radius: float = 1.7) -> Cameras:
    return orbit_cameras([k * 360 / count for k in range(count)], elevation, radius, size=SIDE)


def given(source: EscherNetEvalData) -> Cameras:
    views = source.condition().views
    assert views is not None
    return views.cameras


# --- Google Scanned Objects -----------------------------------------------------------------------


def test_gso25(tmp_path: Path) -> None:
    rig = ring(25)
    write_views(tmp_path / "render_mvs_25" / "model", rig)
    source = data(tmp_path, "GSO25")
    torch.testing.assert_close(given(source).c2w, rig.c2w[:3])
    torch.testing.assert_close(given(source).intrinsics, rig.intrinsics[:3])
    torch.testing.assert_close(source.targets().c2w, rig.c2w)
    assert source.measured == tuple(range(10, 25))
    truth = source.ground_truth()
    assert truth is not None and len(truth) == 25 and truth.images.shape[1:] == (4, SIDE, SIDE)
    assert source.condition().meta["references"] == [0, 1, 2]
    chosen = data(tmp_path, "GSO25", reference_views=[7, 3], targets=12)
    torch.testing.assert_close(given(chosen).c2w, rig.c2w[[7, 3]])
    assert len(chosen.targets()) == 12 and chosen.measured == (10, 11)
    for root in (tmp_path / "render_mvs_25", tmp_path / "render_mvs_25" / "model"):
        assert len(data(root, "GSO25", references=2).condition().views or ()) == 2


def test_pictures_right_and_released(tmp_path: Path) -> None:
    write_views(tmp_path / "render_mvs_25" / "model", ring(4))
    views = data(tmp_path, "GSO25").condition().views
    assert views is not None
    torch.testing.assert_close(views.images[0, :, 8, 5], torch.tensor([200, 40, 0, 255.0]) / 255)
    assert views.images[0, 3, 8, 10] == pytest.approx(0.2) and views.images[0, 3, 15, 15] == 0
    released = data(tmp_path, "GSO25", compositing="released")
    views, truth = released.condition().views, released.ground_truth()
    assert views is not None and truth is not None and (views.images[:, 3] == 1).all()
    pixel = views.images[0, :3, 8, 10] * 255  # no blending, 8 bit cut off
    assert ((pixel - torch.tensor([200.0, 40, 0])).abs() <= 1).all()
    assert (views.images[0, :3, 15, 15] == 1).all()
    assert not torch.equal(views.images, truth.images[:3])  # bilinear and bicubic


def test_rigs_with_opencv_axes(tmp_path: Path) -> None:
    rig = ring(36, 30.0, 1.5)
    write_views(tmp_path / "render_mvs_25" / "model", ring(25))
    write_views(tmp_path / "render_sync_36_single" / "model", rig, "opencv")
    write_views(tmp_path / "render_spiral_100" / "model", ring(100), "opencv")
    source = data(tmp_path, "GSO3D", cape="4dof", references=5)
    torch.testing.assert_close(source.targets().c2w, rig.c2w)
    assert len(given(source)) == 5 and source.measured == tuple(range(36))
    poses = poses_4dof(blender_w2c(source.targets().c2w))  # the official program raises here
    want = torch.tensor([math.pi / 3, math.pi / 18, 0.0, 0.0])
    torch.testing.assert_close(poses[1], want, atol=1e-5, rtol=0)
    assert len(data(tmp_path, "GSO100").targets()) == 100
    (tmp_path / "render_sync_36_single").rename(tmp_path / "mario")
    with pytest.raises(DataError, match="render_sync_36_single"):
        data(tmp_path, "GSO3D").targets()
    elsewhere = data(tmp_path, "GSO3D", target_poses=str(tmp_path / "mario" / "model"))
    torch.testing.assert_close(elsewhere.targets().c2w, rig.c2w)
    assert elsewhere.ground_truth() is None  # pictures of another object


# --- NeRF-synthetic, RTMV -------------------------------------------------------------------------


@pytest.fixture
def nerf(tmp_path: Path) -> Path:
    return write_nerf(tmp_path)


def write_nerf(tmp_path: Path) -> Path:
    """Eight training views 4 away (one 3), five test views; field of view 40 degrees."""
    for split, cameras in (("train", ring(8, 10.0, 4.0)), ("test", ring(5, 50.0, 4.0))):
        (tmp_path / split).mkdir()
        frames = []
        for i, matrix in enumerate(opencv_to_opengl(cameras.c2w)):
            if split == "train" and i == 2:
                matrix[:3, 3] *= 0.75
            Image.new("RGBA", (SIDE, SIDE), (i, 0, 0, 255)).save(tmp_path / split / f"r_{i}.png")
            frames.append({"file_path": f"./{split}/r_{i}", "transform_matrix": matrix.tolist()})
        document = {"camera_angle_x": math.radians(40), "frames": frames}
        (tmp_path / f"transforms_{split}.json").write_text(json.dumps(document))
    return tmp_path


def test_nerf_is_scaled_for_6dof(nerf: Path) -> None:
    source = data(nerf, "NeRF", reference_views=[2, 5])
    distance = given(source).centres.norm(dim=1)
    torch.testing.assert_close(distance, torch.tensor([1.125, 1.5]))
    torch.testing.assert_close(source.targets().c2w, ring(5, 50.0, 1.5).c2w)
    torch.testing.assert_close(given(source).intrinsics[0], pinhole_intrinsics(40, (SIDE, SIDE)))
    assert source.measured == tuple(range(5))
    truth = source.ground_truth()
    assert truth is not None and truth.images[3, 0, 0, 0] == pytest.approx(3 / 255)
    for options in ({"cape": "4dof"}, {"scaling": "never"}):
        plain = data(nerf, "NeRF", **options)
        torch.testing.assert_close(plain.targets().c2w, ring(5, 50.0, 4.0).c2w)
        assert plain.object.bound / source.object.bound == pytest.approx(4 / 1.5)
    both = data(nerf, "NeRF", cape="4dof", scaling="always").targets()
    torch.testing.assert_close(both.c2w, source.targets().c2w)


def test_references_of_nerf(nerf: Path) -> None:
    lists = nerf / "lists"
    (lists / nerf.name).mkdir(parents=True)
    np.save(lists / nerf.name / "train_N3M20_random.npy", np.array([6, 1, 4]))
    np.save(nerf / "two.npy", np.array([5, 7]))
    assert data(nerf, "NeRF", reference_list=str(nerf / "two.npy")).object.chosen == (5, 7)
    listed = data(nerf, "NeRF", reference_list=str(lists), references=3)
    assert listed.object.chosen == (6, 1, 4)
    with pytest.raises(DataError, match="train_N2M20"):
        data(nerf, "NeRF", reference_list=str(lists), references=2).condition()
    views = listed.condition().views
    assert views is not None and views.images[0, 0, 0, 0] == pytest.approx(6 / 255)
    draws = [data(nerf, "NeRF", seed=seed).object.chosen for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2] and len(set(draws[0])) == 3
    with pytest.raises(DataError, match="0 to 7"):
        data(nerf, "NeRF", references=9).condition()


def test_rtmv(tmp_path: Path) -> None:
    cameras = ring(22, 40.0, 2.0)
    for i, matrix in enumerate(opencv_to_opengl(cameras.c2w)):
        camera = {"cam2world": matrix.T.tolist(), "width": 5, "height": 18}
        camera["intrinsics"] = {"fx": 6.0, "fy": 18.0, "cx": 2.5, "cy": 9.0}
        (tmp_path / f"{i:05d}.json").write_text(json.dumps({"camera_data": camera}))
        write_exr(tmp_path / f"{i:05d}.exr")
    source = data(tmp_path, "RTMV", references=2)
    torch.testing.assert_close(source.targets().c2w, cameras.c2w[:20])
    torch.testing.assert_close(given(source).c2w, cameras.c2w[:2])
    want = torch.tensor([[1.2 * SIDE, 0, SIDE / 2], [0, SIDE, SIDE / 2], [0, 0, 1]])
    torch.testing.assert_close(given(source).intrinsics[0], want)
    assert source.measured == tuple(range(10, 20))
    truth = source.ground_truth()
    assert truth is not None and (truth.images[:, 3] == 1).all()
    assert truth.images[0, 0, -1].max() == 1 and truth.images[0, 0, 0].max() == 0  # cut
    released = data(tmp_path, "RTMV", compositing="released").ground_truth()
    assert released is not None
    assert released.images[0, 0, -1].max() == pytest.approx(0.86, abs=0.03)  # 478 - 256 of 255
    last = tmp_path / "00019.json"
    document = json.loads(last.read_text())
    document["camera_data"]["cam2world"][3] = [0.0, 0.0, 3.0, 1.0]
    last.write_text(json.dumps(document))
    for wanted in (20, 12):  # however many: the farthest camera of all stands at 1.5
        near = data(tmp_path, "RTMV", scaling="always", targets=wanted).targets().centres
        torch.testing.assert_close(near[:12].norm(dim=1), torch.full((12,), 1.0))


# --- cameras from angles --------------------------------------------------------------------------


def test_spiral_looks_at_the_object_from_the_top_down() -> None:
    angles = spiral(100)
    cameras = Cameras(spherical_poses(angles).float(), torch.eye(3).expand(100, 3, 3), (1, 1))
    azimuth, elevation, radius = cameras.spherical()
    torch.testing.assert_close(radius, torch.full((100,), 1.5))
    assert elevation[0] > 89.9 and elevation[-1] < -88 and (elevation.diff() < 0).all()
    torch.testing.assert_close(cameras.c2w[:, :3, 2], -cameras.centres / 1.5)
    torch.testing.assert_close(
        torch.linalg.det(cameras.c2w.double()), torch.ones(100).double(), atol=1e-5, rtol=0
    )
    between = orbit_cameras(azimuth[10:90].tolist(), elevation[10:90].tolist(), size=1)
    torch.testing.assert_close(cameras.c2w[10:90], between.c2w, atol=2e-5, rtol=0)
    wrapped = poses_4dof(blender_w2c(cameras.c2w))[:, :2].double()
    for part in (torch.sin, torch.cos):  # angles of the matrices are those of the spiral, wrapped
        torch.testing.assert_close(part(wrapped), part(angles), atol=2e-4, rtol=0)


def test_franka(tmp_path: Path) -> None:
    (tmp_path / "images_rgba").mkdir()
    angles = np.radians([[180 + 30 * i, 5 * i] for i in range(9)])
    np.save(tmp_path / "angles.npy", angles)
    for i in range(9):
        Image.new("RGBA", (8, 8), (i, 0, 0, 255)).save(
            tmp_path / "images_rgba" / f"frame{i:06d}.png"
        )
    source = data(tmp_path, "Franka", reference_views=[7, 1], cape="4dof")
    azimuth, elevation, radius = given(source).spherical()
    torch.testing.assert_close(azimuth, torch.tensor([210.0, 30.0]))
    torch.testing.assert_close(elevation, torch.tensor([35.0, 5.0]))
    torch.testing.assert_close(radius, torch.full((2,), 1.5))
    views = source.condition().views
    assert views is not None and views.images[0, 0, 0, 0] == pytest.approx(7 / 255)
    assert len(source.targets()) == 100 and source.ground_truth() is None
    assert source.measured == ()
    drawn = data(tmp_path, "Franka").object.chosen
    assert len(set(drawn)) == 5 and drawn != tuple(range(5))
    (tmp_path / "images_rgba" / "frame000008.png").unlink()
    with pytest.raises(DataError, match="8 pictures"):
        data(tmp_path, "Franka").targets()


def test_generated_pictures(tmp_path: Path) -> None:
    for i in range(4):
        Image.new("RGBA", (8, 8), (i, 0, 0, 255)).save(tmp_path / f"{i}_rgba.png")
    source = data(tmp_path, "MVDream", targets=50)
    azimuth, elevation, _ = given(source).spherical()
    torch.testing.assert_close(azimuth, torch.arange(4) * 90.0)
    torch.testing.assert_close(elevation, torch.zeros(4), atol=1e-4, rtol=0)
    assert len(source.targets()) == 50
    with pytest.raises(DataError, match="four references"):
        data(tmp_path, "MVDream", references=3).condition()
    with pytest.raises(DataError, match=r"4 files \*rgba"):
        data(tmp_path, "Text2Img").condition()
    for i in range(1, 4):
        (tmp_path / f"{i}_rgba.png").unlink()
    source = data(tmp_path, "Text2Img")
    assert len(given(source)) == 1 and len(source.targets()) == 100
    torch.testing.assert_close(given(source).centres, torch.tensor([[1.5, 0, 0]]))
    with pytest.raises(DataError, match=r"1_rgba\.png"):
        data(tmp_path, "MVDream").condition()


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(SETS))
def test_empty_folders_name_what_is_missing(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        data(tmp_path, kind).condition()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kind": "GSO30"}, "GSO25, GSO3D"),
        ({"cape": "5dof"}, "6dof, 4dof"),
        ({"scaling": "some"}, "released, always, never"),
        ({"compositing": "white"}, "right, released"),
        ({"resolution": 2}, "8 to 4096"),
    ],
)
def test_options_that_do_not_exist(tmp_path: Path, options: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        data(tmp_path, **{"kind": "GSO25", **options}).targets()


# --- real objects ---------------------------------------------------------------------------------


def carved(source: EscherNetEvalData) -> torch.Tensor:
    """Points of the body that all true silhouettes leave; checks that it fills each of them."""
    truth, side = source.ground_truth(), source.cfg.resolution
    assert truth is not None
    axis = torch.linspace(-0.6, 0.6, 48)
    points = torch.cartesian_prod(axis, axis, axis)
    pixels, _ = source.targets().project(points)
    places = pixels.floor().long().clamp(0, side - 1)
    inside = torch.ones(len(points), dtype=torch.bool)
    for mask, place in zip(truth.mask, places, strict=True):
        inside &= mask[place[:, 1], place[:, 0]] > 0.3
    for mask, place in zip(truth.mask, places[:, inside], strict=True):
        seen = torch.zeros(side, side)
        seen[place[:, 1], place[:, 0]] = 1
        seen = torch.nn.functional.max_pool2d(seen[None], 3, 1, 1)[0]
        assert float(seen[mask > 0.5].mean()) > 0.93
    return points[inside]


def test_elephant(test_data: Path) -> None:
    """Three of its 25 views are given."""
    root = test_data / "gso_elephant"
    source = data(root, "GSO25", resolution=64)
    views, truth = source.condition().views, source.ground_truth()
    assert views is not None and truth is not None and len(views) == 3 and len(truth) == 25
    torch.testing.assert_close(views.images, truth.images[:3])
    torch.testing.assert_close(views.cameras.c2w, source.targets().c2w[:3])
    for i in (0, 9, 24):
        w2c = torch.from_numpy(np.load(root / "render_mvs_25" / "model" / f"{i:03d}.npy"))
        blender = blender_w2c(source.targets().c2w[i].double())[:3]
        torch.testing.assert_close(blender, w2c.double(), atol=1e-6, rtol=0)
    body = carved(source)
    assert (body.amax(0) - body.amin(0)).max() == pytest.approx(1.0, abs=0.06)  # longest side 1


def test_nerf_chair(test_data: Path) -> None:
    """Cameras 4.03 away are brought to 1.5, and the chair, within 1.1, with them."""
    source = data(test_data / "nerf_synthetic_chair", "NeRF", resolution=64)
    distance = source.targets().centres.norm(dim=1)
    torch.testing.assert_close(distance, torch.full((25,), 1.5), atol=1e-4, rtol=0)
    assert len(given(source)) == 3 and source.measured == tuple(range(25))
    assert carved(source).abs().max() == pytest.approx(1.1 * 1.5 / 4.03, abs=0.05)
