"""The second half of a way back: sums over all tasks, and the gradient by the table of the grid.

The first half leaves, for each tile of points, what the table's gradient follows from; see
`studio.ops.field_tile_cpu`. Levels are the tasks of the threads.
"""

from __future__ import annotations

import numpy as np

from studio.ops.compiled import kernel, part
from studio.ops.field_tile_cpu import rows_of
from studio.ops.hash_grid_chunks_cpu import scatter_chunk, scatter_scratch
from studio.ops.scalars_cpu import take
from studio.ops.threads import in_threads
from studio.ops.tiles_cpu import TILE


def rows_for_table(width: int) -> int:
    """How many rows of a tile the table's gradient follows from: Gy, Gn / 2, g and u."""
    return 2 * width + 6


@part
def keep_for_table(tile, sizes, back):
    """Copy what the table's gradient needs beside that by y and n: g and the positions."""
    k = sizes[0]
    unit, _, _, g, _ = rows_of(tile, sizes)
    for m in range(k):
        for p in range(TILE):
            back[k + 3 + m, p] = g[m, p]
    for d in range(3):
        for p in range(TILE):
            back[2 * k + 3 + d, p] = unit[d, p]


@part
def _add_up(sums):
    """All rows are added to the first one, in their order."""
    for row in range(1, sums.shape[0]):
        for j in range(sums.shape[1]):
            sums[0, j] += sums[row, j]


@part
def _level(level, grid, sizes, back, counts, grad_table):
    """The table's gradient on a level."""
    k, offsets = sizes[0], grid[2]
    own = grad_table[offsets[level] : offsets[level + 1]]
    for row in range(len(own)):
        own[row] = 0
    scratch = scatter_scratch(back, grad_table)
    for n in range(back.shape[0]):
        tile = back[n]
        grad_y, grad_n, g, unit = tile[:k], tile[k : k + 3], tile[k + 3 : 2 * k + 3], tile[-3:]
        scatter_chunk(unit, 0, counts[n], grid, level, scratch, grad_y, g, grad_n, grad_table)


@kernel
def _sum(taken, tasks, grid, sizes, found, grad_table):
    back, counts, sums, errors = found
    levels = tasks - 1
    task = take(taken)
    while task < tasks:
        if task < levels:  # fine levels first: they take longest
            _level(levels - 1 - task, grid, sizes, back, counts, grad_table)
        else:
            _add_up(sums)
            _add_up(errors)
        task = take(taken)


def sum_up(
    grid: tuple[np.ndarray, ...],
    sizes: tuple[int, ...],
    found: tuple[np.ndarray, ...],
    grad_table: np.ndarray,
) -> None:
    """Sum up over all tasks, and go back to the table.

    Args:
        grid: of the table, as the kernels take it.
        sizes: padded numbers of features, hidden units and outputs.
        found: of each tile, the rows of `rows_for_table`, and its number of points; of each task,
            its gradients by the weights, and its errors: their sums are put into the first row.
        grad_table: will be set to the gradient by the table, pairs as complex numbers.
    """
    in_threads(_sum, len(grid[0]) + 1, grid, sizes, found, grad_table)
