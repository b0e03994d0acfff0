"""Valid tiny inputs of every kind that the program reads, and the command that reads each."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from studio.cameras import opencv_to_opengl, orbit_cameras
from studio.captures.transforms_writer import write_transforms
from studio.mesh import Mesh
from tests import nmr_files
from tests.campaign.fuzz_plugins import GOOD
from tests.unit import test_captures as captures
from tests.unit import test_eschernet_eval as eschernet
from tests.unit import test_exr as exr
from tests.unit import test_spad_data as spad

Random = random.Random
SMALL = captures.RIG
"""Five cameras of 40 px."""


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        name: of the kind.
        make: writes a valid input into a folder.
        command: words of launch.py, or "-c" and a program; {in} and {out} are folders.
        files: patterns of the files that are damaged.
        environment: variables, with {in}.
        says: what the program has to print where it ends with 0.
        words: draws of more words of the command; no file is damaged then.
        control: words for the valid input, where the command needs some.
        write: what is written instead of damaging a file; returns how it is called.
        shows: whether tracebacks of plugins are shown, as with --verbose.
        lists: whether every plugin of the input has to be spoken of.
        names: whether a refusal has to name a file or folder of the input.
        share: how many inputs of this kind are tried for one of others.
    """

    name: str
    make: Callable[[Path], Any]
    command: tuple[str, ...]
    files: tuple[str, ...] = ("**/*",)
    environment: dict[str, str] = field(default_factory=dict)
    says: str = ""
    words: Callable[[], list[Callable[[Random], list[str]]]] | None = None
    control: tuple[str, ...] = ()
    write: Callable[[Path, Random], str] | None = None
    shows: bool = False
    lists: bool = False
    names: bool = True
    share: float = 1.0


def program(code: str) -> tuple[str, ...]:
    """A command that runs Python; the last thing that it prints tells that it came to its end."""
    return ("-c", f"from studio import build; {code}; print('whole')")


def loading(kind: str, **options: Any) -> tuple[str, ...]:
    """A command that reads all views of a capture."""
    return program(f"build('data', {kind!r}, {given(options)}, key='data').load()")


def item(kind: str, below: str = "", **options: Any) -> tuple[str, ...]:
    """A command that reads an item of a data set, which lies in a file or folder of the input."""
    options = {"root": f"{{in}}/{below}", **options}
    return program(f"build('data', {kind!r}, {options!r}, key='data').dataset('train')[0]")


def condition(kind: str, **options: Any) -> tuple[str, ...]:
    """A command that reads what guidance is given."""
    return program(f"build('data', {kind!r}, {given(options)}, key='data').condition()")


def given(options: dict[str, Any]) -> str:
    return repr(options if "image" in options else {"root": "{in}", **options})


# --- captures -------------------------------------------------------------------------------------


def ours(folder: Path) -> None:
    """Views as this program writes them: orthographic, with normals and the block "studio"."""
    cameras = captures.wonder_cameras()
    pictures = captures.photograph(cameras)
    from studio.views import ViewSet

    views = ViewSet(pictures, cameras, 0.6, {"source": "x"}, normals=captures.ball_normals(cameras))
    write_transforms(views, folder)


def nerf(folder: Path) -> None:
    eschernet.write_nerf(folder)


def wonder(folder: Path) -> None:
    cameras = captures.wonder_cameras()
    (folder / "poses").mkdir()
    w2c = cameras.w2c.clone()
    w2c[:, 1:3] *= -1
    for i, (view, picture) in enumerate(
        zip(captures.VIEWS, captures.photograph(cameras), strict=True)
    ):
        captures.save(folder / f"rgb_000_{view}.png", picture)
        captures.save(folder / f"normals_000_{view}.png", picture)
        np.savetxt(folder / "poses" / f"000_{view}_RT.txt", w2c[i, :3].numpy())


def strip(folder: Path) -> None:
    pictures = captures.photograph(captures.ring(16))
    captures.save(folder / "0.png", torch.cat(list(pictures), dim=2))


def views_release(folder: Path) -> None:
    cameras = orbit_cameras([0.0, 40.0, 200.0], [10.0, -20.0, 60.0], 1.7, size=16)
    for name in ("a", "b"):
        eschernet.write_views(folder / name, cameras)
    (folder / "valid_paths.json").write_text(json.dumps(["a", "b"]))


def spad_objects(folder: Path) -> None:
    for name in ("aaa", "bbb"):
        spad.write_object(folder / name)
    (folder / "objects.txt").write_text("aaa\nbbb\n")
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("aaa", "a red box"), ("bbb", "a box, red")])


def captioned(folder: Path) -> None:
    for k in range(3):
        Image.new("RGB", (40, 30), (k * 20, 0, 0)).save(folder / f"{k}.jpg")
        (folder / f"{k}.txt").write_text(f"picture {k}\n")


def rtmv(folder: Path) -> None:
    for i, matrix in enumerate(opencv_to_opengl(eschernet.ring(4).c2w).transpose(1, 2)):
        lens = {"fx": 20.0, "fy": 20.0, "cx": 2.5, "cy": 9.0}
        camera = {"cam2world": matrix.tolist(), "intrinsics": lens, "width": 5, "height": 18}
        (folder / f"{i:05d}.json").write_text(json.dumps({"camera_data": camera}))
        exr.write_exr(folder / f"{i:05d}.exr")


def franka(folder: Path) -> None:
    np.save(folder / "angles.npy", np.linspace(0, 1, 12).reshape(6, 2))
    (folder / "images_rgba").mkdir()
    for i in range(6):
        Image.new("RGBA", (16, 16), (i, 0, 0, 255)).save(folder / f"images_rgba/frame{i:06d}.png")


def nmr(form: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        top = nmr_files.write_archive(
            folder, {"train": [1, 0, 0], "val": [0, 1, 0], "test": [0, 0, 1]}
        )
        if form == "folder":
            return
        nmr_files.zipped(top)
        if form == "shards":
            from studio.data.training.nmr_shards import run_prepare

            words = [f"source={top}", f"out={folder / 'shards'}", "shards=1"]
            with contextlib.redirect_stdout(io.StringIO()):
                run_prepare(words)
            (folder / "NMR_Dataset.zip").unlink()
        shutil.rmtree(top)

    return make


# --- pictures and meshes --------------------------------------------------------------------------


def picture(form: str, mode: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        pixels = np.zeros((48, 40, 4), np.uint8)
        pixels[8:40, 8:32] = (200, 40, 0, 255)
        shown = Image.fromarray(pixels)
        if mode != "RGBA":
            shown = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
            shown = shown.convert(mode if mode != "I;16" else "L")
        if mode == "I;16":
            shown = Image.fromarray(np.asarray(shown).astype(np.uint16) * 257)
        shown.save(folder / "p.png", format=form)

    return make


def photo(form: str) -> Callable[[Path], None]:
    """A photo without transparency, turned by its EXIF tag, with a profile of colours."""
    from PIL import ImageCms

    def make(folder: Path) -> None:
        pixels = np.full((48, 40, 3), 250, np.uint8)
        pixels[10:38, 9:30] = (30, 90, 40)
        exif = Image.Exif()
        exif[0x0112] = 6
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        Image.fromarray(pixels).save(
            folder / "p.jpg", format=form, exif=exif, icc_profile=profile, dpi=(72, 72)
        )

    return make


def mesh(suffix: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import trimesh

        ball = trimesh.creation.icosphere(1, 0.5)
        vertices = np.asarray(ball.vertices, np.float32)
        colours = np.full_like(vertices, 0.5)
        plain = Mesh(vertices, np.asarray(ball.faces, np.int64), colours=colours)
        uv = vertices[:, :2] + 0.5
        texture = np.full((8, 8, 3), 99, np.uint8)
        painted = dataclasses.replace(plain, colours=None, uv=uv, texture=texture)
        path = folder / f"m{suffix}"
        if suffix in (".ply", ".stl"):
            plain.save(path)
        elif suffix in (".obj", ".glb", ".3mf"):
            painted.save(path)
        else:
            ball.export(path)

    return make


def exr_of(kind: str) -> Callable[[Path], Any]:
    return lambda folder: exr.write_exr(folder / "x.exr", kind)


# --- whole runs ----------------------------------------------------------------------------------

CONFIG = """\
name: fuzz
tag: t
use_timestamp: false
data_type: capture
data:
  root: ROOT
  bound: 0.5
system_type: reconstruction
system:
  time_budget_s: 5
  geometry_type: hash-sdf
  geometry: {levels: 2, max_resolution: 32, log2_rows: 8, hidden: 8}
  renderer_type: neus-occupancy
  renderer: {grid_resolution: 16}
  samples_per_step: 256
  max_rays: 256
  exporter_type: mesh
  exporter: {resolution: 24, turntable: false, preview: false, inspect: false, psnr_views: 0}
trainer:
  max_steps: 1
  accelerator: cpu
  threads: 1
  checkpoint_every: 1
"""


def views(folder: Path) -> None:
    captures.write_ngp(folder / "views", SMALL)


def config(folder: Path) -> None:
    views(folder)
    (folder / "c.yaml").write_text(CONFIG.replace("ROOT", "VIEWS"))


def no_file(folder: Path) -> None:
    """Nothing: what is tried are words."""


def config_and_plugins(folder: Path) -> None:
    """A config whose geometry is a plugin in custom/."""
    config(folder)
    (folder / "custom").mkdir()
    (folder / "custom" / "plugin.py").write_text(GOOD)


def finished(folder: Path) -> None:
    """A run folder of one step, exported."""
    config(folder)
    text = (folder / "c.yaml").read_text()
    (folder / "made.yaml").write_text(text.replace("VIEWS", str(folder / "views")))
    words = ["--config", str(folder / "made.yaml"), "--train", "--export"]
    child = os.fork()
    if child == 0:
        from studio.app.cli import main

        os._exit(main([*words, f"exp_root_dir={folder / 'runs'}"]))
    os.waitpid(child, 0)
    (folder / "made.yaml").unlink()
