"""Plain photos: COLMAP is run once, on the photos that are there, or the message says how."""

import logging
import shutil
import sys
from pathlib import Path

import pytest
import torch

from studio.data.layouts import colmap_run
from studio.data.layouts.capture import recognise
from studio.errors import DataError
from tests.unit.test_captures import RIG, assert_same, photograph, read, save, write_colmap
from tests.unit.test_captures_of_others import KEEP

PROGRAM = """#!{python}
import pathlib, shutil, sqlite3, sys
if sys.argv[1] == "help":
    print("COLMAP 3.9 without CUDA")
    sys.exit()
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
with open({calls!r}, "a") as file:
    print(" ".join(sys.argv[1:]), file=file)
print("E some trouble")
if pathlib.Path({model!r}).exists():
    shutil.copytree({model!r}, options["--workspace_path"] + "/sparse/0")
else:
    sys.exit(int(pathlib.Path({calls!r}).with_name("code").read_text()))
"""


@pytest.fixture
def colmap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that takes COLMAP's words and hands out a prepared model; its list of calls."""
    calls = tmp_path / "calls"
    program = tmp_path / "bin" / "colmap"
    program.parent.mkdir()
    program.write_text(
        PROGRAM.format(python=sys.executable, calls=str(calls), model=str(tmp_path / "model"))
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(colmap_run.importlib.util, "find_spec", lambda name: None)
    write_colmap(tmp_path / "made", RIG, binary=True)
    shutil.move(tmp_path / "made/sparse/0", tmp_path / "model")
    (tmp_path / "code").write_text("0")
    photos = tmp_path / "photos"
    shutil.move(tmp_path / "made/images", photos)
    shutil.move(tmp_path / "made/masks", photos / "masks")
    return calls


def test_colmap_runs_once(tmp_path: Path, colmap: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos = tmp_path / "photos"
    assert recognise(photos) == "photos"
    caplog.set_level(logging.INFO)
    assert_same(read("photos", photos, **KEEP), RIG, 1e-4)
    words = colmap.read_text()
    assert f"--image_path {photos}" in words and "--use_gpu 0" in words
    assert "--single_camera 1" in words
    assert "COLMAP finds the cameras of 5 photos" in caplog.text
    assert_same(read("capture", photos, **KEEP), RIG, 1e-4)
    assert len(colmap.read_text().splitlines()) == 1
    save(photos / "one more.png", photograph(RIG)[0])
    assert len(read("photos", photos, **KEEP)) == 5  # which the model does not know
    assert len(colmap.read_text().splitlines()) == 2
    assert "5 of the 6 pictures; 1 are not used" in caplog.text


def test_colmap_fails(tmp_path: Path, colmap: Path) -> None:
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(DataError, match="could not tell where the 5 photos were taken"):
        read("capture", tmp_path / "photos")
    (tmp_path / "code").write_text("7")
    with pytest.raises(DataError, match=r"exit code 7: E some trouble(.|\n)*colmap.log"):
        read("capture", tmp_path / "photos")


def test_without_colmap_the_commands_are_told(tmp_path: Path, colmap: Path) -> None:
    (tmp_path / "bin/colmap").unlink()
    photos = tmp_path / "photos"
    with pytest.raises(DataError, match=r"pip install pycolmap(.|\n)*automatic_recon") as caught:
        read("capture", photos)
    assert f"--workspace_path {photos}/colmap --image_path {photos} " in str(caught.value)
    shutil.copytree(tmp_path / "model", photos / "colmap/sparse/0")  # as those commands do
    assert recognise(photos) == "colmap"
    assert_same(read("capture", photos, **KEEP), RIG, 1e-4)
    with pytest.raises(DataError, match="data.colmap is 'nowhere'"):
        read("photos", photos, colmap="nowhere")


def test_missing_masks_are_told_before_colmap_runs(tmp_path: Path, colmap: Path) -> None:
    photos = tmp_path / "photos"
    shutil.rmtree(photos / "masks")
    for i in range(5):
        save(photos / f"photo {i}.jpg.png", torch.rand(3, 40, 40))
    with pytest.raises(DataError, match=r"masks are missing(.|\n)*background=none"):
        read("capture", photos)
    assert not colmap.exists()
    assert len(read("capture", photos, background="none")) == 5


def test_too_few_photos_are_no_capture(tmp_path: Path) -> None:
    for i in range(2):
        save(tmp_path / f"{i}.png", torch.rand(3, 40, 40))
    with pytest.raises(DataError, match="no capture of a known layout"):
        read("capture", tmp_path)


def test_sixteen_square_photos_are_no_ring_of_views(tmp_path: Path) -> None:
    for i in range(16):
        save(tmp_path / f"{i}.png", torch.rand(3, 40, 40))
    assert recognise(tmp_path) == "photos"
