"""Vector instructions that a compiler does not find by itself, for Numba: one tile of a matrix product, pack, unpack.

Each is a few lines of LLVM's intermediate language, portable or with a portable way beside it, so that it runs on any
processor Numba knows; the widths suit the one at hand. Positions are counted in elements from the start of a contiguous
array, and nothing is checked.
"""

from typing import Any

from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.core.typing import signature
from numba.extending import intrinsic

# What code is compiled for: Numba's setting where there is one, else the processor at hand.
_SET: str | None = vars(config).get("CPU_FEATURES")
AVX512 = bool(binding.get_host_cpu_features().get("avx512f")) if _SET is None else "+avx512f" in _SET.split(",")
# Bytes of one vector and vectors side by side in a tile: ROWS * PANEL accumulators have to stay in registers
# (32 of 64 bytes with AVX-512; 16 of 32 bytes with AVX2).
BYTES, PANEL = (64, 4) if AVX512 else (32, 2)
ROWS = 6
WIDEST_ROW = 8  # vectors side by side in a tile of one row


def _vector(array):
    bits = array.dtype.bitwidth
    return ir.VectorType(ir.FloatType() if bits == 32 else ir.DoubleType(), 8 * BYTES // bits)


def _pointer(context, builder, kind, array, position):
    data = cgutils.create_struct_proxy(kind)(context, builder, value=array).data
    return builder.gep(data, [position])


def _load(builder, pointer, vector):
    return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=BYTES // vector.count)


def _store(builder, value, pointer):
    vector = value.type
    place = builder.bitcast(pointer, vector.as_pointer())
    builder.store(value, place, align=BYTES // vector.count)


def _call(builder, name, result, *arguments):
    """Call LLVM's own function of that name for vectors of the result's type."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    letter = "i" if isinstance(result.element, ir.IntType) else "f"
    suffix = f"v{result.count}{letter}{8 * BYTES // result.count}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"{name}.{suffix}"), arguments)


def _lanes_of(builder, bits, vector):
    """Turn the low bits of an integer into one truth value a lane."""
    return builder.bitcast(builder.trunc(bits, ir.IntType(vector.count)), ir.VectorType(ir.IntType(1), vector.count))


def make_tile(rows: int, vectors: int) -> Any:
    """Return tile(a, a0, a_row, a_step, b, b0, b_step, n, c, c0, c_row), which adds a product to a tile of c.

    For j < rows and the `vectors` whole vectors of columns v from c0: c[c0 + j c_row + v] += sum over k < n of
    a[a0 + j a_row + k a_step] b[b0 + k b_step + v].
    """

    @intrinsic
    def tile(typing, a, a0, a_row, a_step, b, b0, b_step, n, c, c0, c_row):
        one = types.intp
        sig = signature(types.void, a, one, one, one, b, one, one, one, c, one, one)

        def codegen(context, builder, sig, args):
            kind = sig.args[0]
            vector, integer = _vector(kind), args[1].type
            lanes = vector.count
            a0, a_row, a_step, b0, b_step, n, c0, c_row = (args[k] for k in (1, 2, 3, 5, 6, 7, 9, 10))
            tops = [builder.add(a0, builder.mul(a_row, integer(j))) for j in range(rows)]
            tops = [_pointer(context, builder, kind, args[0], top) for top in tops]
            b_top = _pointer(context, builder, sig.args[4], args[4], b0)
            c_rows = [builder.add(c0, builder.mul(c_row, integer(j))) for j in range(rows)]
            places = [
                _pointer(context, builder, sig.args[8], args[8], builder.add(row, integer(v * lanes)))
                for row in c_rows
                for v in range(vectors)
            ]
            start = [_load(builder, place, vector) for place in places]
            before = builder.block
            loop, done = builder.append_basic_block("step"), builder.append_basic_block("stop")
            builder.cbranch(builder.icmp_signed(">", n, integer(0)), loop, done)
            builder.position_at_end(loop)
            k = builder.phi(integer)
            sums = [builder.phi(vector) for _ in places]
            b_k = builder.gep(b_top, [builder.mul(k, b_step)])
            right = [_load(builder, builder.gep(b_k, [integer(v * lanes)]), vector) for v in range(vectors)]
            new = []
            for j in range(rows):
                number = builder.load(builder.gep(tops[j], [builder.mul(k, a_step)]))
                left = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.IntType(32)(0))
                zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
                left = builder.shuffle_vector(left, ir.Constant(vector, ir.Undefined), zeros)
                new += [
                    _call(builder, "llvm.fmuladd", vector, left, right[v], sums[j * vectors + v])
                    for v in range(vectors)
                ]
            k_next = builder.add(k, integer(1))
            builder.cbranch(builder.icmp_signed("<", k_next, n), loop, done)
            k.add_incoming(integer(0), before)
            k.add_incoming(k_next, loop)
            for total, first, following in zip(sums, start, new, strict=True):
                total.add_incoming(first, before)
                total.add_incoming(following, loop)
            builder.position_at_end(done)
            totals = [builder.phi(vector) for _ in places]
            for place, total, first, following in zip(places, totals, start, new, strict=True):
                total.add_incoming(first, before)
                total.add_incoming(following, loop)
                _store(builder, total, place)
            return context.get_dummy_value()

        return sig, codegen

    return tile


@intrinsic
def _compress(typing, source, first, bits, target, place):
    """Write the elements of one vector at source[first] whose bit is set to target[place] on, then anything.

    A whole vector is written: what stands behind the kept elements has to be written later.
    """
    sig = signature(types.void, source, types.intp, types.intp, target, types.intp)

    def codegen(context, builder, sig, args):
        vector = _vector(sig.args[0])
        lanes = _lanes_of(builder, args[2], vector)
        value = _load(builder, _pointer(context, builder, sig.args[0], args[0], args[1]), vector)
        # As integers: without AVX-512's own instruction LLVM 22 fails to compile this for floating point.
        whole = ir.VectorType(ir.IntType(8 * BYTES // vector.count), vector.count)
        value, zero = builder.bitcast(value, whole), ir.Constant(whole, None)
        value = builder.bitcast(_call(builder, "llvm.experimental.vector.compress", whole, value, lanes, zero), vector)
        _store(builder, value, _pointer(context, builder, sig.args[3], args[3], args[4]))
        return context.get_dummy_value()

    return sig, codegen


def _make_expand(add: bool) -> Any:
    """Return expand(source, place, bits, target, first): `compress` undone, with 0 between, or added to it."""

    @intrinsic
    def expand(typing, source, place, bits, target, first):
        sig = signature(types.void, source, types.intp, types.intp, target, types.intp)

        def codegen(context, builder, sig, args):
            vector = _vector(sig.args[0])
            lanes = _lanes_of(builder, args[2], vector)
            data = _pointer(context, builder, sig.args[0], args[0], args[1])
            zero = ir.Constant(vector, None)
            if AVX512:  # a whole vector read, then spread: three times as fast as the portable way, which reads masked
                value = _call(builder, "llvm.x86.avx512.mask.expand", vector, _load(builder, data, vector), zero, lanes)
            else:
                value = _call(builder, "llvm.masked.expandload", vector, data, lanes, zero)
            goal = _pointer(context, builder, sig.args[3], args[3], args[4])
            if add:
                value = builder.fadd(_load(builder, goal, vector), value)
            _store(builder, value, goal)
            return context.get_dummy_value()

        return sig, codegen

    return expand


compress: Any = _compress
expand, expand_add = _make_expand(False), _make_expand(True)
