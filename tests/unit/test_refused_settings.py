"""Numbers that no geometry, renderer or loss can work with are refused with their range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.app.cli import main
from studio.errors import ConfigError
from studio.models.sdf.loss_options import read_losses
from studio.plugins.options import build
from tests.conftest import REPOSITORY
from tests.unit.test_reconstruction import sphere_views

NAN, INFINITE = float("nan"), float("inf")
REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("geometry", "hash-sdf", {"levels": 0}),
    ("geometry", "hash-sdf", {"levels": 1_000_000}),
    ("geometry", "hash-sdf", {"max_resolution": -1}),
    ("geometry", "hash-sdf", {"max_resolution": 8}),
    ("geometry", "hash-sdf", {"base_resolution": 0}),
    ("geometry", "hash-sdf", {"max_resolution": 2**30}),
    ("geometry", "hash-sdf", {"log2_rows": 0}),
    ("geometry", "hash-sdf", {"log2_rows": 64}),
    ("geometry", "hash-sdf", {"levels": 128, "log2_rows": 31, "max_resolution": 2**20}),
    ("geometry", "hash-sdf", {"interpolation": "cubic"}),
    ("geometry", "hash-sdf", {"hidden": 0}),
    ("geometry", "hash-sdf", {"radius": NAN}),
    ("geometry", "implicit-sdf", {"growth": 0.5}),
    ("geometry", "implicit-sdf", {"growth": NAN}),
    ("geometry", "implicit-sdf", {"level_every": 0}),
    ("geometry", "implicit-sdf", {"semi_axes": [NAN]}),
    ("geometry", "instant-nsr", {"growth": 1e9}),
    ("geometry", "instant-nsr", {"level_features": 0}),
    ("geometry", "instant-nsr", {"radius": 0}),
    ("geometry", "instant-nsr", {"epsilon": -0.1}),
    ("geometry", "instant-nsr", {"encoding": "nerfstudio-hash", "levels": 0}),
    ("geometry", "instant-nsr", {"encoding": "nerfstudio-hash", "interpolation": "smoothstep"}),
    ("geometry", "instant-nsr", {"encoding": "frequency", "difference": "level"}),
    ("geometry", "neus-mlp", {"layers": 0, "skips": []}),
    ("geometry", "neus-mlp", {"octaves": -1}),
    ("geometry", "neus-mlp", {"skips": [9]}),
    ("geometry", "siren-sdf", {"layers": 0}),
    ("geometry", "siren-sdf", {"omega": INFINITE}),
    ("geometry", "implicit-sdf", {"semi_axes": [1.0, 1.0]}),
    ("renderer", "neus-occupancy", {"sharpness_limit": [1.0, 2.0]}),
    ("exporter", "mesh", {"formats": []}),
    ("renderer", "neus-occupancy", {"grid_resolution": 0}),
    ("renderer", "neus-occupancy", {"grid_resolution": 100_000}),
    ("renderer", "neus-occupancy", {"sharpness_start": -1}),
    ("renderer", "neus-occupancy", {"sharpness_end": 0}),
    ("renderer", "neus-occupancy", {"sharpness_end": INFINITE}),
    ("renderer", "neus-occupancy", {"step_min": 0}),
    ("renderer", "neus-occupancy", {"step_min": 0.1, "step_max": 0.05}),
    ("renderer", "neus-occupancy", {"update_every": 0}),
    ("renderer", "neus-occupancy", {"variance": 1000}),
    ("renderer", "neus-occupancy", {"background": {"enabled": True, "sections": 0}}),
    ("renderer", "neus-occupancy", {"background": {"enabled": True, "far": 0.05}}),
    ("renderer", "neus", {"samples": 1}),
    ("renderer", "neus", {"scale": NAN}),
    ("renderer", "neus", {"rounds": 0}),
    ("renderer", "neus", {"importance": 7, "rounds": 4}),
    ("renderer", "neus", {"outside": -1}),
]


@pytest.mark.parametrize(("kind", "name", "options"), REFUSED, ids=lambda x: str(x))
def test_numbers_out_of_range_are_refused(kind: str, name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        build(kind, name, options, key=f"system.{kind}")
    changed = [*options, *(k for v in options.values() if isinstance(v, dict) for k in v)]
    message = str(caught.value)
    assert any(option in message for option in changed) and "allowed: " in message


@pytest.mark.parametrize(
    "options",
    [{"colour": -1}, {"colour": "high"}, {"colour": [0, 1, 0, 2.5]},
     {"mask": NAN}, {"eikonal": [0, 0.1, INFINITE, 10]}, {"colour_keep": 1.5},
     {"random_every": 0}, {"random_points": 0}, {"sparsity_scale": NAN}],
)  # fmt: skip
def test_losses_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"system.loss.{next(iter(options))}"):
        read_losses(options)


@pytest.mark.parametrize(
    "word",
    [
        "geometry.levels=0",
        "geometry.levels=1000000",
        "geometry.max_resolution=-1",
        "renderer.grid_resolution=0",
        "renderer.sharpness_start=-1",
        "steps_per_block=0",
        "time_budget_s=nan",
        "time_budget_s=inf",
    ],
)
def test_the_program_ends_with_one_message(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_RUN_DIR", "")  # put back afterwards
    monkeypatch.delenv("STUDIO_RUN_DIR")
    sphere_views(16).save(tmp_path / "set")
    config = str(REPOSITORY / "configs" / "reconstruct.yaml")
    words = [f"data.root={tmp_path / 'set'}", f"exp_root_dir={tmp_path / 'out'}", f"system.{word}"]
    assert main(["--config", config, "--train", "--export", *words]) == 2
    message = capsys.readouterr().err
    assert f"system.{word.split('=')[0]} is" in message and "Traceback" not in message
    assert not (tmp_path / "out").exists()
