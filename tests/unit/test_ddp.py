"""Two processes on a CPU through the real command line: same data, same weights as one process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from studio.app.cli import main
from studio.config import ExperimentConfig, TrainerConfig
from studio.errors import ConfigError
from studio.runs.distributed import check_devices, shared_out, without_apple
from studio.runs.folder import RUN_VARIABLE, RunFolder
from studio.runs.trainer import make_trainer
from tests.conftest import REPOSITORY, environment

STEPS, HALFWAY = 6, 3
PATIENCE = 240.0  # seconds; a slow machine must not look like a hang

PLUGIN = '''
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import Dataset

from studio.cameras import orbit_cameras
from studio.data.base import ViewPairData
from studio.plugins import register


@register("data", "counted")
class Counted(ViewPairData):
    """Items of noise that write down which process asked for which; they may stop coming."""

    @dataclass
    class Config:
        log: str = ""
        nan_at: int = -1
        stall_after: int = 1000
        stall_rank: str = ""

    def __init__(self, cfg):
        self.cfg = cfg

    def dataset(self, split):
        return Items(self.cfg)


class Items(Dataset):
    def __init__(self, cfg):
        self.cfg, self.served = cfg, 0

    def __len__(self):
        return 12

    def __getitem__(self, index):
        rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
        if self.served >= self.cfg.stall_after and rank in (self.cfg.stall_rank or rank):
            time.sleep(600)
        self.served += 1
        with Path(f"{self.cfg.log}-{rank}.txt").open("a") as stream:
            stream.write(f"{index}\\n")
        views = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(index)) * 2 - 1
        if rank == "0" and self.served == self.cfg.nan_at:
            views *= float("nan")
        cameras = orbit_cameras([-15.0 * int(k) for k in torch.randperm(24)[:3]], 30.0, size=16)
        return {
            "images": views[:1], "c2w": cameras.c2w[:1], "intrinsics": cameras.intrinsics[:1],
            "ref_images": views[1:], "ref_c2w": cameras.c2w[1:],
            "cond_image": views[1], "cond_c2w": cameras.c2w[1],
        }
'''

CONFIG = """
name: ddp
tag: {tag}
use_timestamp: false
data_type: counted
data: {{log: {tag}}}
system_type: guidance-training
system:
  guidance_type: viewfusion-composable
  guidance:
    resolution: 16
    inner_channel: 16
    channel_mults: [1, 2]
    attn_res: []
    norm_groups: 8
    max_views: 2
  references: 2
  batch_size: 1
  optimizer: {{warmup_steps: 1}}
trainer: {{max_steps: 6, accelerator: cpu, threads: 1, checkpoint_every: 3, log_every_n_steps: 1}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_plugins: None) -> Path:
    (tmp_path / "custom" / "counted").mkdir(parents=True)
    (tmp_path / "custom" / "counted" / "__init__.py").write_text(PLUGIN)
    for tag in ("one", "two", "mixed"):
        (tmp_path / f"{tag}.yaml").write_text(CONFIG.format(tag=tag))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(folder: Path, tag: str, rank: int) -> list[int]:
    """Numbers of the objects that a process has asked for, in order; the file is used up."""
    path = folder / f"{tag}-{rank}.txt"
    numbers = [int(line) for line in path.read_text().split()]
    path.unlink()
    return numbers


def train_here(tag: str, *words: str) -> None:
    os.environ.pop(RUN_VARIABLE, None)
    words = ("trainer.accumulate_grad_batches=2", *words)
    assert main(["--config", f"{tag}.yaml", "--train", *words]) == 0


def start(*command: str) -> subprocess.Popen[str]:
    """Start processes that can be killed together."""
    return subprocess.Popen(
        [sys.executable, *command],
        env=environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finished(job: subprocess.Popen[str]) -> str:
    """Wait for the processes, which have to end well, and return what they said."""
    try:
        said, _ = job.communicate(timeout=PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
    assert job.returncode == 0, said
    return said


def assert_same(folder: Path, tag: str) -> None:
    """Weights and mean weights are those of one process that saw the same joint batches."""
    found, wanted = (
        torch.load(folder / "outputs" / "ddp" / t / "ckpts" / "last.ckpt", weights_only=True)
        for t in (tag, "one")
    )
    assert found["global_step"] == wanted["global_step"] == STEPS
    means = [c["callbacks"]["EMA"]["shadow"] for c in (found, wanted)]
    for a, b in ((found["state_dict"], wanted["state_dict"]), means):
        assert a.keys() == b.keys()
        for name in a:
            torch.testing.assert_close(a[name], b[name], atol=2e-6, rtol=1e-5, msg=name)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_two_processes_killed_and_resumed_train_as_one(folder: Path) -> None:
    train_here("one")
    order = asked(folder, "one", 0)[: 2 * STEPS]  # Lightning fetches one batch ahead
    assert sorted(order) == list(range(12)), "an epoch: every object once"

    # Two processes that Lightning starts; killed when they wait for data after a checkpoint.
    launch = str(REPOSITORY / "launch.py")
    stall = f"data.stall_after={HALFWAY + 1}"
    words = ["--config", "two.yaml", "--train", "trainer.devices=2", stall]
    job = start(launch, *words)
    run = folder / "outputs" / "ddp" / "two"
    logs = [folder / f"two-{rank}.txt" for rank in range(2)]
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and job.poll() is None:
        counts = [len(p.read_text().split()) if p.exists() else 0 for p in logs]
        if (run / "ckpts" / "last.ckpt").exists() and min(counts) > HALFWAY:
            break
        time.sleep(0.05)
    os.killpg(job.pid, signal.SIGKILL)
    said, _ = job.communicate()
    assert job.returncode == -signal.SIGKILL, said
    for rank in range(2):
        assert asked(folder, "two", rank) == order[rank::2][: HALFWAY + 1], said
    saved = torch.load(run / "ckpts" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == HALFWAY
    shutil.copytree(run, folder / "outputs" / "ddp" / "mixed")

    # Gone on by two processes that torchrun starts.
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    words = ["--config", "two.yaml", "--train", "trainer.devices=2", "resume=last"]
    said = finished(start(*torchrun, launch, *words))
    for rank in range(2):
        assert asked(folder, "two", rank)[: STEPS - HALFWAY] == order[rank::2][HALFWAY:]
    assert_same(folder, "two")
    assert said.count("run folder:") == 1
    names = sorted(p.name for p in (run / "ckpts").iterdir())
    assert names == ["last.ckpt", "step=00000003.ckpt", "step=00000006.ckpt"]
    assert (run / "cmd.txt").read_text().count("python launch.py") == 2
    assert len(list((run / "logs").glob("metrics*.csv"))) == 2, "of the first run and of this one"
    assert [p.name for p in (folder / "outputs" / "ddp").iterdir() if p.name[:3] == "two"] == [
        "two"
    ]

    # Or by one process that does the work of both.
    train_here("mixed", "resume=last", "data.log=mixed")
    assert asked(folder, "mixed", 0)[: 2 * (STEPS - HALFWAY)] == order[2 * HALFWAY :]
    assert_same(folder, "mixed")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_signal_to_one_process_saves_and_stops_all(folder: Path) -> None:
    words = ["--config", "two.yaml", "--train", "trainer.devices=2", "trainer.max_steps=1000000"]
    job = start(str(REPOSITORY / "launch.py"), *words, "trainer.checkpoint_every=0")
    log = folder / "two-1.txt"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not (log.exists() and log.stat().st_size > 20):
        time.sleep(0.05)
    job.terminate()  # the first process alone
    said, _ = job.communicate(timeout=PATIENCE)
    assert job.returncode == 128 + signal.SIGTERM, said
    assert said.count("finishing this step") == said.count("To go on: python") == 1
    saved = torch.load(folder / "outputs" / "ddp" / "two" / "ckpts" / "last.ckpt")
    steps = saved["global_step"]
    assert steps > 0
    counts = [len(asked(folder, "two", rank)) for rank in range(2)]
    assert all(steps <= count <= steps + 2 for count in counts), (steps, counts)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_mistake_in_one_process_ends_all(folder: Path) -> None:
    words = ["--config", "two.yaml", "--train", "trainer.devices=2", "data.nan_at=3"]
    job = start(str(REPOSITORY / "launch.py"), *words)
    said, _ = job.communicate(timeout=PATIENCE)  # ends when the last of them has closed its output
    assert job.returncode == 2, said
    assert "TrainingError: step 2: loss = nan" in said


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_process_that_hangs_ends_all_in_bounded_time(folder: Path, rank: int) -> None:
    hang = ("data.stall_after=2", f"data.stall_rank={rank}", "trainer.timeout_minutes=0.4")
    job = start(
        str(REPOSITORY / "launch.py"), "--config", "two.yaml", "--train", "trainer.devices=2", *hang
    )
    said, _ = job.communicate(timeout=PATIENCE)  # ends when the last of them has closed its output
    assert job.returncode == (-signal.SIGKILL if rank == 0 else 2), said
    waiting = 1 - rank
    assert f"process {waiting} of 2 (from 0) has waited 0.4 minutes" in said
    assert "trainer.timeout_minutes" in said and "Traceback" not in said


def test_no_apple_gpu_is_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert without_apple(TrainerConfig()).accelerator == "cpu"
    assert "no float64" in capsys.readouterr().out
    assert without_apple(TrainerConfig(accelerator="cpu")).accelerator == "cpu"
    for asked in ("mps", "gpu"):  # which Lightning takes for an Apple GPU, too
        with pytest.raises(ConfigError, match=f"is '{asked}': an Apple GPU has no float64"):
            without_apple(TrainerConfig(accelerator=asked))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no float64"):
        without_apple(TrainerConfig(accelerator="mps"))
    for asked in ("auto", "gpu"):
        assert without_apple(TrainerConfig(accelerator=asked)).accelerator == asked


def test_a_run_beside_an_apple_gpu_is_on_the_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Lightning itself would take the Apple GPU here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr("platform.processor", lambda: "arm")  # which it looks for
    config = ExperimentConfig(name="a", data_type="x", system_type="y")
    system = SimpleNamespace(callbacks=list)
    trainer = make_trainer(config, RunFolder(tmp_path), system)
    assert trainer.strategy.root_device.type == "cpu"
    config.trainer.accelerator = "mps"
    with pytest.raises(ConfigError, match="no float64"):
        make_trainer(config, RunFolder(tmp_path), system)


@pytest.mark.parametrize(
    ("gpus", "given", "message"),
    [
        (0, {"accelerator": "gpu"}, "accelerator is 'gpu', and there is none.*\n.*auto, cpu"),
        (0, {"accelerator": "cuda"}, "accelerator is 'cuda'"),
        (0, {"devices": 8}, None),
        (0, {"accelerator": "cpu", "devices": 2}, None),
        (2, {"accelerator": "gpu", "devices": 3}, "devices is 3; GPUs here: 2"),
        (2, {"devices": [0, 2]}, r"devices is \[0, 2\]; GPUs here: 2"),
        (2, {"devices": "1,2"}, "devices is 1,2; GPUs here: 2"),
        (2, {"devices": 8}, None),
        (2, {"accelerator": "gpu", "devices": "auto"}, None),
        (2, {"accelerator": "cuda", "devices": -1}, None),
        (2, {"devices": "0,1"}, None),
    ],
)
def test_devices_that_are_not_here_are_refused(
    gpus: int, given: dict[str, Any], message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    options = TrainerConfig(**given)
    if message is None:
        check_devices(options)
        return
    with pytest.raises(ConfigError, match=message):
        check_devices(options)


def test_a_recipe_for_more_devices_than_there_are_keeps_its_joint_batch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    recipe = TrainerConfig(devices=8, strategy="ddp", accumulate_grad_batches=2)
    here = shared_out(recipe)
    assert (here.devices, here.accumulate_grad_batches, here.strategy) == (1, 16, "auto")
    assert "trainer.devices: 8 are asked for; the CPU adds up 16 batches" in capsys.readouterr().out
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for gpus, used, batches in ((3, 2, 8), (8, 8, 2), (16, 8, 2), (5, 4, 4)):
        monkeypatch.setattr(torch.cuda, "device_count", lambda gpus=gpus: gpus)
        here = shared_out(recipe)
        assert (here.devices, here.accumulate_grad_batches, here.strategy) == (used, batches, "ddp")
    for asked in (
        replace(recipe, accelerator="cpu"),
        replace(recipe, devices=1),
        replace(recipe, devices=[0, 1]),
        replace(recipe, devices="auto"),
    ):
        assert shared_out(asked) is asked
