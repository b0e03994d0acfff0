"""The networks of EpiDiff: the epipolar attention block, and a UNet with such blocks inserted.

Official: EpiDiff (arXiv 2312.06725) `FeatureAggregator`, `feature_aggregator_k` and `MVModel`; the
parameter names are theirs. Linear maps of sampled features are applied to the feature map before
sampling (bilinear sampling is linear, so the result is the same up to rounding), and the position
part of such a map once for all near views.
Letters: B objects, F views, K near views, N rays, S samples, C channels, P embedding width, T time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Literal

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from studio.errors import ConfigError
from studio.guidance.diffusion import recomputed
from studio.guidance.epidiff.geometry import EMBEDDING_WIDTH, EpipolarGeometry, Position
from studio.guidance.epidiff.near_views import CameraSet
from studio.plugins.parsing import Checked
from studio.plugins.ranges import Count, CountOrZero, Width

Contexts = Sequence[Callable[[], Tensor]]
Tokens = Callable[[slice], tuple[Tensor, Contexts]]
"""From a slice of rays to query tokens and, for each block, what makes the keys and values of its
context, the largest tensors of all: those of one block are there at a time."""
DEAD_PREFIXES = ("HW.", "norm.", "t_proj.")  # computed and thrown away by the released code


@dataclass(frozen=True)
class BlockOptions(Checked):
    """Options of one epipolar block."""

    depth: Count = 2
    """Transformer blocks."""
    use_resnet: bool = True
    """A residual convolution block, before the attention (after it in variant k)."""
    positions: tuple[Position, ...] = ("abs",)
    """Embeddings beside the features: of the view's own ray ("abs"), of the near view's ("ref")."""
    neighbour_features: Literal["gather", "own"] = "gather"
    """Features sampled: of the near views ("gather", paper) or the view's own ("own", released)."""
    head_width: Width = 64
    """Channels per attention head."""
    time_width: Width = 1280
    """Width of the UNet's time embedding."""
    ray_chunk: CountOrZero = 0
    """Rays handled at once where gradients are off; 0: all."""
    arithmetic: Literal["fast", "reference"] = "fast"
    """"fast": linear maps before sampling; "reference": after it, in the released code's order."""


def sample_map(
    maps: Float[Tensor, "m p c"],
    corners: Int[Tensor, "*q 4"],
    weights: Float[Tensor, "*q 4"],
    which: Int[Tensor, "*q"],
) -> Float[Tensor, "*q c"]:
    """Sample feature maps bilinearly.

    Args:
        maps: M flattened maps.
        corners: pixels around each point.
        weights: their weights.
        which: the map of each point.
    """
    m, p, c = maps.shape
    index = (corners + which[..., None] * p).reshape(-1, 4)
    bags = F.embedding_bag(
        index,
        maps.reshape(m * p, c),
        mode="sum",
        per_sample_weights=weights.reshape(-1, 4).to(maps.dtype),
    )
    return bags.reshape(*corners.shape[:-1], c)


class AdaLayerNorm(nn.Module):
    """Layer norm with scale and shift from the time embedding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 2 * channels)

    def forward(self, x: Float[Tensor, "v n l c"], t: Float[Tensor, "v c"]) -> Tensor:
        """Normalise tokens of view v by that view's time embedding."""
        scale, shift = self.linear(t)[:, None, None].chunk(2, dim=-1)
        return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), 1 + scale)


class Attention(nn.Module):
    """Multi-head attention among the tokens of one ray."""

    def __init__(self, channels: int, context: int, head_width: int) -> None:
        super().__init__()
        self.heads = channels // head_width
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context, channels, bias=False)
        self.to_v = nn.Linear(context, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def keys_values(self, context: Float[Tensor, "v n m d"]) -> Float[Tensor, "v n m 2c"]:
        """Return keys and values of context tokens, side by side."""
        return torch.cat([self.to_k(context), self.to_v(context)], dim=-1)

    def forward(
        self,
        x: Float[Tensor, "v n l c"],
        keys_values: Float[Tensor, "v n m 2c"] | None = None,
        mask: Bool[Tensor, "v n m"] | None = None,
    ) -> Float[Tensor, "v n l c"]:
        """Attend from x to itself, or to given keys and values. A fully masked row averages."""
        if keys_values is None:
            query, key, value = F.linear(
                x, torch.cat([self.to_q.weight, self.to_k.weight, self.to_v.weight])
            ).chunk(3, dim=-1)
        else:
            query = self.to_q(x)
            key, value = keys_values.chunk(2, dim=-1)
        q, k, v = (
            a.flatten(0, 1).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for a in (query, key, value)
        )
        bias = None
        if mask is not None:
            bias = torch.zeros(mask.shape, dtype=q.dtype, device=q.device)
            bias = bias.masked_fill(~mask, torch.finfo(q.dtype).min).flatten(0, 1)[:, None, None]
            if q.dtype == torch.float16:  # whose lowest number does not swallow the scores
                q = q * mask.any(-1).flatten()[:, None, None, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.to_out(out.transpose(1, 2).flatten(2)).reshape(x.shape)


class GEGLU(nn.Module):
    """Linear map to two halves; the first times the GELU of the second."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner)

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b i"]:
        """Return the gated half."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Gated two-layer perceptron."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            GEGLU(channels, 4 * channels), nn.Dropout(0.0), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        """Apply it token by token."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention along the ray, cross-attention to the near views' samples, perceptron."""

    def __init__(self, channels: int, context: int | None, head_width: int) -> None:
        super().__init__()
        self.attn1 = Attention(channels, channels, head_width)
        self.norm1 = AdaLayerNorm(channels)
        if context is not None:
            self.attn2 = Attention(channels, context, head_width)
            self.norm2 = AdaLayerNorm(channels)
        self.ff = FeedForward(channels)
        self.norm3 = AdaLayerNorm(channels)


class Transformer(nn.Module):
    """`depth` blocks between two linear maps, the last of which starts at zero; no residual."""

    def __init__(
        self, width: int, channels: int, context: int | None, options: BlockOptions
    ) -> None:
        super().__init__()
        self.t_proj = nn.Linear(options.time_width, channels)
        self.proj_in = nn.Linear(width, channels, bias=False)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, context, options.head_width) for _ in range(options.depth)
        )
        self.proj_out = nn.Linear(channels, channels, bias=False)
        nn.init.zeros_(self.proj_out.weight)

    @property
    def blocks(self) -> list[TransformerBlock]:
        """The transformer blocks, first to last."""
        return [b for b in self.transformer_blocks if isinstance(b, TransformerBlock)]

    def self_attend(
        self,
        x: Float[Tensor, "v n l c"],
        t_emb: Float[Tensor, "v t"],
        mask: Bool[Tensor, "v n l"] | None = None,
    ) -> Float[Tensor, "v n l c"]:
        """Run blocks without cross-attention on tokens that `proj_in` has mapped."""
        t = self.t_proj(t_emb)
        for block in self.blocks:
            y = block.norm1(x, t)
            if mask is None:
                x = x + block.attn1(y)
            else:
                x = x + block.attn1(y, block.attn1.keys_values(y), mask)
            x = x + block.ff(block.norm3(x, t))
        return self.proj_out(x)


class ResBlock(nn.Module):
    """Residual convolutions with scale and shift from the time embedding (guided-diffusion's)."""

    def __init__(self, channels: int, time_width: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_width, 2 * channels))
        last = nn.Conv2d(channels, channels, 3, padding=1)
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, channels), nn.SiLU(), nn.Dropout(0.0), last
        )
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "v c h w"], t_emb: Float[Tensor, "v t"]) -> Tensor:
        """Return the changed feature maps."""
        h = self.in_layers(x)
        scale, shift = self.emb_layers(t_emb)[:, :, None, None].chunk(2, dim=1)
        h = self.out_layers[0](h) * (1 + scale) + shift
        return x + self.out_layers[1:](h)


class EpipolarModule(nn.Module):
    """What both block variants share: repeating the geometry, time embeddings, chunks of rays."""

    def __init__(self, channels: int, options: BlockOptions) -> None:
        super().__init__()
        if channels % 32 or channels % options.head_width:
            raise ConfigError(
                f"an epipolar block of {channels} channels with heads of {options.head_width}.",
                allowed="channels that are multiples of 32 and of the head width",
            )
        self.options = options

    def forward(
        self,
        images: Float[Tensor, "v c h w"],
        geometry: EpipolarGeometry,
        t_emb: Float[Tensor, "u t"],
    ) -> Float[Tensor, "v c h w"]:
        """Let every view look at its near views.

        Args:
            images: feature maps of all views, objects outer.
            geometry: of as many objects, or of fewer that divide them: then it serves every part
                of the batch in turn (both halves of classifier-free guidance, a common camera set).
            t_emb: the UNet's time embedding, per view, or per object (repeated over its views).
        """
        objects, views = geometry.neighbours.shape[:2]
        if len(t_emb) != len(images):
            t_emb = t_emb.repeat_interleave(len(images) // len(t_emb), 0)
        if len(images) == objects * views:
            return self.attend(images, geometry, t_emb)
        parts = zip(images.split(objects * views), t_emb.split(objects * views), strict=True)
        return torch.cat([self.attend(x, geometry, t) for x, t in parts])

    def attend(self, images: Tensor, geometry: EpipolarGeometry, t_emb: Tensor) -> Tensor:
        """Compute the block for exactly the objects of the geometry."""
        raise NotImplementedError

    def ray_chunks(self, rays: int) -> list[slice]:
        """Return the slices of rays to handle one after another."""
        step = rays if torch.is_grad_enabled() else self.options.ray_chunk or rays
        return [slice(i, min(i + step, rays)) for i in range(0, rays, step)]

    def map_of_slot(self, geometry: EpipolarGeometry) -> Int[Tensor, "v k"]:
        """Return the flat index of the feature map that each view's slot k samples."""
        objects, views, near = geometry.neighbours.shape
        first = torch.arange(objects, device=geometry.neighbours.device)[:, None, None] * views
        if self.options.neighbour_features == "gather":
            chosen = geometry.neighbours
        else:
            own = torch.arange(views, device=geometry.neighbours.device)
            chosen = own[None, :, None].expand(objects, -1, near)
        return (first + chosen).flatten(0, 1)


class EpipolarBlock(EpipolarModule):
    """The ECA block: each ray's samples attend to one another and to the near views' features.

    Starts as zero, thanks to the zero output map: added to its input, it changes nothing.
    """

    def __init__(self, channels: int, options: BlockOptions) -> None:
        super().__init__(channels, options)
        if options.use_resnet:
            self.resnet1 = ResBlock(channels, options.time_width)
        width = channels + EMBEDDING_WIDTH * len(options.positions)
        self.T1 = Transformer(width, channels, width, options)
        self.t1_point_fc = nn.Linear(channels, 1, bias=False)

    def attend(self, images: Tensor, geometry: EpipolarGeometry, t_emb: Tensor) -> Tensor:
        """Compute the block for exactly the objects of the geometry."""
        if self.options.use_resnet:
            images = self.resnet1(images, t_emb)
        maps = images.flatten(2).transpose(1, 2)  # [V, P, C]
        t = self.T1.t_proj(t_emb)
        prepare = self._fast if self.options.arithmetic == "fast" else self._reference
        tokens_of = prepare(maps, geometry)
        out = []
        for rays in self.ray_chunks(maps.shape[1]):
            x, contexts = tokens_of(rays)
            mask = geometry.mask[:, :, 1:, rays].flatten(0, 1).transpose(1, 2)  # [V, N, K-1, S]
            for block, context in zip(self.T1.blocks, contexts, strict=True):
                x = x + block.attn1(block.norm1(x, t))
                x = x + block.attn2(block.norm2(x, t), context(), mask.flatten(2))
                x = x + block.ff(block.norm3(x, t))
            out.append(self._pool(self.T1.proj_out(x), mask.any(dim=2)))
        return torch.cat(out, dim=1).transpose(1, 2).reshape(images.shape)

    def _fast(self, maps: Tensor, geometry: EpipolarGeometry) -> Tokens:
        """Map the features, then sample the maps."""
        attentions = [block.attn2 for block in self.T1.blocks]
        context_maps = [self._feature_part(maps, a.to_k.weight, a.to_v.weight) for a in attentions]
        query_map = self._feature_part(maps, self.T1.proj_in.weight)

        def tokens(rays: slice) -> tuple[Tensor, Contexts]:
            contexts = [
                partial(self._context, context_map, attention, geometry, rays)
                for context_map, attention in zip(context_maps, attentions, strict=True)
            ]
            return self._query_tokens(query_map, geometry, rays), contexts

        return tokens

    def _reference(self, maps: Tensor, geometry: EpipolarGeometry) -> Tokens:
        """Sample the features, put the embeddings beside them, then map."""

        def tokens(rays: slice) -> tuple[Tensor, Contexts]:
            parts = [self._sample(maps, geometry, slice(None), rays, slice(None))]
            for position in self.options.positions:
                embedding = geometry.embedding(position)[:, :, :, rays]
                embedding = embedding.flatten(0, 1).transpose(1, 2)
                parts.append(embedding.expand(*parts[0].shape[:-1], -1))
            raw = torch.cat(parts, dim=-1)
            context = raw[:, :, 1:].flatten(2, 3)
            contexts = [partial(block.attn2.keys_values, context) for block in self.T1.blocks]
            return self.T1.proj_in(raw[:, :, 0]), contexts

        return tokens

    def _feature_part(self, maps: Tensor, *weights: Tensor) -> Tensor:
        return F.linear(maps, torch.cat(weights)[:, : maps.shape[-1]])

    def _position_part(
        self, weight: Tensor, geometry: EpipolarGeometry, slots: slice, rays: slice
    ) -> Float[Tensor, "v n k s c"]:
        """Apply the last columns of a linear map to the embeddings of the slots (K may be 1)."""
        end = weight.shape[1]
        parts = []
        for position in reversed(self.options.positions):
            embedding = geometry.embedding(position)
            if embedding.shape[2] > 1:
                embedding = embedding[:, :, slots]
            columns = weight[:, end - EMBEDDING_WIDTH : end]
            parts.append(F.linear(embedding[:, :, :, rays].flatten(0, 1).to(weight), columns))
            end -= EMBEDDING_WIDTH
        return reduce(torch.add, parts).transpose(1, 2)

    def _query_tokens(
        self, query_map: Tensor, geometry: EpipolarGeometry, rays: slice
    ) -> Float[Tensor, "v n s c"]:
        # The view's own sample: one point for all depths, so its feature is sampled once.
        samples = slice(-1, None) if geometry.self_first else slice(None)
        tokens = self._sample(query_map, geometry, slice(0, 1), rays, samples)[:, :, 0]
        if not self.options.positions:
            return tokens.expand(-1, -1, geometry.mask.shape[-1], -1)
        weight = self.T1.proj_in.weight
        return tokens + self._position_part(weight, geometry, slice(0, 1), rays)[:, :, 0]

    def _context(
        self, context_map: Tensor, attention: Attention, geometry: EpipolarGeometry, rays: slice
    ) -> Float[Tensor, "v n ks 2c"]:
        keys_values = self._sample(context_map, geometry, slice(1, None), rays, slice(None))
        if self.options.positions:
            weight = torch.cat([attention.to_k.weight, attention.to_v.weight])
            position = self._position_part(weight, geometry, slice(1, None), rays)
            keys_values = (
                keys_values + position if torch.is_grad_enabled() else keys_values.add_(position)
            )
        return keys_values.flatten(2, 3)

    def _sample(
        self, maps: Tensor, geometry: EpipolarGeometry, slots: slice, rays: slice, samples: slice
    ) -> Float[Tensor, "v n k s c"]:
        corners = geometry.corners[:, :, rays, slots, samples].flatten(0, 1)
        weights = geometry.weights[:, :, rays, slots, samples].flatten(0, 1)
        which = self.map_of_slot(geometry)[:, None, slots, None].expand(corners.shape[:-1])
        return sample_map(maps, corners, weights, which)

    def _pool(
        self, tokens: Float[Tensor, "v n s c"], valid: Bool[Tensor, "v n s"]
    ) -> Float[Tensor, "v n c"]:
        """Average over the samples, weighted by a learnt score; invalid ones count nothing."""
        scores = self.t1_point_fc(tokens)[..., 0]
        scores = scores.masked_fill(~valid, torch.finfo(scores.dtype).min)
        return torch.einsum("vns,vnsc->vnc", scores.softmax(-1), tokens)


class EpipolarBlockK(EpipolarModule):
    """The variant block: first the near views of every sample attend, then the samples of the ray.

    Both embeddings always accompany the features.
    """

    def __init__(self, channels: int, options: BlockOptions) -> None:
        super().__init__(channels, options)
        self.T1 = Transformer(channels + 2 * EMBEDDING_WIDTH, channels, None, options)
        self.view_fuse = nn.Linear(channels, 1, bias=False)
        self.T2 = Transformer(channels, channels, None, options)
        self.ray_fuse = nn.Linear(channels, 1, bias=False)
        if options.use_resnet:
            self.resnet = ResBlock(channels, options.time_width)

    def attend(self, images: Tensor, geometry: EpipolarGeometry, t_emb: Tensor) -> Tensor:
        """Compute the block for exactly the objects of the geometry."""
        channels = images.shape[1]
        maps = images.flatten(2).transpose(1, 2)
        weight = self.T1.proj_in.weight
        feature_map = F.linear(maps, weight[:, :channels])
        which = self.map_of_slot(geometry)[:, None, :, None]
        out = []
        for rays in self.ray_chunks(maps.shape[1]):
            corners = geometry.corners[:, :, rays].flatten(0, 1)
            weights = geometry.weights[:, :, rays].flatten(0, 1)
            x = sample_map(feature_map, corners, weights, which.expand(corners.shape[:-1]))
            x = x.transpose(2, 3)  # [V, N, S, K, C]
            at = channels
            for embedding in (geometry.embedding("abs"), geometry.embedding("ref")):
                columns = weight[:, at : at + EMBEDDING_WIDTH]
                x = x + F.linear(embedding[:, :, :, rays].flatten(0, 1), columns).permute(
                    0, 2, 3, 1, 4
                )
                at += EMBEDDING_WIDTH
            mask = geometry.mask[:, :, :, rays].flatten(0, 1).permute(0, 2, 3, 1)  # [V, N, S, K]
            n, s = x.shape[1:3]
            fused = self.T1.self_attend(x.flatten(1, 2), t_emb, mask.flatten(1, 2))
            scores = self.view_fuse(fused)[..., 0]
            scores = scores.masked_fill(~mask.flatten(1, 2), torch.finfo(scores.dtype).min)
            ray = torch.einsum("vmk,vmkc->vmc", scores.softmax(-1), fused).unflatten(1, (n, s))
            ray = self.T2.self_attend(self.T2.proj_in(ray), t_emb)
            scores = self.ray_fuse(ray)[..., 0]
            out.append(torch.einsum("vns,vnsc->vnc", scores.softmax(-1), ray))
        result = torch.cat(out, dim=1).transpose(1, 2).reshape(images.shape)
        return self.resnet(result, t_emb) if self.options.use_resnet else result


class MVModel(nn.Module):
    """A `UNet2DConditionModel` that denoises all views of an object, with epipolar blocks inserted.

    Args:
        unet: the denoiser of one view; anything with its blocks and at least one middle attention.
        block: options of the inserted blocks; their time width is the UNet's.
        stages: where blocks go: "down" (every level), "mid", "up" (the levels of `up_layers`).
        up_layers: up blocks, counted from the deepest, that get one.
        residual: add the block's output to the feature map instead of replacing it.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        block: BlockOptions,
        stages: tuple[str, ...] = ("mid", "up"),
        up_layers: tuple[int, ...] = (0, 1, 2, 3),
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        widths = list(unet.config.block_out_channels)
        if any(not 0 <= i < len(widths) for i in up_layers):
            raise ConfigError(
                f"insert_up_layers is {list(up_layers)}, the UNet has {len(widths)} up blocks.",
                allowed=f"0 to {len(widths) - 1}",
            )
        self.unet, self.residual = unet, residual
        self.up_layers = tuple(sorted(set(up_layers))) if "up" in stages else ()
        self.cp_blocks_encoder = self._blocks(widths if "down" in stages else [], block)
        self.cp_blocks_mid = self._blocks(widths[-1:] if "mid" in stages else [], block)
        self.cp_blocks_decoder = self._blocks([widths[::-1][i] for i in self.up_layers], block)

    @staticmethod
    def _blocks(widths: list[int], options: BlockOptions) -> nn.ModuleList:
        return nn.ModuleList(EpipolarBlock(c, options) for c in widths)

    def inserted(self) -> dict[str, EpipolarBlock]:
        """Return the inserted blocks by their official names ("cp_blocks_mid.0", ...)."""
        return {n: m for n, m in self.named_modules() if isinstance(m, EpipolarBlock)}

    def forward(
        self,
        latents: Float[Tensor, "v c h w"],
        t: Int[Tensor, " v"],
        context: Float[Tensor, "v l d"],
        targets: CameraSet,
    ) -> Float[Tensor, "v o h w"]:
        """Predict the noise (or v) of all views of all objects.

        Args:
            latents: noisy latents and condition latents of V = B * F views, objects outer.
            t: timestep of every view.
            context: cross-attention tokens of every view.
            targets: cameras of B objects, or of fewer that serve all parts of the batch in turn.
        """
        unet = self.unet
        emb = unet.time_embedding(unet.time_proj(t).to(latents.dtype))
        x = unet.conv_in(latents)
        skips = [x]
        for i, down in enumerate(unet.down_blocks):
            attentions = getattr(down, "attentions", None)
            for j, resnet in enumerate(down.resnets):
                x = self._layer(x, emb, context, resnet, attentions[j] if attentions else None)
                skips.append(x)
            if len(self.cp_blocks_encoder):
                x = self._insert(self.cp_blocks_encoder[i], x, targets, emb)
            for downsampler in down.downsamplers or []:
                x = downsampler(x)
                skips.append(x)
        x = unet.mid_block.resnets[0](x, emb)
        if len(self.cp_blocks_mid):
            x = self._insert(self.cp_blocks_mid[0], x, targets, emb)
        for attention, resnet in zip(
            unet.mid_block.attentions, unet.mid_block.resnets[1:], strict=True
        ):
            x = resnet(attention(x, encoder_hidden_states=context, return_dict=False)[0], emb)
        for i, up in enumerate(unet.up_blocks):
            attentions = getattr(up, "attentions", None)
            for j, resnet in enumerate(up.resnets):
                x = torch.cat([x, skips.pop()], dim=1)
                x = self._layer(x, emb, context, resnet, attentions[j] if attentions else None)
            if i in self.up_layers:
                block = self.cp_blocks_decoder[self.up_layers.index(i)]
                x = self._insert(block, x, targets, emb)
            for upsampler in up.upsamplers or []:
                x = upsampler(x)
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(x)))

    def _layer(
        self,
        x: Tensor,
        emb: Tensor,
        context: Tensor,
        resnet: nn.Module,
        attention: nn.Module | None,
    ) -> Tensor:
        def layer(x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
            x = resnet(x, emb)
            if attention is None:
                return x
            return attention(x, encoder_hidden_states=context, return_dict=False)[0]

        return recomputed(self.gradient_checkpointing, layer, x, emb, context)

    def _insert(self, block: nn.Module, x: Tensor, targets: CameraSet, emb: Tensor) -> Tensor:
        if x.shape[-1] != x.shape[-2]:
            raise ValueError(f"feature maps must be square, got {tuple(x.shape[-2:])}")
        out = recomputed(self.gradient_checkpointing, block, x, targets.at(x.shape[-1]), emb)
        return x + out if self.residual else out
