"""Weights of SPAD on disk: our folders, plain Stable Diffusion, and the authors' checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from studio.config import plain
from studio.errors import WeightsError
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
from studio.guidance.needs import TOKENIZER_FILES, VAE, Part, check_there, model
from studio.guidance.spad import network as net
from studio.guidance.spad.official import (
    POSITIONS,
    TEXT,
    WRAPPED,
    load_official_into,
    text_prefix,
    variant,
)
from studio.guidance.spad.options import RELEASED, SpadConfig
from studio.guidance.spad.text import Tokenizer, WordTokenizer, read_tokenizer
from studio.guidance.stable_diffusion import is_full_size, network_kwargs
from studio.io.files import write_json
from studio.io.weights import load_strict, read_tensors
from studio.io.whole_folders import written_whole
from studio.plugins.ranges import fixed

PARTS = ("unet", "vae", "text_encoder", "camera_projection")
USES = model(
    *("unet", VAE, "text_encoder", "camera_projection"),
    Part(("tokenizer",), (), TOKENIZER_FILES, weights=False),
    config=True,
)
"""What a folder of the whole model is read from."""
DESCRIBES_NETWORK = fixed(SpadConfig)
"""Options that a folder of our own fixes for whoever loads it."""
RELEASED_FIX = tuple(n for n in DESCRIBES_NETWORK if n not in ("resolution", "rig_elevation_deg"))
"""Options that a released checkpoint fixes; it was trained with cameras at all elevations."""
RELEASED_SIZE = ("size", "resolution")
"""Options that it fixes, too, where the UNet is as wide as the released one."""

_WEIGHTS = "diffusion_pytorch_model"


# -------------------------------------------------------------------- writing


def save_folder(
    parts: Mapping[str, Any], tokenizer: Tokenizer, cfg: SpadConfig, folder: Path
) -> None:
    """Write one folder per part, the tokenizer and our options in config.json.

    The folder is written beside `folder` and renamed, so that a killed run leaves no half of it.
    """
    with written_whole(folder) as new:
        for name in ("unet", "vae", "camera_projection"):
            part = parts[name]
            config = {k: v for k, v in part.config.items() if k != "_use_default_values"}
            write_part(new / name, _WEIGHTS, config, part)
        encoder = parts["text_encoder"]
        write_part(new / "text_encoder", "model", encoder.config.to_dict(), encoder)
        (new / "tokenizer").mkdir()
        tokenizer.save(new / "tokenizer")
        names = ("weights", "vae_weights", "unet_start", "text_start", "variant")
        starts = dict.fromkeys(names, "")
        write_json(new / "config.json", {**plain(cfg), **starts})


# -------------------------------------------------------------------- reading


def with_saved_options(cfg: SpadConfig) -> SpadConfig:
    """Return the config with the local path of its weights, and with what they fix.

    Raises:
        WeightsError: if they do not exist, or the folder's own options cannot be used.
    """
    if not cfg.weights:
        return cfg
    source = locate(cfg.weights, cfg.allow_download, USES, cfg.variant)
    cfg = replace(cfg, weights=str(source))
    if source.is_dir():
        check_there(source, USES, cfg.variant, "SPAD")
        return with_saved(cfg, read_config(source), DESCRIBES_NETWORK, source / "config.json")
    tensors = read_tensors(source, cfg.allow_pickle)
    entrance = tensors.get(f"{ldm.UNET}input_blocks.0.0.weight")
    full = entrance is not None and is_full_size(list(entrance.shape))
    names = (*RELEASED_FIX, *(RELEASED_SIZE if full else ()))
    return with_released(cfg, RELEASED[variant(tensors)], names, source)


def build_parts(cfg: SpadConfig) -> tuple[dict[str, Any], Tokenizer]:
    """Return the networks (the UNet inflated) and the tokenizer of a config.

    Raises:
        WeightsError: if weights are missing, damaged or of another architecture.
    """
    source = Path(cfg.weights) if cfg.weights else None
    if source is not None and source.is_dir():
        how: dict[str, Any] = {"allow_download": cfg.allow_download, "variant": cfg.variant}
        parts: dict[str, Any]
        parts = {n: read_part(n, folders.part_of(source, n, **how), cfg) for n in PARTS}
        text = parts["text_encoder"].config
        tokenizer = read_tokenizer(source / "tokenizer", text.max_position_embeddings)
        if isinstance(tokenizer, WordTokenizer) and tokenizer.size > text.vocab_size:
            raise WeightsError(
                f"{source / 'tokenizer'} has {tokenizer.size} words, the text encoder "
                f"{text.vocab_size}.",
                allowed="the tokenizer that was trained with the text encoder",
            )
        return parts, tokenizer
    tokenizer = build_tokenizer(cfg)
    if source is None:
        return fresh_parts(cfg), tokenizer
    with torch.device("meta"):
        parts = fresh_parts(replace(cfg, vae_weights="", unet_start="", text_start=""))
    load_official_into(parts, source, ema=cfg.ema, allow_pickle=cfg.allow_pickle)
    return {name: materialised(part) for name, part in parts.items()}, tokenizer


def build_tokenizer(cfg: SpadConfig) -> Tokenizer:
    """Return the tokenizer of a model that is not read from a folder of our own."""
    length = network_kwargs(net.SIZES, cfg.size, "text", cfg.text)["max_position_embeddings"]
    if cfg.size == "nano":
        return WordTokenizer(cfg.words, length)
    return read_tokenizer(cfg.tokenizer, length, cfg.allow_download)


def fresh_parts(cfg: SpadConfig) -> dict[str, nn.Module]:
    """Build the networks with random weights, or those of the plain models that `cfg` names."""
    unet_kwargs = network_kwargs(net.SIZES, cfg.size, "unet", cfg.unet)
    text_kwargs = network_kwargs(net.SIZES, cfg.size, "text", cfg.text)
    if cfg.size == "nano":
        text_kwargs["vocab_size"] = WordTokenizer(cfg.words, 1).size
    where: dict[str, Any] = {"allow_download": cfg.allow_download, "variant": cfg.variant}
    starts = {"unet": cfg.unet_start, "vae": cfg.vae_weights, "text_encoder": cfg.text_start}
    paths = {n: folders.network_at(text, n, **where) for n, text in starts.items() if text}
    unet = net.build_unet(unet_kwargs)
    denoiser = net.MultiViewUNet(unet, cfg.float32_attention)
    if path := paths.get("unet"):
        tensors = folders.tensors_at(
            path, "unet", allow_pickle=cfg.allow_pickle, variant=cfg.variant
        )
        start_from(denoiser.unet, tensors, path)
    vae_kwargs = network_kwargs(net.SIZES, cfg.size, "vae", cfg.vae)
    if path := paths.get("vae"):
        vae = folders.read_vae(path, vae_kwargs, cfg.allow_pickle, cfg.variant)
    else:
        vae = build_vae(vae_kwargs)
    if path := paths.get("text_encoder"):
        text = read_text_encoder(path, text_kwargs, cfg)
    else:
        text = net.build_text_encoder(text_kwargs)
    width = unet.time_embedding.linear_2.out_features
    numbers = 8 if cfg.camera_intrinsics else 4
    return {
        "unet": denoiser,
        "vae": vae,
        "text_encoder": text,
        "camera_projection": net.CameraProjection(numbers=numbers, width=width),
    }


def read_part(name: str, folder: Path, cfg: SpadConfig) -> nn.Module:
    """Build one of `PARTS` from its own folder of config.json and weights.

    Raises:
        WeightsError: if config or weights are missing, damaged or do not fit each other.
    """
    kinds: dict[str, Any] = {
        "unet": net.UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextConfig,
        "camera_projection": net.CameraProjection,
    }
    names = {"vae": current_vae_names, "unet": _inner_names, "text_encoder": _text_names}
    return folders.read_part(
        folder,
        kinds[name],
        lambda config: _build(name, config, cfg),
        names.get(name, dict),
        allow_pickle=cfg.allow_pickle,
        variant=cfg.variant,
    )


def read_text_encoder(path: Path, kwargs: dict[str, Any], cfg: SpadConfig) -> nn.Module:
    """Read the text tower from a folder, a file of it or an LDM checkpoint."""
    if path.is_dir():
        return read_part("text_encoder", path, cfg)
    with torch.device("meta"):
        tower = net.build_text_encoder(kwargs)
    tensors = ldm.network_of(read_tensors(path, cfg.allow_pickle), "text_encoder")
    inner = {k.removeprefix(TEXT): v for k, v in tensors.items() if k.startswith(TEXT)}
    load_strict(tower, _text_names(inner or tensors), path)
    return materialised(tower)


def _inner_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a UNet's tensors as those of the multi-view UNet around it."""
    return {f"unet.{key}": value for key, value in tensors.items()}


def _text_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a text tower's tensors as this version of transformers calls them."""
    bare = {key.removeprefix(WRAPPED): value for key, value in tensors.items()}
    return {text_prefix() + key: value for key, value in bare.items() if key != POSITIONS}


def _build(name: str, config: dict[str, Any], cfg: SpadConfig) -> nn.Module:
    if name == "unet":
        return net.MultiViewUNet(
            net.UNet2DConditionModel.from_config(config), cfg.float32_attention
        )
    if name == "text_encoder":
        return CLIPTextModel(CLIPTextConfig.from_dict(config))
    return {"vae": AutoencoderKL, "camera_projection": net.CameraProjection}[name].from_config(
        config
    )


# -------------------------------------------------------------------- other models' weights


def start_from(unet: nn.Module, plain_unet: Mapping[str, Tensor], source: Path | str) -> None:
    """Fill an inflated UNet with the weights of a plain one: Stable Diffusion's, or a method's.

    Weights for input channels that only one of the two has are left out or start at zero: the
    Pluecker channels of every transformer's entry, and a concatenated condition's.
    """
    tensors = {}
    for name, own in unet.state_dict().items():
        value = plain_unet.get(name)
        widened = name.endswith("proj_in.weight") or name == "conv_in.weight"
        if value is not None and widened and value.shape[1] != own.shape[1]:
            grown = torch.zeros_like(own)
            shared = min(value.shape[1], own.shape[1])
            grown[:, :shared] = value[:, :shared]
            value = grown
        if value is not None:
            tensors[name] = value
    load_strict(unet, tensors, source)
