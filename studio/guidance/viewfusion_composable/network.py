"""The pixel-space U-Net of composable ViewFusion (Spiegl et al., arXiv 2402.02906), one view each.

Module names are those of the authors' checkpoints. Two things differ from common diffusion U-Nets:
the network is told the continuous noise level, not a timestep, and it has no middle attention
switch: the first middle block always attends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from studio.errors import ConfigError
from studio.guidance.diffusion import recomputed


def sinusoids(values: Float[Tensor, " n"], width: int) -> Float[Tensor, "n d"]:
    """Encode numbers as [sin(v f_k), cos(v f_k)] with n = width / 2, f_k = exp(-ln(1e4) k / n).

    Only f_0 = 1 has period 2 pi: an angle and the same angle a turn later are encoded differently.
    """
    half = width // 2
    steps = torch.arange(half, dtype=values.dtype, device=values.device) / half
    phases = values[:, None] * torch.exp(-math.log(1e4) * steps)
    return torch.cat([phases.sin(), phases.cos()], dim=-1)


class Block(nn.Module):
    """GroupNorm, swish, dropout, 3x3 convolution."""

    def __init__(self, c_in: int, c_out: int, groups: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.GroupNorm(groups, c_in),
            nn.SiLU(),
            nn.Dropout(dropout) if dropout else nn.Identity(),
            nn.Conv2d(c_in, c_out, 3, padding=1),
        )

    def forward(self, x: Float[Tensor, "m c h w"]) -> Float[Tensor, "m d h w"]:
        """Normalise, activate, convolve."""
        return self.block(x)


class Conditioning(nn.Module):
    """Adds the projected condition vector to every pixel."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.noise_func = nn.Sequential(nn.Linear(width, channels))

    def forward(
        self, x: Float[Tensor, "m c h w"], condition: Float[Tensor, "m d"]
    ) -> Float[Tensor, "m c h w"]:
        """Return x plus the projection."""
        return x + self.noise_func(condition)[:, :, None, None]


class ResidualBlock(nn.Module):
    """Two blocks with the condition added in between, and a skip connection around them."""

    def __init__(self, c_in: int, c_out: int, width: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.noise_func = Conditioning(width, c_out)
        self.block1 = Block(c_in, c_out, groups)
        self.block2 = Block(c_out, c_out, groups, dropout)
        self.res_conv = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(
        self, x: Float[Tensor, "m c h w"], condition: Float[Tensor, "m d"]
    ) -> Float[Tensor, "m e h w"]:
        """Return the block's output."""
        h = self.noise_func(self.block1(x), condition)
        return self.block2(h) + self.res_conv(x)


class Attention(nn.Module):
    """Self-attention over pixels with one head; the joint projection has no bias."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c h w"]:
        """Return x plus what its pixels attend to."""
        q, k, v = (
            part.flatten(2).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, dim=1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(mixed.transpose(1, 2).reshape(x.shape))


class Unit(nn.Module):
    """A residual block, followed by attention where the level has it."""

    def __init__(
        self, c_in: int, c_out: int, width: int, groups: int, dropout: float, attend: bool
    ) -> None:
        super().__init__()
        self.res_block = ResidualBlock(c_in, c_out, width, groups, dropout)
        self.attn = Attention(c_out, groups) if attend else nn.Identity()

    def forward(
        self, x: Float[Tensor, "m c h w"], condition: Float[Tensor, "m d"]
    ) -> Float[Tensor, "m e h w"]:
        """Return the unit's output."""
        return self.attn(self.res_block(x, condition))


class Downsample(nn.Module):
    """Halves the side with a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c i j"]:
        """Return the smaller map."""
        return self.conv(x)


class Upsample(nn.Module):
    """Doubles the side by repetition, then convolves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c i j"]:
        """Return the larger map."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class ViewUNet(nn.Module):
    """U-Net that sees one view beside the noisy target.

    Args:
        in_channel: of view and noisy target together.
        out_channel: 6 (noise and logits of the weights) or 3 (noise alone).
        inner_channel: channels of the finest level.
        channel_mults: channels of each level as multiples of `inner_channel`.
        attn_res: sides of the feature maps that get attention, for pictures of `image_size`.
        res_blocks: residual blocks of a level on the way down; one more on the way up.
        norm_groups: groups of every GroupNorm.
        dropout: in the second half of residual blocks.
        image_size: picture side that `attn_res` is meant for; the network itself takes any.
        patch: side p of the pixel blocks that become channels at the entrance and pixels again at
            the exit (official: 1).

    Raises:
        ConfigError: if channels and groups do not fit.
    """

    def __init__(
        self,
        in_channel: int = 6,
        out_channel: int = 6,
        inner_channel: int = 64,
        channel_mults: Sequence[int] = (1, 2, 3, 5),
        attn_res: Sequence[int] = (16,),
        res_blocks: int = 3,
        norm_groups: int = 32,
        dropout: float = 0.0,
        image_size: int = 64,
        patch: int = 1,
    ) -> None:
        super().__init__()
        check_widths(inner_channel, channel_mults, norm_groups)
        self.patch, self.width = patch, inner_channel
        self.gradient_checkpointing = False
        self.noise_level_mlp = nn.Sequential(
            nn.Linear(inner_channel, 4 * inner_channel),
            nn.SiLU(),
            nn.Linear(4 * inner_channel, inner_channel),
        )

        def unit(c_in: int, c_out: int, attend: bool) -> Unit:
            return Unit(c_in, c_out, inner_channel, norm_groups, dropout, attend)

        channels, side = inner_channel, image_size // patch
        downs: list[nn.Module] = [nn.Conv2d(in_channel * patch**2, channels, 3, padding=1)]
        skips, last = [channels], len(channel_mults) - 1
        for level, mult in enumerate(channel_mults):
            for _ in range(res_blocks):
                downs.append(unit(channels, inner_channel * mult, side >> level in attn_res))
                channels = inner_channel * mult
                skips.append(channels)
            if level < last:
                downs.append(Downsample(channels))
                skips.append(channels)
        self.downs = nn.ModuleList(downs)
        self.mid = nn.ModuleList([unit(channels, channels, a) for a in (True, False)])
        ups: list[nn.Module] = []
        for level, mult in reversed(list(enumerate(channel_mults))):
            for _ in range(res_blocks + 1):
                c_in = channels + skips.pop()
                ups.append(unit(c_in, inner_channel * mult, side >> level in attn_res))
                channels = inner_channel * mult
            if level > 0:
                ups.append(Upsample(channels))
        self.ups = nn.ModuleList(ups)
        self.final_conv = Block(channels, out_channel * patch**2, norm_groups)

    def embed(self, angle: Float[Tensor, " m"], level: Float[Tensor, " m"]) -> Float[Tensor, "m d"]:
        """Return the encoded noise level, then the encoded angle, before the MLP."""
        half = self.width // 2
        return torch.cat([sinusoids(level, half), sinusoids(angle, half)], dim=-1)

    def forward(
        self,
        x: Float[Tensor, "m c h w"],
        angle: Float[Tensor, " m"],
        level: Float[Tensor, " m"],
    ) -> Float[Tensor, "m o h w"]:
        """Return noise and logits of every view.

        Args:
            x: channels of the view, in [0, 1], then those of the noisy target.
            angle: of the target, radians.
            level: gamma in (0, 1), the share of signal in the noisy target's variance.
        """
        condition = self.noise_level_mlp(self.embed(angle, level))
        x = F.pixel_unshuffle(x, self.patch)
        skips = []
        for layer in self.downs:
            x = self._unit(layer, x, condition) if isinstance(layer, Unit) else layer(x)
            skips.append(x)
        for layer in self.mid:
            x = self._unit(layer, x, condition)
        for layer in self.ups:
            if isinstance(layer, Unit):
                x = self._unit(layer, torch.cat([x, skips.pop()], dim=1), condition)
            else:
                x = layer(x)
        return F.pixel_shuffle(self.final_conv(x), self.patch)

    def _unit(self, unit: nn.Module, x: Tensor, condition: Tensor) -> Tensor:
        return recomputed(self.gradient_checkpointing, unit, x, condition)


def check_widths(inner_channel: int, channel_mults: Sequence[int], norm_groups: int) -> None:
    """Refuse widths that cannot work.

    Raises:
        ConfigError: if a level's channels are no multiple of the groups, or the finest level has
            one channel per group: normalisation would then remove the condition that was added to
            every pixel, and the network would not see angle and noise level.
    """
    if not channel_mults or inner_channel % 4 or inner_channel % norm_groups:
        raise ConfigError(
            f"inner_channel is {inner_channel}, norm_groups {norm_groups}, "
            f"channel_mults {list(channel_mults)}.",
            allowed="an inner_channel that is a multiple of 4 and of norm_groups, and a level",
        )
    if inner_channel == norm_groups:
        raise ConfigError(
            f"inner_channel and norm_groups are both {norm_groups}.",
            allowed=f"norm_groups of at most {inner_channel // 2}",
            hint="With one channel per group the network cannot see angle and noise level.",
        )
