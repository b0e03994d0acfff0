"""Pieces of compiled kernels that are written in the compiler's language, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from studio.ops import tiles_cpu as tiles
from studio.ops.compiled import FAST
from studio.ops.scalars_cpu import LIMIT, add_pair, exponential


@njit(fastmath=FAST)
def exponentials(x, out):
    for i in range(len(x)):
        out[i] = exponential(x[i])


@njit
def added(rows, row, pairs):
    for k in range(pairs.shape[1]):
        for c in range(pairs.shape[0]):
            add_pair(rows, row[c, k], pairs, c, k)


@njit
def products(w, x, bias, out, positive, turned, outer):
    tiles.product(w, x, bias, out)
    tiles.rectified_product(w, x, bias, positive)
    tiles.product_transposed(w, out, bias[:8], turned)
    tiles.add_products(out, x, outer)


def test_exponentials_in_single_precision_are_right_to_two_units_in_the_last_place() -> None:
    x = np.linspace(-LIMIT, LIMIT, 200001).astype(np.float32)
    out = np.empty_like(x)
    exponentials(x, out)
    exact = np.exp(x.astype(np.float64))
    assert np.max(np.abs(out - exact) / np.spacing(exact.astype(np.float32))) < 2
    beyond = np.array([np.nan, np.inf, -np.inf, 0], np.float32)
    out = np.empty_like(beyond)
    exponentials(beyond, out)
    assert np.isnan(out[0]) and out[3] == 1
    np.testing.assert_allclose(out[1:3], np.exp([LIMIT, -LIMIT]), rtol=1e-6)


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_pairs_are_added_to_their_rows_one_after_another(real) -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=(8, 50, 2)).astype(real)
    row = random.integers(0, 10, (8, 50)).astype(np.uint32)
    pairs = numbers.view(np.result_type(real, np.complex64))[..., 0]
    rows, expected = np.zeros(10, pairs.dtype), np.zeros(10, pairs.dtype)
    added(rows, row, pairs)
    np.add.at(expected, row.T.ravel(), pairs.T.ravel())
    assert np.array_equal(rows, expected)


@pytest.mark.parametrize(("real", "error"), [(np.float32, 1e-4), (np.float64, 1e-12)])
def test_products_of_tiles_are_those_of_matrices(real, error) -> None:
    random = np.random.default_rng(0)
    shapes = ((12, 8), (8, tiles.TILE), (12,))
    w, x, bias = (random.normal(size=shape).astype(real) for shape in shapes)
    out, turned = np.empty((12, tiles.TILE), real), np.empty((8, tiles.TILE), real)
    outer, positive = np.ones((12, 8), real), np.empty((12, tiles.TILE), real)
    products(w, x, bias, out, positive, turned, outer)
    np.testing.assert_allclose(out, w @ x + bias[:, None], rtol=0, atol=error)
    np.testing.assert_array_equal(positive, np.maximum(out, 0))
    np.testing.assert_allclose(turned, w.T @ out + bias[:8, None], rtol=0, atol=10 * error)
    np.testing.assert_allclose(outer, 1 + out @ x.T, rtol=0, atol=10 * error)
