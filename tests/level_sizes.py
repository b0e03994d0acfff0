"""Digest of level sizes of many hash grids: `python -m tests.level_sizes`, for tests."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np

from studio.ops.hash_grid import HashGridLayout, growth_for
from studio.ops.nerfstudio_hash import scalings

BASES, FINEST, LEVELS = (4, 16, 24, 32), (64, 256, 777, 1024, 2048, 4096), (2, 5, 8, 10, 12, 16)


def layouts() -> list[HashGridLayout]:
    """Grids of all sizes that people use."""
    sizes = itertools.product(BASES, FINEST, LEVELS)
    return [HashGridLayout(n, base, growth_for(n, base, finest)) for base, finest, n in sizes]


def digest() -> str:
    """A few hex digits of every level's scale."""
    every = [layout.scales for layout in layouts()]
    sizes = itertools.product(BASES, FINEST, LEVELS)
    every += [tuple(scalings(n, base, finest).tolist()) for base, finest, n in sizes]
    return hashlib.sha256(repr(every).encode()).hexdigest()[:16]


def numpy_agrees() -> bool:
    """Whether numpy's float32 functions, which are C's without AVX512, give the same scales."""
    for layout in layouts():
        growth = np.float32(np.log2(np.float32(layout.growth)))
        powers = np.exp2(np.arange(layout.levels, dtype=np.float32) * growth)
        scales = powers * np.float32(layout.base_resolution) - np.float32(1)
        if tuple(scales.tolist()) != layout.scales:
            return False
    return True


if __name__ == "__main__":
    print(digest(), numpy_agrees())
