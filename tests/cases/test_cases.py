"""Inputs of other people that once failed: each works now, or is refused in one clear message.

They lie in the folder `cases` beside that of `STUDIO_TEST_DATA`, each with a README of what is
expected; without them these tests are skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from studio.app.cli import main
from studio.data.layouts.capture import CaptureData
from studio.errors import StudioError
from studio.views import ViewSet
from tests.conftest import REPOSITORY, environment

DATA = os.environ.get("STUDIO_TEST_DATA")
CASES = Path(DATA).parent / "cases" if DATA else Path("cases")
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="STUDIO_TEST_DATA/../cases is not there")


def folders(*kinds: str) -> list[str]:
    """Names of the cases of these kinds that bring an input with them."""
    found = CASES.iterdir() if CASES.is_dir() else ()
    return sorted(p.name for p in found if p.name.startswith(kinds) and (p / "in").is_dir())


def read(name: str, **options: object) -> ViewSet:
    values = {"root": str(CASES / name), **options}
    return CaptureData(CaptureData.Config(**values)).load()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", folders("fuzz-colmap", "fuzz-transforms", "fuzz-dtu"))
def test_broken_captures_are_refused(name: str) -> None:
    try:
        views = read(f"{name}/in")
    except StudioError as error:
        assert 0 < len(str(error)) < 2000
    else:  # what is broken may not matter
        assert len(views) >= 2


@pytest.mark.parametrize(
    "name", folders("fuzz-epidiff", "fuzz-exr", "fuzz-nmr", "fuzz-views", "fuzz-ckpt")
)
def test_broken_data_sets_are_refused(name: str, tmp_path: Path) -> None:
    command = (CASES / name / "README.txt").read_text().splitlines()[0]
    found = re.search(r'-c "(.*)"$', command)
    assert found is not None
    shutil.copytree(CASES / name, tmp_path / name)
    code = found[1].replace("<cases>", str(tmp_path))
    if name.startswith("fuzz-nmr_index"):
        exec(code, {})  # an index is made anew
        return
    with pytest.raises(StudioError):
        exec(code, {})  # the README's own command


@pytest.mark.parametrize(
    "name", folders("fuzz-config", "fuzz-words", "fuzz-picture_made", "fuzz-mesh")
)
def test_broken_commands_end_with_one_message(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STUDIO_RUN_DIR", raising=False)
    given = CASES / name / "in"
    spot = Path(DATA or "") / "spot_16views_128"
    out = f"exp_root_dir={tmp_path}"
    if (given / "c.yaml").exists():
        words = ["--config", str(given / "c.yaml"), "--train", f"data.root={spot}", out]
    elif (given / "word.txt").exists():
        word = name.split("_", 2)[1].split("-", 1)[1] if "_" in name else ""
        word = re.sub(r"^fuzz-words_\d+-", "", name)
        words = ["--config", "configs/reconstruct.yaml", "--train", f"data.root={spot}", out, word]
    elif (given / "p.png").exists():
        words = [
            "--config",
            "configs/epidiff-neus.yaml",
            "--train",
            f"data.image={given}/p.png",
            out,
        ]
    else:
        mesh = given / "m.obj"
        words = ["--evaluate", f"pred={mesh}", f"reference={mesh}", f"out={tmp_path}"]
    assert main(words) == 2
    text = capsys.readouterr().err
    assert "Error" in text and "Traceback" not in text


@pytest.mark.parametrize("name", folders("fuzz-plugin"))
def test_broken_plugins_do_not_end_the_list(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "launch.py", "--list"],
        cwd=REPOSITORY,
        env={**environment(), "STUDIO_CUSTOM": str(CASES / name / "in")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and "epidiff" in done.stdout
    assert "Traceback" not in done.stderr


VIEWS = {
    "colmap-one-picture-missing": 15,
    "colmap-two-models": 13,
    "colmap-unused-fisheye": 16,
    "dtu-deleted-pictures": 14,
    "exif-rotate-180": 16,
    "exif-rotate-90": 16,
    "exif-rotate-90-angle-only": 16,
    "geo-ecef-colmap": 16,
    "mask-is-cutout-rgba": 16,
    "mask-values-0-1": 16,
    "ngp-aabb16-with-scale": 16,
    "transforms-radial": 16,
    "transforms-three-decimals": 16,
}


@pytest.mark.parametrize("name", VIEWS)
def test_captures_as_people_have_them_are_read(name: str) -> None:
    if not (CASES / name).is_dir():
        pytest.skip(f"no folder {name}")
    views = read(name)
    assert len(views) == VIEWS[name]
    assert 0.3 < views.bound * 1.0 < 50 or name == "geo-ecef-colmap"
    assert agreement(views) > 0.85


def agreement(views: ViewSet) -> float:
    """How well the pictures' masks agree on one object: IoU of masks and of their visual hull's."""
    import torch

    n, reach = 48, views.bound
    line = torch.linspace(-reach, reach, n)
    points = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    inside = torch.ones(len(points), dtype=torch.bool)
    pixels, depth = views.cameras.project(points)
    height, width = views.cameras.size
    column, row = (pixels[..., 0].long(), pixels[..., 1].long())
    seen = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    at = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    masks = torch.nn.functional.max_pool2d(views.mask[:, None], 3, 1, 1)[:, 0]  # forgives a pixel
    inside = (masks.flatten(1).gather(1, at) > 0.5).logical_or(~seen).all(0)
    scores = []
    for v in range(len(views)):
        hull = torch.zeros(height * width)
        hull[at[v][inside & seen[v]]] = 1.0
        hull = (
            torch.nn.functional.max_pool2d(hull.reshape(1, 1, height, width), 5, 1, 2)[0, 0] > 0.5
        )
        mask = views.mask[v] > 0.5
        scores.append(float((mask & hull).sum() / mask.sum()))
    return sum(scores) / len(scores)


@pytest.mark.parametrize("name", ["colmap4-model-eucm", "transforms-w2c"])
def test_captures_that_cannot_be_read_say_why(name: str) -> None:
    said = {"colmap4-model-eucm": "EUCM", "transforms-w2c": "world-to-camera"}[name]
    if not (CASES / name).is_dir():
        pytest.skip(f"no folder {name}")
    with pytest.raises(StudioError, match=said):
        read(name)
