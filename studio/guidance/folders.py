"""Folders of model parts as diffusers and transformers write them: finding, reading, writing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from studio.errors import WeightsError
from studio.guidance.hub import beside, locate
from studio.guidance.json_files import check_network, describing, networks_refused, read_json
from studio.guidance.ldm import network_of
from studio.guidance.needs import Part, check_there, part
from studio.guidance.weight_files import find_weights
from studio.io.files import make_folder, write_json
from studio.io.weights import load_strict, read_tensors, write_tensors

_OLD_VAE = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """Return what a part's config.json says.

    Raises:
        WeightsError: if there is none or it is damaged.
    """
    if not (folder / name).is_file():
        raise WeightsError(
            f"{folder} has no readable {name}.", allowed=f"a folder with {name} and weights"
        )
    return read_json(folder / name)


def read_weights(
    folder: Path, allow_pickle: bool = False, variant: str = "", stem: str = ""
) -> dict[str, Tensor]:
    """Read the weights of a folder, all shards of them; see `find_weights` for which.

    Raises:
        WeightsError: if there are none, or they cannot be read safely.
    """
    tensors: dict[str, Tensor] = {}
    for file in find_weights(folder, variant, stem).files:
        tensors.update(read_tensors(file, allow_pickle))
    return tensors


def read_part(
    folder: Path,
    kind: type,
    build: Callable[[dict[str, Any]], nn.Module],
    renamed: Callable[[dict[str, Tensor]], Mapping[str, Tensor]] = dict,
    *,
    allow_pickle: bool = False,
    variant: str = "",
) -> nn.Module:
    """Build one network from its own folder of config.json and weights, on the CPU in float32.

    Args:
        folder: the part's folder.
        kind: the class whose constructor takes what config.json says.
        build: makes the network of that; its weights are not kept.
        renamed: brings the tensors' names up to date.
        allow_pickle: see `studio.io.weights.read_tensors`.
        variant: which of several files of weights, see `find_weights`.

    Raises:
        WeightsError: if config or weights are missing, damaged or do not fit each other.
    """
    module = build_part(folder, kind, build)
    files = find_weights(folder, variant).files
    source = files[0] if len(files) == 1 else folder
    load_strict(module, renamed(read_weights(folder, allow_pickle, variant)), source)
    return materialised(module)


def network_at(source: str, name: str, *, allow_download: bool = False, variant: str = "") -> Path:
    """Return where one network lies that an option names.

    Args:
        source: a folder of it, of a model that holds it in a folder `name`, a file, or either in a
            repository of the hub.
        name: as diffusers calls its folder.
        allow_download: see `studio.guidance.hub.locate`.
        variant: see `find_weights`.
    """
    path = locate(source, allow_download, part(name), variant)
    if not path.is_dir():
        return path
    if not _has_config(path / name) and (elsewhere := _named_elsewhere(path, name)):
        path = locate(elsewhere, allow_download, part(name), variant)
    path = path / name if _has_config(path / name) else path
    check_there(path, [Part()], variant)
    return path


def part_of(model: Path, name: str, *, allow_download: bool = False, variant: str = "") -> Path:
    """Return the folder of one part of a model.

    It lies in the model's folder, or where the config.json there says: `"vae_weights": "../vae"` is
    a part that several models beside each other have in common.

    Args:
        model: the model's folder.
        name: of the part.
        allow_download: fetch it from the hub if the model lies in the hub's cache.
        variant: see `find_weights`.

    Raises:
        WeightsError: if the config names something else than a folder in or beside the model's, or
            in its repository; if there is nothing.
    """
    here = model / name
    elsewhere = None if _has_config(here) else _named_elsewhere(model, name)
    if elsewhere is None:
        return here
    return network_at(elsewhere, name, allow_download=allow_download, variant=variant)


def _named_elsewhere(model: Path, name: str) -> str | None:
    """What the config.json of a model's folder says of a part that lies outside."""
    named = read_config(model).get(f"{name}_weights") if _has_config(model) else None
    if not named:
        return None
    places = [beside(place, str(named), near=True) for place in (model, model.resolve())]
    return next((place for place in places if Path(place).is_dir()), places[0])


def _has_config(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def read_file(
    file: Path,
    name: str,
    kind: type,
    build: Callable[[dict[str, Any]], nn.Module],
    renamed: Callable[[dict[str, Tensor]], Mapping[str, Tensor]] = dict,
    *,
    config: dict[str, Any],
    allow_pickle: bool = False,
) -> nn.Module:
    """Build one network from a file of it, or of a model that holds it; else as `read_part`.

    Args:
        file: with or without a config.json beside it.
        name: as diffusers calls its folder.
        kind: see `read_part`.
        build: see `read_part`.
        renamed: see `read_part`.
        config: how the network is built where no config.json says it.
        allow_pickle: see `studio.io.weights.read_tensors`.
    """
    if _has_config(file.parent) and "block_out_channels" in read_config(file.parent):
        module = build_part(file.parent, kind, build)
    else:
        with networks_refused(""), torch.device("meta"):
            module = build(config)
    levels = len(getattr(module, "config", {}).get("block_out_channels", [0] * 4))
    tensors = network_of(read_tensors(file, allow_pickle), name, levels=levels)
    load_strict(module, renamed(tensors), file)
    return materialised(module)


def read_vae(
    path: Path, config: dict[str, Any], allow_pickle: bool = False, variant: str = ""
) -> nn.Module:
    """Read a picture auto-encoder from what `network_at` found; `config` as for `read_file`."""
    from diffusers import AutoencoderKL

    how = AutoencoderKL, AutoencoderKL.from_config, current_vae_names
    if path.is_dir():
        return read_part(path, *how, allow_pickle=allow_pickle, variant=variant)
    return read_file(path, "vae", *how, config=config, allow_pickle=allow_pickle)


def tensors_at(
    path: Path, name: str, *, allow_pickle: bool = False, variant: str = ""
) -> dict[str, Tensor]:
    """Return the tensors of one network in what `network_at` found."""
    if path.is_dir():
        return read_weights(path, allow_pickle, variant)
    return network_of(read_tensors(path, allow_pickle), name)


def build_part(folder: Path, kind: type, build: Callable[[dict[str, Any]], nn.Module]) -> nn.Module:
    """Build one network as the config.json in its folder says, on the meta device.

    Args:
        folder: the part's folder.
        kind: the class whose constructor takes what config.json says.
        build: makes the network of that.

    Raises:
        WeightsError: if the config is missing or damaged.
    """
    config = read_config(folder)
    check_network(kind, config, folder / "config.json")
    with describing(folder / "config.json", "describes no network"), torch.device("meta"):
        return build(config)


def current_vae_name(key: str) -> str:
    """Return today's name of an AutoencoderKL's tensor: old files say query, key, proj_attn."""
    words = key.split(".")
    if "attentions" in words:
        words[-2] = _OLD_VAE.get(words[-2], words[-2])
    return ".".join(words)


def current_vae_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an AutoencoderKL's tensors in today's names.

    Old files may keep the attention's maps as 1x1 convolutions.
    """
    return {
        current_vae_name(key): value.flatten(1)
        if ".attentions." in key and value.dim() == 4
        else value
        for key, value in tensors.items()
    }


def materialised(module: nn.Module) -> nn.Module:
    """Give a module that was built on the meta device its constant buffers, which no file holds."""
    for owner in module.modules():
        for name, buffer in owner.named_buffers(recurse=False):
            if buffer.is_meta and name == "position_ids":
                numbers = torch.arange(buffer.shape[-1]).expand(buffer.shape)
                owner.register_buffer(name, numbers, persistent=False)
            elif buffer.is_meta:
                raise ValueError(f"{type(owner).__name__}.{name} has no value")
    return module


def write_part(folder: Path, name: str, config: Mapping[str, Any], module: Any) -> None:
    """Write a part's config.json and its weights as `name`.safetensors."""
    make_folder(folder)
    kept = {k: v for k, v in config.items() if k != "_use_default_values"}  # diffusers' own note
    write_json(folder / "config.json", kept)
    write_tensors(folder / f"{name}.safetensors", module.state_dict())
