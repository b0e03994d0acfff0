"""One official chain after the other, from a released layout of random numbers to a GLB."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import trimesh
import yaml

from studio.views import ViewSet
from tests.fullsize import releases

REPOSITORY = Path(__file__).parents[2]
GB = 1e9
PLUGINS = Path(__file__).parent / "plugins"
SHORT = (
    "system_type=cut-out-image-to-3d",
    "trainer.max_steps=40",
    "system.time_budget_s=60",
    "system.exporter.resolution=64",
    "system.exporter.faces=4000",
    "system.exporter.texture_size=256",
    "system.exporter.turntable=false",
)
"""What every chain's reconstruction is cut to; see `plugins/cut_out.py`."""


@dataclass(frozen=True)
class Chain:
    """A released model and the shortest way through its official config.

    Attributes:
        config: name below configs/official.
        write: makes the files in a folder; returns the weights to name.
        words: overrides of the command line; "{folder}" is where the files lie.
        views: how many views are made.
        changed: edits the config where there is no official one.
    """

    config: str
    write: Callable[[Path], Path]
    words: tuple[str, ...]
    views: int
    changed: Callable[[dict], dict] | None = None


def _spad(folder: Path, views: str) -> Path:
    releases.write_clip_tokenizer(folder / "tokenizer")
    return releases.write_spad(folder, views)


def _plain_zero123(config: dict) -> dict:
    """The config of interpolated ViewFusion without what is ViewFusion's own."""
    own = ("order", "noise", "window_deg", "input_temperature", "view_temperature", "precision")
    system = config["system"]
    guidance = {k: v for k, v in system["guidance"].items() if k not in own}
    return {
        **config,
        "system": {**system, "guidance_type": "zero123", "guidance": guidance},
    }


CHAINS = {
    "epidiff": Chain(
        "epidiff-neus",
        releases.write_epidiff,
        ("system.guidance.views=2", "system.guidance.steps=1"),
        2,
    ),
    "spad-two-views": Chain(
        "spad-neus",
        partial(_spad, views="two"),
        (
            "system.guidance.tokenizer={folder}/tokenizer",
            "system.guidance.absolute_cameras=false",
            "system.guidance.camera_intrinsics=false",
            "system.guidance.views=2",
            "system.guidance.steps=1",
        ),
        2,
    ),
    "spad-four-views": Chain(
        "spad-neus",
        partial(_spad, views="four"),
        (
            "system.guidance.tokenizer={folder}/tokenizer",
            "system.guidance.views=4",
            "system.guidance.steps=1",
        ),
        4,
    ),
    "eschernet-6dof": Chain(
        "eschernet-neus",
        partial(releases.write_eschernet, cape="6dof"),
        (
            "data.count=1",
            "system.guidance.azimuths=2",
            "system.guidance.elevations_deg=[30]",
            "system.guidance.steps=1",
        ),
        2,
    ),
    "eschernet-4dof": Chain(
        "eschernet-neus",
        partial(releases.write_eschernet, cape="4dof"),
        (
            "data.count=1",
            "system.guidance.cape=4dof",
            "system.guidance.azimuths=2",
            "system.guidance.elevations_deg=[30]",
            "system.guidance.steps=1",
        ),
        2,
    ),
    "viewfusion-composable": Chain(
        "viewfusion-composable-neus",
        releases.write_composable,
        ("system.guidance.views=4", "system.guidance.sampler=ddim", "system.guidance.steps=1"),
        4,
    ),
    "viewfusion-interpolated": Chain(
        "viewfusion-interpolated-neus",
        releases.write_zero123,
        (
            "system.guidance.views=3",
            "system.guidance.steps=1",
            "system.guidance.timestep_spacing=leading",  # their own places no single step
        ),
        3,
    ),
    "zero123-fp16": Chain(
        "viewfusion-interpolated-neus",
        releases.write_zero123_folder,
        (
            "system.guidance.variant=fp16_ema",
            "system.guidance.views=2",
            "system.guidance.steps=1",
            "system.guidance.timestep_spacing=leading",
        ),
        2,
        _plain_zero123,
    ),
}


@dataclass
class Report:
    """What one chain took; seconds and GB.

    Attributes:
        peak: resident memory at its highest, pages of mapped files included.
        anonymous: the same without pages of files, which the system may drop at any time.
        again: the same command once more, until it finds the views there.
        fault: what went wrong, "" if nothing did.
    """

    size: float = 0.0
    write: float = 0.0
    load: float = 0.0
    sample: float = 0.0
    mesh: float = 0.0
    again: float = 0.0
    peak: float = 0.0
    anonymous: float = 0.0
    faces: int = 0
    fault: str = ""


def rehearse(name: str, out: Path, *, limit: float, keep: bool = False) -> Report:
    """Write a model's files, run its chain, look at the result, delete the files.

    Args:
        name: one of `CHAINS`.
        out: receives a folder of files and one of the run.
        limit: GB of resident memory that the chain may take.
        keep: leave the files of weights.
    """
    chain, folder, report = CHAINS[name], out / "weights" / name, Report()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(out / "runs" / name, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        began = time.monotonic()
        weights = chain.write(folder)
        report.write = time.monotonic() - began
        report.size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / GB
        _run_chain(name, chain, weights, out, report)
        if not report.fault and report.peak > limit:
            report.fault = f"{report.peak:.1f} GB of memory"
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    return report


def _run_chain(name: str, chain: Chain, weights: Path, out: Path, report: Report) -> None:
    run = out / "runs" / name / "rehearsal"
    config = _config(chain, out / "configs", name)
    words = [w.format(folder=weights.parent) for w in chain.words]
    words += [f"system.guidance.weights={weights}", *SHORT, "use_timestamp=false"]
    words += [f"exp_root_dir={out / 'runs'}", f"name={name}", f"tag={run.name}"]
    command = [sys.executable, str(REPOSITORY / "launch.py"), "--config", str(config)]
    command += ["--train", "--export", *words]
    log = out / f"{name}.log"
    process = Process(command, log)
    report.peak, report.anonymous = process.peak, process.anonymous
    if process.code:
        report.fault = f"exit code {process.code}, see {log}"
        return
    metrics = json.loads((run / "metrics.json").read_text())
    report.load = process.marks.get("input:", 0.0)
    report.sample = metrics["views_seconds"]
    report.mesh = process.seconds - report.load - report.sample
    report.fault = _fault_of_views(run / "views", chain.views)
    mesh = trimesh.load(run / "export" / "model.glb", force="mesh")
    report.faces = len(mesh.faces)
    if not report.faces or not np.isfinite(mesh.vertices).all():
        report.fault = report.fault or "the mesh is empty or not finite"
    again = Process(command, out / f"{name}-again.log", until="views: already made")
    report.again = again.seconds
    if again.code not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
        report.fault = report.fault or f"exit code {again.code} of the second start"
    elif "views  running" in (out / f"{name}-again.log").read_text():
        report.fault = report.fault or "the second start made the views once more"


def _config(chain: Chain, folder: Path, name: str) -> Path:
    official = REPOSITORY / "configs" / "official" / f"{chain.config}.yaml"
    if chain.changed is None:
        return official
    folder.mkdir(parents=True, exist_ok=True)
    changed = chain.changed(yaml.safe_load(official.read_text()))
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(changed))
    return folder / f"{name}.yaml"


def _fault_of_views(folder: Path, count: int) -> str:
    """What is wrong with the views, "" if nothing: their number, or one that shows nothing."""
    images = ViewSet.load(folder).images.numpy()
    if len(images) != count:
        return f"{len(images)} views instead of {count}"
    blank = [i for i, v in enumerate(images) if not np.isfinite(v).all() or v[:3].std() < 0.01]
    if blank:
        return f"views {blank} are constant or not finite"
    alike = [i for i in range(1, count) if np.array_equal(images[0], images[i])]
    return f"views {alike} equal view 0" if alike else ""


@dataclass
class Process:
    """A command that is run to its end, its output in a file, while its memory is watched.

    Attributes:
        until: a line of output that begins so is waited for; then the command is stopped.
        peak: GB resident at its highest (the kernel's own figure, mapped files included).
        anonymous: GB that are no file's, looked at ten times a second.
        marks: seconds after the start at which a line of output first began with a word.
    """

    command: list[str]
    log: Path
    until: str = ""
    code: int = 0
    seconds: float = 0.0
    peak: float = 0.0
    anonymous: float = 0.0
    marks: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        fixed = {"PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": "", "STUDIO_CUSTOM": str(PLUGINS)}
        began = time.monotonic()
        started = subprocess.Popen(
            self.command,
            cwd=REPOSITORY,
            env={**os.environ, **fixed},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert started.stdout is not None
        with self.log.open("w") as log, self._watched(started.pid):
            log.write(" ".join(self.command) + "\n")
            for line in started.stdout:
                log.write(f"{time.monotonic() - began:7.1f} {line}")
                log.flush()
                self.marks.setdefault(line.split(" ", 1)[0], time.monotonic() - began)
                if self.until and line.startswith(self.until):
                    self.seconds = time.monotonic() - began
                    started.terminate()
            _, status, used = os.wait4(started.pid, 0)
        self.code = started.returncode = os.waitstatus_to_exitcode(status)
        self.seconds = self.seconds or time.monotonic() - began
        self.peak = used.ru_maxrss * 1024 / GB

    @contextlib.contextmanager
    def _watched(self, pid: int) -> Iterator[None]:
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.1):
                self.anonymous = max(self.anonymous, _anonymous(pid))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _anonymous(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return 0.0
    return sum(int(x.split()[1]) for x in lines if x.startswith("RssAnon:")) * 1024 / GB
