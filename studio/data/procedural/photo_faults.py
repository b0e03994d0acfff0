"""Faults of people's images after background removal, as an augmentation to train against."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from studio.io.picture_files import opened

Picture = NDArray[np.uint8]


def with_faults(rgba: Picture, random: np.random.Generator) -> Picture:
    """Return a picture with some of: ragged edges, halo, blur, few pixels, noise, JPEG's blocks.

    The object's place and colours stay, since the views that are asked for show them, too.

    Args:
        rgba: [h, w, 4] straight alpha.
        random: source of every choice.
    """
    alpha = rgba[..., 3].astype(np.float32) / 255.0
    rgb = rgba[..., :3].astype(np.float32) / 255.0
    if random.uniform() < 0.5:
        alpha = _ragged(alpha, random)
    ground = 1.0 if random.uniform() < 0.7 else random.uniform(0.3, 1.0)
    flat = rgb * alpha[..., None] + ground * (1 - alpha[..., None])
    if random.uniform() < 0.35:
        blur = random.uniform(0.3, 0.9)
        flat = gaussian_filter(flat, (blur, blur, 0))
    if random.uniform() < 0.25:
        flat = _fewer_pixels(flat, random.uniform(0.5, 0.9))
    if random.uniform() < 0.3:
        flat = flat + random.normal(0, random.uniform(0.005, 0.025), flat.shape)
    picture = np.round(np.clip(flat, 0, 1) * 255).astype(np.uint8)
    if random.uniform() < 0.4:
        picture = _jpeg(picture, int(random.integers(45, 95)))
    cover = np.round(np.clip(alpha, 0, 1) * 255).astype(np.uint8)
    return np.concatenate([picture, cover[..., None]], -1)


def _ragged(alpha: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Move the outline in and out by a pixel or so, in places, as cutting tools do."""
    wobble = gaussian_filter(random.normal(size=alpha.shape), random.uniform(1, 4))
    wobble *= random.uniform(0.0, 0.3) / max(float(wobble.std()), 1e-6)
    soft = gaussian_filter(alpha, random.uniform(0.4, 1.2)) + wobble * (np.abs(alpha - 0.5) < 0.6)
    hardness = random.uniform(1.0, 6.0)
    edge = np.clip((soft - random.uniform(0.35, 0.65)) * hardness + 0.5, 0, 1)
    near = gaussian_filter(alpha, 2.0)
    return np.where((near > 0.03) & (near < 0.97), edge, alpha).astype(np.float32)


def _fewer_pixels(flat: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    height, width = flat.shape[:2]
    small = (max(8, round(width * factor)), max(8, round(height * factor)))
    picture = Image.fromarray(np.round(np.clip(flat, 0, 1) * 255).astype(np.uint8))
    back = picture.resize(small, Image.Resampling.BILINEAR).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return np.asarray(back, np.float32) / 255.0


def _jpeg(picture: Picture, quality: int) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    with opened("picture.jpg", buffer.getvalue()) as again:
        return np.asarray(again.convert("RGB"))
