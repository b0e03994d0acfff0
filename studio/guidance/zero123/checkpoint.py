"""Weights of Zero-1-to-3 on disk: our folders, diffusers folders, and the authors' checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from studio.checkpoint_io import load_strict
from studio.config import plain
from studio.errors import ConfigError, WeightsError
from studio.files import write_json
from studio.guidance import ldm
from studio.guidance.autoencoder import build_vae
from studio.guidance.folders import (
    current_vae_names,
    materialised,
    read_config,
    read_weights,
    resolve,
    write_part,
    written_whole,
)
from studio.guidance.stable_diffusion import network_kwargs
from studio.guidance.zero123 import network as net
from studio.guidance.zero123.official import convert
from studio.guidance.zero123.options import Zero123Config
from studio.guidance.zero123.start import start_from

if TYPE_CHECKING:
    from studio.guidance.zero123.guidance import Zero123Guidance

PARTS = ("unet", "vae", "image_encoder", "clip_camera_projection")
_FOLDERS = {"clip_camera_projection": ("clip_camera_projection", "cc_projection")}
_LIBRARY = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
    "clip_camera_projection": ["studio.guidance.zero123.network", "CLIPCameraProjection"],
    "scheduler": ["diffusers", "DDIMScheduler"],
}
DESCRIBES_NETWORK = (
    "prediction_type",
    "beta_schedule",
    "beta_start",
    "beta_end",
    "train_timesteps",
    "zero_terminal_snr",
    "scale_condition",
    "fourth_number",
    "null_token",
    "resolution",
)
"""Options that a folder of our own fixes for whoever loads it."""

# Names of old files: the projection, CLIP's stored positions.
_OLD_PROJECTION = {"projection.weight": "proj.weight", "projection.bias": "proj.bias"}
_POSITIONS = "vision_model.embeddings.position_ids"

load_official_into = partial(ldm.load_official_into, convert=convert)
"""Fills networks from an authors' checkpoint (LDM and OpenAI-CLIP names)."""


# -------------------------------------------------------------------- writing


def save_folder(model: Zero123Guidance, folder: Path) -> None:
    """Write model_index.json, one folder per part, scheduler/ and our options in config.json."""
    with written_whole(folder) as new:
        for name in PARTS:
            save_part(name, getattr(model, name), new / name)
        write_json(new / "scheduler" / "scheduler_config.json", _scheduler(model.cfg))
        options = {**plain(model.cfg), "weights": "", "vae_weights": "", "start": ""}
        write_json(new / "config.json", options)
        write_json(new / "model_index.json", {"_class_name": type(model).__name__, **_LIBRARY})


def save_part(name: str, module: Any, folder: Path) -> None:
    """Write one part as diffusers and transformers do: config.json and safetensors."""
    if name == "image_encoder":
        write_part(folder, "model", module.config.to_dict(), module)
    else:
        config = {"_class_name": type(module).__name__, **dict(module.config)}
        write_part(folder, "diffusion_pytorch_model", config, module)


def _scheduler(cfg: Zero123Config) -> dict[str, Any]:
    return {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": cfg.train_timesteps,
        "beta_schedule": cfg.beta_schedule,
        "beta_start": cfg.beta_start,
        "beta_end": cfg.beta_end,
        "prediction_type": cfg.prediction_type,
        "rescale_betas_zero_snr": cfg.zero_terminal_snr,
        "timestep_spacing": "trailing" if cfg.timestep_spacing == "trailing" else "leading",
        "steps_offset": 1,
        "set_alpha_to_one": False,
        "clip_sample": False,
    }


# -------------------------------------------------------------------- reading folders


def part_folder(name: str, folder: Path) -> Path:
    """Return where a model's folder keeps a part.

    Raises:
        WeightsError: if it has none.
    """
    names = _FOLDERS.get(name, (name,))
    for candidate in names:
        if (folder / candidate / "config.json").is_file():
            return folder / candidate
    raise WeightsError(
        f"{folder} has no {' or '.join(names)} with a config.json.",
        allowed="a folder with " + ", ".join(PARTS),
    )


def read_part(name: str, folder: Path) -> nn.Module:
    """Build one part from its own folder of config.json and weights, on the CPU in float32.

    Args:
        name: one of `PARTS`.
        folder: the part's folder.

    Raises:
        WeightsError: if config or weights are missing, damaged or do not fit each other.
    """
    config = read_config(folder)
    with torch.device("meta"):
        module = _build(name, config)
    load_strict(module, _current_names(name, read_weights(folder)), folder)
    return materialised(module)


def _build(name: str, config: dict[str, Any]) -> nn.Module:
    if name == "image_encoder":
        return CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config))
    kinds = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}
    return kinds.get(name, net.CLIPCameraProjection).from_config(config)


def _current_names(name: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if name == "vae":
        return current_vae_names(tensors)
    if name == "clip_camera_projection":
        return {_OLD_PROJECTION.get(k, k): v for k, v in tensors.items()}
    return {k: v for k, v in tensors.items() if k != _POSITIONS}


# -------------------------------------------------------------------- whole models


def build_parts(cfg: Zero123Config) -> dict[str, Any]:
    """Return the four networks of a config: read from `cfg.weights`, or fresh where it is empty.

    Raises:
        WeightsError: if the weights are missing, damaged or of another architecture.
    """
    if cfg.weights and cfg.start:
        raise ConfigError("weights and start are both given.", allowed="one of them")
    if not cfg.weights:
        fresh = fresh_parts(cfg)
        if cfg.start:
            start_from(fresh, resolve(cfg.start), allow_pickle=cfg.allow_pickle)
        return fresh
    source = resolve(cfg.weights, cfg.allow_download)
    if source.is_dir():
        return {name: read_part(name, part_folder(name, source)) for name in PARTS}
    with torch.device("meta"):
        parts = fresh_parts(replace(cfg, vae_weights=""))
    load_official_into(parts, source, ema=cfg.ema, allow_pickle=cfg.allow_pickle)
    return {name: materialised(module) for name, module in parts.items()}


def fresh_parts(cfg: Zero123Config) -> dict[str, nn.Module]:
    """Build the four networks with random weights; a `vae_weights` folder is read from disk."""
    if cfg.vae_weights:
        vae: nn.Module = read_part("vae", Path(cfg.vae_weights))
    else:
        vae = build_vae(network_kwargs(net.SIZES, cfg.size, "vae", cfg.vae))
    image_encoder = net.build_image_encoder(network_kwargs(net.SIZES, cfg.size, "clip", cfg.clip))
    return {
        "unet": net.build_unet(network_kwargs(net.SIZES, cfg.size, "unet", cfg.unet)),
        "vae": vae,
        "image_encoder": image_encoder,
        "clip_camera_projection": net.CLIPCameraProjection(image_encoder.config.projection_dim),
    }


def with_saved_options(cfg: Zero123Config) -> Zero123Config:
    """Return the config with what a local folder of weights fixes; other configs as they are."""
    folder = Path(cfg.weights) if cfg.weights else None
    if folder is None or not folder.is_dir():
        return cfg
    return replace(cfg, **saved_options(folder))


def saved_options(folder: Path) -> dict[str, Any]:
    """Return the options that a folder of weights fixes: ours say all, diffusers' the schedule.

    Raises:
        WeightsError: if the folder holds neither config.json nor a scheduler.
    """
    ours, scheduler = folder / "config.json", folder / "scheduler" / "scheduler_config.json"
    if ours.is_file():
        saved = json.loads(ours.read_text())
        return {key: saved[key] for key in DESCRIBES_NETWORK if key in saved}
    if not scheduler.is_file():
        raise WeightsError(
            f"{folder} is not a folder of Zero-1-to-3 weights.",
            allowed="one with config.json or scheduler/scheduler_config.json, and "
            + ", ".join(PARTS),
        )
    # Not the betas: the common conversion script writes 0.02..0.085 there, which no model used.
    saved = json.loads(scheduler.read_text())
    names = {
        "prediction_type": "prediction_type",
        "beta_schedule": "beta_schedule",
        "num_train_timesteps": "train_timesteps",
    }
    return {ours: saved[theirs] for theirs, ours in names.items() if theirs in saved}
