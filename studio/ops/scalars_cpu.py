"""Pieces of kernels for which numba's own code is slow, written in the compiler's language.

`exponential` is arithmetic alone, so that loops around it become vector code (numba calls the C
library, a number at a time). `add_pair` adds two numbers that lie side by side at once. `single_at`
is a pointer to numbers in memory, for numba's `carray`. `take` counts what threads share.
"""

from __future__ import annotations

import math

from llvmlite import ir
from numba import types
from numba.core import cgutils

from studio.ops.compiled import written

LIMIT = 87.0  # beyond, inverses of exponentials in single precision are no normal numbers
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4  # k times the former is exact
POLYNOMIAL = (  # (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2 (Cephes' expf, S. Moshier)
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)


def _exponential_single(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """2^k times a polynomial of r = x - k ln 2."""
    real, whole = ir.FloatType(), ir.IntType(32)

    def number(value: float) -> ir.Value:
        return ir.Constant(real, value)

    def multiply_add(a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return builder.fadd(builder.fmul(a, b, flags=("contract",)), c, flags=("contract",))

    for sign, limit in (("<", -LIMIT), (">", LIMIT)):  # what is not a number stays that
        beyond = builder.fcmp_ordered(sign, x, number(limit))
        x = builder.select(beyond, number(limit), x)
    nearest = builder.module.declare_intrinsic("llvm.rint", [real])
    k = builder.call(nearest, [builder.fmul(x, number(1 / math.log(2)))])
    r = multiply_add(k, number(-LN2_HIGH), x)
    r = multiply_add(k, number(-LN2_LOW), r)
    rest = number(POLYNOMIAL[0])
    for factor in POLYNOMIAL[1:]:
        rest = multiply_add(rest, r, number(factor))
    value = builder.fadd(multiply_add(rest, builder.fmul(r, r), r), number(1))
    exponent = builder.add(builder.fptosi(k, whole), ir.Constant(whole, 127))
    power = builder.bitcast(builder.shl(exponent, ir.Constant(whole, 23)), real)
    return builder.fmul(value, power)


@written
def exponential(typing_context, x):
    """e^x: of single precision to 2 units in the last place, and within [e^-87, e^87]."""

    def code(context, builder, signature, args):
        (number,) = args
        if signature.return_type == types.float32:
            return _exponential_single(builder, number)
        library = builder.module.declare_intrinsic("llvm.exp", [number.type])
        return builder.call(library, [number])

    return (types.float64(x) if x == types.float64 else types.float32(x)), code


@written
def add_pair(typing_context, rows, row, pairs, first, second):
    """Add the complex number pairs[first, second] to rows[row]."""

    def code(context, builder, signature, args):
        kinds = signature.args
        table = context.make_array(kinds[0])(context, builder, args[0])
        given = context.make_array(kinds[2])(context, builder, args[2])
        index = ir.IntType(64)
        line = context.cast(builder, args[3], kinds[3], types.intp)
        place = builder.mul(line, cgutils.unpack_tuple(builder, given.shape)[1])
        place = builder.add(place, context.cast(builder, args[4], kinds[4], types.intp))
        into = builder.zext(args[1], index)
        single = kinds[0].dtype == types.complex64
        real, align = (ir.FloatType(), 4) if single else (ir.DoubleType(), 8)
        two = ir.VectorType(real, 2)

        def address(base: ir.Value, offset: ir.Value) -> ir.Value:
            return builder.gep(builder.bitcast(base, two.as_pointer()), [offset], source_etype=two)

        target = address(table.data, into)
        change = builder.load(address(given.data, place), align=align, typ=two)
        before = builder.load(target, align=align, typ=two)
        builder.store(builder.fadd(before, change), target, align=align)
        return context.get_dummy_value()

    fits = rows.layout == "C" and pairs.layout == "C" and row == types.uint32
    return (types.void(rows, row, pairs, first, second) if fits else None), code


@written
def single_at(typing_context, address):
    """Pointer to numbers in single precision at an address (a 64-bit integer)."""

    def code(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float32)(address), code


@written
def take(typing_context, taken):
    """The count in ``taken[0]``, which is one more afterwards: no two threads get the same."""

    def code(context, builder, signature, args):
        counts = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.atomic_rmw("add", counts.data, ir.Constant(ir.IntType(64), 1), "monotonic")

    fits = isinstance(taken, types.Array) and taken.dtype == types.int64
    return (types.int64(taken) if fits else None), code
