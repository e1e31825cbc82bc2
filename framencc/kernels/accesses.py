"""Reads and writes that are known not to touch each other, so that loops with gathers vectorise.

Numba promises nothing about two arrays: the compiler must assume that what a loop writes changes what it reads next.
For neighbours in memory it tests that at run time, but not for a gather, whose addresses are known only when it is
executed. Here reads and writes are declared apart (LLVM's scoped "noalias"), and an index is taken as it is: it counts
from the beginning, nothing checks it, and the array must be contiguous.

The promise of a kernel that uses `get` and `put`: nothing that it writes is what it reads, in any of its calls. It
holds within one kernel function only, so one stage may read what the stage before it wrote. What `tap` reads, a
picture, no kernel ever writes.
"""

import sys

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import RequireLiteralValue
from numba.extending import intrinsic

_PICTURES = "pictures"


def _scopes(builder, *names):
    module = builder.module
    domain = module.add_metadata([ir.MetaDataString(module, "framencc")])
    scopes = [module.add_metadata([ir.MetaDataString(module, name), domain]) for name in names]
    return module.add_metadata(scopes)


@intrinsic
def tap(typing_context, plane, index, step):
    """Read plane[index + step] as float32, out of a word of four bytes that neighbours share.

    `step` is a literal. The word does not leave the plane, which holds four bytes or more; what it says of pixels
    beyond the end is meaningless.
    """
    if not isinstance(step, types.IntegerLiteral):
        raise RequireLiteralValue("the step must be a literal")
    itemsize = plane.dtype.bitwidth // 8
    per_word = 4 // itemsize if sys.byteorder == "little" else 1
    first, place = step.literal_value // per_word * per_word, step.literal_value % per_word
    word_bits, pixel_bits = 8 * itemsize * per_word, 8 * itemsize

    def generate(context, builder, signature, arguments):
        array = context.make_array(plane)(context, builder, arguments[0])
        narrow, wide = ir.IntType(32), ir.IntType(64)
        wanted = builder.add(arguments[1], narrow(first))
        start = wanted
        if per_word > 1:
            last = builder.sub(builder.trunc(array.nitems, narrow), narrow(per_word))
            start = builder.select(builder.icmp_signed("<", wanted, last), wanted, last)
        word_type = ir.FloatType() if plane.dtype == types.float32 else ir.IntType(word_bits)
        address = builder.gep(array.data, [builder.sext(start, wide)], inbounds=True)
        word = builder.load(builder.bitcast(address, word_type.as_pointer()), align=itemsize)
        word.set_metadata("alias.scope", _scopes(builder, _PICTURES))
        if plane.dtype == types.float32:
            return word
        if per_word > 1:
            word = builder.lshr(word, builder.mul(builder.sub(wanted, start), narrow(pixel_bits)))
            word = builder.lshr(word, narrow(place * pixel_bits))
            word = builder.and_(word, narrow((1 << pixel_bits) - 1))
        return builder.uitofp(word, ir.FloatType())

    return types.float32(plane, types.int32, step), generate


@intrinsic
def get(typing_context, array, x):
    """Read array[x] in a loop that writes other arrays through `put` only."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(array)(context, builder, arguments[0]).data
        value = builder.load(builder.gep(data, [arguments[1]], inbounds=True))
        value.set_metadata("alias.scope", _scopes(builder, builder.function.name))
        return value

    return array.dtype(array, types.int64), generate


@intrinsic
def put(typing_context, out, x, value):
    """Write out[x] = value, which nothing that `tap` and `get` read may share memory with."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(out)(context, builder, arguments[0]).data
        store = builder.store(arguments[2], builder.gep(data, [arguments[1]], inbounds=True))
        store.set_metadata("noalias", _scopes(builder, _PICTURES, builder.function.name))
        return context.get_dummy_value()

    return types.void(out, types.int64, out.dtype), generate


@intrinsic
def fetch(typing_context, array, x):
    """Ask for the cache line of array[x], which will be read soon; it may lie beyond the array."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(array)(context, builder, arguments[0]).data
        byte = ir.IntType(8).as_pointer()
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [address, i32(0), i32(2), i32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate
