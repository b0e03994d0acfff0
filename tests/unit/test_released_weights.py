"""Weights in their authors' format say how they are used, whatever a config forgets or says."""

from __future__ import annotations

import importlib
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from studio.config import plain
from studio.plugins.discovery import find
from studio.plugins.options import build
from studio.plugins.registry import config_class
from tests.configs.test_published_settings import (
    EPIDIFF,
    EPIDIFF_EMPTY,
    EXPECTED,
    ZERO123,
    assert_holds,
)

NAMES = {  # module of a method
    "zero123": "zero123",
    "viewfusion-interpolated": "zero123",
    "epidiff": "epidiff",
    "eschernet": "eschernet",
    "spad": "spad",
    "viewfusion-composable": "viewfusion_composable",
}
FREE = {  # the user's: how to sample and to train, where the cameras stand, how much data there is
    "steps", "eta", "guidance_scale", "cfg_scale", "timestep_spacing", "views", "azimuths",
    "elevations_deg", "rig_elevation_deg", "rig_radius", "rig_fov_deg", "blob_sigma", "order",
    "noise", "window_deg", "input_temperature", "view_temperature", "sampler", "clip_low", "ema",
    "condition_dropout", "train_clip", "train_text", "train_unet", "float32_attention",
    "max_views", "weighting_train", "weighting_inference", "dropout", "fourth_number", "settings",
    "condition_drop", "rig",
}  # fmt: skip
ENTRANCES = {
    "zero123": {"model.diffusion_model.input_blocks.0.0.weight": (320, 8, 3, 3)},
    "epidiff": {"mv_model.unet.conv_in.weight": (320, 8, 3, 3)},
    "spad": {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "cc_projection.0.weight": (1280, 8),
    },
    "viewfusion_composable": {
        "denoise_fn.downs.0.weight": (64, 6, 3, 3),
        "denoise_fn.mid.0.attn.qkv.weight": (960, 320, 1, 1),
        "denoise_fn.final_conv.block.3.weight": (6, 64, 3, 3),
    },
}


def released_file(method: str, folder: Path) -> Path:
    """A file with those tensors of a full-size checkpoint that tell what it is."""
    tensors = {k: torch.zeros(shape) for k, shape in ENTRANCES[NAMES[method]].items()}
    save_file(tensors, folder / "released.safetensors")
    return folder / "released.safetensors"


def released_folder(folder: Path, width: int = 320) -> Path:
    """The small files of a released EscherNet."""
    scheduler = {"prediction_type": "epsilon", "beta_schedule": "scaled_linear",
                 "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}  # fmt: skip
    for part, config in (("scheduler", scheduler), ("unet", {"block_out_channels": [width]})):
        (folder / part).mkdir(parents=True)
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / name).write_text(json.dumps(config))
    for part in ("unet", "vae", "image_encoder"):
        (folder / part).mkdir(exist_ok=True)
        (folder / part / "config.json").touch()
        name = "model" if part == "image_encoder" else "diffusion_pytorch_model"
        save_file({"x": torch.zeros(1)}, folder / part / f"{name}.safetensors")
    return folder


SCHEDULES = ("linear", "scaled_linear")


def other(value: Any) -> Any:
    """Something else of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float) and value:
        return value / 2
    if isinstance(value, int | float):
        return value + 1
    if value in SCHEDULES:
        return SCHEDULES[1 - SCHEDULES.index(value)]
    return value[:-1] if isinstance(value, list) else f"{value}x"


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("contrary", [False, True], ids=["forgotten", "contradicted"])
def test_what_describes_released_weights_is_forced(
    method: str, contrary: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = importlib.import_module(f"studio.guidance.{NAMES[method]}.checkpoint")
    eschernet = method == "eschernet"
    weights = released_folder(tmp_path) if eschernet else released_file(method, tmp_path)
    expected = {k: v for k, v in EXPECTED[method].items() if k not in FREE}
    cfg = config_class(find("guidance", method))(weights=str(weights))
    cfg = replace(cfg, cape="4dof") if eschernet else cfg
    if contrary:
        cfg = replace(cfg, **{name: other(value) for name, value in expected.items()})
    with caplog.at_level(logging.INFO, "studio"):
        found = plain(checkpoint.with_saved_options(cfg))
    assert_holds(found, expected)
    assert "in their authors' format, made with" in caplog.text
    for name in expected if contrary else ():
        assert f"{name} {found[name]}" in caplog.text
    warned = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert bool(warned) is contrary


def test_two_views_of_spad_are_recognised(tmp_path: Path) -> None:
    from studio.guidance.spad import checkpoint

    save_file({"cc_projection.0.weight": torch.zeros(1280, 4)}, tmp_path / "two.safetensors")
    cfg = checkpoint.SpadConfig(weights=str(tmp_path / "two.safetensors"), camera_intrinsics=True)
    found = checkpoint.with_saved_options(cfg)
    assert (found.absolute_cameras, found.camera_intrinsics) == (False, False)
    assert found.resolution == 64  # no released size: the user's


def test_channels_of_composable_files(tmp_path: Path) -> None:
    from studio.guidance.viewfusion_composable import checkpoint

    shapes = ENTRANCES["viewfusion_composable"]
    for entrance, exit_ in ((9, 6), (6, 3)):
        changed = {**shapes, "denoise_fn.downs.0.weight": (64, entrance, 3, 3),
                   "denoise_fn.final_conv.block.3.weight": (exit_, 64, 3, 3)}  # fmt: skip
        path = tmp_path / "x.safetensors"
        save_file({k: torch.zeros(v) for k, v in changed.items()}, path)
        found = checkpoint.with_saved_options(
            checkpoint.ViewFusionComposableConfig(weights=str(path))
        )
        assert (found.relative, found.predict_weights) == (entrance == 9, exit_ == 6)
        assert found.weighting_inference is (exit_ == 6)


def test_released_eschernet_has_no_pixel_positions(tmp_path: Path) -> None:
    """The network itself is built without them, at any width."""
    model = build("guidance", "eschernet", {"cape": "4dof", "positions": 0.0, "vae": {
        "block_out_channels": [8], "latent_channels": 4, "norm_num_groups": 2}, "unet": {
        "block_out_channels": [8, 16], "in_channels": 4, "out_channels": 4,
        "norm_num_groups": 4, "cross_attention_dim": 16, "attention_head_dim": 2},
        "encoder": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}})  # fmt: skip
    model.save_pretrained(tmp_path / "w")
    (tmp_path / "w" / "config.json").unlink()
    options = {"weights": str(tmp_path / "w"), "cape": "4dof", "positions": 1.5}
    again = build("guidance", "eschernet", options)
    assert again.cfg.positions == 0.0
    processors = {type(p).__name__: p for p in again.unet.attn_processors.values()}
    before = {type(p).__name__: p for p in model.unet.attn_processors.values()}
    assert processors.keys() == before.keys()


def test_epidiffs_file_brings_the_schedule_of_its_base(tmp_path: Path) -> None:
    from studio.guidance.epidiff import checkpoint

    cfg = checkpoint.EpiDiffConfig(weights=str(released_file("epidiff", tmp_path)))
    cfg = checkpoint.with_saved_options(replace(cfg, zero123={"prediction_type": "sample"}))
    base, parts = checkpoint.load_base(cfg, None)
    expected = {k: v for k, v in ZERO123.items() if k not in (*FREE, "null_token")}
    found = plain(base)
    assert {name: found[name] for name in expected} == expected
    assert all(p.is_meta for part in parts.values() for p in part.parameters())


def test_every_option_of_the_tables_is_forced_or_free() -> None:
    for method, expected in EXPECTED.items():
        cls = config_class(find("guidance", method))
        assert set(expected) <= set(plain(cls())), method
    assert set(EPIDIFF) & set(EPIDIFF_EMPTY) == set()
