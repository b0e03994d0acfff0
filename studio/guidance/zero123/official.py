"""The authors' names of Zero-1-to-3's tensors, and what they are called in our networks.

The released checkpoints keep everything in one state dict in the names of LDM and of OpenAI's CLIP.
The rules below turn each name into (part, new names, operation); nothing is looked up in a table.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from studio.guidance.ldm import Rule, is_leftover, network_rule, sort_tensors, swap

CLIP, PROJECTION = "cond_stage_model.model.visual.", "cc_projection."

# Left-overs of CLIP's text tower, which the image model does not use.
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


def rule(key: str, unet_layers: int, vae_levels: int) -> Rule | None:
    """Return where a key goes, None if it is unused or unknown (see `is_unused`).

    Args:
        key: name in the checkpoint.
        unet_layers: residual blocks per level of the UNet.
        vae_levels: resolution levels of the VAE.
    """
    if key.startswith(CLIP):
        return _clip_rule(key.removeprefix(CLIP))
    if key.startswith(PROJECTION):
        name = "proj." + key.removeprefix(PROJECTION)
        return Rule("clip_camera_projection", (name,), "copy")
    return network_rule(key, unet_layers, vae_levels)


def is_unused(key: str) -> bool:
    """Whether a key is known and has no place in the image model."""
    return key in _UNUSED or is_leftover(key)


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
    inner = swap(rest, _CLIP_LAYER)
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
    return sort_tensors(
        tensors,
        lambda key: rule(key, unet_layers, vae_levels),
        is_unused,
        ema=ema,
        source=source,
        method="Zero-1-to-3",
    )
