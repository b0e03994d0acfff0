"""Numba kernels of the multiresolution hash grid (two features per level, feature-major storage).

What they do to a chunk of points is in `studio.ops.hash_grid_chunks_cpu`.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from studio.ops.compiled import kernel, part
from studio.ops.hash_grid import HashGridLayout
from studio.ops.hash_grid_chunks_cpu import (
    CHUNK,
    contract_range,
    encode_chunk,
    encode_scratch,
    expand_range,
    scatter_chunk,
    scatter_scratch,
)
from studio.ops.scalars_cpu import take
from studio.ops.threads import in_threads

BLOCK = 2048  # points per task: one block of points, features and Jacobian stays in the cache
ROW_BLOCK = 1024  # points per task of the contraction


@part
def _encode_task(points, table, grid, level, first, features, jacobian):
    """A block of points on one level."""
    scratch = encode_scratch(points, table)
    stop, sloped = min(first + BLOCK, points.shape[1]), jacobian.shape[2] > 0
    for start in range(first, stop, CHUNK):
        count = min(CHUNK, stop - start)
        given = (points, start, count, table, grid, level, scratch)
        encode_chunk(*given, features, jacobian, sloped)


@part
def _scatter_task(points, grid, level, grad_y, g, grad_n, grad_table):
    """All points on one level."""
    scratch = scatter_scratch(points, grad_table)
    for start in range(0, points.shape[1], CHUNK):
        count = min(CHUNK, points.shape[1] - start)
        scatter_chunk(points, start, count, grid, level, scratch, grad_y, g, grad_n, grad_table)


@kernel
def _encode(taken, tasks, points, table, grid, features, jacobian):
    levels = len(grid[0])
    task = take(taken)
    while task < tasks:
        start = (task // levels) * BLOCK
        _encode_task(points, table, grid, task % levels, start, features, jacobian)
        task = take(taken)


@kernel
def _scatter(taken, levels, points, grid, grad_y, g, grad_n, grad_table):
    task = take(taken)
    while task < levels:  # fine levels first: they take longest
        _scatter_task(points, grid, levels - 1 - task, grad_y, g, grad_n, grad_table)
        task = take(taken)


@kernel
def _contract(taken, tasks, jacobian, g, normal):
    task = take(taken)
    while task < tasks:
        stop = min(g.shape[1], (task + 1) * ROW_BLOCK)
        contract_range(jacobian, g, normal, task * ROW_BLOCK, stop)
        task = take(taken)


@kernel
def _expand(taken, tasks, jacobian, grad_normal, grad_g):
    task = take(taken)
    while task < tasks:
        stop = min(grad_g.shape[1], (task + 1) * ROW_BLOCK)
        expand_range(jacobian, grad_normal, grad_g, task * ROW_BLOCK, stop)
        task = take(taken)


def pairs_of(table: Tensor) -> np.ndarray:
    """Rows of two features as complex numbers, in the same memory."""
    rows = table.numpy()
    return rows.view(np.result_type(rows.dtype, np.complex64)).reshape(-1)


def encode(
    points: Tensor, table: Tensor, layout: HashGridLayout, features: Tensor, jacobian: Tensor
) -> None:
    """Fill ``features`` [2L, P] and, unless it has no points, ``jacobian`` [2L, 3, P]."""
    x = points.numpy()
    given, grid = (x, pairs_of(table)), layout.arrays(x.dtype)
    tasks = layout.levels * -(-x.shape[1] // BLOCK)
    in_threads(_encode, tasks, *given, grid, features.numpy(), jacobian.numpy())


def scatter(
    points: Tensor,
    layout: HashGridLayout,
    grad_y: Tensor,
    g: Tensor,
    grad_n: Tensor,
    grad_table: Tensor,
) -> None:
    """Add the gradient with respect to the table to ``grad_table`` (levels are independent)."""
    gradients = (grad_y.numpy(), g.numpy(), grad_n.numpy(), pairs_of(grad_table))
    grid = layout.arrays(gradients[0].dtype)
    in_threads(_scatter, layout.levels, points.numpy(), grid, *gradients)


def contract(jacobian: Tensor, g: Tensor, normal: Tensor) -> None:
    """normal[d, p] = sum_k jacobian[k, d, p] g[k, p]."""
    arrays = (jacobian.numpy(), g.numpy(), normal.numpy())
    in_threads(_contract, -(-g.shape[1] // ROW_BLOCK), *arrays)


def expand(jacobian: Tensor, grad_normal: Tensor, grad_g: Tensor) -> None:
    """grad_g[k, p] = sum_d jacobian[k, d, p] grad_normal[d, p]."""
    arrays = (jacobian.numpy(), grad_normal.numpy(), grad_g.numpy())
    in_threads(_expand, -(-grad_g.shape[1] // ROW_BLOCK), *arrays)
