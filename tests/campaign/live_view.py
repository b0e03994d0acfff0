"""Looks through cameras in a browser and compares what it shows with the cameras' pictures.

`python -m tests.campaign.live_view out=FOLDER [only=rolled]`

Three balls that no symmetry maps onto themselves are photographed by `Cameras.rays`, saved as the
views of a run, and exported turned and moved, as files on the ground are. Of every camera, IoU of
the outlines: the picture's alpha, and what Chromium shows of the exported mesh through the camera;
then the picture that is laid over the view. Cameras with a roll, with an off-centre lens and
orthographic ones are among them.

`python -m tests.campaign.live_view run=RUN at=0 out=view.png` keeps a picture of a run instead: the
scene beside the view through one of its cameras.
"""

from __future__ import annotations

import contextlib
import io
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image
from playwright.sync_api import sync_playwright

from studio.cameras import Cameras, orbit_cameras
from studio.export.formats.glb import Glb
from studio.export.notes import Notes
from studio.export.world import Placement
from studio.live.frusta import eye_of
from studio.live.runs import RunSource
from studio.live.sight import Source
from studio.live.stage import NOTHING
from studio.live.view import free_port, serving, source_of
from studio.mesh import Mesh
from studio.views import ViewSet
from tests.unit.test_captures import CENTRES, COLOURS, RADII, photograph

SIZE = (192, 256)
WINDOW = {"width": 640, "height": 420}
CHROMIUM = {
    "executable_path": "/usr/bin/chromium",
    "args": ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
}


def rigs() -> dict[str, Cameras]:
    """Cameras around the balls."""
    around = orbit_cameras([10, 100, 200, 290], [25.0, -30, 60, 0], 2.0, 45.0, SIZE)
    c, s = math.cos(0.6), math.sin(0.6)
    turn = torch.tensor([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    shifted = around.intrinsics.clone()
    shifted[:, 0, 2] += 40
    shifted[:, 1, 2] -= 25
    return {
        "perspective": around,
        "rolled": Cameras(around.c2w @ turn, around.intrinsics, SIZE),
        "off-centre": Cameras(around.c2w, shifted, SIZE),
        "orthographic": orbit_cameras([10, 200], [25.0, 60], 2.0, 45.0, SIZE, ortho_scale=1.3),
    }


def balls() -> Mesh:
    """What is photographed."""
    parts = []
    for centre, radius, colour in zip(CENTRES, RADII, COLOURS, strict=True):
        ball = trimesh.creation.icosphere(4, float(radius))
        ball.apply_translation(centre.numpy())
        ball.visual.vertex_colors = np.array([*(colour * 255), 255], dtype=np.uint8)
        parts.append(ball)
    whole = trimesh.util.concatenate(parts)
    shades = np.asarray(whole.visual.vertex_colors)[:, :3] / 255
    return Mesh(whole.vertices.view(np.ndarray), whole.faces.view(np.ndarray), shades)


def write_run(folder: Path, cameras: Cameras) -> None:
    """A run that has ended: its config, views, and mesh in another place than the views."""
    (folder / "configs").mkdir(parents=True)
    config = "system_type: reconstruction\nsystem:\n  reconstruction_type: visual-hull\n"
    (folder / "configs/config.yaml").write_text(config + "data_type: capture\n")
    ViewSet(photograph(cameras), cameras, 0.6).save(folder / "views")
    to_file = np.array([[0, -2.0, 0, 3], [2.0, 0, 0, -1], [0, 0, 2.0, 5], [0, 0, 0, 1]])
    (folder / "export").mkdir()
    place = Placement("ground", to_file)
    Glb().write(place.mesh(balls()), folder / "export/model.glb", Notes(placement=place))


def overlap(shown: np.ndarray, picture: torch.Tensor, camera: Cameras, unit: float) -> float:
    """IoU of what is not white in a window, and of a picture's alpha."""
    height, width = shown.shape[:2]
    eye = eye_of(camera.scaled(unit), width / height)
    focal = 0.5 * height / math.tan(eye.fov / 2)  # px of the window at depth 1
    k, (h, w) = camera.intrinsics[0].numpy(), camera.size
    if camera.ortho_scale is None:
        zoom = focal / k[1, 1]
    else:
        zoom = focal / 60.0 * float(camera.ortho_scale[0]) * unit / h
    left, top = width / 2 - k[0, 2] * zoom, height / 2 - k[1, 2] * zoom
    box = (0, 0, width, height)
    x, y = np.meshgrid(
        (np.arange(box[2]) + 0.5 - left) / zoom, (np.arange(box[3]) + 0.5 - top) / zoom
    )
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    alpha = picture[3].numpy() > 0.5
    wanted = np.zeros_like(inside)
    wanted[inside] = alpha[y[inside].astype(int), x[inside].astype(int)]
    seen = (shown[..., :3].min(-1) < 235) & inside
    return float((seen & wanted).sum() / (seen | wanted).sum())


def look(page: Any, stage: Any, at: int, seconds: float = 3.0) -> None:
    """Look through a camera, until the browser has drawn it."""
    (client,) = stage.server.get_clients().values()
    stage._looking.ask(client, at)
    settle(stage, seconds)


def settle(stage: Any, seconds: float) -> None:
    """Let stage and browser do what was asked for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stage.update()
        time.sleep(0.3)


def main() -> None:
    """Print a line a camera and keep the screenshots, or make the picture of a run."""
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    out = Path(words["out"])
    with sync_playwright() as p:
        browser = p.chromium.launch(**CHROMIUM)
        if "run" in words:
            picture(browser, Path(words["run"]), int(words.get("at", 0)), out)
        for name, cameras in {} if "run" in words else rigs().items():
            if words.get("only", name) != name:
                continue
            write_run(out / name, cameras)
            source = RunSource(out / name)
            with opened(browser, source, WINDOW) as (page, stage):
                page.add_style_tag(
                    content="body *:not(:has(canvas)):not(canvas) {visibility: hidden}"
                )
                stage._cube.value = False
                measure(page, stage, source, out / name)
        browser.close()


@contextlib.contextmanager
def opened(browser: Any, source: Source, window: dict[str, int]) -> Iterator[tuple[Any, Any]]:
    """A page that shows a source, and the stage behind it."""
    with serving(source, "127.0.0.1", free_port("127.0.0.1")) as (server, stage):
        page = browser.new_page(viewport=window)
        page.set_default_timeout(120_000)
        stage.update()
        page.goto(f"http://127.0.0.1:{server.get_port()}")
        while not server.get_clients():
            time.sleep(0.2)
        settle(stage, 20.0)
        yield page, stage
        page.close()


def picture(browser: Any, run: Path, at: int, out: Path) -> None:
    """Two windows of a run side by side, with few colours."""
    parts = []
    with opened(browser, source_of(run), {"width": 760, "height": 470}) as (page, stage):
        page.locator("button.mantine-Notification-closeButton").click()
        for where in (-1, at):
            if where >= 0:
                look(page, stage, where, 8.0)
            settle(stage, 12.0)
            parts.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    sheet = Image.new("RGB", (2 * 760 + 8, 470), "white")
    for i, part in enumerate(parts):
        sheet.paste(part, (i * 768, 0))
    sheet.quantize(128).save(out, optimize=True)


def measure(page: Any, stage: Any, source: RunSource, folder: Path) -> None:
    """IoU of mesh and picture, and of the laid-over picture and picture, camera by camera."""
    views = source.look().views
    assert views is not None
    for i in range(len(views)):
        figures = {}
        for what, opacity, shown in (("mesh", 0.0, "finished mesh"), ("picture", 1.0, NOTHING)):
            stage._object.value, stage._opacity.value = shown, opacity
            look(page, stage, i)
            file = folder / f"{i}-{what}.png"
            page.screenshot(path=file)
            pixels = np.asarray(Image.open(file).convert("RGB"))
            figures[what] = overlap(pixels, views.images[i], views.cameras[[i]], 0.5 / views.bound)
        print(
            f"{folder.name} {i}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
