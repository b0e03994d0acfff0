"""Weights of Zero-1-to-3 on disk: our folders, diffusers folders, and the authors' checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from studio.config import parse_config, plain
from studio.errors import ConfigError, WeightsError
from studio.guidance import folders, ldm
from studio.guidance.autoencoder import build_vae
from studio.guidance.folders import (
    current_vae_names,
    materialised,
    read_config,
    write_part,
)
from studio.guidance.hub import locate
from studio.guidance.json_files import with_released, with_saved
from studio.guidance.needs import VAE, Part, check_there, model
from studio.guidance.noise_schedules import trained_betas
from studio.guidance.stable_diffusion import is_full_size, network_kwargs
from studio.guidance.zero123 import network as net
from studio.guidance.zero123.official import convert
from studio.guidance.zero123.options import RELEASED, Zero123Config
from studio.guidance.zero123.start import start_from
from studio.io.files import write_json
from studio.io.weights import load_strict, read_tensors
from studio.io.whole_folders import written_whole
from studio.plugins.ranges import fixed

C = TypeVar("C", bound=Zero123Config)

PARTS = ("unet", "vae", "image_encoder", "clip_camera_projection")
_FOLDERS = {"clip_camera_projection": ("clip_camera_projection", "cc_projection")}
USES = model(
    "unet", VAE, "image_encoder", Part(("clip_camera_projection", "cc_projection")), schedule=True
)
"""What a folder of the whole model is read from."""
_LIBRARY = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
    "clip_camera_projection": ["studio.guidance.zero123.network", "CLIPCameraProjection"],
    "scheduler": ["diffusers", "DDIMScheduler"],
}
DESCRIBES_NETWORK = fixed(Zero123Config)
"""Options that a folder of our own fixes for whoever loads it."""
RELEASED_FIX = (
    "beta_schedule",
    "beta_options",
    "beta_start",
    "beta_end",
    "train_timesteps",
    "prediction_type",
    "zero_terminal_snr",
    "scale_condition",
    "null_token",
)
"""Options that weights in other formats fix; what `fourth_number` they know nobody can tell."""
RELEASED_SIZE = ("size", "resolution")
"""Options that they fix, too, where the UNet is as wide as the released one."""

# Names of old files: the projection, CLIP's stored positions.
_OLD_PROJECTION = {"projection.weight": "proj.weight", "projection.bias": "proj.bias"}
_POSITIONS = "vision_model.embeddings.position_ids"

_KINDS: dict[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "image_encoder": CLIPVisionModelWithProjection,
    "clip_camera_projection": net.CLIPCameraProjection,
}
load_official_into = partial(ldm.load_official_into, convert=convert)
"""Fills networks from an authors' checkpoint (LDM and OpenAI-CLIP names)."""


# -------------------------------------------------------------------- writing


def save_folder(
    parts: Mapping[str, nn.Module], cfg: Zero123Config, folder: Path, name: str
) -> None:
    """Write model_index.json, one folder per part, scheduler/ and our options in config.json.

    Args:
        parts: the networks, by `PARTS`.
        cfg: options of the model.
        folder: where they go.
        name: of the model's class.
    """
    with written_whole(folder) as new:
        for part in PARTS:
            save_part(part, parts[part], new / part)
        write_json(new / "scheduler" / "scheduler_config.json", _scheduler(cfg))
        starts = dict.fromkeys(("weights", "vae_weights", "start", "variant"), "")
        write_json(new / "config.json", {**plain(cfg), **starts})
        write_json(new / "model_index.json", {"_class_name": name, **_LIBRARY})


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
        **trained_betas(cfg),
        "prediction_type": cfg.prediction_type,
        "rescale_betas_zero_snr": cfg.zero_terminal_snr,
        "timestep_spacing": "trailing" if cfg.timestep_spacing == "trailing" else "leading",
        "steps_offset": 1,
        "set_alpha_to_one": False,
        "clip_sample": False,
    }


# -------------------------------------------------------------------- reading folders


def part_folder(name: str, folder: Path, cfg: Zero123Config | None = None) -> Path:
    """Return where a model's folder keeps a part; what `cfg` allows may be fetched.

    Raises:
        WeightsError: if it has none.
    """
    if name == "vae":
        cfg = cfg or Zero123Config()
        return folders.part_of(folder, name, allow_download=cfg.allow_download, variant=cfg.variant)
    names = _FOLDERS.get(name, (name,))
    for candidate in names:
        if (folder / candidate / "config.json").is_file():
            return folder / candidate
    raise WeightsError(
        f"{folder} has no {' or '.join(names)} with a config.json.",
        allowed="a folder with " + ", ".join(PARTS),
    )


def read_part(
    name: str, folder: Path, *, allow_pickle: bool = False, variant: str = ""
) -> nn.Module:
    """Build one of `PARTS` from its own folder of config.json and weights.

    Raises:
        WeightsError: if config or weights are missing, damaged or do not fit each other.
    """
    return folders.read_part(
        folder,
        *_maker(name),
        partial(_current_names, name),
        allow_pickle=allow_pickle,
        variant=variant,
    )


def _maker(name: str) -> tuple[Any, Any]:
    """Return the class whose arguments a part's config.json holds, and what builds the part."""
    if name == "image_encoder":
        return CLIPVisionConfig, _image_encoder
    return _KINDS[name], _KINDS[name].from_config


def _image_encoder(config: dict[str, Any]) -> nn.Module:
    return CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config))


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
    if not cfg.weights:
        fresh = fresh_parts(cfg)
        if cfg.start:
            start = locate(cfg.start, cfg.allow_download)
            if start.is_dir():
                go_on_from(fresh, start, cfg)
            else:
                start_from(fresh, start, allow_pickle=cfg.allow_pickle)
        return fresh
    source = Path(cfg.weights)
    if source.is_dir():
        how: dict[str, Any] = {"allow_pickle": cfg.allow_pickle, "variant": cfg.variant}
        return {name: read_part(name, part_folder(name, source, cfg), **how) for name in PARTS}
    parts = empty_parts(cfg)
    load_official_into(parts, source, ema=cfg.ema, allow_pickle=cfg.allow_pickle)
    return {name: materialised(module) for name, module in parts.items()}


def go_on_from(parts: Mapping[str, nn.Module], folder: Path, cfg: Zero123Config) -> None:
    """Fill all networks but the VAE from a folder of Zero-1-to-3, whose options stay behind.

    So training goes on at another resolution, or with other options that weights usually fix.

    Raises:
        WeightsError: if weights are missing, damaged or of another architecture.
    """
    for name in PARTS:
        if name != "vae":
            how: dict[str, Any] = {"allow_pickle": cfg.allow_pickle, "variant": cfg.variant}
            trained = read_part(name, part_folder(name, folder), **how)
            load_strict(parts[name], trained.state_dict(), folder)


def empty_parts(cfg: Zero123Config, like: Path | None = None) -> dict[str, nn.Module]:
    """Build the four networks without weights, on the meta device.

    Args:
        cfg: options.
        like: a folder whose config.json files say how the networks are built, instead of `cfg`.
    """
    with torch.device("meta"):
        if like is None or not like.is_dir():
            return fresh_parts(replace(cfg, vae_weights=""))
        return {
            name: folders.build_part(part_folder(name, like, cfg), *_maker(name)) for name in PARTS
        }


def fresh_parts(cfg: Zero123Config) -> dict[str, nn.Module]:
    """Build the four networks with random weights; a `vae_weights` folder is read from disk."""
    vae_kwargs = network_kwargs(net.SIZES, cfg.size, "vae", cfg.vae)
    vae: nn.Module
    if cfg.vae_weights:
        how: dict[str, Any] = {"allow_download": cfg.allow_download, "variant": cfg.variant}
        path = folders.network_at(cfg.vae_weights, "vae", **how)
        vae = folders.read_vae(path, vae_kwargs, cfg.allow_pickle, cfg.variant)
    else:
        vae = build_vae(vae_kwargs)
    image_encoder = net.build_image_encoder(network_kwargs(net.SIZES, cfg.size, "clip", cfg.clip))
    return {
        "unet": net.build_unet(network_kwargs(net.SIZES, cfg.size, "unet", cfg.unet)),
        "vae": vae,
        "image_encoder": image_encoder,
        "clip_camera_projection": net.CLIPCameraProjection(image_encoder.config.projection_dim),
    }


def pretrained_options(cls: type[C], source: Path | str, **changes: Any) -> C:
    """Return the options of finished weights; see `Zero123Guidance.from_pretrained`."""
    path = locate(source, changes.get("allow_download", False), USES, changes.get("variant", ""))
    saved = read_config(path) if (path / "config.json").is_file() else RELEASED
    return parse_config(
        cls, {**saved, "vae_weights": "", **changes, "weights": str(path)}, key=str(path)
    )


def with_saved_options(cfg: Zero123Config) -> Zero123Config:
    """Return the config with the local path of its weights, and with what their folder fixes.

    Raises:
        WeightsError: if they do not exist, or the folder's own options cannot be used.
    """
    if not cfg.weights:
        return cfg
    source = locate(cfg.weights, cfg.allow_download, USES, cfg.variant)
    cfg = replace(cfg, weights=str(source))
    if source.is_dir():
        check_there(source, USES, cfg.variant, "Zero-1-to-3")
    if (source / "config.json").is_file():
        return with_saved(cfg, read_config(source), DESCRIBES_NETWORK, source / "config.json")
    known = scheduled(source) if source.is_dir() else {}
    full = RELEASED_SIZE if is_full_size(unet_width(source, cfg.allow_pickle)) else ()
    return with_released(cfg, RELEASED, (*RELEASED_FIX, *full), source, **known)


def unet_width(source: Path, allow_pickle: bool = False) -> Any:
    """Return what a diffusers folder or an authors' checkpoint tells of the UNet's width."""
    if source.is_dir():
        return read_config(part_folder("unet", source)).get("block_out_channels")
    entrance = read_tensors(source, allow_pickle).get(f"{ldm.UNET}input_blocks.0.0.weight")
    return None if entrance is None else list(entrance.shape)


def scheduled(folder: Path) -> dict[str, Any]:
    """Return the options that a diffusers folder's scheduler tells.

    Raises:
        WeightsError: if the folder holds none.
    """
    scheduler = folder / "scheduler" / "scheduler_config.json"
    if not scheduler.is_file():
        raise WeightsError(
            f"{folder} is not a folder of Zero-1-to-3 weights.",
            allowed="one with config.json or scheduler/scheduler_config.json, and "
            + ", ".join(PARTS),
        )
    # Not the betas: the common conversion script writes 0.02..0.085 there, which no model used.
    saved = read_config(scheduler.parent, scheduler.name)
    names = {
        "prediction_type": "prediction_type",
        "beta_schedule": "beta_schedule",
        "num_train_timesteps": "train_timesteps",
        "rescale_betas_zero_snr": "zero_terminal_snr",
    }
    found = {ours: saved[theirs] for theirs, ours in names.items() if theirs in saved}
    try:
        checked = parse_config(Zero123Config, found, key=scheduler.as_posix())
    except ConfigError as error:
        raise WeightsError(f"{error}") from error
    return {name: getattr(checked, name) for name in found}
