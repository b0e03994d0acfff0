"""Soft shadows on an even background: darker, of its hue, fading into it on all sides."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

Picture = Float[np.ndarray, "3 h w"]
Mask = Bool[np.ndarray, "h w"]
WORK_SIDE = 400  # px; shadows are looked for at this size
DARKEST = 0.25  # of the background's light, in a shadow
HUE = 0.035  # largest difference of a shadow's colour from the darkened background
SOFT = 8.0  # largest slope of a shadow, in lights per picture side
SMALLEST_SHADOW = 5e-3  # of the picture; less is a bright part of the object
HARD = 0.8  # light right at the background, below which a region's edge is hard
HARD_EDGE = 0.2  # share of a region's border to the background from which on it is no shadow
LEFT = 0.25  # of what is not background, that must remain beside a shadow


def fitted_backdrop(rgb: Picture, outer: Mask) -> Picture:
    """The background's colour everywhere: a quadratic surface through it, shadows left out."""
    height, width = outer.shape
    ys, xs = outer.nonzero()
    some = slice(None, None, max(1, len(ys) // 20_000))
    ys, xs = ys[some], xs[some]

    def terms(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        v, u = y / height - 0.5, x / width - 0.5
        return np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)

    y, x = np.mgrid[:height, :width]
    grid, at, seen = terms(y, x), terms(ys, xs), rgb[:, ys, xs].T
    for _ in range(3):  # what is off (a shadow's edge) is left out the next time
        found, *_ = np.linalg.lstsq(at, seen, rcond=None)
        off = np.abs(at @ found - seen).max(axis=1)
        keep = off <= max(3 * float(np.median(off)), 1 / 255)
        at, seen = at[keep], seen[keep]
    surface: Picture = np.moveaxis(grid @ found, -1, 0).astype(np.float32).clip(0, 1)
    return surface


def soft_shadow(rgb: Picture, backdrop: Picture, outer: Mask) -> Mask:
    """What is a soft shadow on the background: darker, of its hue, fading into it on all sides.

    The background grows into whatever is darker and of the same hue as long as the light changes
    slowly. A grey object, too, may be entered where it is as bright as the background; but then
    it has a hard edge elsewhere, and is no shadow.
    """
    from scipy import ndimage

    nothing = np.zeros_like(outer)
    if float(backdrop.mean()) < 0.2:
        return nothing
    step = math.ceil(max(outer.shape) / WORK_SIDE)
    small, behind, around = (reduced(v, step) for v in (rgb, backdrop, outer[None].astype(float)))
    light = (small * behind).sum(0) / np.maximum((behind * behind).sum(0), 1e-6)
    hue = np.abs(small - light * behind).max(axis=0)
    smooth = ndimage.gaussian_filter(light, 1.0)
    slope = np.hypot(*np.gradient(smooth))
    soft = slope <= min(SOFT / max(light.shape), 0.05)
    known = around[0] > 0.5
    candidate = (hue <= HUE) & (light > DARKEST) & (light < 1.02) & soft
    grown = ndimage.binary_propagation(known, mask=known | candidate) & ~known
    # up to the object's edge, where the slope of the smoothed light is the edge's
    for _ in range(3):
        wider = ndimage.binary_dilation(grown) & ~known & (hue <= HUE) & (light < 1.02)
        level = ndimage.grey_dilation(np.where(grown, light, 0), size=3)
        lowest = ndimage.grey_erosion(np.where(grown, light, 2), size=3)
        grown |= wider & (light < level + 0.04) & (light > lowest - 0.08)
    labels, count = ndimage.label(grown)
    near = ndimage.binary_dilation(known, iterations=2)
    for part in range(1, count + 1):
        region = labels == part
        border = region & near
        tiny = region.sum() < SMALLEST_SHADOW * region.size
        if tiny or border.sum() == 0 or (light[border] < HARD).mean() > HARD_EDGE:
            grown[region] = False
    before, after = (~known).sum(), (~known & ~grown).sum()
    if not grown.any() or after < LEFT * before:
        return nothing
    large = np.kron(grown, np.ones((step, step), dtype=bool))
    shadow: Mask = large[: outer.shape[0], : outer.shape[1]] & ~outer
    return shadow


def reduced(values: Float[np.ndarray, "c h w"], step: int) -> Float[np.ndarray, "c p q"]:
    """Means over squares of pixels; the last ones may be smaller."""
    if step == 1:
        return values
    _, h, w = values.shape
    rest = (0, 0), (0, -h % step), (0, -w % step)
    padded = np.pad(values, rest, mode="edge") if np.any(rest) else values
    blocks = padded.reshape(len(values), -(-h // step), step, -(-w // step), step)
    return blocks.mean(axis=(2, 4))
