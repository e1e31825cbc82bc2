"""Calls of kernels whose machine code is not copied into the caller.

Numba links the code of every function that a function calls into it, and optimises it there again; a parallel shell
does so three times. `call` refers to the other kernel by a name instead, which is registered once that one is
compiled, or found on disk. Each kernel is then optimised once, however many call it, and stays a function of its own.
"""

import importlib
from typing import Any

import llvmlite.binding as llvm
from numba import types
from numba.core import cgutils
from numba.core.extending import _Intrinsic

_known: dict[str, tuple[str, str, Any]] = {}


def _name(dispatcher: Any, argument_types: Any) -> str:
    function = dispatcher.py_func
    return f"framencc:{function.__module__}.{function.__qualname__}{argument_types}"


def make_known(dispatcher: Any, argument_types: Any) -> str:
    """Give the machine code for these types the name by which `call` refers to it; compile it if that is necessary."""
    name = _name(dispatcher, argument_types)
    if name not in _known:
        dispatcher = dispatcher.inner
        dispatcher.compile(argument_types)
        compiled = dispatcher.overloads[argument_types]
        llvm.add_symbol(name, compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))
        function = dispatcher.py_func
        _known[name] = function.__module__, function.__qualname__, argument_types
    return name


def called_by(compiled: Any) -> list[tuple[str, str, Any]]:
    """Return what compiled code refers to, for `make_known_again`."""
    module = compiled.library._final_module
    return [_known[one.name] for one in module.functions if one.is_declaration and one.name in _known]


def make_known_again(needed: list[tuple[str, str, Any]]) -> None:
    """Make known what code from the disk refers to."""
    for module, qualname, argument_types in needed:
        make_known(getattr(importlib.import_module(module), qualname), argument_types)


class _Call(_Intrinsic):  # type: ignore[misc]
    """Calls a kernel of a module's top level without copying its code; from Python as any function is called."""

    def __call__(self, kernel: Any, *arguments: Any) -> Any:
        return kernel(*arguments)


def call_by_name(context, builder, dispatcher, wanted, given, values):
    """Emit a call of a kernel by its name; return its status and its result."""
    name, convention = make_known(dispatcher, wanted.args), context.call_conv
    function_type = convention.get_function_type(wanted.return_type, wanted.args)
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    passed = [
        context.cast(builder, value, one, other) for value, one, other in zip(values, given, wanted.args, strict=True)
    ]
    return convention.call_function(builder, function, wanted.return_type, wanted.args, passed)


def _define(typing_context, kernel, *arguments):
    given = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], types.BaseTuple) else arguments
    wanted = kernel.get_call_type(typing_context, tuple(given), {})

    def generate(context, builder, _, values):
        items = cgutils.unpack_tuple(builder, values[1])
        status, result = call_by_name(context, builder, kernel.dispatcher, wanted, given, items)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return result

    return wanted.return_type(kernel, types.Tuple(tuple(given))), generate


call = _Call("call", _define)
call._register()
