"""Numba loop of Adam's update (Kingma and Ba 2015) over all parameters at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import carray
from torch import Tensor

from studio.ops.compiled import FAST, kernel, part
from studio.ops.scalars_cpu import single_at, take
from studio.ops.threads import in_threads

CHUNK = 8192  # numbers of a task


@part(fastmath=FAST)
def _update(numbers, param, grad, mean, square):
    """The same operations as in torch, in the same order."""
    real = param.dtype.type
    size, root = real(-numbers[0]), real(numbers[1])
    fresh, kept, new = real(numbers[2]), real(numbers[3]), real(numbers[4])
    eps, decay = real(numbers[5]), real(numbers[6])
    for n in range(param.shape[0]):
        g = grad[n] + decay * param[n]
        m = mean[n] + fresh * (g - mean[n])
        v = square[n] * kept + new * g * g
        mean[n], square[n] = m, v
        param[n] += size * m / (np.sqrt(v) / root + eps)


@part
def _task(task, chunks, sizes, places, numbers):
    """Some numbers of one parameter; ``chunks`` are the first tasks of the parameters."""
    which = 0
    while chunks[which + 1] <= task:
        which += 1
    start = (task - chunks[which]) * CHUNK
    count, at = min(CHUNK, sizes[which] - start), places[which] + 4 * start  # bytes
    arrays = (
        carray(single_at(at[0]), count),
        carray(single_at(at[1]), count),
        carray(single_at(at[2]), count),
        carray(single_at(at[3]), count),
    )
    _update(numbers[which], *arrays)


@kernel
def _adam(taken, tasks, chunks, sizes, places, numbers):
    task = take(taken)
    while task < tasks:
        _task(task, chunks, sizes, places, numbers)
        task = take(taken)


def update(groups: Sequence[tuple[Tensor, ...]], numbers: Sequence[tuple[float, ...]]) -> None:
    """Update parameters in place.

    Args:
        groups: parameter, gradient, first and second moment, which are updated, too: contiguous
            and in single precision.
        numbers: of each parameter: learning rate over the first moment's correction, root of the
            second one's, 1 - b1, b2, 1 - b2, eps, and weight decay.
    """
    if not groups:
        return
    sizes = np.array([group[0].numel() for group in groups])
    places = np.array([[tensor.data_ptr() for tensor in group] for group in groups])
    chunks = np.zeros(len(groups) + 1, np.int64)
    np.cumsum((sizes + (CHUNK - 1)) // CHUNK, out=chunks[1:])
    in_threads(_adam, int(chunks[-1]), chunks, sizes, places, np.array(numbers))
