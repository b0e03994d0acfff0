"""Losses and gradients of a step of a fit on the CPU in two native calls, without autograd.

This is `hash_field`, `neus_sections`, `colour_network`, `composite`, the losses of colour, opacity
and gradients, and all their derivatives, in one pass over blocks of rays
(`studio.ops.fit_pass_cpu`). What is rendered and fitted by tensor operations is its twin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.ops import fit_pass_cpu as cpu
from studio.ops.hash_grid import HashGridLayout
from studio.ops.hash_grid_cpu import pairs_of
from studio.ops.ray_losses_cpu import COLOUR_ERRORS, MASK_ERRORS
from studio.ops.ray_march import RaySamples
from studio.ops.table_gradient_cpu import rows_for_table, sum_up
from studio.ops.tiles_cpu import TILE, rounded

TASKS, PAIR_TASKS = 32, 8  # most runs of blocks, and of pairs
NUMBERS = 2**22  # most gradients by weights that all tasks hold together


@dataclass(frozen=True)
class Sections:
    """How the sections of rays become opaque: see `studio.ops.composite.neus_sections`.

    Attributes:
        inv_s: sharpness s of the logistic density.
        exact: share of the exact slope.
        unit: whether the slope comes from the normal.
    """

    inv_s: float
    exact: float = 1.0
    unit: bool = False


@dataclass(frozen=True)
class RayLosses:
    """Weights of the losses and how they are measured: see `studio.models.sdf.losses`.

    Attributes:
        colour: weight of the colours' error.
        colour_norm: a key of `COLOUR_ERRORS`.
        on_mask: only rays on the mask count in it.
        mask: weight of the opacity's error.
        mask_norm: a key of `MASK_ERRORS`.
        eikonal: weight of (|gradient| - 1)^2.
    """

    colour: float = 0.0
    colour_norm: str = "l1"
    on_mask: bool = False
    mask: float = 0.0
    mask_norm: str = "bce"
    eikonal: float = 0.0


class FitPass:
    """A field and its colours, and the gradients by their parameters.

    `render` and `finish` belong together: a step is one call of each. Afterwards ``grads`` holds
    the gradients, in the parameters' order, until the next step.

    Args:
        table: of the hash grid.
        field: weights of the field's network: see `studio.ops.field.hash_field`.
        colours: weights of `studio.ops.field.colour_network`, whose inputs are the further outputs
            of the field, the normal, and the direction of the ray.
        layout: level sizes of the table.
        radius: of the sphere.
        view_dependent: colours see the ray's direction; otherwise the opposite of the normal.
    """

    def __init__(
        self,
        table: Tensor,
        field: Sequence[Tensor],
        colours: Sequence[Tensor],
        layout: HashGridLayout,
        radius: float,
        *,
        view_dependent: bool,
    ) -> None:
        self.parameters = (table, *field, *colours)
        self.grads = tuple(torch.empty_like(p.detach()) for p in self.parameters)
        self.layout, self.radius, self.view_dependent = layout, radius, view_dependent
        (hidden, width), outputs = field[0].shape, len(field[2])
        self._features, self._units = outputs - 1, len(colours[0])
        self.sizes = k, h, o = rounded(width), rounded(max(hidden, self._units)), rounded(outputs)
        shapes = ((h, k), (h,), (o, h), (o,), (h, o + 8), (h,), (4, h), (4,))
        dtype = self.grads[0].numpy().dtype
        self._padded = tuple(np.zeros(shape, dtype) for shape in shapes)
        self._none = np.zeros(max(h, o + 8, k), dtype)
        self._places: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())] * 8
        self._insides = self._corners(self._padded)
        self._own_grads = self._parts([grad.numpy() for grad in self.grads[1:]])
        self._numbers = 0
        for n in (0, 2, 1, 3, 4, 6, 5, 7):  # matrices first, as `weights_of` has them
            stop = self._numbers + math.prod(shapes[n])
            self._places[n], self._numbers = (self._numbers, stop, shapes[n]), stop

    def render(
        self,
        samples: RaySamples,
        target: Float[Tensor, "n 4"],
        background: Float[Tensor, "n 3"] | None,
        sections: Sections,
        losses: RayLosses,
        *,
        pairs: int = 0,
    ) -> Float[Tensor, " p"]:
        """Render rays, compare, and go back to the weights of the networks.

        Args:
            samples: of the rays, at least one.
            target: RGBA of the rays, with straight alpha.
            background: behind the rays; None is black.
            sections: their opacity.
            losses: what counts.
            pairs: how many pairs of points `finish` will be given.

        Returns:
            The weight of each sample in what its ray sees.
        """
        points, directions = samples.points.numpy(), samples.directions.numpy()
        offsets, wanted = samples.offsets.numpy(), target.numpy()
        (count, rays), dtype = (points.shape[1], len(wanted)), points.dtype
        behind = np.empty((0, 3), dtype) if background is None else background.numpy()
        *plan, most = cpu.cut(offsets)
        self._tasks = max(1, min(len(plan[0]) - 1, TASKS, NUMBERS // self._numbers))
        self._tiles, pair_tiles = int(plan[1][-1]), -(-pairs // TILE)
        rows, tiles = self._tasks + min(pair_tiles, PAIR_TASKS), self._tiles + 2 * pair_tiles
        self._found = (
            np.empty((tiles, rows_for_table(self.sizes[0]), TILE), dtype),
            np.empty(tiles, np.int64),
            np.empty((rows, self._numbers), dtype),
            np.empty((rows, 4), dtype),
        )
        on_mask = losses.on_mask
        self._counts = float((wanted[:, 3] > 0.5).sum()) + 1e-5 if on_mask else rays, rays, count
        kind, factor = COLOUR_ERRORS[losses.colour_norm]
        by_rays, by_mask = losses.colour / self._counts[0], losses.mask / rays
        by_length = 2 * losses.eikonal / count
        mask_kind = MASK_ERRORS[losses.mask_norm]
        terms = (kind, factor, by_rays, on_mask, mask_kind, by_mask, by_length, 0.0, self._features)
        how = (float(samples.step), sections.inv_s, sections.exact, sections.unit)
        weights = np.empty(count, dtype)
        (alpha, by_alpha), (rgb, by_rgb) = _two(dtype, count), _two(dtype, 3, count)
        (sums, by_sums), (opacity, by_opacity) = _two(dtype, 3, rays), _two(dtype, rays)
        of_samples = (alpha, rgb, weights, by_alpha, by_rgb, np.zeros(count, dtype))
        self._networks = self._padded_networks()
        self._rest = (
            (*how, self.view_dependent),
            (wanted, behind),
            terms,
            (*of_samples, sums, opacity, by_sums, by_opacity),
        )
        samples_of = (points, directions, offsets)
        found = self._part(0, self._tasks, self._tiles)
        cpu.run_pass(self._tasks, 0, (*plan, most), samples_of, *self._networks, *self._rest, found)
        return torch.from_numpy(weights)

    def finish(
        self,
        near: Float[Tensor, "3 m"] | None = None,
        far: Float[Tensor, "3 m"] | None = None,
        smooth: float = 0.0,
    ) -> tuple[float, float, float, float]:
        """Compare normals at pairs of points, sum up, and go back to the table.

        Args:
            near: points, as many as `render` was told, or none.
            far: a point near each of them.
            smooth: weight of the mean absolute change of the gradient's coordinates.

        Returns:
            Errors of colour, opacity, length of the gradient, and of its change.
        """
        table, grid, _, sizes, _ = self._networks
        rows, tiles, m = self._tasks, self._tiles, 0
        if near is not None and far is not None:
            points, m = torch.cat([near, far], 1).numpy(), near.shape[1]
            how, wanted, terms, rays = self._rest
            terms = (*terms[:7], smooth / (3 * m), terms[8])
            blocks = np.arange(-(-m // TILE) + 1)
            tasks, plan = min(len(blocks) - 1, PAIR_TASKS), (blocks, 2 * blocks, 2)
            rows, tiles = rows + tasks, tiles + int(plan[1][-1])
            found, given = self._part(self._tasks, rows, tiles), (points, points, blocks)
            rest = (how, wanted, terms, rays, found)
            cpu.run_pass(tasks, m, plan, given, *self._networks, *rest)
        back, counts, sums, errors = self._found
        found = back[:tiles], counts[:tiles], sums[:rows], errors[:rows]
        sum_up(grid, sizes, found, pairs_of(self.grads[0]))
        self._unpad(sums[0])
        counted = (*self._counts, 3 * max(m, 1))
        colour, mask, eikonal, change = (
            float(error) / n for error, n in zip(errors[0], counted, strict=True)
        )
        return colour, mask, eikonal, change

    # --- weights, padded to multiples of four ---------------------------------------------------

    def _padded_networks(self) -> tuple[Any, ...]:
        """Table, grid, field, sizes and colour network as the kernels take them."""
        weights = self._parts([p.detach().numpy() for p in self.parameters[1:]])
        for padded, own in zip(self._insides, weights, strict=True):
            padded[...] = own
        w1, b1, w2, b2, *colours = self._padded
        nets = (w1, b1, w2, b2, self._none, float(self.radius), self.layout.width)
        grid = self.layout.arrays(w1.dtype)
        table = pairs_of(self.parameters[0].detach())
        return table, grid, nets, self.sizes, (*colours, self._none)

    def _part(self, first: int, last: int, tiles: int) -> tuple[np.ndarray, ...]:
        """Where the tasks from ``first`` to ``last`` write; their tiles end at ``tiles``."""
        back, counts, sums, errors = self._found
        start = 0 if first == 0 else self._tiles
        return back[start:tiles], counts[start:tiles], sums[first:last], errors[first:last]

    def _unpad(self, flat: np.ndarray) -> None:
        """Take the gradients by the weights from the sums of the tasks."""
        found = [flat[start:stop].reshape(shape) for start, stop, shape in self._places]
        for own, padded in zip(self._own_grads, self._corners(found), strict=True):
            own[...] = padded

    def _corners(self, padded: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Where weights lie in padded arrays; those of the colours' inputs in two parts."""
        w1, b1, w2, b2, wc, bc, wo, bo = padded
        (hidden, width), outputs, units = self.parameters[1].shape, self._features + 1, self._units
        inputs = wc[:units, 1:outputs], wc[:units, self.sizes[2] : self.sizes[2] + 6]
        field = w1[:hidden, :width], b1[:hidden], w2[:outputs, :hidden], b2[:outputs]
        return [*field, *inputs, bc[:units], wo[:3, :units], bo[:3]]

    def _parts(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Weights, those of the colours' inputs in two parts."""
        w1, b1, w2, b2, wc, bc, wo, bo = weights
        return [w1, b1, w2, b2, wc[:, : self._features], wc[:, self._features :], bc, wo, bo]


def _two(dtype: np.dtype, *shape: int) -> np.ndarray:
    """Values and the gradients by them, to be filled."""
    return np.empty((2, *shape), dtype)
