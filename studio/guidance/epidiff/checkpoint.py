"""Weights of EpiDiff: our folders (the blocks, and the way to the base), and the authors' file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from studio.config import parse_config, plain
from studio.errors import ConfigError, WeightsError
from studio.guidance.ddim import ddim_timesteps
from studio.guidance.epidiff.network import DEAD_PREFIXES, EpipolarModule, MVModel
from studio.guidance.epidiff.options import RELEASED, RELEASED_BASE, SETTINGS, EpiDiffConfig
from studio.guidance.folders import current_vae_name, materialised, read_weights
from studio.guidance.hub import beside, locate, repository_in
from studio.guidance.json_files import networks_refused, read_json, with_fixed, with_released
from studio.guidance.needs import Part, check_there, model
from studio.guidance.stable_diffusion import is_full_size
from studio.guidance.zero123 import checkpoint as zero123
from studio.guidance.zero123.guidance import Zero123Guidance
from studio.guidance.zero123.options import Zero123Config
from studio.io.files import write_json
from studio.io.weights import load_strict, read_tensors, write_tensors
from studio.io.whole_folders import written_whole
from studio.plugins.ranges import fixed

BLOCKS = "blocks.safetensors"
USES = model(Part(stem=Path(BLOCKS).stem))
"""What a folder of our own is read from, beside the base."""
PARTS = ("unet", "vae", "image_encoder", "clip_camera_projection")
DESCRIBES_BLOCKS = fixed(EpiDiffConfig)
"""Options that belong to trained blocks: a folder of weights has the last word on them."""
RELEASED_SIZE = tuple(name for name in DESCRIBES_BLOCKS if name != "fourth_number")
"""Options that the authors' file fixes; their script and their training differ in that number."""
RELEASED_FIX = ("settings", *(name for name in RELEASED_SIZE if name in SETTINGS["released"]))
"""Those of them that it fixes at any width."""
BASE_FIX = tuple(name for name in zero123.RELEASED_FIX if name != "null_token")
"""Options of the Zero-1-to-3 model that it fixes."""
OPTIONAL_PREFIXES = ("val_lpips.", "test_lpips.")  # metrics that Lightning saved along
OPTIONAL_KEYS = ("image_encoder.vision_model.embeddings.position_ids",)  # older transformers


def save_folder(
    cfg: EpiDiffConfig, base: Zero123Guidance, views: MVModel, folder: Path, full: bool = False
) -> None:
    """Write the blocks, config.json and, if asked for or needed, the base into `folder`/base."""
    options = {**plain(cfg), "weights": "", "variant": "", "zero123": {}}
    named = Path(cfg.base).resolve() if cfg.base else None
    inside = named is not None and named.is_relative_to(folder.resolve())
    with written_whole(folder) as new:
        if full or inside or named is None or cfg.train_unet:
            base.save_pretrained(new / "base")
            options["base"] = "base"
        else:
            options["base"] = os.path.relpath(named, new)
        write_tensors(new / BLOCKS, block_tensors(views))
        write_json(new / "config.json", options)


def saved_config(
    cls: type[EpiDiffConfig],
    folder: Path,
    base: str = "",
    allow_download: bool = False,
    variant: str = "",
) -> EpiDiffConfig:
    """Return the options of a folder of `save_folder`, pointing at its weights and base.

    Args:
        cls: the dataclass of options.
        folder: where the blocks lie.
        base: the Zero-1-to-3 weights to use instead of those that the folder names.
        allow_download: fetch the base from the hub where it is a repository.
        variant: of the base's weights.

    Raises:
        WeightsError: if a file or the base is missing, or an option cannot be used.
    """
    check_there(folder, USES, variant, "EpiDiff")
    path = folder / "config.json"
    options = read_json(path)
    options["base"] = base or _own_base(folder, str(options.get("base", "")))
    try:
        found = locate(options["base"], allow_download, zero123.USES, variant)
    except WeightsError as error:
        raise WeightsError(
            f"{folder} needs the Zero-1-to-3 weights in {options['base']}, which do not exist.",
            hint=f'put them there, or name another folder as "base" in {path}, or give '
            "system.guidance.base=FOLDER",
        ) from error
    options["base"] = str(found)
    try:
        return parse_config(cls, {**options, "weights": str(folder)}, key=str(path))
    except ConfigError as error:
        raise WeightsError(f"{error}") from error


def _own_base(folder: Path, named: str) -> str:
    """Where the base lies that a folder's config.json names: beside it, or on the hub."""
    places = [beside(place, named) for place in (folder, folder.resolve())]
    here = [place for place in places if Path(place).is_dir()]
    if not here and not repository_in(named):
        here = places
    return next(iter(here), named)


def with_saved_options(cfg: EpiDiffConfig) -> EpiDiffConfig:
    """Return the config with local paths, and with what a folder of weights fixes."""
    if not cfg.weights:
        return cfg
    source = locate(cfg.weights, cfg.allow_download, USES, cfg.variant)
    cfg = replace(cfg, weights=str(source))
    if not source.is_dir():
        names = RELEASED_SIZE if is_released_size(cfg) else RELEASED_FIX
        return with_released(cfg, RELEASED, names, source)
    saved = saved_config(type(cfg), source, cfg.base, cfg.allow_download, cfg.variant)
    if Path(saved.base).is_dir():
        check_there(Path(saved.base), zero123.USES, cfg.variant, "Zero-1-to-3", "base")
    fixed = {name: getattr(saved, name) for name in DESCRIBES_BLOCKS}
    cfg = with_fixed(cfg, fixed, source / "config.json")
    return replace(cfg, base=saved.base, zero123={**saved.zero123, **cfg.zero123})


def is_released_size(cfg: EpiDiffConfig) -> bool:
    """Whether the authors' file `cfg.weights` is as wide as the one that they released."""
    entrance = read_tensors(cfg.weights, cfg.allow_pickle).get("mv_model.unet.conv_in.weight")
    return entrance is not None and is_full_size(list(entrance.shape))


def holds_all(cfg: EpiDiffConfig) -> bool:
    """Whether `cfg.weights` is an authors' file, which holds the Zero-1-to-3 model, too."""
    return bool(cfg.weights) and not Path(cfg.weights).is_dir()


def load_base(
    cfg: EpiDiffConfig, parts: dict[str, Any] | None
) -> tuple[Zero123Config, dict[str, Any]]:
    """Return options and networks of the Zero-1-to-3 model.

    Where an authors' file is going to fill the networks they have no weights yet.
    """
    key = "system.guidance.zero123"
    if holds_all(cfg) and parts is None:
        base_flags = cfg.allow_download, zero123.USES, cfg.variant
        folder = locate(cfg.base, *base_flags) if cfg.base else None
        ours = None if folder is None else folder / "config.json"
        saved = RELEASED_BASE if ours is None or not ours.is_file() else read_json(ours)
        base_cfg = parse_config(Zero123Config, {**saved, **cfg.zero123, "weights": ""}, key=key)
        names = (*BASE_FIX, *(zero123.RELEASED_SIZE if is_released_size(cfg) else ()))
        base_cfg = with_released(base_cfg, RELEASED_BASE, names, Path(cfg.weights))
        _check_steps(cfg, base_cfg)
        with networks_refused(""):
            empty = zero123.empty_parts(base_cfg, folder)
        base = Zero123Guidance(base_cfg, empty)
    elif cfg.base and parts is None:
        how = {"variant": cfg.variant, "allow_download": cfg.allow_download}
        found = zero123.with_saved_options(
            zero123.pretrained_options(Zero123Config, cfg.base, **how)
        )
        base_cfg = parse_config(
            Zero123Config, {**plain(found), **cfg.zero123, "weights": ""}, key=key
        )
        _check_steps(cfg, base_cfg)
        base = Zero123Guidance(found)
    else:
        base_cfg = parse_config(Zero123Config, cfg.zero123, key=key)
        _check_steps(cfg, base_cfg)
        base = Zero123Guidance(base_cfg, parts)
        base_cfg = base.cfg
    return base_cfg, {name: getattr(base, name) for name in PARTS}


def _check_steps(cfg: EpiDiffConfig, base: Zero123Config) -> None:
    """Refuse sampling steps that cannot be placed, before weights are read."""
    spacing = cfg.timestep_spacing or base.timestep_spacing
    ddim_timesteps(cfg.steps, spacing, base.train_timesteps)


def load_weights(model: nn.Module, views: MVModel, cfg: EpiDiffConfig) -> None:
    """Read `cfg.weights`, a folder or the authors' file, into a finished model.

    Args:
        model: the guidance, whose tensors have the authors' names.
        views: its network of all views.
        cfg: its options.
    """
    source = cfg.weights
    if source and Path(source).is_dir():
        load_blocks(views, Path(source), cfg.variant)
    elif source:
        load_official(model, source, cfg.allow_pickle)
        materialised(model)


def load_blocks(views: MVModel, folder: Path, variant: str = "") -> None:
    """Read the blocks of a folder into a model whose base is in place."""
    blocks = nn.ModuleDict()
    tensors = read_weights(folder, variant=variant, stem=Path(BLOCKS).stem)
    for name in ("cp_blocks_encoder", "cp_blocks_mid", "cp_blocks_decoder"):
        blocks[name] = getattr(views, name)
    load_strict(blocks, tensors, folder / BLOCKS)


def block_tensors(views: MVModel) -> dict[str, Tensor]:
    """Return the weights of the inserted blocks by their official names within MVModel."""
    return {
        f"{name}.{key}": value
        for name, block in views.inserted().items()
        for key, value in block.state_dict().items()
    }


def load_official(
    model: nn.Module, source: Path | str, allow_pickle: bool = False
) -> dict[str, list[str]]:
    """Read the authors' Lightning file; every tensor of the model must be in it.

    Args:
        model: the guidance of the same size.
        source: the .ckpt, or its state dict as .safetensors.
        allow_pickle: see `studio.io.weights.read_tensors`.

    Returns:
        names that were left out: "optional" (metrics, old buffers) and "dead" (weights whose
        result the released code throws away).

    Raises:
        WeightsError: if a key is missing, unknown or of another shape.
    """
    return load_official_tensors(model, read_tensors(source, allow_pickle), source)


def load_official_tensors(
    model: nn.Module, tensors: Mapping[str, Tensor], source: Path | str
) -> dict[str, list[str]]:
    """Fill the model from tensors in official names; see `load_official`."""
    kept, left_out = official_tensors(tensors)
    load_strict(model, kept, source)
    return left_out


def official_tensors(
    tensors: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Bring official names into this model's, and sort out what the model has no use for."""
    kept: dict[str, Tensor] = {}
    left_out: dict[str, list[str]] = {"optional": [], "dead": []}
    for official, value in tensors.items():
        name = official.replace("_orig_mod.", "")  # of a compiled model
        if name.startswith(OPTIONAL_PREFIXES) or name in OPTIONAL_KEYS:
            left_out["optional"].append(official)
        elif is_dead(name):
            left_out["dead"].append(official)
        else:
            kept[_renamed(name)] = value
    return kept, left_out


def is_dead(name: str) -> bool:
    """Whether a tensor belongs to a block's joint attention, whose result is thrown away."""
    return re.search(r"cp_blocks_\w+\.\d+\.(HW|norm|t_proj)\.", name) is not None


def _renamed(name: str) -> str:
    if name.startswith("clip_camera_projection.projection."):  # official class CCProjection
        return name.replace(".projection.", ".proj.")
    return current_vae_name(name) if name.startswith("vae.") else name


def load_block(
    block: EpipolarModule | MVModel, tensors: Mapping[str, Tensor], source: Path | str
) -> None:
    """Fill one block or the UNet with its blocks from official names; dead weights are left out."""
    single = isinstance(block, EpipolarModule)
    kept = {
        k: v
        for k, v in tensors.items()
        if not (is_dead(k) or (single and k.startswith(DEAD_PREFIXES)))
    }
    load_strict(block, kept, source)
