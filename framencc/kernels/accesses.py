"""Reads and writes that are known not to touch each other, so that loops with gathers vectorise.

Numba promises nothing about two arrays: the compiler must assume that what a loop writes changes what it reads next.
For neighbours in memory it tests that at run time, but not for a gather, whose addresses are known only when it is
executed. Here reads and writes are declared apart (LLVM's scoped "noalias"), and an index is taken as it is: it counts
from the beginning, and nothing checks it.
"""

import sys

from llvmlite import ir
from numba import types
from numba.core.errors import RequireLiteralValue
from numba.extending import intrinsic


def _scope_of_reads(module):
    # Without it the compiler must assume that a write changes what the next gather reads, and does not vectorise.
    domain = module.add_metadata([ir.MetaDataString(module, "framencc")])
    return module.add_metadata([module.add_metadata([ir.MetaDataString(module, "reads"), domain])])


@intrinsic
def tap(typing_context, plane, index, step):
    """Read plane[index + step] as float32, through a word at plane[index] that neighbours share.

    `step` is a literal. The word may reach up to 3 bytes beyond the tap.
    """
    if not isinstance(step, types.IntegerLiteral):
        raise RequireLiteralValue("the step must be a literal")
    itemsize = plane.dtype.bitwidth // 8
    per_word = 4 // itemsize
    first = step.literal_value // per_word * per_word
    place = step.literal_value - first

    def generate(context, builder, signature, arguments):
        data = context.make_array(plane)(context, builder, arguments[0]).data
        wide, byte = ir.IntType(64), ir.IntType(8)
        start = builder.mul(builder.sext(arguments[1], wide), wide(itemsize))
        start = builder.add(start, wide(first * itemsize))
        address = builder.gep(builder.bitcast(data, byte.as_pointer()), [start], inbounds=True)
        word_type = ir.FloatType() if plane.dtype == types.float32 else ir.IntType(32)
        word = builder.load(builder.bitcast(address, word_type.as_pointer()), align=itemsize)
        word.set_metadata("alias.scope", _scope_of_reads(builder.module))
        if plane.dtype == types.float32:
            return word
        bits = 8 * itemsize
        shift = bits * (place if sys.byteorder == "little" else per_word - 1 - place)
        code = builder.and_(builder.lshr(word, word_type(shift)), word_type((1 << bits) - 1))
        return builder.sitofp(code, ir.FloatType())

    return types.float32(plane, types.int32, step), generate


@intrinsic
def get(typing_context, array, x):
    """Read array[x] in a loop that writes other arrays through `put` only."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(array)(context, builder, arguments[0]).data
        value = builder.load(builder.gep(data, [arguments[1]], inbounds=True))
        value.set_metadata("alias.scope", _scope_of_reads(builder.module))
        return value

    return array.dtype(array, types.int64), generate


@intrinsic
def put(typing_context, out, x, value):
    """Write out[x] = value, which nothing that `tap` and `get` read may share memory with."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(out)(context, builder, arguments[0]).data
        store = builder.store(arguments[2], builder.gep(data, [arguments[1]], inbounds=True))
        store.set_metadata("noalias", _scope_of_reads(builder.module))
        return context.get_dummy_value()

    return types.void(out, types.int64, out.dtype), generate
