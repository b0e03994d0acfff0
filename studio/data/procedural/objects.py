"""Toy-like coloured objects as pure functions of (category, seed); `kinds` holds the kinds."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from studio.data.procedural import kinds
from studio.data.procedural.sculptor import MAKERS, TEST_SEED, Maker, ProceduralObject, Sculptor


def make_object(category: str, seed: int) -> ProceduralObject:
    """Build one object.

    Args:
        category: one of :func:`categories`.
        seed: any non-negative integer; from :data:`TEST_SEED` on it belongs to the test split.
    """
    makers = _makers()
    if category not in makers:
        raise KeyError(f"'{category}' is no category; there are {', '.join(makers)}")
    sculptor = Sculptor(category, seed)
    return sculptor.finish(category, seed, makers[category](sculptor))


def categories() -> tuple[str, ...]:
    """Names of everything that :func:`make_object` can build."""
    return tuple(_makers())


def split_seed(index: int, split: str, base: int = 0) -> int:
    """Seed of the ``index``-th object of a split ("train", or "val"/"test")."""
    seed = base + index
    if not 0 <= seed < TEST_SEED:
        raise ValueError(f"seed {seed} is outside [0, {TEST_SEED})")
    return seed + (0 if split == "train" else TEST_SEED)


@functools.cache
def _makers() -> dict[str, Maker]:
    """All makers, in the order of their files; each module of `kinds` registers its own."""
    for module in sorted(m.name for m in pkgutil.iter_modules(kinds.__path__)):
        importlib.import_module(f"{kinds.__name__}.{module}")
    return MAKERS
