"""`transforms.json` of other programs: what is read, and what every mistake is told."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from studio.cameras import opencv_to_opengl, orbit_cameras
from studio.captures.bounds import guess_bound, look_at_point
from studio.captures.transforms import find_transforms
from studio.data.layouts.transforms import TransformsData
from studio.errors import DataError, StudioError
from studio.plugins.options import build
from studio.views import ViewSet

DATA = os.environ.get("STUDIO_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="STUDIO_TEST_DATA is not set")
SIZE = 40
RIG = orbit_cameras([0, 50, 130, 220, 300], [20.0, 45, -10, 30, 0], 2.0, 45.0, SIZE)


def ball_pictures() -> list[np.ndarray]:
    """A ball of radius 0.4 at the origin as the rig sees it, RGBA."""
    rays = RIG.rays()
    closest = (rays.origins + 0 * rays.directions).cross(rays.directions, dim=1).norm(dim=1)
    alpha = (closest < 0.4).reshape(len(RIG), SIZE, SIZE, 1).to(torch.uint8) * 255
    rgb = torch.full((len(RIG), SIZE, SIZE, 3), 120, dtype=torch.uint8)
    return list(torch.cat([rgb, alpha], dim=3).numpy())


def capture(folder: Path, flavour: str = "nerf", **extra: Any) -> dict[str, Any]:
    """Write a capture in NeRF-synthetic's or nerfstudio's flavour and return the document."""
    (folder / "pics").mkdir(parents=True)
    matrices = opencv_to_opengl(RIG.c2w).tolist()
    frames = []
    for i, (picture, matrix) in enumerate(zip(ball_pictures(), matrices, strict=True)):
        Image.fromarray(picture).save(folder / "pics" / f"r_{i}.png")
        suffix = "" if flavour == "nerf" else ".png"
        frames.append({"file_path": f"./pics/r_{i}{suffix}", "transform_matrix": matrix})
    focal = RIG.intrinsics[0, 0, 0].item()
    keys: dict[str, Any] = {"camera_angle_x": math.radians(45.0)}
    if flavour == "nerfstudio":
        keys = {"camera_model": "OPENCV", "fl_x": focal, "fl_y": focal, "w": SIZE, "h": SIZE}
        keys |= {"cx": SIZE / 2, "cy": SIZE / 2, "k1": 0.0, "p1": 0, "applied_transform": [[1.0]]}
    document = {**keys, **extra, "frames": frames}
    name = "transforms_train.json" if flavour == "nerf" else "transforms.json"
    (folder / name).write_text(json.dumps(document))
    return document


@pytest.mark.parametrize("flavour", ["nerf", "nerfstudio"])
def test_both_flavours(tmp_path: Path, flavour: str) -> None:
    capture(tmp_path / "c", flavour)
    views = ViewSet.load(tmp_path / "c", "train")
    torch.testing.assert_close(views.cameras.c2w, RIG.c2w)
    torch.testing.assert_close(views.cameras.intrinsics, RIG.intrinsics)
    assert views.names == tuple(f"r_{i}" for i in range(5))
    assert 0.4 < views.bound < 0.55  # the visual hull of five views is a little larger


def test_intrinsics_per_frame_go_before_the_file(tmp_path: Path) -> None:
    document = capture(tmp_path / "c", "nerfstudio")
    document["frames"][2] |= {"fl_x": 55.5, "cy": 18.25}
    (tmp_path / "c" / "transforms.json").write_text(json.dumps(document))
    k = ViewSet.load(tmp_path / "c", bound=1.0).cameras.intrinsics
    assert (k[2, 0, 0], k[2, 1, 2]) == (55.5, 18.25)
    assert k[1, 0, 0] == RIG.intrinsics[1, 0, 0] and k[1, 1, 2] == SIZE / 2


def test_intrinsics_follow_pictures_that_were_scaled(tmp_path: Path) -> None:
    document = capture(tmp_path / "c", "nerfstudio")
    for key in ("w", "h", "fl_x", "fl_y", "cx", "cy"):
        document[key] *= 4
    (tmp_path / "c" / "transforms.json").write_text(json.dumps(document))
    k = ViewSet.load(tmp_path / "c").cameras.intrinsics
    torch.testing.assert_close(k, RIG.intrinsics)


def test_masks_in_their_own_files(tmp_path: Path) -> None:
    document = capture(tmp_path / "c", "nerfstudio")
    for i, (frame, picture) in enumerate(zip(document["frames"], ball_pictures(), strict=True)):
        Image.fromarray(picture[..., :3]).save(tmp_path / "c" / "pics" / f"r_{i}.png")
        Image.fromarray(picture[..., 3]).save(tmp_path / "c" / "pics" / f"mask_{i}.png")
        frame["mask_path"] = f"pics/mask_{i}.png"
    (tmp_path / "c" / "transforms.json").write_text(json.dumps(document))
    mask = ViewSet.load(tmp_path / "c").mask
    expected = torch.from_numpy(np.stack(ball_pictures())[..., 3]) / 255
    torch.testing.assert_close(mask, expected)


def test_split_lists_of_nerfstudio(tmp_path: Path) -> None:
    files = ["./pics/r_1.png", "./pics/r_3.png"]
    capture(tmp_path / "c", "nerfstudio", train_filenames=files)
    assert ViewSet.load(tmp_path / "c", "train").names == ("r_1", "r_3")
    assert len(ViewSet.load(tmp_path / "c")) == 5


def test_names_of_files_in_several_folders(tmp_path: Path) -> None:
    document = capture(tmp_path / "c", "nerfstudio")
    for i in (0, 1):
        (tmp_path / "c" / f"cam{i}").mkdir()
        (tmp_path / "c" / f"cam{i}" / "a.png").write_bytes(
            (tmp_path / "c" / "pics" / f"r_{i}.png").read_bytes()
        )
        document["frames"][i]["file_path"] = f"cam{i}\\a.png"  # written on Windows
    document["frames"] = document["frames"][:2]
    (tmp_path / "c" / "transforms.json").write_text(json.dumps(document))
    assert ViewSet.load(tmp_path / "c", bound=1.0).names == ("cam0-a", "cam1-a")


def change(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.__setitem__(key, value)


def change_matrix(row: int, column: int, value: float) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        document["frames"][1]["transform_matrix"][row][column] = value

    return apply


def scaled(document: dict[str, Any]) -> None:
    matrix = np.array(document["frames"][1]["transform_matrix"])
    matrix[:3, :3] *= 0.5
    document["frames"][1]["transform_matrix"] = matrix.tolist()


def mirrored(document: dict[str, Any]) -> None:
    matrix = np.array(document["frames"][1]["transform_matrix"])
    matrix[:3, 0] *= -1
    document["frames"][1]["transform_matrix"] = matrix.tolist()


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (change("frames", []), "has no frames"),
        (change("frames", "none"), "has no frames"),
        (change("frames", [{"transform_matrix": []}]), 'no "file_path"'),
        (change_matrix(0, 3, math.nan), "NaN or an infinite"),
        (change_matrix(2, 1, math.inf), "NaN or an infinite"),
        (change_matrix(3, 3, 2.0), "not rotation and translation"),
        (scaled, "not rotation and translation"),
        (mirrored, "not rotation and translation"),
        (lambda d: d["frames"][1].pop("transform_matrix"), "no matrix of numbers"),
        (lambda d: d["frames"][1].update(transform_matrix=[[1, 0], [0, 1]]), "has shape"),
        (lambda d: d["frames"][1].update(transform_matrix=[["x"]]), "no matrix of numbers"),
        (lambda d: [f.update(file_path="pics/gone.png") for f in d["frames"][:3]], "3 of 5 frames"),
        (change("k4", 0.02), r"OPENCV; k4\)"),
        (change("is_fisheye", True), "OPENCV; is_fisheye"),
        (change("camera_model", "FISHEYE"), "camera_model is FISHEYE"),
        (change("camera_model", "ORTHOGRAPHIC"), "one studio.ortho_scale per frame"),
        (change("fl_x", 0), "focal length along x"),
        (lambda d: [d.pop("fl_x"), d.update(camera_angle_x=49.1)], r"is 49.1. It looks like degr"),
        (lambda d: [d.pop("fl_x"), d.update(camera_angle_x=-1)], r"camera_angle_x is -1\.\n"),
        (lambda d: [f.update(file_path="pics/r_0.png") for f in d["frames"][:3]], "3 frames at di"),
        (change("fl_x", "wide"), "fl_x is 'wide'"),
        (change("w", 80), "w x h = 80x40"),
        (change("studio", 3), '"studio" is 3'),
        (change("studio", {"bound": "big"}), "bound is 'big'"),
        (change("studio", {"bound": -1}), "bound is -1"),
        (lambda d: [d.pop("fl_x"), d.pop("fl_y")], "gives no focal length"),
    ],
)
def test_mistakes_in_the_file(
    tmp_path: Path, mistake: Callable[[dict[str, Any]], None], words: str
) -> None:
    document = capture(tmp_path / "c", "nerfstudio")
    mistake(document)
    path = tmp_path / "c" / "transforms.json"
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=words) as caught:
        ViewSet.load(tmp_path / "c")
    assert str(path) in str(caught.value)


def test_two_frames_of_one_picture_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    document = capture(tmp_path / "c", "nerfstudio")
    document["frames"][1]["file_path"] = document["frames"][0]["file_path"]
    path = tmp_path / "c" / "transforms.json"
    path.write_text(json.dumps(document))
    assert len(ViewSet.load(tmp_path / "c")) == 5
    assert "2 frames at different places name the same picture" in caplog.text
    caplog.clear()
    document["frames"][1] = document["frames"][0]
    path.write_text(json.dumps(document))
    ViewSet.load(tmp_path / "c")
    assert "same picture" not in caplog.text, "named twice, but from one place"


def test_missing_masks_are_never_all_ones(tmp_path: Path) -> None:
    capture(tmp_path / "c", "nerfstudio")
    one = tmp_path / "c" / "pics" / "r_2.png"
    Image.open(one).convert("RGB").save(one)
    with pytest.raises(
        DataError, match=r"masks are missing \(r_2.png has no alpha(.|\n)*mask_path"
    ):
        ViewSet.load(tmp_path / "c")
    for i in range(5):
        path = tmp_path / "c" / "pics" / f"r_{i}.png"
        Image.open(path).convert("RGB").convert("RGBA").save(path)
    with pytest.raises(DataError, match=r"masks are missing \(every picture is opaque"):
        ViewSet.load(tmp_path / "c")


def test_sizes_are_brought_to_the_common_one(tmp_path: Path) -> None:
    capture(tmp_path / "c", "nerfstudio")
    one = tmp_path / "c" / "pics" / "r_2.png"
    Image.open(one).resize((20, 20)).save(one)
    views = ViewSet.load(tmp_path / "c")
    assert views.cameras.size == (SIZE, SIZE)
    torch.testing.assert_close(views.cameras.intrinsics, RIG.intrinsics)
    assert (views.mask[2] - views.mask[1]).abs().mean() < 0.05  # the ball looks the same
    Image.open(one).resize((20, 30)).save(one)
    with pytest.raises(DataError, match="says w x h = 40x40, the picture r_2.png is 20x30 px"):
        ViewSet.load(tmp_path / "c")


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not valid JSON"), ("[1]", "holds a JSON list"), ("", "not valid JSON")],
)
def test_no_json(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(DataError, match=words):
        ViewSet.load(tmp_path)


def test_missing_folder_or_file(tmp_path: Path) -> None:
    (tmp_path / "spot_views").mkdir()
    with pytest.raises(DataError, match="did you mean .*spot_views"):
        find_transforms(tmp_path / "spot_viewz")
    with pytest.raises(DataError, match=r"transforms_test.json or transforms.json(.|\n)*COLMAP"):
        find_transforms(tmp_path / "spot_views", "test")


def test_bound_of_cameras_that_look_elsewhere(tmp_path: Path) -> None:
    document = capture(tmp_path / "c", "nerfstudio")
    for frame in document["frames"]:
        frame["transform_matrix"][0][3] += 5.0
    (tmp_path / "c" / "transforms.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"look at \(5, .*(.|\n)*data.centre=masks"):
        ViewSet.load(tmp_path / "c")
    data = TransformsData(TransformsData.Config(root=str(tmp_path / "c"), centre="look-at"))
    views = data.load()
    assert 0.4 < views.bound < 0.55
    expected = torch.tensor([5.0, 0, 0])
    torch.testing.assert_close(views.to_world[:3, 3], expected.double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(views.cameras.centres, RIG.centres, atol=1e-4, rtol=0)
    by_itself = TransformsData(TransformsData.Config(root=str(tmp_path / "c"))).load()
    assert 0.4 < by_itself.bound < 0.55
    torch.testing.assert_close(by_itself.to_world[:3, 3], expected.double(), atol=0.1, rtol=0)
    with pytest.raises(DataError, match="look at"):
        TransformsData(TransformsData.Config(root=str(tmp_path / "c"), centre="keep")).load()


def test_bound_of_parallel_cameras_must_be_given() -> None:
    cameras = orbit_cameras([0], 0.0, size=16)[[0, 0]]
    with pytest.raises(DataError, match="do not surround"):
        look_at_point(cameras)
    with pytest.raises(DataError, match="data.bound"):
        guess_bound(torch.ones(2, 16, 16), cameras)


def test_plugin_selects_scales_and_finds_the_test_split(tmp_path: Path) -> None:
    document = capture(tmp_path / "c")
    document["frames"] = document["frames"][3:]
    (tmp_path / "c" / "transforms_test.json").write_text(json.dumps(document))
    options = {"root": str(tmp_path / "c"), "views": [4, 0], "resolution": 20}
    data = build("data", "transforms", options, key="data")
    views, test = data.load(), data.test()
    assert views.names == ("r_4", "r_0") and views.cameras.size == (20, 20)
    torch.testing.assert_close(views.cameras.intrinsics, RIG.resized(20, 20).intrinsics[:2])
    picture = torch.from_numpy(ball_pictures()[4][..., 3]).float() / 255
    expected = picture.reshape(20, 2, 20, 2).mean(dim=(1, 3))
    torch.testing.assert_close(views.mask[0], expected)
    assert test.names == ("r_3", "r_4") and test.bound == views.bound
    again = build("data", "transforms", {**options, "test_split": None}, key="data")
    assert again.test() is None


def test_plugin_options_are_checked(tmp_path: Path) -> None:
    capture(tmp_path / "c")
    root = str(tmp_path / "c")
    with pytest.raises(StudioError, match="data.root is not given"):
        build("data", "transforms", {}, key="data")
    with pytest.raises(StudioError, match="allowed: one or more of 0 to 4"):
        build("data", "transforms", {"root": root, "views": [5]}, key="data").load()
    with pytest.raises(StudioError, match="data.resolution is 2"):
        build("data", "transforms", {"root": root, "resolution": 2}, key="data")
    with pytest.raises(StudioError, match="did you mean 'data.resolution'"):
        build("data", "transforms", {"root": root, "resolutoin": 64}, key="data")


@needs_data
@pytest.mark.parametrize(
    ("name", "count", "tests", "reach"),
    [
        ("spot_16views_128", 16, 8, 0.5),
        ("spot_ring16_256", 16, 8, 0.5),
        ("bunny_36views_256", 36, 8, 0.5),
        ("nerf_synthetic_chair", 100, 25, 1.1),
    ],
)
def test_real_captures(name: str, count: int, tests: int, reach: float) -> None:
    """The guessed cube holds the object and is at most a quarter too large."""
    root = str(Path(str(DATA)) / name)
    data = build("data", "transforms", {"root": root, "resolution": 64}, key="data")
    views, test = data.load(), data.test()
    assert (len(views), len(test)) == (count, tests)
    assert reach <= views.bound <= 1.25 * reach
    assert test.bound == views.bound
    assert 0.02 < views.mask.mean() < 0.6


@needs_data
@pytest.mark.parametrize("name", ["spot_16views_128", "bunny_36views_256"])
def test_poses_fit_the_reference_mesh(name: str) -> None:
    """The projected reference covers the masks: axes, pixel centres and focal length agree."""
    import trimesh

    folder = Path(str(DATA)) / name
    views = ViewSet.load(folder, "train")
    mesh = trimesh.load_mesh(folder / "reference.ply")
    points = torch.from_numpy(mesh.sample(20_000, seed=0)).float()
    pixels, _ = views.cameras.project(points)
    x, y = pixels.floor().long().unbind(-1)
    hits = views.mask[torch.arange(len(views))[:, None], y, x]
    assert (hits > 0).float().mean() > 0.995  # silhouettes are point samples of thin parts
    for i in range(0, len(views), 5):
        ys, xs = (views.mask[i] > 0.5).nonzero().unbind(1)
        assert pixels[i, :, 0].min().item() == pytest.approx(xs.min().item(), abs=1.5)
        assert pixels[i, :, 0].max().item() == pytest.approx(xs.max().item() + 1, abs=1.5)
        assert pixels[i, :, 1].min().item() == pytest.approx(ys.min().item(), abs=1.5)
        assert pixels[i, :, 1].max().item() == pytest.approx(ys.max().item() + 1, abs=1.5)
