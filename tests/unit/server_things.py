"""What tests of the service share: a quick stand-in for the work, and a visitor."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image

from studio.io.files import write_json
from studio.jobs import Record

CAR = Path(__file__).parents[2] / "load" / "images" / "car.png"
STEP = 0.01


def textured_square() -> Any:
    from studio.mesh import Mesh

    corners = [[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]]
    texture = np.zeros((8, 8, 3), np.uint8)
    texture[:4], texture[4:] = (255, 0, 0), (0, 0, 255)
    return Mesh(
        np.array(corners, np.float32),
        np.array([[0, 1, 2], [0, 2, 3]], np.int64),
        uv=np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32),
        texture=texture,
    )


def quick(record: Record, tell: Callable[[int, int, str], None]) -> dict[str, float]:
    """Do as if: so many steps of 10 ms as the job has, then a square with a picture on it."""
    steps = record.job.steps
    for step in range(steps):
        tell(step, steps, "fit")
        time.sleep(STEP)
    folder = record.result
    (folder / "views").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(folder / "views" / "000.png")
    write_json(folder / "views" / "transforms.json", {"frames": []})
    textured_square().save(folder / "model.glb")
    return {"psnr": 20.0}


class Visitor(requests.Session):
    """Somebody who asks a server, with a jar for its cookie."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.trust_env = False
        self.address = address

    def request(self, method: Any, url: Any, *args: Any, **more: Any) -> requests.Response:
        more.setdefault("timeout", 60)
        return super().request(method, f"{self.address}{url}", *args, **more)

    def send_job(self, files: Any = None, **asked: Any) -> requests.Response:
        asked = {"method": "epidiff-neus", **asked}
        files = [("files", ("my car.png", CAR.read_bytes()))] if files is None else files
        request = ("request", (None, json.dumps(asked)))
        return self.post("/api/jobs", files=[request, *files])

    def until_over(self, name: str, seconds: float = 30.0) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            told = self.get(f"/api/jobs/{name}").json()
            if told["phase"] in ("done", "failed", "cancelled"):
                return told  # type: ignore[no-any-return]
            time.sleep(0.05)
        raise AssertionError(f"not over after {seconds} s: {told}")


def zipped(files: dict[str, bytes], **how: Any) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content, **how)
    return made.getvalue()
