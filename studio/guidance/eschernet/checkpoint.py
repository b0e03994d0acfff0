"""Weights of EscherNet on disk: our folders, the released ones, and models to start from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import ConvNextV2Config

from studio.config import plain
from studio.errors import ConfigError, WeightsError
from studio.guidance import folders
from studio.guidance.autoencoder import build_vae, latent_side
from studio.guidance.eschernet import network as net
from studio.guidance.eschernet.encoder import TokenEncoder, build_encoder
from studio.guidance.eschernet.options import RELEASED, EscherNetConfig
from studio.guidance.hub import locate
from studio.guidance.json_files import with_released, with_saved
from studio.guidance.ldm import network_of
from studio.guidance.needs import VAE, check_there, model
from studio.guidance.noise_schedules import trained_betas
from studio.guidance.stable_diffusion import check_widths, is_full_size, network_kwargs
from studio.io.files import write_json
from studio.io.weights import check_finite, load_strict, read_tensors
from studio.io.whole_folders import written_whole
from studio.plugins.ranges import fixed

logger = logging.getLogger(__name__)

PARTS = ("unet", "vae", "image_encoder")
USES = model("unet", VAE, "image_encoder", schedule=True)
"""What a folder of the whole model is read from."""
_LIBRARY = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "image_encoder": ["studio.guidance.eschernet.encoder", "TokenEncoder"],
    "scheduler": ["diffusers", "DDIMScheduler"],
}
DESCRIBES_NETWORK = fixed(EscherNetConfig)
"""Options that a folder of our own fixes for whoever loads it."""
RELEASED_FIX = tuple(n for n in DESCRIBES_NETWORK if n not in ("cape", "resolution"))
"""Options that a released folder fixes; its camera encoding nobody can tell from its files."""
_SCHEDULER = {
    "prediction_type": "prediction_type",
    "beta_schedule": "beta_schedule",
    "beta_start": "beta_start",
    "beta_end": "beta_end",
    "num_train_timesteps": "train_timesteps",
    "rescale_betas_zero_snr": "zero_terminal_snr",
}


# -------------------------------------------------------------------- writing


def save_folder(parts: Mapping[str, nn.Module], cfg: EscherNetConfig, folder: Path) -> None:
    """Write model_index.json, one folder per part, scheduler/ and our options in config.json."""
    with written_whole(folder) as new:
        for name in ("unet", "vae"):
            part: Any = parts[name]
            config = {"_class_name": type(part).__name__, **dict(part.config)}
            folders.write_part(new / name, "diffusion_pytorch_model", config, part)
        encoder: Any = parts["image_encoder"]
        folders.write_part(new / "image_encoder", "model", encoder.config.to_dict(), encoder)
        write_json(new / "scheduler" / "scheduler_config.json", _scheduler(cfg))
        names = ("weights", "vae_weights", "unet_start", "encoder_start", "variant")
        starts = dict.fromkeys(names, "")
        write_json(new / "config.json", {**plain(cfg), **starts})
        index = {"_class_name": "EscherNetGuidance", **_LIBRARY}
        write_json(new / "model_index.json", index)


def _scheduler(cfg: EscherNetConfig) -> dict[str, Any]:
    return {
        "_class_name": "DDIMScheduler",
        **{theirs: getattr(cfg, ours) for theirs, ours in _SCHEDULER.items()},
        **trained_betas(cfg),
        "timestep_spacing": cfg.timestep_spacing,
        "steps_offset": 1,
        "set_alpha_to_one": False,
        "clip_sample": False,
    }


# -------------------------------------------------------------------- reading


def with_saved_options(cfg: EscherNetConfig) -> EscherNetConfig:
    """Return the config with the local folder of its weights, and with what that folder fixes.

    Raises:
        WeightsError: if `cfg.weights` is no folder of EscherNet weights.
        ConfigError: if the camera encoding is neither given nor written in the folder.
    """
    if not cfg.weights:
        return replace(cfg, cape=cfg.cape or "6dof")
    folder = locate(cfg.weights, cfg.allow_download, USES, cfg.variant)
    cfg = replace(cfg, weights=str(folder))
    if not folder.is_dir():
        return _with_file(cfg, folder)
    check_there(folder, USES, cfg.variant, "EscherNet")
    if (folder / "config.json").is_file():
        saved = folders.read_config(folder)
        if "cape" not in saved:
            _check_cape(cfg)
        return with_saved(cfg, saved, DESCRIBES_NETWORK, folder / "config.json")
    scheduler = folder / "scheduler" / "scheduler_config.json"
    if not scheduler.is_file():
        raise WeightsError(
            f"{folder} is not a folder of EscherNet weights.",
            allowed="one with config.json or scheduler/scheduler_config.json, and "
            + ", ".join(PARTS),
        )
    _check_cape(cfg)
    width = folders.read_config(folder / "unet").get("block_out_channels")
    names = (*RELEASED_FIX, *(("resolution",) if is_full_size(width) else ()))
    cfg = with_released(cfg, RELEASED, names, folder)
    told = folders.read_config(scheduler.parent, scheduler.name)
    fixed = {ours: told[theirs] for theirs, ours in _SCHEDULER.items() if theirs in told}
    return with_saved(cfg, fixed, tuple(fixed), scheduler)


def _with_file(cfg: EscherNetConfig, file: Path) -> EscherNetConfig:
    """Return the config with what a state dict of the three networks tells."""
    _check_cape(cfg)
    entrance = read_tensors(file, cfg.allow_pickle).get("unet.conv_in.weight")
    full = entrance is not None and is_full_size(list(entrance.shape))
    names = (*RELEASED_FIX, *(("size", "resolution") if full else ()))
    return with_released(cfg, RELEASED, names, file)


def _check_cape(cfg: EscherNetConfig) -> None:
    if not cfg.cape:
        raise ConfigError(
            f"system.guidance.cape is not given for {cfg.weights}, and it does not tell.",
            allowed="6dof or 4dof, as the checkpoint is called",
        )


def build_parts(cfg: EscherNetConfig) -> dict[str, Any]:
    """Return the three networks of a config: read from `cfg.weights`, or fresh where it is empty.

    Raises:
        WeightsError: if the weights are missing, damaged or of another architecture.
    """
    source = Path(cfg.weights)
    how: dict[str, Any] = {"allow_download": cfg.allow_download, "variant": cfg.variant}
    if cfg.weights and source.is_dir():
        return {n: read_part(n, folders.part_of(source, n, **how), cfg) for n in PARTS}
    if cfg.weights:
        with torch.device("meta"):
            parts = fresh_parts(cfg)
        tensors = read_tensors(source, cfg.allow_pickle)
        for name, part in parts.items():
            load_part(name, part, network_of(tensors, name), source)
        return {name: folders.materialised(part) for name, part in parts.items()}
    starts = {"unet": cfg.unet_start, "image_encoder": cfg.encoder_start, "vae": cfg.vae_weights}
    paths = {n: folders.network_at(text, n, **how) for n, text in starts.items() if text}
    parts = fresh_parts(cfg)
    if "vae" in paths:
        kwargs = network_kwargs(net.SIZES, cfg.size, "vae", cfg.vae)
        parts["vae"] = folders.read_vae(paths.pop("vae"), kwargs, cfg.allow_pickle, cfg.variant)
    for name, path in paths.items():
        found = folders.tensors_at(path, name, allow_pickle=cfg.allow_pickle, variant=cfg.variant)
        start_from(parts[name], found, path)
    return parts


def fresh_parts(cfg: EscherNetConfig) -> dict[str, Any]:
    """Build the three networks with random weights."""
    return {
        "unet": net.build_unet(network_kwargs(net.SIZES, cfg.size, "unet", cfg.unet)),
        "image_encoder": build_encoder(network_kwargs(net.SIZES, cfg.size, "encoder", cfg.encoder)),
        "vae": build_vae(network_kwargs(net.SIZES, cfg.size, "vae", cfg.vae)),
    }


def check_parts(cfg: EscherNetConfig, parts: Mapping[str, Any]) -> None:
    """Check that options and networks fit each other.

    Raises:
        ConfigError: if channels, the width of the tokens or the pictures' side do not.
    """
    width = parts["image_encoder"].config.hidden_sizes[-1]
    said = f"the encoder's tokens are {width} wide"
    check_widths(parts["unet"].config, parts["vae"].config, width, said)
    latent_side(parts["vae"], cfg.resolution)


def load_released(parts: Mapping[str, nn.Module], cfg: EscherNetConfig, folder: Path) -> None:
    """Fill a model's networks from a released folder of the same architecture.

    Raises:
        WeightsError: naming every key that is missing, left over or of another shape.
    """
    for name in PARTS:
        tensors = folders.read_weights(folder / name, cfg.allow_pickle, cfg.variant)
        load_part(name, parts[name], tensors, folder / name)


def read_part(name: str, folder: Path, cfg: EscherNetConfig) -> nn.Module:
    """Build one of `PARTS` from its own folder of config.json and weights.

    Raises:
        WeightsError: if config or weights are missing, damaged or do not fit each other.
    """
    kinds = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "image_encoder": ConvNextV2Config}
    return folders.read_part(
        folder,
        kinds[name],
        partial(build_part, name),
        partial(current_names, name),
        allow_pickle=cfg.allow_pickle,
        variant=cfg.variant,
    )


def build_part(name: str, config: Mapping[str, Any]) -> nn.Module:
    """Build one of `PARTS` from the content of its config.json, with fresh weights."""
    if name == "image_encoder":
        return TokenEncoder(ConvNextV2Config.from_dict(dict(config)))
    if name == "vae":
        return AutoencoderKL.from_config(dict(config))
    return UNet2DConditionModel.from_config(dict(config))


def load_part(
    name: str, module: nn.Module, tensors: Mapping[str, Tensor], source: Path | str
) -> None:
    """Fill one of `PARTS`; old names of the VAE's attention are accepted.

    Raises:
        WeightsError: naming every key that is missing, left over or of another shape.
    """
    load_strict(module, current_names(name, tensors), source)


def current_names(name: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the tensors of one of `PARTS` in today's names."""
    return folders.current_vae_names(tensors) if name == "vae" else tensors


@torch.no_grad()
def start_from(module: nn.Module, tensors: Mapping[str, Tensor], source: Path | str) -> list[str]:
    """Copy from another model what has the same name and shape; returns the names not found there.

    Of an input convolution with more channels (Zero-1-to-3's, which also reads a picture) the
    first ones are taken. The names of a classifier's backbone lose their prefix.

    Raises:
        WeightsError: if hardly anything fits: fewer than half of the module's tensors.
    """
    given = {key.removeprefix("convnextv2."): value for key, value in tensors.items()}
    own = module.state_dict()
    missing, taken = [], {}
    for name, value in own.items():
        found = given.get(name)
        if found is not None and name == "conv_in.weight":
            found = found[:, : value.shape[1]]
        if found is None or found.shape != value.shape:
            missing.append(name)
        else:
            taken[name] = found
    if len(missing) > len(own) / 2:
        raise WeightsError(
            f"{source} fits only {len(own) - len(missing)} of {len(own)} tensors of "
            f"{type(module).__name__}.",
            hint="Start from a model of the same widths.",
        )
    check_finite(taken, source)
    for name, value in taken.items():
        own[name].copy_(value)
    logger.info("%s: %d of %d tensors taken", source, len(own) - len(missing), len(own))
    return missing
