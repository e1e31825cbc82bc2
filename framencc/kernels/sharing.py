"""How the bands of a kernel are shared among threads.

A `prange` in each kernel would be compiled with everything that the kernel takes, which for kernels that take much
costs seconds. So there is one `prange`, in `run_bands`, that knows only the address of a function, that of what it
takes, and the number of bands.
"""

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.extending import _Intrinsic
from numba.extending import intrinsic

from framencc.kernels.calls import make_known
from framencc.kernels.compilation import parallel_kernel

_WORD = ir.IntType(64)
_BAND = ir.FunctionType(ir.VoidType(), [_WORD, _WORD])


@intrinsic
def _compute_band(typing_context, function, taken, band):  # noqa: ARG001  (Numba calls it with more than it needs)
    def generate(context, builder, _, values):
        builder.call(builder.inttoptr(values[0], _BAND.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@parallel_kernel()
def run_bands(function, taken, n_bands):
    """Call a function, given by its address, for every band."""
    for band in numba.prange(n_bands):
        _compute_band(function, taken, band)


class _Share(_Intrinsic):  # type: ignore[misc]
    """Computes `kernel(band, *arguments)` for the bands 0 to n_bands - 1 in several threads; from Python in one."""

    def __call__(self, kernel: Any, n_bands: int, *arguments: Any) -> Any:
        for band in range(n_bands):
            kernel(band, *arguments)


def _define_share(typing_context, kernel, n_bands, *arguments):
    given = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], types.BaseTuple) else arguments
    taken_type = types.Tuple(tuple(given))
    wanted = kernel.get_call_type(typing_context, (types.int64, *given), {})

    def generate(context, builder, signature, values):
        convention, module = context.call_conv, builder.module
        band_function = cgutils.get_or_insert_function(
            module,
            convention.get_function_type(wanted.return_type, wanted.args),
            make_known(kernel.dispatcher, wanted.args),
        )
        taken = cgutils.alloca_once_value(builder, values[2])
        unpacking = ir.Function(module, _BAND, module.get_unique_name("framencc_band"))
        unpacking.linkage = "internal"
        inside = ir.IRBuilder(unpacking.append_basic_block())
        items = cgutils.unpack_tuple(inside, inside.load(inside.inttoptr(unpacking.args[0], taken.type)))
        passed = [
            context.cast(inside, item, one, other)
            for item, one, other in zip([unpacking.args[1], *items], (types.int64, *given), wanted.args, strict=True)
        ]
        convention.call_function(inside, band_function, wanted.return_type, wanted.args, passed)
        inside.ret_void()
        words = types.int64, types.int64, types.int64
        run = cgutils.get_or_insert_function(
            module, convention.get_function_type(types.none, words), make_known(run_bands, words)
        )
        count = context.cast(builder, values[1], signature.args[1], types.int64)
        addresses = [builder.ptrtoint(one, _WORD) for one in (unpacking, taken)]
        convention.call_function(builder, run, types.none, words, [*addresses, count])
        return context.get_dummy_value()

    return types.void(kernel, n_bands, taken_type), generate


share = _Share("share", _define_share)
share._register()
