"""Half precision: every method and the autoencoder train in it, and what cannot says so at once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from studio.cameras import orbit_cameras
from studio.config import ExperimentConfig, TrainerConfig
from studio.data.training.ring_views import RingViews
from studio.errors import ConfigError
from studio.guidance.epidiff.conditioning import turn_world
from studio.guidance.spad.conditioning import ConditioningMaker
from studio.plugins.discovery import find
from studio.plugins.options import build
from studio.plugins.parsing import parse_config
from studio.runs.folder import RunFolder
from studio.runs.trainer import check_precision, make_trainer
from studio.systems.optim import OptimizerConfig
from studio.systems.reconstruction import Reconstruction
from studio.systems.training import TrainingConfig, TrainingSystem
from tests.unit import test_viewfusion_composable
from tests.unit.test_cli import run_here
from tests.unit.test_predictions import METHODS


class OneBatch(TrainingSystem):
    """Trains a method on one and the same batch."""

    def __init__(self, guidance: Any, batch: dict[str, Any], **optimizer: Any) -> None:
        super().__init__(TrainingConfig(optimizer=OptimizerConfig(warmup_steps=0, **optimizer)))
        self.guidance, self.batch = guidance.train(), batch
        self.found: list[float] = []

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader([self.batch] * 4, batch_size=None)  # type: ignore[arg-type]

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.guidance.trainable_parameters()

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        loss = self.losses(batch, torch.Generator().manual_seed(0))["loss"]
        self.found.append(float(loss.detach()))
        return loss

    def losses(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
        return self.guidance.training_loss(batch, generator=generator)


def train(system: L.LightningModule, precision: str, steps: int = 3, **options: Any) -> L.Trainer:
    trainer = L.Trainer(
        max_steps=steps,
        precision=precision,  # type: ignore[arg-type]
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(system)
    return trainer


def _method(name: str) -> tuple[Any, dict[str, Any]]:
    if name == "viewfusion-composable":
        return test_viewfusion_composable.tiny(), test_viewfusion_composable.batch()
    return METHODS[name].make(prediction_type="v_prediction"), METHODS[name].batch()


@pytest.mark.parametrize("name", [*METHODS, "viewfusion-composable"])
def test_every_method_trains_in_half_precision(name: str) -> None:
    found = {}
    for precision in ("32-true", "bf16-mixed"):
        system = OneBatch(*_method(name), lr=1e-3)
        before = [p.detach().clone() for p in system.parameters() if p.requires_grad]
        train(system, precision)
        found[precision] = system.found
        moved = [p for p in system.parameters() if p.requires_grad]
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in moved)
        assert any((p != b).any() for p, b in zip(moved, before, strict=True))
    assert found["bf16-mixed"] == pytest.approx(found["32-true"], rel=0.05)


def test_cameras_stay_exact_in_half_precision() -> None:
    ring = orbit_cameras([10.0, 130.0, 250.0], 20.0, 1.37, size=32)
    spad, found = METHODS["spad"].make(), []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            scene = ConditioningMaker(spad.cfg, 4).of([ring])
            numbers = spad.conditioning.numbers([ring])
            found.append((turn_world(ring.c2w[None], ring.c2w[:1]), scene.plucker, numbers))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_clipping_under_a_loss_scaler_is_of_the_true_gradients() -> None:
    """Float16 on a CPU is not Lightning's to give, so its plugin is handed over by hand."""
    from pytorch_lightning.plugins.precision import MixedPrecision

    weights = {}
    for scale in (1.0, 1024.0):
        system = OneBatch(*_method("zero123"), grad_clip=1e-3, lr=1e-3)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6)
        plugin = MixedPrecision("16-mixed", "cpu", scaler)
        plugin.autocast_context_manager = lambda: torch.autocast("cpu", torch.bfloat16)  # type: ignore[method-assign, assignment, return-value]
        norms: list[float] = []
        clip = system.configure_gradient_clipping

        def clipped(optimizer: Any, *, clip: Any = clip, norms: Any = norms, **_: Any) -> None:
            clip(optimizer)
            gradients = [p.grad for g in optimizer.param_groups for p in g["params"]]
            norms.append(float(torch.stack([g.norm() for g in gradients if g is not None]).norm()))

        system.configure_gradient_clipping = clipped  # type: ignore[method-assign]
        train(system, None, plugins=[plugin])  # type: ignore[arg-type]
        assert norms == pytest.approx([1e-3] * 3, rel=1e-3)
        weights[scale] = system.found
    assert weights[1.0] == pytest.approx(weights[1024.0], rel=1e-3)


def test_the_autoencoder_trains_in_half_precision() -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 2, 16, 16, 4), dtype=np.uint8)
    options = {
        "autoencoder": {"block_out_channels": [8, 8], "latent_channels": 4, "norm_num_groups": 4}
        | {"down_block_types": ["DownEncoderBlock2D"] * 2}
        | {"up_block_types": ["UpDecoderBlock2D"] * 2},
        "batch_size": 2,
        "targets": 2,
    }
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        torch.manual_seed(0)
        system = build("system", "autoencoder-training", options, key="system")
        system.train_data = RingViews(images, orbit_cameras([0, 180], 30.0, size=16))
        trainer = train(system, precision)
        losses[precision] = float(trainer.callback_metrics["train/loss"])
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], rel=0.05)


def test_a_decoder_trained_anew_keeps_the_latents_and_their_factor(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 2, 16, 16, 4), dtype=np.uint8)
    options = {
        "autoencoder": {"block_out_channels": [8], "latent_channels": 4, "norm_num_groups": 4},
        "train_encoder": False,
        "scaling_factor": 0.75,
        "batch_size": 2,
    }
    system = build("system", "autoencoder-training", options, key="system")
    before = {name: value.clone() for name, value in system.vae.state_dict().items()}
    system.train_data = RingViews(images, orbit_cameras([0, 180], 30.0, size=16))
    train(system, "32-true")
    for name, value in system.vae.state_dict().items():
        decoder = name.startswith(("decoder.", "post_quant_conv."))
        assert torch.equal(value, before[name]) != decoder or not value.any(), name
    system.save(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["scaling_factor"] == 0.75


# --- what is refused, or said, before anything starts ---------------------------------------------


@pytest.mark.parametrize("system", ["reconstruction", "image-to-3d"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "16", "bf16"])
def test_a_fit_to_views_computes_in_full_precision_only(system: str, precision: str) -> None:
    can = find("system", system).precisions
    with pytest.raises(ConfigError, match=rf"trainer.precision is '{precision}'[\s\S]*32-true"):
        check_precision(precision, system, can)
    check_precision("32-true", system, can)


def test_names_of_precisions() -> None:
    for name in ("32", "32-true", "bf16", "bf16-mixed", "16", "16-mixed"):
        check_precision(name, "guidance-training", find("system", "guidance-training").precisions)
    for name in ("8", "64", "16-true"):
        with pytest.raises(ConfigError, match="32-true, bf16-mixed, 16-mixed, 32, bf16, 16"):
            parse_config(TrainerConfig, {"precision": name})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_float16_without_a_gpu_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--config", "tiny.yaml", "--train", "trainer.max_steps=2", "trainer.precision=16")
    assert run_here(*words) == 0
    assert "16-mixed needs a GPU; bf16-mixed takes its place here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("steps_per_block", 0),
        ("time_budget_s", math.inf),
        ("time_budget_s", -1.0),
        ("min_rays", 0),
        ("samples_per_step", -5),
        ("lr", 0.0),
        ("lr", math.inf),
        ("foreground", 1.5),
    ],
)
def test_numbers_with_which_no_fit_begins_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"system.{option} is {value}"):
        parse_config(Reconstruction.Config, {option: value}, key="system")


@pytest.mark.parametrize("fast", [True, False])
def test_a_processor_that_is_slow_in_half_precision_says_so(
    fast: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr("studio.guidance.precision.multiplies_bfloat16", lambda: fast)
    system = SimpleNamespace(callbacks=list)
    for precision, slow in (("bf16-mixed", not fast), ("32-true", False)):
        caplog.clear()
        trainer = TrainerConfig(accelerator="cpu", precision=precision)
        make_trainer(ExperimentConfig(trainer=trainer), RunFolder(tmp_path), system)
        assert ("does not multiply bfloat16" in caplog.text) is slow
