"""The hash-grid field in one native pass over tiles of points, and one back.

What happens in a tile is in `studio.ops.field_tile_cpu`. Blocks of tiles are the tasks of the
threads. How many there are follows from the number of points, and each sums up its own gradients of
the weights, which are added in the blocks' order: results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.ops.compiled import kernel, part
from studio.ops.field_tile_cpu import (
    add_row_gradients,
    backward_tile,
    clear,
    forward_tile,
    weights_of,
)
from studio.ops.hash_grid import HashGridLayout
from studio.ops.hash_grid_chunks_cpu import encode_scratch
from studio.ops.hash_grid_cpu import pairs_of
from studio.ops.scalars_cpu import take
from studio.ops.table_gradient_cpu import keep_for_table, rows_for_table, sum_up
from studio.ops.threads import in_threads
from studio.ops.tiles_cpu import TILE, padded, rounded

BLOCKS = 32  # most tasks
NUMBERS = 2**22  # most gradients by weights that all tasks hold together


@part
def _forward_block(block, blocks, points, table, grid, nets, sizes, kept, results):
    tiles = (points.shape[1] + TILE - 1) // TILE
    hidden = np.empty((sizes[1], TILE), points.dtype)
    slope, out = np.empty_like(hidden), np.empty((sizes[2], TILE), points.dtype)
    work = (encode_scratch(points, table), hidden, slope, out, np.empty(TILE, points.dtype))
    for n in range(block * tiles // blocks, (block + 1) * tiles // blocks):
        tile = kept[n if kept.shape[0] == tiles else block]
        count = min(TILE, points.shape[1] - n * TILE)
        forward_tile(tile, n * TILE, count, points, table, grid, nets, sizes, work, results)


@part
def _backward_block(block, grads, nets, sizes, kept, found):
    k, h, o = sizes
    back, counts, sums, _ = found
    dtype, tiles, blocks = kept.dtype, kept.shape[0], sums.shape[0]
    hidden, slope = np.empty((h, TILE), dtype), np.empty((h, TILE), dtype)
    grad_z, grad_s = np.empty((h, TILE), dtype), np.empty((h, TILE), dtype)
    work = (hidden, slope, grad_z, grad_s, np.empty((o, TILE), dtype), np.empty((k, TILE), dtype))
    own = sums[block]
    clear(own.reshape(1, -1))
    parts = weights_of(own, sizes)
    for n in range(block * tiles // blocks, (block + 1) * tiles // blocks):
        count = min(TILE, grads[0].shape[0] - n * TILE)
        by_table = back[n][: k + 3]
        backward_tile(kept[n], n * TILE, count, grads, nets, sizes, work, by_table, parts)
        add_row_gradients(work, parts)
        keep_for_table(kept[n], sizes, back[n])
        counts[n] = count


@kernel
def _forward(taken, blocks, points, table, grid, nets, sizes, kept, results):
    block = take(taken)
    while block < blocks:
        _forward_block(block, blocks, points, table, grid, nets, sizes, kept, results)
        block = take(taken)


@kernel
def _backward(taken, blocks, grads, nets, sizes, kept, found):
    block = take(taken)
    while block < blocks:
        _backward_block(block, grads, nets, sizes, kept, found)
        block = take(taken)


def forward(
    points: Tensor,
    table: Tensor,
    weights: Sequence[Tensor],
    layout: HashGridLayout,
    radius: float,
    keep: bool,
    sdf: Tensor,
    gradient: Tensor,
    features: Tensor,
) -> tuple[Any, ...]:
    """Fill sdf [p], gradient [3, p] and features [o, p]; returns what `backward` needs.

    Args:
        points: in [-1, 1]^3, [3, p].
        table: of the hash grid.
        weights: W1, b1, W2 and b2.
        layout: of the table.
        radius: of the sphere.
        keep: whether there will be a way back.
        sdf: signed distance.
        gradient: its derivative; if it has no columns, the distance alone is found.
        features: further outputs of the network.
    """
    x = points.numpy()
    w1, b1, w2, b2 = (w.numpy() for w in weights)
    sizes = k, h, o = tuple(rounded(n) for n in (*w1.shape[::-1], len(w2)))
    padded_nets = (padded(w1, h, k), padded(b1, h), padded(w2, o, h), padded(b2, o))
    nets = (*padded_nets, np.zeros(max(sizes), w1.dtype), float(radius), layout.width)
    grid, tiles = layout.arrays(x.dtype), -(-x.shape[1] // TILE)
    blocks = max(1, min(tiles, BLOCKS))
    kept = np.empty((tiles if keep else blocks, 3 + 5 * k + h, TILE), x.dtype)
    results = (sdf.numpy(), gradient.numpy(), features.numpy())
    in_threads(_forward, blocks, x, pairs_of(table), grid, nets, sizes, kept, results)
    return grid, nets, sizes, w2.shape, kept


def backward(
    context: tuple[Any, ...], grads: tuple[Tensor, ...], grad_table: Tensor
) -> tuple[Tensor, ...]:
    """Set ``grad_table`` to the gradient by the table and return those by W1, b1, W2 and b2.

    Args:
        context: what `forward` returned.
        grads: by sdf, gradient and features.
        grad_table: of the table's shape.
    """
    grid, nets, sizes, (outputs, hidden), kept = context
    k, h, o = sizes
    given, numbers = tuple(g.numpy() for g in grads), h * (k + o + 1) + o
    blocks = max(1, min(len(kept), BLOCKS, NUMBERS // numbers))
    back = np.empty((len(kept), rows_for_table(k), TILE), kept.dtype)
    sums, errors = np.empty((blocks, numbers), kept.dtype), np.empty((1, 0), kept.dtype)
    found = (back, np.empty(len(kept), np.int64), sums, errors)
    in_threads(_backward, blocks, given, nets, sizes, kept, found)
    sum_up(grid, sizes, found, pairs_of(grad_table))
    w1, w2, b1, b2 = weights_of.py_func(sums[0], sizes)
    own = (w1[:hidden, : nets[-1]], b1[:hidden], w2[:outputs, :hidden], b2[:outputs])
    return tuple(torch.from_numpy(np.ascontiguousarray(a)) for a in own)
