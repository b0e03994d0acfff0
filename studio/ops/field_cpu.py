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
from numba import prange
from torch import Tensor

from studio.ops.backend import in_parallel
from studio.ops.compiled import kernel, part
from studio.ops.field_tile_cpu import (
    add_row_gradients,
    backward_tile,
    clear,
    forward_tile,
    rows_of,
    weights_of,
)
from studio.ops.hash_grid import HashGridLayout
from studio.ops.hash_grid_chunks_cpu import encode_scratch, scatter_chunk, scatter_scratch
from studio.ops.hash_grid_cpu import pairs_of
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
def _backward_block(block, grads, nets, sizes, kept, back, sums):
    k, h, o = sizes
    dtype, tiles, blocks = kept.dtype, kept.shape[0], sums.shape[0]
    hidden, slope = np.empty((h, TILE), dtype), np.empty((h, TILE), dtype)
    grad_z, grad_s = np.empty((h, TILE), dtype), np.empty((h, TILE), dtype)
    work = (hidden, slope, grad_z, grad_s, np.empty((o, TILE), dtype), np.empty((k, TILE), dtype))
    own = sums[block]
    clear(own.reshape(1, -1))
    parts = weights_of(own, sizes)
    for n in range(block * tiles // blocks, (block + 1) * tiles // blocks):
        count = min(TILE, grads[0].shape[0] - n * TILE)
        backward_tile(kept[n], n * TILE, count, grads, nets, sizes, work, back[n], parts)
        add_row_gradients(work, parts)


@part
def _scatter_level(level, count, grid, sizes, kept, back, grad_table):
    scratch = scatter_scratch(kept, grad_table)
    for n in range(kept.shape[0]):
        unit, _, _, g, _ = rows_of(kept[n], sizes)
        points = min(TILE, count - n * TILE)
        grad_y, grad_n = back[n, :-3], back[n, -3:]
        scatter_chunk(unit, 0, points, grid, level, scratch, grad_y, g, grad_n, grad_table)


@part
def _add_up(sums):
    """All rows are added to the first one, in their order."""
    for block in range(1, sums.shape[0]):
        for j in range(sums.shape[1]):
            sums[0, j] += sums[block, j]


@kernel(parallel=True)
def _forward_parallel(blocks, points, table, grid, nets, sizes, kept, results):
    for block in prange(blocks):
        _forward_block(np.int64(block), blocks, points, table, grid, nets, sizes, kept, results)


@kernel
def _forward_serial(blocks, points, table, grid, nets, sizes, kept, results):
    for block in range(blocks):
        _forward_block(block, blocks, points, table, grid, nets, sizes, kept, results)


@kernel(parallel=True)
def _backward_parallel(grads, grid, nets, sizes, kept, back, sums, grad_table):
    for block in prange(sums.shape[0]):
        _backward_block(np.int64(block), grads, nets, sizes, kept, back, sums)
    _add_up(sums)
    for level in prange(len(grid[0])):
        fine = len(grid[0]) - 1 - level  # fine levels first: they take longest
        _scatter_level(fine, grads[0].shape[0], grid, sizes, kept, back, grad_table)


@kernel
def _backward_serial(grads, grid, nets, sizes, kept, back, sums, grad_table):
    for block in range(sums.shape[0]):
        _backward_block(block, grads, nets, sizes, kept, back, sums)
    _add_up(sums)
    for level in range(len(grid[0])):
        _scatter_level(level, grads[0].shape[0], grid, sizes, kept, back, grad_table)


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
    run = _forward_parallel if in_parallel() else _forward_serial
    run(blocks, x, pairs_of(table), grid, nets, sizes, kept, results)
    return grid, nets, sizes, w2.shape, kept


def backward(
    context: tuple[Any, ...], grads: tuple[Tensor, ...], grad_table: Tensor
) -> tuple[Tensor, ...]:
    """Add the gradient by the table to ``grad_table`` and return those by W1, b1, W2 and b2.

    Args:
        context: what `forward` returned.
        grads: by sdf, gradient and features.
        grad_table: zeros, of the table's shape.
    """
    grid, nets, sizes, (outputs, hidden), kept = context
    k, h, o = sizes
    given, numbers = tuple(g.numpy() for g in grads), h * (k + o + 1) + o
    blocks = max(1, min(len(kept), BLOCKS, NUMBERS // numbers))
    back = np.empty((len(kept), k + 3, TILE), kept.dtype)
    sums = np.empty((blocks, numbers), kept.dtype)
    run = _backward_parallel if in_parallel() else _backward_serial
    run(given, grid, nets, sizes, kept, back, sums, pairs_of(grad_table))
    w1, w2, b1, b2 = weights_of.py_func(sums[0], sizes)
    found = (w1[:hidden, : nets[-1]], b1[:hidden], w2[:outputs, :hidden], b2[:outputs])
    return tuple(torch.from_numpy(np.ascontiguousarray(a)) for a in found)
