"""Every config of released weights and every authors' recipe, option by option.

The expected values were read by hand from the authors' code, configs and papers; the source of each
is named. Nothing here is derived from the tables that the program itself goes by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from studio.config import load_experiment, plain
from studio.plugins.discovery import find
from studio.plugins.registry import config_class
from tests.conftest import REPOSITORY

STABLE_DIFFUSION = {  # v1-inference.yaml; all descendants keep its schedule
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "train_timesteps": 1000,
    "prediction_type": "epsilon",
    "zero_terminal_snr": False,
    "resolution": 256,
}
ZERO123 = {  # cvlab-columbia/zero123: configs/sd-objaverse-finetune-c_concat-256.yaml, ddpm.py
    **STABLE_DIFFUSION,
    "size": "full",
    "scale_condition": False,  # condition latents: the posterior's mode, unscaled
    "fourth_number": "distance",
    "null_token": "released",
    "train_clip": False,
}
EPIDIFF = {  # huanngzh/EpiDiff: configs/baseline.yaml, systems/, scripts of inference
    "settings": "released",
    "insert_stages": ["mid", "up"],
    "insert_up_layers": [0, 1, 2, 3],
    "depth": 2,
    "use_resnet": True,
    "pos_encs": ["abs"],
    "head_width": 64,
    "k_near_views": 16,
    "add_global_k": 0,
    "ray_start": 0.5,
    "ray_end": 2.8,
    "n_samples": 8,
    "disparity_space_sampling": False,
    "views": 16,
    "rig_elevation_deg": 30.0,
    "condition_dropout": 0.1,
    "train_unet": False,
    "steps": 50,
    "guidance_scale": 3.0,
}
EPIDIFF_EMPTY = {  # what `settings` fills in: systems/, models/
    "neighbour_features": "own",
    "ray_axes": "swapped",
    "align_corners": True,
    "use_residual": False,
    "near_distance": "plane",
    "frame": "world",
    "pose_sign": "epidiff",
    "picture_input": "processor",
    "condition_latents": "sample",
    "condition_drop": "batch",
    "fourth_number": "zero",
    "rig": "truncated",
    "timestep_spacing": "leading",
}
ESCHERNET = {  # kxhit/EscherNet: train_eschernet.py, eval_eschernet.py, the hub's scheduler_config
    **STABLE_DIFFUSION,
    "positions": 0.0,  # nothing but CaPE is multiplied into queries and keys
    "condition_dropout": 0.1,
    "steps": 50,
    "guidance_scale": 3.0,
    "timestep_spacing": "leading",
}
SPAD = {  # yashkant/spad: configs/spad_{two,four}_views.yaml, scripts/inference.py, geometry.py
    **STABLE_DIFFUSION,
    "size": "full",
    "radius": 3.5,
    "fov_deg": math.degrees(0.702769935131073),
    "rig_elevation_deg": 45.0,
    "bound": 1.0,
    "absolute_cameras": True,
    "camera_intrinsics": True,
    "epipolar": True,
    "float32_attention": True,
    "prompt_prefix": "[tdv] ",
    "train_text": False,
    "cfg_scale": 7.5,
    "timestep_spacing": "ldm",
    "blob_sigma": 0.5,
}
COMPOSABLE = {  # bronemos/view-fusion: configs/small-v100-4.yaml, model/, diffusion.py
    "resolution": 64,
    "patch": 1,
    "inner_channel": 64,
    "channel_mults": [1, 2, 3, 5],
    "attn_res": [16],
    "res_blocks": 3,
    "norm_groups": 32,
    "dropout": 0.0,
    "predict_weights": True,
    "weighting_train": True,
    "weighting_inference": True,
    "prediction_type": "epsilon",
    "relative": False,
    "beta_schedule": "linear",
    "train_timesteps": 2000,
    "beta_start": 1e-6,
    "beta_end": 1e-2,
    "max_views": 6,
    "clip_low": -1.0,
    "views": 24,
    "rig_elevation_deg": 30.0,
    "rig_radius": 2.732,
    "rig_fov_deg": 30.0,
    "clockwise": True,
}
ADAM = {"betas": [0.9, 0.999]}

OFFICIAL: dict[str, dict[str, Any]] = {
    "epidiff-neus": EPIDIFF,
    "eschernet-neus": {**ESCHERNET, "azimuths": 12, "elevations_deg": [30, 15, 0]},
    "spad-neus": {**SPAD, "mask_resample": "flat", "views": 8, "steps": 100},
    "viewfusion-composable-neus": {**COMPOSABLE, "sampler": "ancestral", "steps": 0},
    "viewfusion-interpolated-neus": {  # ViewFusion: the script for real pictures
        **ZERO123,
        "ema": True,
        "views": 36,
        "steps": 75,
        "timestep_spacing": "zero123",
        "eta": 1.0,
        "guidance_scale": 3.0,
        "order": "spin",
        "noise": "shared",
        "window_deg": 125.0,
        "input_temperature": 0.5,
        "view_temperature": 1.0,
    },
}
SEEDS = {
    "epidiff-neus": 42,
    "eschernet-neus": 42,
    "spad-neus": 111,
    "viewfusion-interpolated-neus": 8007,
}
RECIPES: dict[str, dict[str, Any]] = {
    "zero123": {
        "seed": 23,
        "system.guidance": {**ZERO123, "condition_dropout": 0.05, "projection_lr_scale": 10.0},
        "system": {"batch_size": 192, "targets": 1, "ema_decay": 0.9999},
        "system.optimizer": {
            **ADAM, "lr": 1e-4, "weight_decay": 0.01, "warmup_steps": 100, "decay_steps": 0,
            "grad_clip": 0.0,
        },
        "data": {"size": 256, "total_view": 12},
        "trainer": {"max_steps": 105_000},
    },
    "spad": {
        "seed": 111,
        "system.guidance": {**SPAD, "views": 4, "projection_lr_scale": 10.0},
        "system": {"batch_size": 12, "targets": 4, "ema_decay": 0.9999},
        "system.optimizer": {
            **ADAM, "lr": 2e-5, "weight_decay": 0.01, "warmup_steps": 100, "grad_clip": 0.0,
        },
        "data": {"size": 256, "views": 4, "pictures_share": 0.1, "pictures_batch": 60},
        "trainer": {},
    },
    "eschernet": {
        "seed": 42,
        "system.guidance": {**ESCHERNET, "size": "full", "vary_references": False},
        "system": {"batch_size": 84, "targets": 3, "references": 3, "ema_decay": 0.0},
        "system.optimizer": {
            **ADAM, "lr": 1e-4, "weight_decay": 0.01, "lr_schedule": "cosine", "lr_start": 0.1,
            "lr_end": 0.1, "warmup_steps": 1000, "grad_clip": 0.5,
        },
        "data": {"size": 256, "references": 3, "targets": 3},
        "trainer": {"max_steps": 100_000, "precision": "bf16-mixed"},
    },
    "viewfusion-composable": {
        "seed": 0,
        "system.guidance": COMPOSABLE,
        "system": {"batch_size": 28, "targets": 1, "references": 6, "ema_decay": 0.0},
        "system.optimizer": {
            **ADAM, "lr": 1e-4, "weight_decay": 0.0, "warmup_steps": 2500,
            "exponential": [0.16, 4e6], "decay_steps": 0, "grad_clip": 0.0,
        },
        "data": {"inputs": 6, "targets": 1, "repeat_target": 0.1},
        "trainer": {"max_steps": 710_000, "precision": "32-true"},
    },
    "epidiff": {
        "seed": 42,
        "system.guidance": EPIDIFF,
        "system": {"batch_size": 1, "ema_decay": 0.0},
        "system.optimizer": {
            **ADAM, "lr": 1e-5, "weight_decay": 0.01, "warmup_steps": 0, "grad_clip": 1.0,
        },
        "data": {},
        "trainer": {
            "max_steps": 30_001, "precision": "16-mixed", "accumulate_grad_batches": 4,
        },
    },
}  # fmt: skip
SHIPPED = [p.stem for p in sorted(REPOSITORY.glob("configs/train/*.yaml")) if "nano" not in p.stem]


def assert_holds(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    wrong = {
        name: (found[name], value)
        for name, value in expected.items()
        if not (found[name] == value or found[name] == pytest.approx(value, rel=1e-6))
    }
    assert not wrong, "option: (in the config, published)"


def options_of(path: Path) -> Mapping[str, Any]:
    return plain(
        load_experiment(
            path, ["data.root=x"] if "train" in path.relative_to(REPOSITORY).parts else []
        )
    )


def group(options: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    for name in key.split("."):
        options = options[name]
    return options


def test_every_config_of_released_weights_is_in_the_table() -> None:
    assert {p.stem for p in REPOSITORY.glob("configs/official/*.yaml")} == set(OFFICIAL)
    assert set(SHIPPED) <= set(RECIPES)


@pytest.mark.parametrize("name", OFFICIAL)
def test_config_of_released_weights(name: str) -> None:
    options = options_of(REPOSITORY / f"configs/official/{name}.yaml")
    guidance = group(options, "system.guidance")
    assert_holds(guidance, OFFICIAL[name])
    assert options["seed"] == SEEDS.get(name, options["seed"])
    if name == "epidiff-neus":
        assert_holds(guidance["zero123"], {"size": "full", "resolution": 256,
                                           "prediction_type": "epsilon"})  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_recipe_of_the_authors(name: str) -> None:
    options = options_of(REPOSITORY / f"configs/train/{name}.yaml")
    expected = dict(RECIPES[name])
    assert options["seed"] == expected.pop("seed")
    for key, values in expected.items():
        assert_holds(group(options, key), values)


EXPECTED = {
    "epidiff": {**EPIDIFF, **EPIDIFF_EMPTY},
    "eschernet": OFFICIAL["eschernet-neus"],
    "spad": OFFICIAL["spad-neus"],
    "viewfusion-composable": OFFICIAL["viewfusion-composable-neus"],
    "viewfusion-interpolated": OFFICIAL["viewfusion-interpolated-neus"],
    "zero123": {**ZERO123, "steps": 75, "eta": 1.0, "timestep_spacing": "zero123"},
}


@pytest.mark.parametrize("method", EXPECTED)
def test_the_programs_own_table_of_released_settings(method: str) -> None:
    """`released()` of every method, which forces what describes released weights."""
    cls = find("guidance", method)
    cfg = cls.released("four-views") if method == "spad" else cls.released()
    assert isinstance(cfg, config_class(cls))
    assert_holds(plain(cfg), EXPECTED[method])


def test_two_views_of_spad_are_told_less() -> None:
    cfg = find("guidance", "spad").released("two-views")
    assert (cfg.absolute_cameras, cfg.camera_intrinsics) == (False, False)
