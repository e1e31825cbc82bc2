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
from numba.core.callconv import RETCODE_USEREXC, excinfo_ptr_t
from numba.core.extending import _Intrinsic
from numba.extending import intrinsic

from framencc.kernels.calls import call_by_name
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
    """Computes `kernel(band, *arguments)` for the bands 0 to n_bands - 1 in several threads; from Python in one.

    What a band raises (no memory, say), the caller raises when all bands are done.
    """

    def __call__(self, kernel: Any, n_bands: int, *arguments: Any) -> Any:
        for band in range(n_bands):
            kernel(band, *arguments)


def _define_share(typing_context, kernel, n_bands, *arguments):
    given = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], types.BaseTuple) else arguments
    taken_type, words = types.Tuple(tuple(given)), (types.int64, types.int64, types.int64)
    wanted = kernel.get_call_type(typing_context, (types.int64, *given), {})

    def generate(context, builder, signature, values):
        convention, module = context.call_conv, builder.module
        error = cgutils.alloca_once_value(builder, excinfo_ptr_t(None))
        taken = cgutils.alloca_once_value(builder, cgutils.pack_struct(builder, [values[2], error]))
        unpacking = ir.Function(module, _BAND, module.get_unique_name("framencc_band"))
        unpacking.linkage = "internal"
        inside = ir.IRBuilder(unpacking.append_basic_block())
        packed, slot = cgutils.unpack_tuple(inside, inside.load(inside.inttoptr(unpacking.args[0], taken.type)))
        items = [unpacking.args[1], *cgutils.unpack_tuple(inside, packed)]
        status, _ = call_by_name(context, inside, kernel.dispatcher, wanted, (types.int64, *given), items)
        with cgutils.if_unlikely(inside, status.is_error):
            inside.store(status.excinfoptr, slot)  # of several, any one: it is a single address
        inside.ret_void()
        count = context.cast(builder, values[1], signature.args[1], types.int64)
        addresses = [builder.ptrtoint(one, _WORD) for one in (unpacking, taken)]
        call_by_name(context, builder, run_bands, types.none(*words), words, [*addresses, count])
        raised = builder.load(error)
        with cgutils.if_unlikely(builder, cgutils.is_not_null(builder, raised)):
            convention.return_status_propagate(builder, convention._get_return_status(builder, RETCODE_USEREXC, raised))
        return context.get_dummy_value()

    return types.void(kernel, n_bands, taken_type), generate


share = _Share("share", _define_share)
share._register()
