"""A step of a fit on the CPU, from packed samples to the gradients of all weights.

Blocks of whole rays go through everything while they lie in the cache: field, opacities, colours,
compositing, losses, and the way back (`studio.ops.field_tile_cpu`, `studio.ops.shade_tile_cpu`,
`studio.ops.composite_cpu`, `studio.ops.ray_losses_cpu`). Pairs of points whose normals are to be
alike follow, and the table's gradient, level by level.

Runs of blocks are the tasks of the threads. How many there are follows from the numbers of rays and
samples, and each sums up its own gradients, which are added in the tasks' order: results do not
depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from studio.ops.compiled import FAST, kernel, part
from studio.ops.composite_cpu import composite_ray, composite_ray_gradient
from studio.ops.field_tile_cpu import (
    add_row_gradients,
    add_rows,
    backward_tile,
    clear,
    forward_tile,
    weights_of,
)
from studio.ops.hash_grid_chunks_cpu import encode_scratch
from studio.ops.ray_losses_cpu import ray_losses
from studio.ops.scalars_cpu import take
from studio.ops.shade_tile_cpu import (
    by_field,
    colour_weights_of,
    place_tile,
    shade_rows,
    shade_scratch,
    shade_tile,
    shade_tile_gradient,
    tile_rows,
)
from studio.ops.table_gradient_cpu import keep_for_table
from studio.ops.threads import in_threads
from studio.ops.tiles_cpu import TILE

TILES = 4  # of a block, where no single ray needs more


@part(inline="always")
def field_numbers(sizes):
    """How many weights and biases the field has."""
    k, h, o = sizes
    return h * (k + o + 1) + o


@part(inline="always")
def _forward_scratch(points, table, sizes):
    _, h, o = sizes
    hidden, slope = np.empty((h, TILE), points.dtype), np.empty((h, TILE), points.dtype)
    out, inverse = np.empty((o, TILE), points.dtype), np.empty(TILE, points.dtype)
    return encode_scratch(points, table), hidden, slope, out, inverse


@part(inline="always")
def _backward_scratch(points, sizes):
    k, h, o = sizes
    hidden, slope = np.empty((h, TILE), points.dtype), np.empty((h, TILE), points.dtype)
    grad_z, grad_s = np.empty((h, TILE), points.dtype), np.empty((h, TILE), points.dtype)
    grad_o, grad_g = np.empty((o, TILE), points.dtype), np.empty((k, TILE), points.dtype)
    return hidden, slope, grad_z, grad_s, grad_o, grad_g


@part
def _place(block, pairs, plan, offsets, j):
    """First sample and number of samples of a block's tile j."""
    if pairs > 0:  # points and, behind all of them, their neighbours
        return j * pairs + block * TILE, min(TILE, pairs - block * TILE)
    first_rays, _, _ = plan
    here = offsets[first_rays[block]] + j * TILE
    return here, min(TILE, offsets[first_rays[block + 1]] - here)


@part
def _see(first, last, offsets, wanted, terms, rays, errors):
    """Composite some rays, add up their errors, and go back to their samples."""
    target, background = wanted
    alpha, values, weights, grad_alpha, grad_values, none, sums, opacity, by_sums, by_mask = rays
    seen = (alpha, values, weights, by_sums, by_mask, none, grad_alpha, grad_values)
    for n in range(first, last):
        begin, end = offsets[n], offsets[n + 1]
        composite_ray(alpha, values, begin, end, n, sums, opacity, weights)
        kinds = (terms[0], terms[1], terms[2], terms[3], terms[4], terms[5])
        colour, mask = ray_losses(n, target, background, kinds, sums, opacity, by_sums, by_mask)
        errors[0] += colour
        errors[1] += mask
        composite_ray_gradient(begin, end, n, *seen)


@part(fastmath=FAST)
def _compare(side, count, by, kept, sizes, small, grad_i):
    """Errors |n - n'| of points and their neighbours, times three, and the gradient by either."""
    first, second = shade_rows(kept[0], sizes)[3], shade_rows(kept[1], sizes)[3]
    sign, error = by if side == 0 else -by, small[12]
    zero = error.dtype.type(0)
    clear(small)
    clear(grad_i)
    for d in range(3):
        grad = small[9 + d]
        for p in range(count):
            off = first[d, p] - second[d, p]
            error[p] += abs(off)
            grad[p] = sign if off > zero else (-sign if off < zero else zero)


@part
def _task(
    task,
    tasks,
    pairs,
    plan,
    samples,
    table,
    grid,
    nets,
    sizes,
    colours,
    how,
    wanted,
    terms,
    rays,
    found,
):
    """A run of blocks, from points to gradients, with its own sums."""
    points, directions, offsets = samples
    back, counts, sums, errors = found
    first_rays, first_tiles, most = plan
    blocks, features = len(first_rays) - 1, terms[8]
    own, split = sums[task], field_numbers(sizes)
    clear(own.reshape(1, -1))
    clear(errors[task : task + 1])
    parts, colour_parts = weights_of(own[:split], sizes), colour_weights_of(own[split:], sizes)
    kept = np.empty((most, tile_rows(sizes), TILE), points.dtype)
    shading, backward_work = shade_scratch(sizes, points), _backward_scratch(points, sizes)
    forward_work = _forward_scratch(points, table, sizes)
    _, grad_q, grad_i, small = shading
    by_pair = points.dtype.type(terms[7])
    none, all_of_it = np.int64(0), np.int64(TILE)
    for block in range(task * blocks // tasks, (task + 1) * blocks // tasks):
        tile = first_tiles[block]
        tiles = first_tiles[block + 1] - tile
        for j in range(tiles):
            here, count = _place(block, pairs, plan, offsets, j)
            place_tile(kept[j], here, count, points, directions, sizes)
            own_points, _, _, gradient, distance, i, _ = shade_rows(kept[j], sizes)
            values = (distance, gradient, i[1 : 1 + features])
            whole = (kept[j], none, all_of_it)
            forward_tile(*whole, own_points, table, grid, nets, sizes, forward_work, values)
            if pairs == 0:
                shade_tile(kept[j], here, count, features, colours, sizes, how, small, rays[:2])
        if pairs == 0:
            first, last = first_rays[block], first_rays[block + 1]
            _see(first, last, offsets, wanted, terms, rays, errors[task])
        for j in range(tiles):
            here, count = _place(block, pairs, plan, offsets, j)
            if pairs == 0:
                given = (rays[1], rays[3], rays[4], terms[6])
                at = (kept[j], here, count)
                shade_tile_gradient(*at, given, colours, sizes, how, shading, colour_parts)
                add_rows(grad_q, colour_parts[2])
                add_rows(small[:4], colour_parts[3])
                add_rows(small[12:13], errors[task, 2:3])
            else:
                _compare(j, count, by_pair, kept, sizes, small, grad_i)
                if j == 0:
                    add_rows(small[12:13], errors[task, 3:4])
            grads, place = by_field(shading, features), back[tile + j]
            by_table = place[: sizes[0] + 3]
            whole = (kept[j], none, all_of_it)
            backward_tile(*whole, grads, nets, sizes, backward_work, by_table, parts)
            add_row_gradients(backward_work, parts)
            keep_for_table(kept[j], sizes, place)
            counts[tile + j] = count


@kernel
def _pass(
    taken,
    tasks,
    pairs,
    plan,
    samples,
    table,
    grid,
    nets,
    sizes,
    colours,
    how,
    wanted,
    terms,
    rays,
    found,
):
    task = take(taken)
    while task < tasks:
        field = (table, grid, nets, sizes)
        rest = (colours, how, wanted, terms, rays, found)
        _task(task, tasks, pairs, plan, samples, *field, *rest)
        task = take(taken)


@kernel
def _blocks(offsets, first_rays, first_tiles):
    """Cut rays into blocks: as many whole rays as fit into some tiles, one ray at least.

    Returns how many blocks there are and the tiles of the largest.
    """
    blocks, first, most, rays = 0, 0, 1, len(offsets) - 1
    first_rays[0], first_tiles[0] = 0, 0
    for n in range(rays):
        if n + 1 == rays or offsets[n + 2] - offsets[first] > TILES * TILE:
            tiles = (offsets[n + 1] - offsets[first] + TILE - 1) // TILE
            most, blocks, first = max(most, tiles), blocks + 1, n + 1
            first_rays[blocks] = first
            first_tiles[blocks] = first_tiles[blocks - 1] + tiles
    return blocks, most


# --- what Python calls ----------------------------------------------------------------------------


def cut(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """First ray and first tile of each block and their ends, and the tiles of the largest."""
    first_rays, first_tiles = np.empty(len(offsets), np.int64), np.empty(len(offsets), np.int64)
    count, most = _blocks(offsets, first_rays, first_tiles)
    return first_rays[: count + 1], first_tiles[: count + 1], most


def run_pass(tasks: int, *arguments: Any) -> None:
    """From samples of rays, or from pairs of points, to gradients, in runs of blocks."""
    in_threads(_pass, tasks, *arguments)
