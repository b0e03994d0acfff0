"""Callbacks by themselves: mean weights, progress, previews, random states, two processes."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from studio.runs.callbacks.ema import EMA
from studio.runs.callbacks.preview import Preview
from studio.runs.folder import RunFolder
from studio.runs.previews import picture_grid
from studio.runs.random_states import random_state, set_random_state
from tests.conftest import Launch


def test_mean_follows_the_formula_and_leaves_frozen_weights() -> None:
    module = torch.nn.Linear(1, 1)
    module.bias.requires_grad_(False)
    ema = EMA(0.9)
    ema.on_fit_start(None, module)  # type: ignore[arg-type]
    expected = module.weight.item()
    for step in range(1, 200):
        with torch.no_grad():
            module.weight.fill_(float(step % 7))
        trainer = SimpleNamespace(global_step=step)
        ema.on_train_batch_end(trainer, module, None, None, 0)  # type: ignore[arg-type]
        decay = min(0.9, step / (9 + step))  # (1 + n) / (10 + n) after n = step - 1 updates
        expected = decay * expected + (1 - decay) * (step % 7)
    assert ema.shadow["weight"].item() == pytest.approx(expected, rel=1e-5)
    assert set(ema.shadow) == {"weight"}


def test_mean_is_applied_and_taken_back_even_after_an_error() -> None:
    module = torch.nn.Linear(2, 2)
    ema = EMA(0.5)
    ema.shadow = {"weight": torch.full((2, 2), 7.0)}
    before = module.weight.detach().clone()
    with pytest.raises(KeyError), ema.applied(module), ema.applied(module):
        assert (module.weight == 7).all()
        assert torch.equal(ema.shadow["weight"], before), "exchanged, not copied"
        with pytest.raises(RuntimeError, match="swap_out before saving"):
            ema.state_dict()
        raise KeyError
    assert torch.equal(module.weight, before)
    assert (ema.state_dict()["shadow"]["weight"] == 7).all()


def test_random_states_come_back() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002

    state = random_state()
    first = draw()
    assert draw() != first
    set_random_state(state)
    assert draw() == first


def test_grid_puts_pictures_in_reading_order() -> None:
    shades = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8])
    sheet = picture_grid(shades[:, None, None, None].expand(5, 3, 2, 4), columns=2)
    assert sheet.shape == (6, 8, 3)
    assert [sheet[0, 0, 0], sheet[0, 4, 0], sheet[2, 0, 0]] == [0, 51, 102]
    assert (sheet[4:, 4:] == 255).all()


def test_preview_changes_neither_modes_nor_random_numbers(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout())
    module[1].eval()

    def pictures() -> dict[str, torch.Tensor]:
        assert not module[0].training
        return {"pictures": torch.rand(2, 3, 4, 4), "psnr": torch.tensor(20.0)}

    module.validation_pictures = pictures  # type: ignore[assignment]
    logged: list[dict[str, float]] = []
    logger = SimpleNamespace(log_metrics=lambda values, step: logged.append(values))
    trainer = SimpleNamespace(
        global_step=10, max_steps=99, is_global_zero=True, callbacks=[], loggers=[logger]
    )
    state = torch.get_rng_state()
    preview = Preview(RunFolder(tmp_path), every=5)
    preview.on_train_batch_end(trainer, module, None, None, 0)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), state)
    assert (module[0].training, module[1].training) == (True, False)
    assert (tmp_path / "save" / "step=00000010.png").is_file()
    assert logged == [{"preview/psnr": 20.0}]


@pytest.mark.slow
def test_two_processes_share_one_run_folder(project: Path, launch: Launch) -> None:
    words = ["trainer.devices=2", "trainer.strategy=ddp", "use_timestamp=true"]
    answer = launch("--config", "tiny.yaml", "--train", "--export", *words)
    assert answer.returncode == 0, answer.stderr
    folders = list(Path("outputs/tiny").iterdir())
    assert len(folders) == 1
    assert answer.stdout.splitlines()[-1] == str(folders[0] / "export" / "weights.pt")
