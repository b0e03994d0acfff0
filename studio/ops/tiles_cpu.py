"""Matrix products on tiles of points, for small networks that never leave the cache.

A tile is `TILE` points, feature-major: a row holds one number of all its points. The products keep
their sums in vector registers from the first term to the last, which no loop that numba compiles
does; so they are written in the compiler's own language (LLVM IR, by llvmlite, for whichever
processor), once for every kernel that uses them. In numpy's words:

    product(w, x, bias, out)               out[:] = w @ x + bias[:, None]
    rectified_product(w, x, bias, out)     out[:] = np.maximum(w @ x + bias[:, None], 0)
    product_transposed(w, x, bias, out)    out[:] = w.T @ x + bias[:, None]
    add_products(a, b, out)                out += a @ b.T

where x, a and b have `TILE` columns. All other sizes are multiples of four: weights are padded with
zeros, which change no sum, so that there is no second form for what is left over. All arrays are
C-contiguous and of one type.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from studio.ops.compiled import written

TILE = 64  # points: what two products in a row touch stays in the first-level cache
LANES = 8  # numbers of a vector; the compiler splits it where registers are shorter
ROWS, COLUMNS = 4, 2  # of vectors that are summed up at a time: 8 sums, 2 operands, 1 factor

_index = ir.IntType(64)
_Values = list[ir.Value]


def rounded(count: int) -> int:
    """The next multiple of four."""
    return -(-count // 4) * 4


def padded(array: np.ndarray, *shape: int) -> np.ndarray:
    """Weights or biases in the first corner of zeros."""
    out = np.zeros(shape, array.dtype)
    out[tuple(slice(n) for n in array.shape)] = array
    return out


class _Loops:
    """Writes the loops of one function: addresses, vectors, sums in registers."""

    def __init__(self, builder: ir.IRBuilder, real: ir.Type) -> None:
        self.builder, self.real = builder, real
        self.vector = ir.VectorType(real, LANES)
        self.align = 4 if isinstance(real, ir.FloatType) else 8

    @contextlib.contextmanager
    def each(self, stop: ir.Value | int, step: int) -> Iterator[ir.Value]:
        """A loop over 0, step, ... below ``stop``."""
        stop = stop if isinstance(stop, ir.Value) else _index(stop)
        around = cgutils.for_range_slice(self.builder, _index(0), stop, _index(step))
        with around as (index, _):
            yield index

    def at(self, pointer: ir.Value, *offsets: ir.Value | int) -> ir.Value:
        """The address some numbers further on."""
        for offset in offsets:
            offset = offset if isinstance(offset, ir.Value) else _index(offset)
            pointer = self.builder.gep(pointer, [offset], source_etype=self.real)
        return pointer

    def load(self, pointer: ir.Value, lanes: int = LANES) -> ir.Value:
        """A vector from memory."""
        kind = ir.VectorType(self.real, lanes)
        pointer = self.builder.bitcast(pointer, kind.as_pointer())
        return self.builder.load(pointer, align=self.align, typ=kind)

    def store(self, value: ir.Value, pointer: ir.Value) -> None:
        """A vector to memory."""
        pointer = self.builder.bitcast(pointer, value.type.as_pointer())
        self.builder.store(value, pointer, align=self.align)

    def splat(self, pointer: ir.Value) -> ir.Value:
        """One number of memory in all lanes."""
        number = self.builder.load(pointer, align=self.align, typ=self.real)
        none = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(none, number, ir.IntType(32)(0))
        return self.shuffle(first, none, [0] * LANES)

    def shuffle(self, a: ir.Value, b: ir.Value, lanes: list[int]) -> ir.Value:
        """Some lanes of two vectors."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
        return self.builder.shuffle_vector(a, b, mask)

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """A sum that may become part of a fused multiplication and addition."""
        return self.builder.fadd(a, b, flags=("contract",))

    def rectified(self, a: ir.Value) -> ir.Value:
        """Zero instead of negative numbers."""
        zero = ir.Constant(self.vector, None)
        return self.builder.select(self.builder.fcmp_ordered("<", a, zero), zero, a)

    def sums(self, starts: _Values) -> _Values:
        """Places of running sums, which the compiler keeps in registers."""
        places = [cgutils.alloca_once(self.builder, self.vector) for _ in starts]
        for start, place in zip(starts, places, strict=True):
            self.builder.store(start, place)
        return places

    def add_grid(self, places: _Values, rows: _Values, columns: _Values) -> None:
        """places[i, j] += rows[i] * columns[j]."""
        pairs = [(row, column) for row in rows for column in columns]
        for place, (row, column) in zip(places, pairs, strict=True):
            term = self.builder.fmul(row, column, flags=("contract",))
            self.builder.store(self.add(self.builder.load(place), term), place)

    def across(self, vectors: _Values) -> ir.Value:
        """The sum over the lanes of each of `LANES` vectors: neighbours are added, thrice."""
        even, odd = list(range(0, 2 * LANES, 2)), list(range(1, 2 * LANES, 2))
        while len(vectors) > 1:
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [
                self.add(self.shuffle(a, b, even), self.shuffle(a, b, odd)) for a, b in pairs
            ]
        return vectors[0]


def _product(
    loops: _Loops,
    w: ir.Value,
    x: ir.Value,
    bias: ir.Value,
    out: ir.Value,
    rows: ir.Value,
    columns: ir.Value,
    row_step: ir.Value,
    column_step: ir.Value,
    *,
    rectify: bool = False,
) -> None:
    """Set out[m, p] to bias[m] + sum_k w[m row_step + k column_step] x[k, p], 4 rows at a time."""
    at, multiply = loops.at, loops.builder.mul
    with loops.each(TILE, COLUMNS * LANES) as p, loops.each(rows, ROWS) as m:
        starts = [loops.splat(at(bias, m, i)) for i in range(ROWS)]
        places = loops.sums([start for start in starts for _ in range(COLUMNS)])
        first = [multiply(loops.builder.add(m, _index(i)), row_step) for i in range(ROWS)]
        with loops.each(columns, 1) as k:
            line = at(x, multiply(k, _index(TILE)), p)
            operands = [loops.load(at(line, LANES * j)) for j in range(COLUMNS)]
            along = multiply(k, column_step)
            factors = [loops.splat(at(w, row, along)) for row in first]
            loops.add_grid(places, factors, operands)
        for n, place in enumerate(places):
            row = multiply(loops.builder.add(m, _index(n // COLUMNS)), _index(TILE))
            value = loops.builder.load(place)
            value = loops.rectified(value) if rectify else value
            loops.store(value, at(out, row, p, n % COLUMNS * LANES))


def _rectified_product(*args: Any) -> None:
    """The same, and zero where that is negative."""
    _product(*args, rectify=True)


def _add_products(
    loops: _Loops, a: ir.Value, b: ir.Value, out: ir.Value, rows: ir.Value, columns: ir.Value
) -> None:
    """Add sum_p a[m, p] b[k, p] to out[m, k], 2 rows and 4 columns at a time."""
    at, multiply = loops.at, loops.builder.mul
    zero = ir.Constant(loops.vector, None)
    with loops.each(rows, COLUMNS) as m, loops.each(columns, ROWS) as k:
        places = loops.sums([zero] * (ROWS * COLUMNS))
        left, right = (at(x, multiply(n, _index(TILE))) for x, n in ((a, m), (b, k)))
        with loops.each(TILE, LANES) as p:
            first = [loops.load(at(left, TILE * i, p)) for i in range(COLUMNS)]
            second = [loops.load(at(right, TILE * j, p)) for j in range(ROWS)]
            loops.add_grid(places, first, second)
        found = loops.across([loops.builder.load(place) for place in places])
        for i in range(COLUMNS):
            row = multiply(loops.builder.add(m, _index(i)), columns)
            place = at(out, row, k)
            part = loops.shuffle(found, found, [ROWS * i + j for j in range(ROWS)])
            loops.store(loops.add(loops.load(place, ROWS), part), place)


def _call(
    write: Callable,
    counts: Callable,
    context: Any,
    builder: ir.IRBuilder,
    signature: Any,
    args: Any,
) -> ir.Value:
    """Call a function written by ``write``: defined once in a module, and known in no other."""
    arrays = [
        context.make_array(kind)(context, builder, value)
        for kind, value in zip(signature.args, args, strict=True)
    ]
    real = context.get_value_type(signature.args[0].dtype)
    numbers = counts([cgutils.unpack_tuple(builder, array.shape) for array in arrays])
    name = f"studio.{write.__name__}.{real}"
    function = builder.module.globals.get(name)
    if function is None:
        kinds = [real.as_pointer()] * len(arrays) + [_index] * len(numbers)
        function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        own = ir.IRBuilder(function.append_basic_block())
        write(_Loops(own, real), *function.args)
        own.ret_void()
    builder.call(function, [*(array.data for array in arrays), *numbers])
    return context.get_dummy_value()


def _signature(*arrays: types.Type) -> Any:
    """None (a typing error) unless all are contiguous arrays of one type."""
    first = arrays[0]
    if all(
        isinstance(a, types.Array) and a.layout == "C" and a.dtype == first.dtype for a in arrays
    ):
        return types.void(*arrays)
    return None


@written
def product(typing_context, w, x, bias, out):
    """Set out [m, TILE] to w [m, k] x [k, TILE] + bias [m]."""

    def code(*parts):
        return _call(_product, lambda s: [s[0][0], s[0][1], s[0][1], _index(1)], *parts)

    return _signature(w, x, bias, out), code


@written
def rectified_product(typing_context, w, x, bias, out):
    """Set out [m, TILE] to the greater of 0 and w [m, k] x [k, TILE] + bias [m]."""

    def code(*parts):
        return _call(_rectified_product, lambda s: [s[0][0], s[0][1], s[0][1], _index(1)], *parts)

    return _signature(w, x, bias, out), code


@written
def product_transposed(typing_context, w, x, bias, out):
    """Set out [m, TILE] to w^T x + bias [m], of w [k, m] and x [k, TILE]."""

    def code(*parts):
        return _call(_product, lambda s: [s[0][1], s[0][0], _index(1), s[0][1]], *parts)

    return _signature(w, x, bias, out), code


@written
def add_products(typing_context, a, b, out):
    """Add a [m, TILE] b [k, TILE]^T to out [m, k]."""

    def code(*parts):
        return _call(_add_products, lambda s: [s[0][0], s[1][0]], *parts)

    return _signature(a, b, out), code
