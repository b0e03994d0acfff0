"""Camera positional encoding (CaPE) of EscherNet (arXiv 2402.03908, section 3).

Queries and keys of attention are multiplied by something that depends on the camera their token
belongs to, such that a score depends on the relative camera only. The encoding acts on the full
width, before it is split into heads; values are never touched. There are no weights.

4DoF: an object-centred camera (polar angle, azimuth, log distance); neighbouring channels are
rotated by these angles. 6DoF: any rigid camera; each group of four channels is a row vector
multiplied by the 4x4 world-to-camera matrix (keys) or its inverse transpose (queries).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from studio.guidance.eschernet.poses import (
    blender_w2c,
    inverse_transposed,
    poses_4dof,
    poses_6dof,
)

KINDS = ("6dof", "4dof")


@dataclass(frozen=True)
class CameraCode:
    """What CaPE multiplies the tokens of V views with: one for queries, one for keys.

    Attributes:
        query: of tokens that ask: angles [B, V, 4] in radians (4DoF) or matrices [B, V, 4, 4].
        key: of tokens that answer.
    """

    query: Float[Tensor, "b v *code"]
    key: Float[Tensor, "b v *code"]

    @classmethod
    def of_poses(cls, poses: Float[Tensor, "b v *code"]) -> CameraCode:
        """Encode poses as `poses.poses_4dof` or `poses.poses_6dof` give them."""
        return cls(poses if poses.dim() == 3 else inverse_transposed(poses), poses)

    @property
    def views(self) -> int:
        """Number of views."""
        return self.key.shape[1]

    def __getitem__(self, views: slice) -> CameraCode:
        """Select views."""
        return CameraCode(self.query[:, views], self.key[:, views])

    def repeated(self, times: int) -> CameraCode:
        """Repeat the whole batch, as classifier-free guidance does."""
        repeats = [times] + [1] * (self.key.dim() - 1)
        return CameraCode(self.query.repeat(repeats), self.key.repeat(repeats))


class Codes(NamedTuple):
    """Cameras of one call of the UNet."""

    targets: CameraCode
    """Of the views that are made."""
    references: CameraCode
    """Of the pictures that are given."""


def camera_code(kind: str, c2w: Float[Tensor, "b v 4 4"]) -> CameraCode:
    """Return the encoding of cameras.

    Args:
        kind: one of `KINDS`.
        c2w: camera-to-world, OpenCV axes, in a world where the object's longest side is 1 and
            cameras are 1.5 to 2.2 away from the origin.
    """
    w2c = blender_w2c(c2w.double())
    code = CameraCode.of_poses({"4dof": poses_4dof, "6dof": poses_6dof}[kind](w2c))
    return CameraCode(code.query.float(), code.key.float())


def encode(
    tokens: Float[Tensor, "b n d"], code: Float[Tensor, "b v *code"]
) -> Float[Tensor, "b n d"]:
    """Encode queries or keys with the `query` or `key` of a `CameraCode`.

    Args:
        tokens: view after view, equally many of each (n / v).
        code: angles [B, V, 4] (d must be a multiple of 8) or matrices [B, V, 4, 4] (of 4).

    Returns:
        the tokens in their own precision; the encoding itself is done in the code's.

    Raises:
        ValueError: if the width does not divide.
    """
    turn = _turned if code.dim() == 3 else _multiplied
    width, divisor = tokens.shape[-1], 8 if code.dim() == 3 else 4
    if width % divisor:
        raise ValueError(f"CaPE needs a width that is a multiple of {divisor}, not {width}")
    per_view = tokens.unflatten(1, (code.shape[1], -1)).to(code.dtype)
    with torch.autocast(tokens.device.type, enabled=False):  # half precision blurs cameras
        return turn(per_view, code).flatten(1, 2).to(tokens.dtype)


def _turned(x: Float[Tensor, "b v l d"], angles: Float[Tensor, "b v 4"]) -> Tensor:
    """4DoF: the first quarter of the width turns by the first angle, and so on, in pairs."""
    pairs = x.unflatten(-1, (4, -1, 2))  # [b, v, l, angle, pair, 2]
    cos, sin = (f(angles)[:, :, None, :, None, None] for f in (torch.cos, torch.sin))
    quarter_turn = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1)
    return (pairs * cos + quarter_turn * sin).flatten(-3)


def _multiplied(x: Float[Tensor, "b v l d"], matrices: Float[Tensor, "b v 4 4"]) -> Tensor:
    """6DoF: every four channels are a row vector, multiplied from the right."""
    rows = x.unflatten(-1, (-1, 4)).flatten(2, 3)
    return (rows @ matrices).view(x.shape)
