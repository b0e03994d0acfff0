"""What is killed: commands of seconds in which every kind of stage writes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from studio.io.images import read_rgba, save_png
from tests.conftest import REPOSITORY
from tests.nmr_files import write_archive
from tests.unit.test_filter_views import make_object
from tests.unit.test_reconstruction import sphere_views

Words = tuple[str, ...]

TRAINING = """
name: tiny
tag: t
use_timestamp: false
data_type: procedural
data: {categories: [car], objects: 2, val_objects: 1, resolution: 32, cache_dir: cache}
system_type: guidance-training
system:
  guidance_type: zero123
  guidance:
    resolution: 32
    unet: {block_out_channels: [32, 32], cross_attention_dim: 32, attention_head_dim: 2}
    vae: {block_out_channels: [16], latent_channels: 32}
    clip: {hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1, projection_dim: 32}
    steps: 1
  cache_latents: true
  batch_size: 2
  targets: 2
  validation_objects: 1
trainer: {max_steps: 9, accelerator: cpu, checkpoint_every: 3, threads: 1, preview_every: 6}
"""
FIT: Words = (
    "use_timestamp=false",
    "system.time_budget_s=0",
    "system.samples_per_step=512",
    "system.min_rays=32",
    "system.hull.resolution=32",
    "system.hull.fit_steps=10",
    "system.geometry.levels=4",
    "system.renderer.grid_resolution=16",
    "system.steps_per_block=4",
    "system.exporter.resolution=24",
    "system.exporter.faces=300",
    "system.exporter.turntable_frames=2",
    "system.exporter.turntable_size=64",
    "system.exporter.texture_size=128",
    "system.exporter.psnr_views=2",
    "trainer.max_steps=24",
    "trainer.checkpoint_every=8",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
)
CHAIN: Words = (
    *("--config", str(REPOSITORY / "configs/epidiff-neus.yaml"), *FIT),
    f"system.guidance.weights={REPOSITORY / 'load/nano/epidiff'}",
    f"system.guidance.base={REPOSITORY / 'load/nano/zero123'}",
    "system.guidance.steps=1",
)
FITTED: Words = ("--config", str(REPOSITORY / "configs/reconstruct.yaml"), *FIT, "data.root=set")
TRAINED: Words = ("--config", "tiny.yaml")
PREPARE: Words = ("--prepare", "nmr", "source=NMR_Dataset", "out=shards", "shards=3")
FILTER: Words = ("--filter-views", "views", "views=4", "processes=1", "move=../moved")


@dataclass(frozen=True)
class Scenario:
    """A command that is killed, what was there before, and what is done afterwards.

    Attributes:
        name: in the table.
        inputs: writes what the commands read into an empty folder.
        killed: the command.
        before: commands that came to their end earlier.
        after: the command that runs after the kill, where it is another one than that.
        resumes: whether `resume=last` is added where there is a checkpoint.
        whole: a folder that is the old or the new one at every moment.
        share: how much of the campaign it is; long ones are less.
    """

    name: str
    inputs: Callable[[Path], None]
    killed: Words
    before: tuple[Words, ...] = ()
    after: Words = ()
    resumes: bool = False
    whole: str = ""
    share: int = 14


def _training(folder: Path) -> None:
    (folder / "tiny.yaml").write_text(TRAINING)


def _views(folder: Path) -> None:
    sphere_views(32).save(folder / "set")


def _pictures(folder: Path) -> None:
    shutil.copy(REPOSITORY / "load/images/car.png", folder / "a.png")
    car = read_rgba(folder / "a.png")
    save_png(folder / "b.png", torch.cat([car[:3].flip(0), car[3:]]))


def _nmr(folder: Path) -> None:
    counts = {"train": (6, 6, 6), "val": (1, 1, 1), "test": (1, 1, 1)}
    write_archive(folder, counts)


def _released(folder: Path) -> None:
    for number in range(12):
        make_object(folder / "views" / f"{number:02}", transparent=4 * (number % 3 == 0))


SCENARIOS = (
    Scenario("prepare nmr", _nmr, PREPARE, share=18),
    Scenario("filter views", _released, FILTER, share=18),
    Scenario("training", _training, (*TRAINED, "--train", "--export"), resumes=True),
    Scenario("reconstruction", _views, (*FITTED, "--train", "--export"), resumes=True),
    Scenario(
        "chain",
        _pictures,
        (*CHAIN, "--train", "--export", "data.image=a.png"),
        resumes=True,
        share=9,
    ),
    Scenario("export", _views, (*FITTED, "--export"), before=((*FITTED, "--train"),)),
    Scenario(
        "weights",
        _training,
        (*TRAINED, "--export", "system.output=out"),
        before=(
            (*TRAINED, "--train", "--export", "trainer.max_steps=1", "system.output=out"),
            (*TRAINED, "--train"),
        ),
        whole="out",
    ),
    Scenario(
        "b then a again",
        _pictures,
        (*CHAIN, "--train", "--export", "data.image=b.png"),
        before=((*CHAIN, "--train", "--export", "data.image=a.png"),),
        after=(*CHAIN, "--train", "--export", "data.image=a.png"),
        share=3,
    ),
    Scenario(
        "b over a",
        _pictures,
        (*CHAIN, "--train", "--export", "data.image=b.png"),
        before=((*CHAIN, "--train", "--export", "data.image=a.png"),),
        share=3,
    ),
)
