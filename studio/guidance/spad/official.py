"""The authors' names of SPAD's tensors, and what they are called in our networks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache, partial

import torch
from torch import Tensor

from studio.guidance import ldm
from studio.guidance.spad import network as net

log = logging.getLogger(__name__)

PROJECTION, TEXT = "cc_projection.", "cond_stage_model.transformer.text_model."
WRAPPED = "text_model."  # older transformers put this before all names of a text tower
POSITIONS = "embeddings.position_ids"  # and saved these constants


def convert(
    tensors: Mapping[str, Tensor], unet_layers: int, vae_levels: int, *, ema: bool, source: str
) -> dict[str, dict[str, Tensor]]:
    """Sort the tensors of a released checkpoint into our parts, in our names.

    Where the running averages are asked for and the file has none, the last weights are taken with
    a warning. The names of the averages have no dots: they are made from the UNet's names, since
    the way back is ambiguous.

    Raises:
        WeightsError: if a key is unknown, or some of the averages are not there.
    """
    if ema and not any(ldm.is_ema(key) for key in tensors):
        log.warning("%s holds no running averages; taking the UNet's last weights", source)
        ema = False
    return ldm.sort_tensors(
        tensors,
        lambda key: rule(key, unet_layers, vae_levels),
        lambda key: ldm.is_leftover(key) or key == TEXT + POSITIONS,
        ema=ema,
        source=source,
        method="SPAD",
    )


def rule(key: str, unet_layers: int, vae_levels: int) -> ldm.Rule | None:
    """Return where a key of a released checkpoint goes; see `studio.guidance.ldm.network_rule`."""
    if key.startswith(PROJECTION):
        name = "layers." + key.removeprefix(PROJECTION)
        return ldm.Rule("camera_projection", (name,), "copy")
    if key.startswith(TEXT) and key != TEXT + POSITIONS:
        return ldm.Rule("text_encoder", (text_prefix() + key.removeprefix(TEXT),), "copy")
    found = ldm.network_rule(key, unet_layers, vae_levels)
    if found is not None and found.part == "unet":
        return found._replace(names=tuple(f"unet.{name}" for name in found.names))
    return found


load_official_into = partial(ldm.load_official_into, convert=convert)
"""Fills networks from an authors' checkpoint."""


def variant(tensors: Mapping[str, Tensor]) -> str:
    """Return which released model a checkpoint is: four-views is told the intrinsics, too."""
    first = tensors.get(f"{PROJECTION}0.weight")
    return "four-views" if first is not None and first.shape[1] == 8 else "two-views"


@cache
def text_prefix() -> str:
    """Return what this version of transformers puts before the names of a text tower's tensors."""
    with torch.device("meta"):
        tower = net.build_text_encoder({**net.SIZES["nano"]["text"], "vocab_size": 2})
    return WRAPPED if any(key.startswith(WRAPPED) for key in tower.state_dict()) else ""
