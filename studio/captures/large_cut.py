"""Background removal in large images: found at a bounded size, outlined at the full one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from studio.captures.even_background import Cut, cut_out, find_background, soft_edge
from studio.captures.shadows import Mask, Picture, reduced

BOUND = 2048  # px of the longer side, up to which a picture is worked on as it is
TILE = 512  # px; tiles that the outline does not pass cost nothing
REACH = 8  # px that unmixing an outline looks around


def cut_out_any_size(rgb: Picture, tolerance: float, *, holes: bool = True) -> Cut:
    """Cut an object out as `cut_out` does, in bounded time for each pixel of its outline.

    Pictures up to `BOUND` are cut out by `cut_out`. Of larger ones the background is found in a
    reduced picture; near the outline that this gives, the full picture's pixels decide.
    """
    step = math.ceil(max(rgb.shape[1:]) / BOUND)
    if step == 1:
        return cut_out(rgb, tolerance, holes=holes)
    ground = find_background(reduced(rgb, step), tolerance, holes=holes)
    soft, alpha = rgb.copy(), np.empty(rgb.shape[1:], dtype=np.float32)
    for inner, around, within in _tiles(rgb.shape[1:], REACH + 2 * step):
        mask = _enlarged(ground.mask, step, around)
        if mask.all() or not mask.any():
            alpha[inner] = not mask.flat[0]
            continue
        part = rgb[:, *around]
        behind = np.stack([_enlarged(c, step, around) for c in ground.behind])
        away, line = np.abs(part - behind).max(axis=0), _outline(mask, step + 1)
        even = away <= tolerance
        if _enlarged(
            ground.shaded, step, around
        ).any():  # whose light changes: what is it nearer to?
            even |= away < _from_object(part, ~mask & ~line)
        mask = np.where(line, even, mask)
        edge, share = soft_edge(part, behind, mask)
        soft[:, *inner], alpha[inner] = edge[:, *within], share[within]
    return Cut(soft, alpha, ground.holes, ground.shadow, ground.low_contrast)


Window = tuple[slice, slice]


def _tiles(size: tuple[int, ...], margin: int) -> Iterator[tuple[Window, Window, Window]]:
    """Tiles of a picture: what is theirs, that with a margin, and theirs within the latter."""
    for top in range(0, size[0], TILE):
        for left in range(0, size[1], TILE):
            inner, around, within = [], [], []
            for start, end in ((top, size[0]), (left, size[1])):
                stop = min(start + TILE, end)
                low = max(start - margin, 0)
                inner.append(slice(start, stop))
                around.append(slice(low, min(stop + margin, end)))
                within.append(slice(start - low, stop - low))
            yield (inner[0], inner[1]), (around[0], around[1]), (within[0], within[1])


def _enlarged(values: np.ndarray, step: int, window: Window) -> np.ndarray:
    """A window of what was reduced, at the full size."""
    y, x = (np.arange(part.start, part.stop) // step for part in window)
    enlarged: np.ndarray = values[y[:, None], x]
    return enlarged


def _from_object(part: Picture, inside: Mask) -> np.ndarray:
    """Largest difference of a channel from the nearest pixel that is surely the object's."""
    from scipy import ndimage

    if not inside.any():
        return np.zeros(inside.shape, dtype=np.float32)
    y, x = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    difference: np.ndarray = np.abs(part - part[:, y, x]).max(axis=0)
    return difference


def _outline(mask: Mask, reach: int) -> Mask:
    """Pixels as near as that to where background and object meet."""
    from scipy import ndimage

    size = 2 * reach + 1
    line: Mask = ndimage.maximum_filter(mask, size) & ~ndimage.minimum_filter(mask, size)
    return line
