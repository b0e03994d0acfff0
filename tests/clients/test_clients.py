"""Blender, three.js and Khronos' validator open exports: upright, from the front, as tall as asked.

Skipped where they are not installed. To install them into a folder of your own:

    export STUDIO_CLIENTS=~/clients
    python3.11 -m venv $STUDIO_CLIENTS/blender && $STUDIO_CLIENTS/blender/bin/pip install bpy
    npm install --prefix $STUDIO_CLIENTS three playwright-core gltf-validator
    apt-get install chromium        # or STUDIO_CHROMIUM=<program>
    python -m pytest tests/clients

(bpy 5.0 has wheels for Python 3.11; newer ones want newer Pythons.) The pictures that the programs
make are kept in STUDIO_CLIENTS/pictures, to be looked at. `blender_open.py` and `three_open.cjs`
open any file on their own.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from studio.cameras import orbit_cameras
from studio.export.files import write_meshes
from studio.export.world import Wanted
from studio.systems.originals import written_cameras
from studio.views import ViewSet
from tests.unit.test_writers import textured_box

HERE = Path(__file__).parent
CLIENTS = Path(os.environ.get("STUDIO_CLIENTS", "/nowhere"))
BLENDER = CLIENTS / "blender" / "bin" / "python"
MODULES = CLIENTS / "node_modules"
CHROMIUM = os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium")
HEIGHT = 1.8
DEPTH, WIDTH = 0.2 / 0.9 * HEIGHT, 0.5 / 0.9 * HEIGHT  # of the box, seen from its +x side

needs_blender = pytest.mark.skipif(not BLENDER.exists(), reason="no Blender in STUDIO_CLIENTS")
needs_three = pytest.mark.skipif(
    CHROMIUM is None or not all((MODULES / m).is_dir() for m in ("three", "playwright-core")),
    reason="no three.js and playwright-core in STUDIO_CLIENTS, or no Chromium",
)
needs_validator = pytest.mark.skipif(
    not (MODULES / "gltf-validator").is_dir(), reason="no gltf-validator in STUDIO_CLIENTS"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box seen from its red side (+x), 1.8 m tall: blue above, green on the viewer's right."""
    folder = tmp_path_factory.mktemp("files")
    meta = {
        "guidance": "epidiff",
        "condition": {"image": "box from the front.png"},
        "condition_cameras": written_cameras(orbit_cameras([0.0], 20.0, size=8)),
        "weights": {"source": "load/nano/epidiff", "licence": "Apache-2.0"},
    }
    cameras = orbit_cameras([90.0, 200.0], 20.0, size=32)
    views = ViewSet(torch.rand(2, 4, 32, 32), cameras, meta=meta)
    box = textured_box().with_normals()
    kinds = dict.fromkeys(("glb", "obj", "ply"), box)
    write_meshes(kinds, views, folder, inspected=box, wanted=Wanted(height=HEIGHT))
    return folder


@pytest.fixture(scope="module")
def pictures() -> Path:
    target = CLIENTS / "pictures"
    target.mkdir(exist_ok=True)
    return target


def answer_of(command: list[str]) -> dict[str, Any]:
    """The last line that a program prints, read as JSON."""
    environment = {**os.environ, "NODE_PATH": str(MODULES)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert "error" not in answer, answer
    return answer


def looks_right(out: Path) -> None:
    """Red in front, brighter above (the texture's gradient), green at no side; blue from above."""
    front = np.asarray(Image.open(f"{out}-front.png").convert("RGB")).astype(int)
    top = np.asarray(Image.open(f"{out}-top.png").convert("RGB")).astype(int)
    centre = len(front) // 2
    red, green, blue = front[centre, centre]
    assert red > green + 60 and red > blue + 60, (red, green, blue)
    upper, lower = front[centre - 40, centre, 0], front[centre + 40, centre, 0]
    assert upper > lower + 30, (upper, lower)
    red, green, blue = top[centre, centre]
    assert blue > red + 60 and blue > green + 60, (red, green, blue)


@needs_blender
@pytest.mark.parametrize("kind", ["glb", "obj", "ply"])
def test_blender_shows_it_upright_from_the_front(folder: Path, pictures: Path, kind: str) -> None:
    out = pictures / f"blender-{kind}"
    file = folder / f"model.{kind}"
    answer = answer_of([str(BLENDER), str(HERE / "blender_open.py"), str(file), str(out)])
    expected = [-WIDTH / 2, -DEPTH / 2, 0], [WIDTH / 2, DEPTH / 2, HEIGHT]  # +z up, front is -y
    np.testing.assert_allclose([answer["low"], answer["high"]], expected, atol=1e-5)
    if kind != "ply":  # which knows no names
        assert answer["objects"][0].replace("_", " ") == "box from the front"
        assert answer["materials"][0].replace("_", " ") == "box from the front surface"
        assert len(answer["pictures"]) == 1
    if kind != "ply":  # whose few vertices hold no gradient
        looks_right(out)


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """A server for the page, three.js and the files."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            roots = {"modules": MODULES, "files": folder, "page": HERE}
            first, _, rest = path.split("?")[0].strip("/").partition("/")
            return str(roots[first] / rest) if first in roots else "/nowhere"

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@needs_three
@pytest.mark.parametrize("kind", ["glb", "obj"])
def test_three_shows_it_upright_from_the_front(address: str, pictures: Path, kind: str) -> None:
    out = pictures / f"three-{kind}"
    page = f"{address}/page/three_open.html?file=/files/model.{kind}"
    answer = answer_of(["node", str(HERE / "three_open.cjs"), page, str(CHROMIUM), str(out)])
    expected = [-WIDTH / 2, 0, -DEPTH / 2], [WIDTH / 2, HEIGHT, DEPTH / 2]  # +y up, front is +z
    np.testing.assert_allclose([answer["low"], answer["high"]], expected, atol=1e-5)
    assert answer["objects"][0].replace("_", " ") == "box from the front"
    looks_right(out)


@needs_validator
@pytest.mark.parametrize("name", ["model.glb", "inspect.glb"])
def test_the_validator_finds_nothing(folder: Path, name: str) -> None:
    report = answer_of(["node", str(HERE / "validate.cjs"), str(folder / name)])
    issues = report["issues"]
    assert issues["numErrors"] == issues["numWarnings"] == 0, issues["messages"]
