"""Weights of Zero-1-to-3 on disk: our folders, diffusers folders, and the authors' checkpoints."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from studio.checkpoint_io import load_strict, read_tensors, write_tensors
from studio.config import plain
from studio.errors import ConfigError, WeightsError
from studio.files import make_folder, write_json
from studio.guidance.autoencoder import build_vae
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

# Names of old files: attention in the VAE, the projection, CLIP's stored positions.
_OLD_VAE = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_PROJECTION = {"projection.weight": "proj.weight", "projection.bias": "proj.bias"}
_POSITIONS = "vision_model.embeddings.position_ids"


# -------------------------------------------------------------------- writing


def save_folder(model: Zero123Guidance, folder: Path) -> None:
    """Write model_index.json, one folder per part, scheduler/ and our options in config.json.

    The folder is written beside `folder` and renamed, so that a killed run leaves no half of it.
    """
    temporary = make_folder(folder.with_name(f".{folder.name}.{secrets.token_hex(4)}"))
    try:
        for name in PARTS:
            save_part(name, getattr(model, name), temporary / name)
        write_json(temporary / "scheduler" / "scheduler_config.json", _scheduler(model.cfg))
        options = {**plain(model.cfg), "weights": "", "vae_weights": "", "start": ""}
        write_json(temporary / "config.json", options)
        index = {"_class_name": type(model).__name__, **_LIBRARY}
        write_json(temporary / "model_index.json", index)
        old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save_part(name: str, module: Any, folder: Path) -> None:
    """Write one part as diffusers and transformers do: config.json and safetensors."""
    make_folder(folder)
    if name == "image_encoder":
        write_json(folder / "config.json", module.config.to_dict())
        write_tensors(folder / "model.safetensors", module.state_dict())
    else:
        module.save_config(folder)
        write_tensors(folder / "diffusion_pytorch_model.safetensors", module.state_dict())


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


def resolve(source: Path | str, allow_download: bool = False) -> Path:
    """Return the local path of weights given as a file, a folder or a hub repository "owner/name".

    Raises:
        WeightsError: if nothing is there, or the hub would be needed and is not allowed or reached.
    """
    path = Path(source)
    if path.exists():
        return path
    text = str(source)
    if text.count("/") != 1 or text.startswith((".", "/", "~")) or path.suffix:
        raise WeightsError(
            f"weights {text} do not exist.",
            allowed="a folder, a .ckpt or .safetensors file, or a hub repository owner/name",
        )
    if not allow_download:
        raise WeightsError(
            f"weights {text} are no folder here.",
            hint="To fetch that repository from the hub give allow_download=true; "
            "without a network, download it elsewhere and give its folder.",
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(text, allow_patterns=["*.json", "*.safetensors", "*.bin"]))
    except Exception as error:  # the hub client raises its own and its transport's errors
        raise WeightsError(
            f"hub repository {text} could not be fetched: {str(error).splitlines()[0]}",
            hint="Check the name and the network, or give a local folder.",
        ) from error


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
    if not (folder / "config.json").is_file():
        raise WeightsError(
            f"{folder} has no config.json.", allowed="a folder with config.json and safetensors"
        )
    config = json.loads((folder / "config.json").read_text())
    with torch.device("meta"):
        module = _build(name, config)
    path = weights_file(folder)
    load_strict(module, _current_names(name, read_tensors(path)), path)
    return materialised(module)


def _build(name: str, config: dict[str, Any]) -> nn.Module:
    if name == "image_encoder":
        return CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config))
    kinds = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}
    return kinds.get(name, net.CLIPCameraProjection).from_config(config)


def weights_file(folder: Path) -> Path:
    """Return the file of weights in a part's folder: safetensors first, then a pickled one.

    Raises:
        WeightsError: if there is none.
    """
    for pattern in ("*model.safetensors", "*.safetensors", "*model.bin", "*.bin"):
        found = sorted(folder.glob(pattern))
        if found:
            return found[0]
    raise WeightsError(
        f"{folder} holds no weights.",
        allowed="diffusion_pytorch_model.safetensors or model.safetensors",
    )


def _current_names(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if name == "vae":
        return {modern_vae_name(k): _linear(k, v) for k, v in tensors.items()}
    if name == "clip_camera_projection":
        return {_OLD_PROJECTION.get(k, k): v for k, v in tensors.items()}
    return {k: v for k, v in tensors.items() if k != _POSITIONS}


def modern_vae_name(key: str) -> str:
    """Return today's diffusers name of a VAE tensor: old files say query, key, proj_attn."""
    words = key.split(".")
    if "attentions" in words and words[-2] in _OLD_VAE:
        words[-2] = _OLD_VAE[words[-2]]
    return ".".join(words)


def _linear(key: str, value: Tensor) -> Tensor:
    """Old files keep the attention's maps as 1x1 convolutions."""
    return value.flatten(1) if ".attentions." in key and value.dim() == 4 else value


def materialised(module: nn.Module) -> nn.Module:
    """Give a module that was built on the meta device its constant buffers, which no file holds."""
    for owner in module.modules():
        for name, buffer in owner.named_buffers(recurse=False):
            if buffer.is_meta and name == "position_ids":
                owner.register_buffer(
                    name, torch.arange(buffer.shape[-1]).expand(buffer.shape), persistent=False
                )
            elif buffer.is_meta:
                raise ValueError(f"{type(owner).__name__}.{name} has no value")
    return module


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
        vae = build_vae(net.network_kwargs(cfg.size, "vae", cfg.vae))
    image_encoder = net.build_image_encoder(net.network_kwargs(cfg.size, "clip", cfg.clip))
    return {
        "unet": net.build_unet(net.network_kwargs(cfg.size, "unet", cfg.unet)),
        "vae": vae,
        "image_encoder": image_encoder,
        "clip_camera_projection": net.CLIPCameraProjection(image_encoder.config.projection_dim),
    }


def load_official_into(
    parts: Mapping[str, nn.Module], source: Path, *, ema: bool = True, allow_pickle: bool = False
) -> None:
    """Fill the networks from an authors' checkpoint (LDM and OpenAI-CLIP names).

    Args:
        parts: networks by name; those the checkpoint should fill.
        source: a .ckpt or .safetensors file.
        ema: UNet's running averages, which the authors sample with, or its last weights.
        allow_pickle: see `studio.checkpoint_io.read_tensors`.

    Raises:
        WeightsError: naming every key that is missing, left over or of another shape.
    """
    fill(parts, read_tensors(source, allow_pickle), str(source), ema=ema)


def fill(
    parts: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str, *, ema: bool
) -> None:
    """Fill the networks from a state dict in the authors' names (see `load_official_into`)."""
    layers = parts["unet"].config.layers_per_block if "unet" in parts else 2
    levels = len(parts["vae"].config.block_out_channels) if "vae" in parts else 4
    found = convert(tensors, layers, levels, ema=ema, source=source)
    for name, module in parts.items():
        load_strict(module, found.get(name, {}), source)


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
