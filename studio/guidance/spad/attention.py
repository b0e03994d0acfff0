"""Joint self-attention of all views under an epipolar mask, and Pluecker rays in every transformer.

SPAD (arXiv 2402.05235) adds no layer to Stable Diffusion's UNet. Its self-attention runs over the
tokens of all views of an object at once, and the 1x1 convolution at the entry of every transformer
reads six more channels: the Pluecker coordinates of the pixels' rays. `inflate` does both to any
module of diffusers transformers; what the cameras of a batch are stands in a `CameraConditioning`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from studio.errors import ConfigError
from studio.guidance.spad.epipolar import coarser_mask

PLUCKER = 6
FORBIDDEN = -1e9
"""Added to the score of a forbidden pair. Finite: official, and safe in every backend."""
TILE = 8
"""Side in pixels of the tiles of queries whose keys are gathered."""
TILED_FROM = 4 * 32**2
"""Tokens per object from which gathering keys pays on a CPU (1.4 times faster with 8 views)."""


class Tile(NamedTuple):
    """Queries of a small square of pixels, and all keys that any of them may attend to."""

    queries: Int[Tensor, " q"]
    keys: Int[Tensor, " k"]
    bias: Float[Tensor, "q k"]


@dataclass(frozen=True)
class CameraConditioning:
    """What the layers are told about the cameras of n objects with v views each.

    An n of 1 stands for any number of objects with the same cameras.

    Attributes:
        plucker: Pluecker coordinates of the latents' pixels.
        mask: True where a query (row) may attend to a key (column), tokens in the order view, row,
            column at the latents' full size; None lets every token see every other.
        resample: how coarser levels read the mask, see `epipolar.coarser_mask`.
    """

    plucker: Float[Tensor, "n v 6 s s"]
    mask: Bool[Tensor, "n t t"] | None = None
    resample: str = "flat"
    _made: dict[Any, Tensor] = field(default_factory=dict, compare=False, repr=False, init=False)
    _tiles: dict[int, list[Tile]] = field(
        default_factory=dict, compare=False, repr=False, init=False
    )

    @property
    def views(self) -> int:
        """Views of an object."""
        return self.plucker.shape[1]

    def bias(self, tokens: int) -> Float[Tensor, "n 1 q q"] | None:
        """Return what is added to the scores at a level of `tokens` tokens per object.

        0 or `FORBIDDEN`, to be broadcast over heads. Made once per level: all layers and all
        denoising steps share it.
        """
        if self.mask is None:
            return None
        if tokens not in self._made:
            allowed = self._allowed(tokens)
            bias = torch.zeros(allowed.shape, device=allowed.device)
            self._made[tokens] = bias.masked_fill_(~allowed, FORBIDDEN)[:, None]
        return self._made[tokens]

    def _allowed(self, tokens: int) -> Bool[Tensor, "n q q"]:
        """Return the mask at a level of `tokens` tokens per object."""
        assert self.mask is not None
        level = round((self.mask.shape[-1] / tokens) ** 0.5)
        return coarser_mask(self.mask, self.views, level, self.resample)

    def tiles(self, tokens: int) -> list[Tile]:
        """Return the mask of all objects, cut into tiles; empty where that does not pay.

        Made once, as `bias`, in whose place it stands: a tile's keys are half of all tokens or
        fewer. On a GPU many small products are slower than a big one.
        """
        if tokens not in self._tiles:
            useful = (
                self.mask is not None
                and len(self.mask) == 1
                and tokens >= TILED_FROM
                and self.mask.device.type == "cpu"
            )
            self._tiles[tokens] = self._cut(tokens) if useful else []
        return self._tiles[tokens]

    def _cut(self, tokens: int) -> list[Tile]:
        allowed = self._allowed(tokens)[0]
        side = round((tokens / self.views) ** 0.5)
        cells = torch.arange(tokens).reshape(self.views, side, side)
        tiles = []
        for rows in cells.split(TILE, dim=1):
            for cell in rows.split(TILE, dim=2):
                for queries in cell.flatten(1):
                    part = allowed[queries]
                    keys = part.any(0).nonzero()[:, 0]
                    bias = torch.zeros(len(queries), len(keys))
                    tiles.append(Tile(queries, keys, bias.masked_fill_(~part[:, keys], FORBIDDEN)))
        return tiles

    def rays(self, side: int, batch: int) -> Float[Tensor, "b 6 g g"]:
        """Return the Pluecker coordinates at a level of side x side pixels for `batch` pictures."""
        key = ("rays", side)
        if key not in self._made:
            rays = self.plucker.flatten(0, 1)
            if rays.shape[-1] != side:
                rays = F.interpolate(rays, (side, side), mode="bilinear", align_corners=False)
            self._made[key] = rays
        rays = self._made[key]
        return rays if len(rays) == batch else rays.repeat(batch // len(rays), 1, 1, 1)

    def times(self, count: int) -> CameraConditioning:
        """Return the conditioning of the same objects `count` times in a row."""
        if len(self.plucker) == 1 or count == 1:
            return self
        mask = None if self.mask is None else self.mask.repeat(count, 1, 1)
        return replace(self, plucker=self.plucker.repeat(count, 1, 1, 1, 1), mask=mask)


@dataclass
class ConditioningSlot:
    """Holder of the conditioning of the batch that runs through a network, for its layers."""

    conditioning: CameraConditioning | None = None

    def current(self) -> CameraConditioning:
        """Return the conditioning.

        Raises:
            ValueError: if none was set before the network ran.
        """
        if self.conditioning is None:
            raise ValueError("set slot.conditioning before running an inflated network")
        return self.conditioning


class PluckerConv(nn.Conv2d):
    """A transformer's 1x1 entry that also reads Pluecker coordinates; their weights start at 0."""

    def __init__(self, conv: nn.Conv2d, slot: ConditioningSlot) -> None:
        like = conv.weight
        super().__init__(
            conv.in_channels + PLUCKER, conv.out_channels, 1, device=like.device, dtype=like.dtype
        )
        self.slot = slot
        with torch.no_grad():
            self.weight.zero_()
            self.weight[:, : conv.in_channels] = conv.weight
            if self.bias is not None and conv.bias is not None:
                self.bias.copy_(conv.bias)

    def forward(self, input: Float[Tensor, "b c g g"]) -> Float[Tensor, "b o g g"]:
        """Convolve features, the Pluecker coordinates appended as the last channels."""
        rays = self.slot.current().rays(input.shape[-1], len(input))
        return super().forward(torch.cat([input, rays.to(input)], dim=1))


class JointSelfAttention:
    """Attention processor: the tokens of all views of an object attend to each other.

    Args:
        slot: where the mask is found.
        float32: compute in float32 even under autocast, as the authors do.
    """

    def __init__(self, slot: ConditioningSlot, float32: bool = True) -> None:
        self.slot, self.float32 = slot, float32

    def __call__(
        self, attn: Attention, hidden_states: Float[Tensor, "b t c"], *_: Any, **__: Any
    ) -> Float[Tensor, "b t c"]:
        """Attend; `b` counts views, `t` the tokens of one."""
        conditioning = self.slot.current()
        x = rearrange(hidden_states, "(n v) t c -> n (v t) c", v=conditioning.views)
        q, k, v = (
            rearrange(part(x), "n t (h d) -> n h t d", h=attn.heads)
            for part in (attn.to_q, attn.to_k, attn.to_v)
        )
        out = joint_attention(q, k, v, conditioning, self.float32)
        out = rearrange(out, "n h (v t) d -> (n v) t (h d)", v=conditioning.views).to(x.dtype)
        return attn.to_out[1](attn.to_out[0](out))


def joint_attention(
    q: Float[Tensor, "n h t d"],
    k: Float[Tensor, "n h t d"],
    v: Float[Tensor, "n h t d"],
    conditioning: CameraConditioning,
    float32: bool = True,
) -> Float[Tensor, "n h t d"]:
    """Scaled dot-product attention under a conditioning's mask: tile by tile or all at once."""
    tokens = q.shape[2]
    tiles = [] if torch.is_grad_enabled() else conditioning.tiles(tokens)
    if not tiles:
        return masked_attention(q, k, v, conditioning.bias(tokens), float32)
    k, v = k.contiguous(), v.contiguous()
    out = torch.empty_like(v)
    for queries, keys, bias in tiles:
        part = masked_attention(q[:, :, queries], k[:, :, keys], v[:, :, keys], bias, float32)
        out[:, :, queries] = part.to(out.dtype)
    return out


def masked_attention(
    q: Float[Tensor, "n h t d"],
    k: Float[Tensor, "n h s d"],
    v: Float[Tensor, "n h s d"],
    bias: Float[Tensor, "*m t s"] | None,
    float32: bool = True,
) -> Float[Tensor, "n h t d"]:
    """Scaled dot-product attention with an additive bias that all heads share.

    An additive bias, broadcast rather than repeated: on a CPU it is faster than a boolean mask, and
    on a GPU it keeps the memory-efficient kernel.
    """
    if float32:
        with torch.autocast(q.device.type, enabled=False):
            return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), bias)
    bias = None if bias is None else bias.to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, bias)


def inflate(module: nn.Module, float32: bool = True) -> ConditioningSlot:
    """Make every diffusers transformer in a module a multi-view one, in place.

    Args:
        module: a UNet, or one transformer.
        float32: see `JointSelfAttention`.

    Returns:
        the slot on which to put the conditioning of each batch.

    Raises:
        ConfigError: if a transformer's entry is no 1x1 convolution.
    """
    slot = ConditioningSlot()
    for part in module.modules():
        if isinstance(part, Transformer2DModel):
            if not isinstance(part.proj_in, nn.Conv2d):
                raise ConfigError(
                    "unet.use_linear_projection is true.", allowed="false (1x1 convolutions)"
                )
            part.proj_in = PluckerConv(part.proj_in, slot)
        elif isinstance(part, BasicTransformerBlock):
            part.attn1.set_processor(JointSelfAttention(slot, float32))
    return slot
