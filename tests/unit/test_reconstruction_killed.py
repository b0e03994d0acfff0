"""A reconstruction that is killed through the command line goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from studio.app.cli import main
from studio.runs.folder import RUN_VARIABLE
from tests.conftest import REPOSITORY, environment
from tests.unit.test_reconstruction import sphere_views

WORDS = (
    "--train",
    "use_timestamp=false",
    "system.time_budget_s=0",
    "system.samples_per_step=512",
    "system.min_rays=32",
    "system.hull.resolution=32",
    "system.hull.fit_steps=10",
    "system.geometry.levels=4",
    "system.geometry.max_resolution=64",
    "system.renderer.grid_resolution=16",
    "trainer.max_steps=300",
    "trainer.checkpoint_every=20",
    "trainer.threads=1",
)


def command(tmp_path: Path, name: str, *more: str) -> list[str]:
    config = str(REPOSITORY / "configs" / "reconstruct.yaml")
    places = (f"data.root={tmp_path / 'set'}", f"exp_root_dir={tmp_path / name}")
    return ["--config", config, *WORDS, *places, *more]


def last(tmp_path: Path, name: str) -> Path:
    return tmp_path / name / "reconstruct" / "default" / "ckpts" / "last.ckpt"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_kill_9_then_resume_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sphere_views(32).save(tmp_path / "set")
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "launch.py"), *command(tmp_path, "killed")],
        env=environment({}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    saved = last(tmp_path, "killed")
    while process.poll() is None and not saved.exists():
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was over before it could be killed"
    assert 20 <= torch.load(saved, weights_only=True)["global_step"] < 300

    threads = torch.get_num_threads()
    try:
        for name, more in (("whole", ()), ("killed", ("resume=last",))):
            monkeypatch.delenv(RUN_VARIABLE, raising=False)
            assert main(command(tmp_path, name, *more)) == 0
    finally:
        torch.set_num_threads(threads)
    whole = torch.load(last(tmp_path, "whole"), weights_only=True)
    resumed = torch.load(last(tmp_path, "killed"), weights_only=True)
    assert whole["global_step"] == resumed["global_step"] == 300
    assert whole["fitter"]["rays"] == resumed["fitter"]["rays"]
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name
