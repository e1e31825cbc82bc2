"""Arithmetic and memory accesses that Numba does not offer and vector code needs.

`get` and `put` read and write without a check of the index, and are known not to touch each other: Numba promises
nothing about two arrays, so the compiler must otherwise assume that what a loop writes changes what it reads next. The
promise of a kernel that uses them: within one call, nothing that it writes is what it reads later. It holds for one
call only, so `put` keeps the compiler from merging such a kernel into its caller.

`at` gives the address of an element. Rows passed as addresses are not counted as references, which a slice made in a
row loop is, with locked instructions. Whoever takes an address keeps the array: it must be an argument of the kernel.

`add`, `sub`, `mul`, `shift` stay in the type of their operands, where Numba widens everything to 64 bits.
"""

import sys

from llvmlite import ir
from numba import types
from numba.core.errors import RequireLiteralValue
from numba.extending import intrinsic

_PICTURES = "pictures"


def _scopes(builder, *names):
    module = builder.module
    domain = module.add_metadata([ir.MetaDataString(module, "framencc")])
    scopes = [module.add_metadata([ir.MetaDataString(module, name), domain]) for name in names]
    return module.add_metadata(scopes)


def _address(context, builder, kind, value, index):
    data = value if isinstance(kind, types.CPointer) else context.make_array(kind)(context, builder, value).data
    return builder.gep(data, [index], inbounds=True)


@intrinsic
def at(typing_context, array, index):
    """Return the address of array[index]; of an address, one that is `index` elements further."""

    def generate(context, builder, signature, arguments):
        return _address(context, builder, array, *arguments)

    return types.CPointer(array.dtype)(array, types.int64), generate


@intrinsic
def get(typing_context, array, x):
    """Read array[x] (of an array or from an address) in a loop that writes other memory through `put` only."""

    def generate(context, builder, signature, arguments):
        value = builder.load(_address(context, builder, array, *arguments))
        value.set_metadata("alias.scope", _scopes(builder, builder.function.name))
        return value

    return array.dtype(array, types.int64), generate


@intrinsic
def put(typing_context, out, x, value):
    """Write out[x] = value, which nothing that `tap` and `get` read later in this call may share memory with."""

    def generate(context, builder, signature, arguments):
        builder.function.attributes.add("noinline")
        address = _address(context, builder, out, *arguments[:2])
        value = arguments[2]
        store = builder.store(context.cast(builder, value, signature.args[2], out.dtype), address)
        store.set_metadata("noalias", _scopes(builder, _PICTURES, builder.function.name))
        return context.get_dummy_value()

    return types.void(out, types.int64, value), generate


@intrinsic
def copy_four(typing_context, plane, index, out, x):
    """Copy the float32 numbers plane[index : index + 4] to out[x : x + 4], where nothing reads them through `get`."""

    def generate(context, builder, signature, arguments):
        four = ir.VectorType(ir.FloatType(), 4).as_pointer()
        source = _address(context, builder, plane, arguments[0], builder.sext(arguments[1], ir.IntType(64)))
        words = builder.load(builder.bitcast(source, four), align=4)
        target = _address(context, builder, out, *arguments[2:])
        builder.store(words, builder.bitcast(target, four), align=4)
        return context.get_dummy_value()

    return types.void(plane, types.int32, out, types.int64), generate


def _operation(name):
    @intrinsic
    def operation(typing_context, a, b):
        def generate(context, builder, signature, arguments):
            prefix = "f" if isinstance(a, types.Float) else ""
            return getattr(builder, prefix + name)(*arguments)

        return a(a, a), generate

    return operation


add, sub, mul = map(_operation, ("add", "sub", "mul"))


@intrinsic
def shift(typing_context, value, n_bits):
    """Shift a number to the right by a number of bits of its own type."""

    def generate(context, builder, signature, arguments):
        return (builder.ashr if value.signed else builder.lshr)(*arguments)

    return value(value, value), generate


@intrinsic
def fma(typing_context, a, b, c):
    """Take a b + c, rounded once."""

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return a(a, a, a), generate


@intrinsic
def cast(typing_context, value, like):
    """Convert a number to the type of another, or of an array's elements."""
    kind = like.dtype if isinstance(like, types.Array | types.CPointer) else like

    def generate(context, builder, signature, arguments):
        return context.cast(builder, arguments[0], value, kind)

    return kind(value, like), generate


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
