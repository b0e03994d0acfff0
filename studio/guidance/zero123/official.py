"""The authors' names of Zero-1-to-3's tensors, and what they are called in our networks.

The released checkpoints keep everything in one state dict in the names of LDM and of OpenAI's CLIP.
The rules below turn each name into (part, new names, operation); nothing is looked up in a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from studio.errors import WeightsError

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, PROJECTION = "cond_stage_model.model.visual.", "cc_projection."
EMA = "model_ema."

# Left-overs of training and of CLIP's text tower that no part of the image model uses.
_UNUSED = {
    f"cond_stage_model.model.{name}"
    for name in (
        "token_embedding.weight",
        "positional_embedding",
        "ln_final.weight",
        "ln_final.bias",
        "text_projection",
        "logit_scale",
    )
} | {f"{EMA}decay", f"{EMA}num_updates", "logvar"}
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
_CLIP_ENDS = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "ln_post.weight": "vision_model.post_layernorm.weight",
    "ln_post.bias": "vision_model.post_layernorm.bias",
}
_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


class Rule(NamedTuple):
    """Where a tensor of the checkpoint goes."""

    part: str
    """unet, vae, image_encoder or clip_camera_projection."""
    names: tuple[str, ...]
    """Its names there; three where it is split."""
    operation: str
    """copy, squeeze_1x1 (1x1 convolution to linear), transpose or split3_dim0 (q, k, v)."""


def rule(key: str, unet_layers: int, vae_levels: int) -> Rule | None:
    """Return where a key goes, None if it is unused or unknown (see `is_unused`).

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
    if key.startswith(CLIP):
        return _clip_rule(key.removeprefix(CLIP))
    if key.startswith(PROJECTION):
        name = "proj." + key.removeprefix(PROJECTION)
        return Rule("clip_camera_projection", (name,), "copy")
    return None


def is_unused(key: str) -> bool:
    """Whether a key is known and has no place in the image model."""
    return key in _UNUSED or (key.startswith(_SCHEDULE) and "." not in key) or is_ema(key)


def is_ema(key: str) -> bool:
    """Whether a key is the running average of a UNet tensor."""
    return key.startswith(f"{EMA}diffusion_model")


def ema_key(unet_key: str) -> str:
    """Return the averaged twin of a UNet key: its name below `model.` without any dot."""
    return EMA + unet_key.removeprefix("model.").replace(".", "")


def _swap(name: str, table: Mapping[str, str]) -> str | None:
    """Replace the longest leading part that the table knows."""
    for old in sorted(table, key=len, reverse=True):
        if name == old or name.startswith(old + "."):
            return table[old] + name[len(old) :]
    return None


def unet_name(name: str, layers: int) -> str | None:
    """Return diffusers' name of an LDM UNet tensor: a level is `layers` blocks and a resampler."""
    ends = _swap(name, _UNET_ENDS)
    if ends:
        return ends
    stage, _, rest = name.partition(".")
    if stage == "middle_block":
        position, _, rest = rest.partition(".")
        if position == "1":
            return f"mid_block.attentions.0.{rest}"
        inner = _swap(rest, _RES)
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
        inner = _swap(rest, _RES)
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
        inner = _swap(".".join(words[2:]), _VAE_ATTENTION)
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


def _clip_rule(name: str) -> Rule | None:
    part = "image_encoder"
    if name == "proj":
        return Rule(part, ("visual_projection.weight",), "transpose")
    if name in _CLIP_ENDS:
        return Rule(part, (_CLIP_ENDS[name],), "copy")
    if not name.startswith("transformer.resblocks."):
        return None
    layer, _, rest = name.removeprefix("transformer.resblocks.").partition(".")
    here = f"vision_model.encoder.layers.{layer}"
    if rest.startswith("attn.in_proj_"):
        kind = rest.removeprefix("attn.in_proj_")
        names = tuple(f"{here}.self_attn.{x}_proj.{kind}" for x in "qkv")
        return Rule(part, names, "split3_dim0")
    inner = _swap(rest, _CLIP_LAYER)
    return Rule(part, (f"{here}.{inner}",), "copy") if inner else None


def convert(
    tensors: Mapping[str, Tensor], unet_layers: int, vae_levels: int, *, ema: bool, source: str
) -> dict[str, dict[str, Tensor]]:
    """Sort the tensors of a checkpoint into our parts, in our names.

    Args:
        tensors: the checkpoint's state dict.
        unet_layers: residual blocks per level of the UNet.
        vae_levels: resolution levels of the VAE.
        ema: take the UNet's running averages (what the authors sample with) instead of its last
            weights. The camera projection has no average.
        source: named in errors.

    Raises:
        WeightsError: if a key is unknown, or the averages are asked for and not there.
    """
    tensors = {key.replace("_orig_mod.", ""): value for key, value in tensors.items()}
    parts: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for key, value in tensors.items():
        place = rule(key, unet_layers, vae_levels)
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
            f"{source} holds {len(unknown)} tensors that Zero-1-to-3 does not have: "
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
