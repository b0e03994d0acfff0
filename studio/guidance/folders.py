"""Folders of model parts as diffusers and transformers write them: finding, reading, writing."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from studio.checkpoint_io import read_tensors, write_tensors
from studio.errors import WeightsError
from studio.files import make_folder, write_json

_OLD_VAE = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


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


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """Return what a part's config.json says.

    Raises:
        WeightsError: if there is none or it is damaged.
    """
    try:
        return dict(json.loads((folder / name).read_text()))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{folder} has no readable {name} ({error}).",
            allowed=f"a folder with {name} and weights",
        ) from error


def read_weights(folder: Path, allow_pickle: bool = False) -> dict[str, Tensor]:
    """Read the weights of a part's folder: safetensors if there are any, else a pickled file.

    Raises:
        WeightsError: if there are none, or they cannot be read safely.
    """
    for pattern in ("*model.safetensors", "*.safetensors", "*model.bin", "*.bin"):
        if found := sorted(folder.glob(pattern)):
            return read_tensors(found[0], allow_pickle)
    raise WeightsError(
        f"{folder} holds no weights.",
        allowed="(diffusion_pytorch_)model.safetensors or (diffusion_)pytorch_model.bin",
    )


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


@contextlib.contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder` that takes its place when the block succeeds."""
    temporary = make_folder(folder.with_name(f".{folder.name}.{secrets.token_hex(4)}"))
    try:
        yield temporary
        old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
