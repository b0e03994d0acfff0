"""LDM's names of tensors, in which many authors release, and what diffusers calls them.

A checkpoint keeps everything in one state dict. The rules below turn each name of its UNet and its
auto-encoder into (part, new names, operation); nothing is looked up in a table. Methods add the
rules of what is their own; `load_official_into` fills networks by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from studio.errors import WeightsError
from studio.io.weights import load_strict, read_tensors

UNET, VAE, EMA = "model.diffusion_model.", "first_stage_model.", "model_ema."

# Left-overs of training that no network uses.
_UNUSED = {f"{EMA}decay", f"{EMA}num_updates", "logvar"}
_SCHEDULE = ("betas", "alphas_", "sqrt_", "log_one_minus_", "posterior_")

_RES = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_UNET_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_VAE_ATTENTION = {
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}


class Rule(NamedTuple):
    """Where a tensor of the checkpoint goes."""

    part: str
    """Name of the network: unet, vae, or one that the method has."""
    names: tuple[str, ...]
    """Its names there; three where it is split."""
    operation: str
    """copy, squeeze_1x1 (1x1 convolution to linear), transpose or split3_dim0 (q, k, v)."""


def network_rule(key: str, unet_layers: int, vae_levels: int) -> Rule | None:
    """Return where a key of UNet or auto-encoder goes, None for all others.

    Args:
        key: name in the checkpoint.
        unet_layers: residual blocks per level of the UNet.
        vae_levels: resolution levels of the VAE.
    """
    if key.startswith(UNET):
        name = unet_name(key.removeprefix(UNET), unet_layers)
        return Rule("unet", (name,), "copy") if name else None
    if key.startswith(VAE):
        name = vae_name(key.removeprefix(VAE), vae_levels)
        linear = ".attn_1." in key and key.endswith("weight") and ".norm." not in key
        return Rule("vae", (name,), "squeeze_1x1" if linear else "copy") if name else None
    return None


def is_leftover(key: str) -> bool:
    """Whether a key belongs to the noise schedule or to the running averages."""
    return key in _UNUSED or (key.startswith(_SCHEDULE) and "." not in key) or is_ema(key)


def is_ema(key: str) -> bool:
    """Whether a key is the running average of a UNet tensor."""
    return key.startswith(f"{EMA}diffusion_model")


def ema_key(unet_key: str) -> str:
    """Return the averaged twin of a UNet key: its name below `model.` without any dot."""
    return EMA + unet_key.removeprefix("model.").replace(".", "")


def swap(name: str, table: Mapping[str, str]) -> str | None:
    """Replace the longest leading part that the table knows."""
    for old in sorted(table, key=len, reverse=True):
        if name == old or name.startswith(old + "."):
            return table[old] + name[len(old) :]
    return None


def unet_name(name: str, layers: int) -> str | None:
    """Return diffusers' name of an LDM UNet tensor: a level is `layers` blocks and a resampler."""
    ends = swap(name, _UNET_ENDS)
    if ends:
        return ends
    stage, _, rest = name.partition(".")
    if stage == "middle_block":
        position, _, rest = rest.partition(".")
        if position == "1":
            return f"mid_block.attentions.0.{rest}"
        inner = swap(rest, _RES)
        return f"mid_block.resnets.{int(position) // 2}.{inner}" if inner else None
    if stage not in ("input_blocks", "output_blocks"):
        return None
    block, module, rest = rest.split(".", 2)
    down = stage == "input_blocks"
    level, slot = divmod(int(block) - down, layers + 1)
    side = f"{'down' if down else 'up'}_blocks.{level}"
    if rest.startswith("op."):
        return f"{side}.downsamplers.0.conv.{rest.removeprefix('op.')}"
    if rest.startswith("conv."):
        return f"{side}.upsamplers.0.{rest}"
    if module == "0":
        inner = swap(rest, _RES)
        return f"{side}.resnets.{slot}.{inner}" if inner else None
    return f"{side}.attentions.{slot}.{rest}"


def vae_name(name: str, levels: int) -> str | None:
    """Return diffusers' name of an LDM auto-encoder tensor; the decoder counts levels backwards."""
    name = name.replace("nin_shortcut", "conv_shortcut").replace("norm_out", "conv_norm_out")
    if name.startswith(("quant_conv.", "post_quant_conv.")):
        return name
    side, _, rest = name.partition(".")
    if side not in ("encoder", "decoder"):
        return None
    words = rest.split(".")
    if words[0] == "mid" and words[1] == "attn_1":
        inner = swap(".".join(words[2:]), _VAE_ATTENTION)
        return f"{side}.mid_block.attentions.0.{inner}" if inner else None
    if words[0] == "mid":
        block = int(words[1].removeprefix("block_")) - 1
        return f"{side}.mid_block.resnets.{block}.{'.'.join(words[2:])}"
    if words[0] in ("down", "up"):
        down = words[0] == "down"
        level = int(words[1]) if down else levels - 1 - int(words[1])
        here = f"{side}.{words[0]}_blocks.{level}"
        if words[2] == "block":
            return f"{here}.resnets.{words[3]}.{'.'.join(words[4:])}"
        return f"{here}.{words[2]}rs.0.{'.'.join(words[3:])}"
    return name


def network_of(
    tensors: Mapping[str, Tensor], name: str, layers: int = 2, levels: int = 4
) -> dict[str, Tensor]:
    """Return the tensors of one network in a file of it alone or of a whole model.

    Args:
        tensors: of an LDM checkpoint (last weights), of a state dict with the networks' names
            before the dots, or of the network itself in diffusers' names.
        name: unet, vae, or how the state dict calls it.
        layers: residual blocks per level of the UNet.
        levels: resolution levels of the VAE.
    """
    found: dict[str, Tensor] = {}
    for key, value in tensors.items():
        place = network_rule(key, layers, levels)
        if place is not None and place.part == name:
            found.update(zip(place.names, _apply(value, place.operation), strict=True))
    prefix = f"{name}."
    own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    return found or own or dict(tensors)


def load_official_into(
    parts: Mapping[str, Any],
    source: Path,
    convert: Callable[..., dict[str, dict[str, Tensor]]],
    *,
    ema: bool = True,
    allow_pickle: bool = False,
) -> None:
    """Fill networks from an authors' checkpoint.

    Args:
        parts: networks by name; those the checkpoint should fill.
        source: a .ckpt or .safetensors file.
        convert: the method's own, see `fill`.
        ema: UNet's running averages, which authors sample with, or its last weights.
        allow_pickle: see `studio.io.weights.read_tensors`.

    Raises:
        WeightsError: naming every key that is missing, left over or of another shape.
    """
    fill(parts, read_tensors(source, allow_pickle), convert, source=str(source), ema=ema)


def fill(
    parts: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    convert: Callable[..., dict[str, dict[str, Tensor]]],
    *,
    source: str,
    ema: bool,
) -> None:
    """Fill networks from a state dict in the authors' names, see `load_official_into`.

    Args:
        parts: networks by name.
        tensors: the state dict.
        convert: from (tensors, residual blocks per level of the UNet, levels of the VAE, ema=,
            source=) to the tensors of every part, in our names.
        source: named in errors.
        ema: see `load_official_into`.
    """
    layers = parts["unet"].config.layers_per_block if "unet" in parts else 2
    levels = len(parts["vae"].config.block_out_channels) if "vae" in parts else 4
    found = convert(tensors, layers, levels, ema=ema, source=source)
    for name, module in parts.items():
        load_strict(module, found.get(name, {}), source)


def sort_tensors(
    tensors: Mapping[str, Tensor],
    rule: Callable[[str], Rule | None],
    is_unused: Callable[[str], bool],
    *,
    ema: bool,
    source: str,
    method: str,
) -> dict[str, dict[str, Tensor]]:
    """Sort the tensors of a checkpoint into parts, in our names.

    Args:
        tensors: the checkpoint's state dict.
        rule: where a key goes; None if it is unused or unknown.
        is_unused: whether a key is known and has no place.
        ema: take the UNet's running averages (what authors sample with) instead of its last
            weights. Other parts have no averages.
        source: named in errors, and so is `method`.

    Raises:
        WeightsError: if a key is unknown, or the averages are asked for and not there.
    """
    tensors = {key.replace("_orig_mod.", ""): value for key, value in tensors.items()}
    parts: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for key, value in tensors.items():
        place = rule(key)
        if place is None:
            if not is_unused(key):
                unknown.append(key)
            continue
        if ema and place.part == "unet":
            value = _average(tensors, key, source)
        parts.setdefault(place.part, {}).update(
            zip(place.names, _apply(value, place.operation), strict=True)
        )
    if unknown:
        raise WeightsError(
            f"{source} holds {len(unknown)} tensors that {method} does not have: "
            + ", ".join(unknown[:4]),
            hint="Check that the checkpoint belongs to this method.",
        )
    return parts


def _average(tensors: Mapping[str, Tensor], key: str, source: str) -> Tensor:
    try:
        return tensors[ema_key(key)]
    except KeyError:
        raise WeightsError(
            f"{source} holds no running average of {key}.",
            hint="Choose the last weights instead: ema=false.",
        ) from None


def _apply(value: Tensor, operation: str) -> tuple[Tensor, ...]:
    if operation == "squeeze_1x1":
        return (value.flatten(1),)
    if operation == "transpose":
        return (value.T,)
    if operation == "split3_dim0":
        return tuple(value.chunk(3, dim=0))
    return (value,)
