"""Numba kernels of the multiresolution hash grid (two features per level, feature-major storage).

What they do to a chunk of points is in `studio.ops.hash_grid_chunks_cpu`.
"""

from __future__ import annotations

import numpy as np
from numba import prange
from torch import Tensor

from studio.ops.backend import in_parallel
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


@kernel(parallel=True)
def _encode_parallel(points, table, grid, features, jacobian):
    levels = len(grid[0])
    for task in prange(levels * ((points.shape[1] + BLOCK - 1) // BLOCK)):
        start = (task // levels) * BLOCK
        _encode_task(points, table, grid, task % levels, start, features, jacobian)


@kernel
def _encode_serial(points, table, grid, features, jacobian):
    for start in range(0, points.shape[1], BLOCK):
        for level in range(len(grid[0])):
            _encode_task(points, table, grid, level, start, features, jacobian)


@kernel(parallel=True)
def _scatter_parallel(points, grid, grad_y, g, grad_n, grad_table):
    levels = len(grid[0])
    for task in prange(levels):  # fine levels first: they take longest
        _scatter_task(points, grid, levels - 1 - task, grad_y, g, grad_n, grad_table)


@kernel
def _scatter_serial(points, grid, grad_y, g, grad_n, grad_table):
    for level in range(len(grid[0])):
        _scatter_task(points, grid, level, grad_y, g, grad_n, grad_table)


@kernel
def _contract_serial(jacobian, g, normal):
    contract_range(jacobian, g, normal, 0, g.shape[1])


@kernel
def _expand_serial(jacobian, grad_normal, grad_g):
    expand_range(jacobian, grad_normal, grad_g, 0, grad_g.shape[1])


@kernel(parallel=True)
def _contract_parallel(jacobian, g, normal):
    count = g.shape[1]
    for block in prange((count + ROW_BLOCK - 1) // ROW_BLOCK):
        contract_range(
            jacobian, g, normal, block * ROW_BLOCK, min(count, block * ROW_BLOCK + ROW_BLOCK)
        )


@kernel(parallel=True)
def _expand_parallel(jacobian, grad_normal, grad_g):
    count = grad_g.shape[1]
    for block in prange((count + ROW_BLOCK - 1) // ROW_BLOCK):
        expand_range(
            jacobian,
            grad_normal,
            grad_g,
            block * ROW_BLOCK,
            min(count, block * ROW_BLOCK + ROW_BLOCK),
        )


def pairs_of(table: Tensor) -> np.ndarray:
    """Rows of two features as complex numbers, in the same memory."""
    rows = table.numpy()
    return rows.view(np.result_type(rows.dtype, np.complex64)).reshape(-1)


def encode(
    points: Tensor, table: Tensor, layout: HashGridLayout, features: Tensor, jacobian: Tensor
) -> None:
    """Fill ``features`` [2L, P] and, unless it has no points, ``jacobian`` [2L, 3, P]."""
    run = _encode_parallel if in_parallel() else _encode_serial
    x = points.numpy()
    run(x, pairs_of(table), layout.arrays(x.dtype), features.numpy(), jacobian.numpy())


def scatter(
    points: Tensor,
    layout: HashGridLayout,
    grad_y: Tensor,
    g: Tensor,
    grad_n: Tensor,
    grad_table: Tensor,
) -> None:
    """Add the gradient with respect to the table to ``grad_table`` (levels are independent)."""
    run = _scatter_parallel if in_parallel() else _scatter_serial
    gradients = (grad_y.numpy(), g.numpy(), grad_n.numpy(), pairs_of(grad_table))
    run(points.numpy(), layout.arrays(gradients[0].dtype), *gradients)


def contract(jacobian: Tensor, g: Tensor, normal: Tensor) -> None:
    """normal[d, p] = sum_k jacobian[k, d, p] g[k, p]."""
    run = _contract_parallel if in_parallel() else _contract_serial
    run(jacobian.numpy(), g.numpy(), normal.numpy())


def expand(jacobian: Tensor, grad_normal: Tensor, grad_g: Tensor) -> None:
    """grad_g[k, p] = sum_d jacobian[k, d, p] grad_normal[d, p]."""
    run = _expand_parallel if in_parallel() else _expand_serial
    run(jacobian.numpy(), grad_normal.numpy(), grad_g.numpy())
