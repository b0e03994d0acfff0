"""Conditioning of EpiDiff: what its networks are told of cameras and images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from studio.data.training.epidiff_layout import on_background
from studio.guidance.zero123.network import CLIP_MEAN, CLIP_STD
from studio.io.images import to_uint8
from studio.rigs import Rig


def ring(views: int, elevation_deg: float, *, truncated: bool = False) -> Rig:
    """Return evenly spaced views from azimuth 0 at distance 1.5.

    Args:
        views: how many.
        elevation_deg: of all.
        truncated: whole degrees as in the released script: 0, 22, 45, 67, ... for 16 views.
    """
    even = Rig.ring(views, elevation_deg)
    if not truncated:
        return even
    return replace(even, azimuth_deg=tuple(float(int(a)) for a in even.azimuth_deg))


def released_picture(image: Float[Tensor, "4 h w"], side: int) -> Float[Tensor, "3 s s"]:
    """Prepare a condition picture as the released script does: 8 bit, bicubic, white, [-1, 1]."""
    return on_background(Image.fromarray(to_uint8(image)), (side, side))


def viewing_angles(
    c2w: Float[Tensor, "*b 4 4"],
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """Return elevation and azimuth (0 .. 2 pi) of camera centres, in radians."""
    x, y, z = c2w[..., :3, 3].unbind(-1)
    return torch.atan2(z, torch.hypot(x, y)), torch.atan2(y, x) % (2 * torch.pi)


def turn_world(
    c2w: Float[Tensor, "b f 4 4"], cond_c2w: Float[Tensor, "b 4 4"]
) -> Float[Tensor, "b f 4 4"]:
    """Turn cameras about +Z such that the condition camera stands at azimuth 0."""
    x, y = cond_c2w[:, 0, 3], cond_c2w[:, 1, 3]
    radius = torch.hypot(x, y).clamp(min=1e-12)
    cos, sin = x / radius, y / radius
    turn = torch.eye(4, dtype=c2w.dtype, device=c2w.device).repeat(len(c2w), 1, 1)
    turn[:, 0, 0], turn[:, 0, 1] = cos, sin
    turn[:, 1, 0], turn[:, 1, 1] = -sin, cos
    with torch.autocast(c2w.device.type, enabled=False):  # half precision moves cameras
        return turn[:, None] @ c2w


def processor_pixels(
    pixels: Float[Tensor, "b 3 h w"], side: int, crop: int | None = None
) -> Float[Tensor, "b 3 s s"]:
    """Prepare pictures in [-1, 1] as CLIP's stock image processor does.

    To 8 bit by truncation, shortest edge to `side` (bicubic), centre crop, CLIP's mean and
    deviation.
    """
    crop = crop or side
    prepared = []
    for picture in ((pixels.float() / 2 + 0.5) * 255).clamp(0, 255).byte().cpu():
        image = Image.fromarray(picture.permute(1, 2, 0).numpy())
        shortest = min(image.size)
        size = (int(side * image.width / shortest), int(side * image.height / shortest))
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (image.width - crop) // 2, (image.height - crop) // 2
        image = image.crop((left, top, left + crop, top + crop))
        prepared.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
    values = torch.stack(prepared).to(pixels) / 255
    mean, std = pixels.new_tensor(CLIP_MEAN), pixels.new_tensor(CLIP_STD)
    return (values - mean[:, None, None]) / std[:, None, None]
