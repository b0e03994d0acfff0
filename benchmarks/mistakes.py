"""The time from the start of the program to the message for a user's usual mistakes.

    python -m benchmarks.mistakes [RUNS]

Each mistake is made in a process of its own; the table tells the seconds of the quickest and the
slowest run, the processor's seconds of the quickest (which other programs do not lengthen), and the
first line of the message.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ("--config", "configs/epidiff-neus.yaml", "--train")
CAPTURE = ("--config", "configs/reconstruct.yaml", "--train")
PICTURES = ("--config", "configs/viewfusion-composable-neus.yaml", "--train")
NMR = ("--config", "configs/train/viewfusion-composable.yaml", "--train")
OBJECTS = ("--config", "configs/train/zero123.yaml", "--train")
TEXT = ("--config", "configs/spad-neus.yaml", "--train")
MISTAKES: dict[str, tuple[str, ...]] = {
    "a missing picture": (*PICTURE, "data.image={folder}/nothing.png"),
    "a folder instead of a picture": (*PICTURE, "data.image={folder}"),
    "a file that is no picture": (*PICTURE, "data.image={folder}/notes.png"),
    "an uneven background": (*PICTURE, "data.image={folder}/noise.png"),
    "a picture of one colour": (*PICTURE, "data.image={folder}/white.png"),
    "a picture in place of a config": ("--config", "load/images/car.png", "--train"),
    "an empty text": (*TEXT, "data.text="),
    "a misspelt option": (*PICTURE, "data.image=load/images/car.png", "data.elevation=20"),
    "a misspelt option deep down": (
        *CAPTURE,
        "data.root=load/posed/car",
        "system.exporter.hight=1",
    ),
    "a plugin that does not exist": (*PICTURE, "system.guidance_type=epidif"),
    "weights that do not exist": (
        *PICTURE,
        "data.image=load/images/car.png",
        "system.guidance.weights=load/nano/epidif",
    ),
    "a missing capture": (*CAPTURE, "data.root={folder}/nothing"),
    "an empty folder": (*CAPTURE, "data.root={folder}/empty"),
    "a folder of documents": (*CAPTURE, "data.root={folder}/documents"),
    "a zip in place of its folder": (*CAPTURE, "data.root={folder}/capture.zip"),
    "a damaged zip": (*NMR, "data.root={folder}/damaged.zip"),
    "a missing list of objects": (*OBJECTS, "data.root={folder}/documents"),
    "a missing picture among several": (
        *PICTURES,
        "data.images=[load/images/car.png,{folder}/nothing.png]",
    ),
    "a mesh that does not exist": ("--evaluate", "pred={folder}/none.glb", "reference=b.glb"),
    "a run that does not exist": ("--view", "{folder}/nothing"),
    "a config that does not exist": ("--config", "configs/epidif-neus.yaml", "--train"),
    "a word without =": (*PICTURE, "data.image"),
    "no steps": (*PICTURE, "data.image=load/images/car.png", "system.guidance.steps=0"),
    "an endless scale": (*TEXT, "data.text=a car", "system.guidance.cfg_scale=.inf"),
    "a number that is text": (*PICTURE, "data.image=load/images/car.png", "seed=one"),
    "an accelerator that is none": (*CAPTURE, "data.root=load/posed/car", "trainer.accelerator=x"),
    "threads below none": (*CAPTURE, "data.root=load/posed/car", "trainer.threads=-1"),
    "no devices": (*CAPTURE, "data.root=load/posed/car", "trainer.devices=0"),
    "a strategy that is none": (*CAPTURE, "data.root=load/posed/car", "trainer.strategy=dpd"),
    "several devices for a fit": (*CAPTURE, "data.root=load/posed/car", "trainer.devices=7"),
    "a checkpoint that is not there": (
        *CAPTURE,
        "data.root=load/posed/car",
        "resume={folder}/none.ckpt",
    ),
    "a truncated checkpoint to go on from": (
        *CAPTURE,
        *("data.root=load/posed/car", "resume={folder}/cut.ckpt"),
    ),
    "a truncated checkpoint to begin from": (
        *CAPTURE,
        *("data.root=load/posed/car", "checkpoint={folder}/cut.ckpt"),
    ),
    "the export of a truncated checkpoint": (
        *("--config", "configs/reconstruct.yaml", "--export"),
        *("data.root=load/posed/car", "resume={folder}/cut.ckpt"),
    ),
    "truncated weights": (
        *PICTURE,
        *("data.image=load/images/car.png", "system.guidance.weights={folder}/cut.safetensors"),
    ),
    "the export of what is not trained": (
        *("--config", "configs/reconstruct.yaml", "--export"),
        *("data.root=load/posed/car", "exp_root_dir={folder}/runs"),
    ),
    "going on in another folder": (
        *CAPTURE,
        *("data.root=load/posed/car", "resume={folder}/runs/toy/a", "tag=b"),
    ),
    "a batch of nothing": ("batch", "config=epidiff-neus"),
    "an arithmetic that a fit is not computed in": (
        *CAPTURE,
        "data.root=load/posed/car",
        "trainer.precision=bf16",
    ),
}


def make_files(folder: Path) -> None:
    """Write the files that the mistakes name."""
    (folder / "empty").mkdir()
    (folder / "runs/toy/a/ckpts").mkdir(parents=True)
    (folder / "runs/toy/a/ckpts/last.ckpt").touch()
    (folder / "documents").mkdir()
    (folder / "documents" / "letter.odt").write_text("Dear all\n")
    with zipfile.ZipFile(folder / "capture.zip", "w") as archive:
        archive.writestr("transforms.json", "{}")
    (folder / "damaged.zip").write_bytes((folder / "capture.zip").read_bytes()[:40])
    (folder / "cut.ckpt").write_bytes((folder / "capture.zip").read_bytes()[:40])
    (folder / "cut.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    Image.new("RGB", (256, 256), "white").save(folder / "white.png")
    (folder / "notes.png").write_text("not a picture\n")


def words_of(mistake: str, folder: Path) -> list[str]:
    """Return the command line of a mistake."""
    return [word.format(folder=folder) for word in MISTAKES[mistake]]


def main(runs: int = 3) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        make_files(Path(name))
        for mistake in MISTAKES:
            seconds, worked, message = [], [], ""
            for _ in range(runs):
                began, before = time.perf_counter(), os.times()
                command = [sys.executable, "launch.py", *words_of(mistake, Path(name))]
                answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
                seconds.append(time.perf_counter() - began)
                after = os.times()
                worked.append(
                    after.children_user
                    + after.children_system
                    - before.children_user
                    - before.children_system
                )
                message = answer.stderr.strip().splitlines()[0][:90]
                assert answer.returncode == 2, answer.stderr
            wall = f"{min(seconds):6.2f} {max(seconds):6.2f} s"
            print(f"{mistake:<45}{wall}, CPU {min(worked):5.2f} s  {message}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
