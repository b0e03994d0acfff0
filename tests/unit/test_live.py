"""`studio view`: what a folder is, what is seen of it, cameras in the viewer, the server."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from studio.cameras import Cameras, orbit_cameras
from studio.errors import ConfigError, DataError
from studio.export.readers import read_back
from studio.io.files import write_json
from studio.jobs.record import Job, Phase, Record
from studio.live.captures import CaptureSource
from studio.live.drawing import GREY, RED, colours, placed
from studio.live.frusta import FAR_AWAY, doubtful, eye_of, laid_over, plates, points_seen
from studio.live.looking import Looking
from studio.live.poses import judged
from studio.live.runs import JobSource, RunSource
from studio.live.sight import Source, Watched
from studio.live.view import check_port, check_viser, run_view, source_of
from studio.models.hull.model import VisualHull
from studio.models.object_hull import HullOptions
from studio.runs.lock import RunLock
from studio.views import ViewSet
from tests.unit.test_captures import CENTRES, RADII, RIG, photograph, write_colmap

SIZE = (30, 40)
AROUND = orbit_cameras([10, 100, 200], [25.0, -30, 60], 2.0, 45.0, SIZE)


def off_centre() -> Cameras:
    """A rolled camera whose lens is not over the middle of its picture."""
    c, s = math.cos(0.6), math.sin(0.6)
    turn = torch.tensor([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    intrinsics = AROUND.intrinsics.clone()
    intrinsics[:, 0, 2] += 6
    intrinsics[:, 1, 2] -= 4
    return Cameras(AROUND.c2w @ turn, intrinsics, SIZE)


FLAT = orbit_cameras([10, 200], [25.0, 60], 2.0, 45.0, SIZE, ortho_scale=1.3)
KINDS = {"centred": AROUND, "off-centre": off_centre(), "orthographic": FLAT}


# --- cameras in the viewer ------------------------------------------------------------------------


@pytest.mark.parametrize("cameras", KINDS.values(), ids=KINDS)
def test_pictures_stand_where_their_rays_pass(cameras: Cameras) -> None:
    where = plates(cameras, 0.7)
    for i in range(len(cameras)):
        pixels, depth = cameras[[i]].project(torch.from_numpy(where.corners[i]).float())
        h, w = SIZE
        wanted = torch.tensor([[0.0, 0], [w, 0], [w, h], [0, h]])
        torch.testing.assert_close(pixels[0], wanted, rtol=0, atol=1e-3)
        torch.testing.assert_close(depth[0], torch.full((4,), 0.7), rtol=0, atol=1e-5)
        across = where.corners[i, 1] - where.corners[i, 0]
        assert np.linalg.norm(across) == pytest.approx(where.sides[i, 0])


def on_screen(points: np.ndarray, eye: Any, width: int, height: int) -> np.ndarray:
    """Pixels of a window that a viewer's camera shows world points at."""
    local = (points - eye.position) @ eye.rotation
    focal = 0.5 * height / math.tan(eye.fov / 2)
    shown: np.ndarray = local[:, :2] / local[:, 2:] * focal + [width / 2, height / 2]
    return shown


@pytest.mark.parametrize("window", [(200, 100), (80, 160)])
@pytest.mark.parametrize("cameras", KINDS.values(), ids=KINDS)
def test_through_a_camera_its_picture_fits_the_view(
    cameras: Cameras, window: tuple[int, int]
) -> None:
    """Points of the object are shown where the picture that is laid over the view shows them."""
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 0.6 - 0.3
    for i in range(len(cameras)):
        camera = cameras[[i]]
        eye = eye_of(camera, window[0] / window[1])
        middle, (w, h) = laid_over(camera, eye)
        x, y = eye.rotation[:, 0] * w / 2, eye.rotation[:, 1] * h / 2
        corners = on_screen(np.stack([middle - x - y, middle + x + y]), eye, *window)
        assert (corners >= -1e-3).all() and (corners <= np.array(window) + 1e-3).all()
        in_picture = camera.project(points)[0][0].numpy() / np.array(SIZE[::-1])
        laid = corners[0] + in_picture * (corners[1] - corners[0])
        seen = on_screen(points.double().numpy(), eye, *window)
        bend = 0.0 if camera.ortho_scale is None else 0.6 / FAR_AWAY
        np.testing.assert_allclose(seen, laid, atol=1e-2 + bend * max(window))
        assert (middle - eye.position) @ eye.rotation[:, 2] > eye.near


def test_cameras_that_see_no_point_are_found() -> None:
    points = CENTRES + 0.05 * torch.randn(200, 1, 3, generator=torch.Generator().manual_seed(0))
    around = orbit_cameras(range(0, 360, 36), 20.0, 2.0, 45.0, SIZE)
    away = around.c2w.clone()
    away[3, :3, :3] = away[3, :3, :3] @ torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    seen = points_seen(Cameras(away, around.intrinsics, SIZE), points.reshape(-1, 3))
    assert seen[3] == 0 and (np.delete(seen, 3) > 500).all()
    assert doubtful(seen) == ([3], [])
    assert doubtful(np.array([400, 410, 90, 390])) == ([], [2])


# --- captures -------------------------------------------------------------------------------------


def test_a_capture_before_anything_is_fitted(tmp_path: Path) -> None:
    """COLMAP's points are where the pictures show the object, and a wrong pose is named."""
    write_colmap(tmp_path, RIG, binary=True)
    source = source_of(tmp_path)
    assert isinstance(source, CaptureSource)
    sight = source.look()
    assert sight.views is not None and sight.points is not None
    told = source.look()  # the second look has compared the pictures with each other
    assert told is source.look() and told.views is sight.views
    assert "comparing" in sight.words and "outlines of all pictures fit" in told.words
    pixels, _ = sight.views.cameras.project(sight.points.float())
    inside = pixels.long().clamp(0, RIG.size[0] - 1)
    for view, at in zip(sight.views.images, inside, strict=True):
        assert (view[3, at[:, 1], at[:, 0]] > 0.5).all()
    assert "no** point" not in sight.words
    bad = RIG.c2w.clone()
    bad[2, :3, :3] = bad[2, :3, :3] @ torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    shutil.rmtree(tmp_path)
    write_colmap(tmp_path, Cameras(bad, RIG.intrinsics, RIG.size), binary=True)
    source = source_of(tmp_path, {"centre": "points", "background": "none"})
    source.look()
    words = source.look().words
    assert "1 of 5 see **no** point (red): photo 2.jpg" in words


def test_wrong_poses_are_named_without_sparse_points() -> None:
    """Two of twelve cameras are exchanged: the outlines say which."""
    rig = orbit_cameras(range(0, 360, 30), [20.0, -10.0, 45.0] * 4, 2.0, 45.0, (48, 48))
    views = ViewSet(photograph(rig), rig, 0.6, names=tuple("abcdefghijkl"))
    assert judged(views, None).wrong == ()
    order = [0, 1, 7, 3, 4, 5, 6, 2, 8, 9, 10, 11]
    found = judged(replace(views, cameras=rig[order]), None)
    assert found.wrong == (2, 7) and "outlines of **2** of 12" in found.words[0]
    assert {"c", "h"} <= set(found.words[0].replace(",", "").split())
    assert [tuple(c) for c in colours(views, found)[[2, 3]]] == [RED, GREY]
    bare = replace(views, images=torch.ones_like(views.images))
    assert "neither outlines nor sparse points" in judged(bare, None).words[0]


class Camera:
    """Of a client that looks."""

    def __init__(self) -> None:
        self.aspect, self.near, self.fov = 1.5, 0.01, 1.0
        self.wxyz, self.position = np.array([1.0, 0, 0, 0]), np.array([0.0, 0, -1])
        self.up_direction = self.look_at = np.zeros(3)

    def on_update(self, _: Any) -> None: ...


def test_a_view_is_left_by_turning_it_and_springs_back_from_a_tremble() -> None:
    client: Any = SimpleNamespace(client_id=3, camera=Camera(), atomic=contextlib.nullcontext)
    client.scene = SimpleNamespace(add_image=lambda *_, **__: SimpleNamespace(remove=lambda: None))
    server = SimpleNamespace(get_clients=lambda: {3: client})
    looking = Looking(server, SimpleNamespace(value=0.5), threading.Event())
    views = ViewSet(torch.ones(3, 4, *SIZE), AROUND, 1.0)
    looking.ask(client, 1)
    assert looking.follow(views, 0.5) and looking.at == 1
    place = np.array(client.camera.position)
    looking._since = -np.inf  # the browser has taken it over
    looking.follow(views, 0.5)
    client.camera.position = place + [0.01, 0, 0]
    for _ in range(3):  # seen, still there, put back
        looking.follow(views, 0.5)
    assert looking.at == 1 and np.allclose(client.camera.position, place)
    looking._since = -np.inf
    looking.follow(views, 0.5)
    client.camera.wxyz = np.array([math.cos(0.05), math.sin(0.05), 0, 0])
    assert looking.follow(views, 0.5) and looking.at is None


def test_points_beside_transforms(tmp_path: Path) -> None:
    views = ViewSet(photograph(RIG), RIG, 0.6)
    views.save(tmp_path)
    rows = [" ".join(map(str, point)) for point in CENTRES.tolist()]
    head = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\n"
    (tmp_path / "sparse_pc.ply").write_text(
        "\n".join([head + "property float z\nend_header", *rows, ""])
    )
    for options in ({}, {"centre": "masks"}):
        sight = source_of(tmp_path, options).look()
        assert sight.points is not None and sight.views is not None
        seen, there = (c.project(p)[0] for c, p in ((RIG, CENTRES), near(sight)))
        torch.testing.assert_close(there, seen, rtol=0, atol=1e-2)


def near(sight: Any) -> tuple[Cameras, Tensor]:
    return sight.views.cameras, sight.points.float()


def test_pictures_without_masks_are_shown_whole(tmp_path: Path) -> None:
    write_colmap(tmp_path, RIG, binary=False)
    shutil.rmtree(tmp_path / "masks")
    for path in (tmp_path / "images").iterdir():  # an uneven background: nothing to cut out
        noise = np.random.default_rng(0).integers(0, 255, (*RIG.size, 3), dtype=np.uint8)
        from PIL import Image

        Image.fromarray(noise).save(path)
    sight = source_of(tmp_path).look()
    assert sight.views is not None and bool((sight.views.mask == 1).all())
    assert "shown whole, for:" in sight.words
    with pytest.raises(DataError, match="mask"):
        source_of(tmp_path, {"background": "alpha"}).look()


def test_photos_without_cameras_are_left_alone(tmp_path: Path) -> None:
    write_colmap(tmp_path, RIG, binary=False)
    shutil.rmtree(tmp_path / "sparse")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="photos without cameras"):
        source_of(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


# --- runs and jobs --------------------------------------------------------------------------------

CONFIG = """
data_type: capture
data: {root: nowhere}
system_type: reconstruction
system: {reconstruction_type: visual-hull, hull: {resolution: 32}}
trainer: {max_steps: 500}
"""


@pytest.fixture(scope="module")
def hull() -> VisualHull:
    small = VisualHull.Config(HullOptions(resolution=32))
    return VisualHull(small).fit(ViewSet(photograph(RIG), RIG, 0.6), steps=1)


def new_run(folder: Path) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "configs/config.yaml").write_text(CONFIG)
    return folder


def save_checkpoint(run: Path, model: VisualHull, step: int) -> None:
    (run / "ckpts").mkdir(exist_ok=True)
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state, "global_step": step}, run / f"ckpts/step={step:08d}.ckpt")


def test_a_run_is_followed(tmp_path: Path, hull: VisualHull) -> None:
    """Views, checkpoints and the finished mesh are seen as they come; nothing is written."""
    run = new_run(tmp_path / "run")
    source = source_of(run)
    assert isinstance(source, RunSource)
    lock = RunLock(run).acquire()
    sight = source.look()
    assert sight.views is None and not sight.steps and sight.result is None
    assert sight.words.startswith("**making views**")
    ViewSet(photograph(RIG), RIG, 0.6).save(run / "views")
    sight = source.look()
    assert sight.views is not None and len(sight.views) == len(RIG)
    assert source.look().views is sight.views
    assert sight.words.startswith("**beginning the fit**") and "step 500" in sight.words
    (run / "logs").mkdir()
    write_json(run / "logs/progress.json", {"step": 240, "steps": 500, "loss": 0.0625})
    save_checkpoint(run, hull, 200)
    sight = source.look()
    assert sight.words.startswith("**fitting**, step 240 of 500, loss 0.0625")
    assert sight.steps == ("step 200",)
    surface = source.surface("step 200")
    assert surface is not None and source.surface("step 200") is surface
    save_checkpoint(run, hull, 500)
    write_json(run / "logs/progress.json", {"step": 500, "steps": 500, "loss": 0.05})
    assert source.look().steps == ("step 200", "step 500")
    assert source.look().words.startswith("**exporting**")
    (run / "ckpts/step=00000200.ckpt").unlink()  # kept here as long as somebody looks
    assert source.surface("step 200") is surface
    (run / "export").mkdir()
    hull.mesh(32).save(run / "export/model.glb")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    sight = source.look()
    assert sight.result is not None and source.look().result is sight.result
    lock.release()
    assert source.look().words.startswith("**done**, step 500 of 500")
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert set(before) - set(after) <= {run / ".lock"} and not set(after) - set(before)


def test_surfaces_lie_in_the_world_of_the_views(tmp_path: Path, hull: VisualHull) -> None:
    run = new_run(tmp_path / "run")
    save_checkpoint(run, hull, 200)
    source = source_of(run)
    source.look()
    surface = source.surface("step 200")
    assert surface is not None
    (tmp_path / "shown.glb").write_bytes(surface.glb)
    shown = read_back(tmp_path / "shown.glb")
    truth = hull.mesh(96)
    np.testing.assert_allclose(shown.vertices.min(0), truth.vertices.min(0), atol=2e-3)
    np.testing.assert_allclose(shown.vertices.max(0), truth.vertices.max(0), atol=2e-3)
    reach = CENTRES + RADII[:, None]
    assert np.abs(shown.vertices.max(0) - reach.amax(0).numpy()).max() < 0.06


def test_broken_checkpoints_are_said(tmp_path: Path, hull: VisualHull) -> None:
    run = new_run(tmp_path / "run")
    save_checkpoint(run, hull, 200)
    path = run / "ckpts/step=00000200.ckpt"
    path.write_bytes(path.read_bytes()[:-500])
    source = source_of(run)
    source.look()
    assert source.surface("step 200") is None
    assert "step=00000200.ckpt" in source.look().words
    save_checkpoint(run, hull, 200)
    assert source.surface("step 200") is not None
    assert "ckpt" not in source.look().words


def test_runs_that_make_nothing_in_3d_are_refused(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    (run / "configs/config.yaml").write_text("system_type: guidance-training\nsystem: {lr: 0.1}\n")
    with pytest.raises(DataError, match="makes no 3D model"):
        source_of(run)


def test_a_job_is_followed(tmp_path: Path, hull: VisualHull) -> None:
    record = Record.create(tmp_path / "job", Job(config="epidiff-neus", label="a red car"))
    source = source_of(tmp_path / "job")
    assert isinstance(source, JobSource) and source.title == "a red car"
    assert source.look().words == "**waiting**"
    record.note(phase=Phase.RUNNING, stage="fit", done=20, total=500)
    record.result.mkdir()
    ViewSet(photograph(RIG), RIG, 0.6).save(record.result / "views")
    hull.mesh(32).save(record.result / "fit.glb")
    sight = source.look()
    assert sight.views is not None and sight.steps == ("the fit so far",)
    assert sight.words.startswith("**running**, fit 20 of 500")
    first = source.surface("the fit so far")
    hull.mesh(24).save(record.result / "fit.glb")
    assert source.surface("the fit so far") is not first
    hull.mesh(32).save(record.result / "model.glb")
    record.note(phase=Phase.DONE)
    assert source.look().result is not None and source.look().words.startswith("**done**")


def test_folders_of_runs_and_of_nothing(tmp_path: Path) -> None:
    new_run(tmp_path / "outputs/epidiff/default@1")
    for folder in (tmp_path / "outputs", tmp_path / "outputs/epidiff"):
        with pytest.raises(DataError, match="holds runs") as caught:
            source_of(folder)
        assert "default@1" in str(caught.value)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("no capture")
    with pytest.raises(DataError, match="no capture of a known layout.*and no run") as caught:
        source_of(tmp_path / "notes")
    assert "a run folder" in str(caught.value)
    with pytest.raises(DataError, match="did you mean"):
        source_of(tmp_path / "note")


def test_watched_files_are_read_once_a_change(tmp_path: Path) -> None:
    path, read = tmp_path / "file", []

    def length(path: Path) -> int:
        read.append(path.read_text())
        if read[-1] == "broken":
            raise DataError("it is broken.")
        return len(read[-1])

    watched = Watched(length)
    assert watched(path) is None and watched(None) is None
    path.write_text("four")
    assert [watched(path), watched(path)] == [4, 4] and len(read) == 1
    path.write_text("broken")
    assert [watched(path) for _ in range(6)] == [4] * 6 and len(read) == 4  # three tries
    assert watched.problem == "it is broken."
    path.write_text("seven!!")
    assert watched(path) == 7 and not watched.problem


# --- the server -----------------------------------------------------------------------------------


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.live.view.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"viser.*\n.*studio3d\[view\]"):
        check_viser()


def test_taken_ports_and_strange_hosts() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is taken") as caught:
            check_port("127.0.0.1", port)
    free = int(str(caught.value).rsplit("port=", 1)[1])
    check_port("127.0.0.1", free)
    with pytest.raises(ConfigError, match="cannot be listened at"):
        check_port("no.such.host.invalid", 0)


def test_words_are_checked(tmp_path: Path) -> None:
    pytest.importorskip("viser")
    with pytest.raises(ConfigError, match="port is 99999"):
        run_view(str(tmp_path), ["port=99999"])
    with pytest.raises(ConfigError, match="prot"):
        run_view(str(tmp_path), ["prot=80"])
    write_colmap(tmp_path / "capture", RIG, binary=True)
    with pytest.raises(ConfigError, match=r"data\.backgruond"):
        run_view(str(tmp_path / "capture"), ["port=0", "data.backgruond=none"])


class Served(Source):
    """A source whose sights are given."""

    def __init__(self, *sights: Any) -> None:
        super().__init__(Path("served"))
        self.sights = list(sights)

    def look(self) -> Any:
        return self.sights.pop(0) if len(self.sights) > 1 else self.sights[0]


def test_the_scene_holds_what_is_seen(tmp_path: Path) -> None:
    """Nodes of the scene, their places and sizes, as viser has them; controls change them."""
    pytest.importorskip("viser")
    from studio.live.view import free_port, serving

    write_colmap(tmp_path, RIG, binary=True)
    source = source_of(tmp_path)
    with serving(source, "127.0.0.1", free_port("127.0.0.1")) as (server, stage):
        stage.update()
        nodes = server.scene._handle_from_node_name
        views = source.look().views
        assert views is not None
        assert {"/cube", "/cameras", "/points", *(f"/pictures/{i}" for i in range(5))} <= set(nodes)
        unit = 0.5 / views.bound
        middle = plates(views.cameras.scaled(unit), 0.2).centres[2]
        np.testing.assert_allclose(nodes["/pictures/2"].position, middle, atol=1e-6)
        stage._size.value, stage._pictures.value, stage._cube.value = 0.5, False, False
        stage.update()
        middle = plates(views.cameras.scaled(unit), 0.5).centres[2]
        np.testing.assert_allclose(nodes["/pictures/2"].position, middle, atol=1e-6)
        assert not nodes["/pictures/2"].visible and not nodes["/cube"].visible
        assert nodes["/cameras"].visible and nodes["/points"].visible
        assert server.request_share_url() is None


def test_a_mesh_is_placed_as_its_file_says(hull: VisualHull) -> None:
    pytest.importorskip("viser")
    import viser.transforms as tf

    from studio.live.surfaces import Surface

    matrix = np.eye(4)
    matrix[:3, :3] = 2.5 * np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    matrix[:3, 3] = 1, 2, 3
    where = placed(Surface(b"", matrix), 0.5)
    point = np.array([0.3, -0.2, 0.7])
    shown = tf.SO3(where["wxyz"]).apply(point * where["scale"]) + where["position"]
    np.testing.assert_allclose(shown, 0.5 * (matrix[:3, :3] @ point + matrix[:3, 3]))


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    pytest.importorskip("viser")
    write_colmap(tmp_path, RIG, binary=True)
    command = [sys.executable, "-m", "studio", "view", str(tmp_path), "port=0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("reading ")
        line = process.stdout.readline()
        assert f"{tmp_path.name}: http://127.0.0.1:" in line
        with urllib.request.urlopen(line.split()[-4], timeout=20) as page:
            assert b"<html" in page.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "", "")
