"""Random numbers that are a function of (seed, step, stream) alone, so that runs resume exactly."""

from __future__ import annotations

import torch

_MASK = 2**64 - 1


def mix(*words: int) -> int:
    """Hash integers to 32 well-mixed bits (splitmix64)."""
    state = 0
    for word in words:
        state = (state + (word & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 32


def step_generator(seed: int, step: int, *, stream: int = 0) -> torch.Generator:
    """Return the CPU generator of one training step.

    torch's CPU generator uses only the low 32 bits of its seed, hence the hash.

    Args:
        seed: of the run.
        step: of the training.
        stream: tells independent uses in one step apart.
    """
    return torch.Generator().manual_seed(mix(seed, step, stream))
