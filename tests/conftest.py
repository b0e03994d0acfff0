"""Shared fixtures: a clean process state, a small project folder, and where test data lies."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.scheduler import pytest_xdist_make_scheduler  # noqa: F401  a hook

os.environ.setdefault("HF_HUB_OFFLINE", "1")

REPOSITORY = Path(__file__).resolve().parents[1]

TINY_PLUGIN = '''
import os
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, IterableDataset

from studio.runs.callbacks.ema import EMA
from studio.plugins import register
from studio.data.base import Data
from studio.systems.base import System


@register("data", "tiny")
class TinyData(Data):
    """Random vectors, a function of the step."""

    @dataclass
    class Config:
        missing: bool = False

    def __init__(self, cfg):
        self.cfg = cfg

    def check(self):
        from studio.errors import DataError

        if self.cfg.missing:
            raise DataError("the picture is missing.", hint="give data.image")


class Batches(IterableDataset):
    def __init__(self, start):
        self.start = start

    def __iter__(self):
        step = self.start()
        while True:
            yield torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
            step += 1


@register("system", "tiny")
class Tiny(System):
    """Learns to add four numbers, with dropout from the global generator."""

    @dataclass
    class Config:
        lr: float = 0.01
        width: int = 16
        nan_at: int = -1
        nan_gradient: bool = False
        signal_at: int = -1
        signal: int = 2

    def __init__(self, cfg, *, run=None):
        super().__init__(cfg, run=run)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, cfg.width), torch.nn.Dropout(0.3), torch.nn.Linear(cfg.width, 1)
        )

    def prepare(self, data):
        self.data = data

    def train_dataloader(self):
        return DataLoader(Batches(lambda: self.trainer.global_step), batch_size=None)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.cfg.lr)

    def training_step(self, x, _):
        if self.global_step == self.cfg.signal_at:
            os.kill(os.getpid(), self.cfg.signal)
        loss = (self.net(x) - x.sum(1, keepdim=True)).square().mean()
        if self.global_step == self.cfg.nan_at:
            zero = self.net[0].bias.sum() * 0
            loss = loss + zero.sqrt() if self.cfg.nan_gradient else loss * float("nan")
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def callbacks(self):
        return [EMA(0.9)]

    def export(self):
        path = self.run.export / "weights.pt"
        torch.save(self.state_dict(), path)
        return path
'''

TINY_CONFIG = """\
name: tiny
use_timestamp: false
data_type: tiny
system_type: tiny
trainer:
  max_steps: 30
  accelerator: cpu
  threads: 1
  checkpoint_every: 10
  log_every_n_steps: 10
"""

Launch = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of pictures, meshes and view sets; tests that need it skip elsewhere."""
    folder = os.environ.get("STUDIO_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("STUDIO_TEST_DATA names no folder of test data")
    return Path(folder)


@pytest.fixture
def clean_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read the plugin folders anew, before and after the test."""
    from studio.plugins import discovery as plugins

    monkeypatch.delenv("STUDIO_CUSTOM", raising=False)
    monkeypatch.delenv("STUDIO_RUN_DIR", raising=False)
    plugins.reset()
    yield
    plugins.reset()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_plugins: None) -> Path:
    """A working folder with a tiny system in custom/ and its config, tiny.yaml."""
    (tmp_path / "custom" / "tiny-net").mkdir(parents=True)
    (tmp_path / "custom" / "tiny-net" / "__init__.py").write_text(TINY_PLUGIN)
    (tmp_path / "tiny.yaml").write_text(TINY_CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a started program: one thread, no network."""
    inherited = {k: v for k, v in os.environ.items() if k not in {"STUDIO_RUN_DIR"}}
    fixed = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY)}
    return {**inherited, **fixed, **(changes or {})}


@pytest.fixture
def launch() -> Launch:
    """Run launch.py in the current folder as users do, in a process of its own."""

    def start(
        *words: str, timeout: float = 600, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(REPOSITORY / "launch.py"), *words]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=environment(changes)
        )

    return start
