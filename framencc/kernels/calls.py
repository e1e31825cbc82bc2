"""How compiled kernels call each other, which decides how often the same code is compiled.

Numba copies the code of a callee into every caller and optimises it there again. That is wanted where a band calls the
kernels of its rows. A `parallel=True` shell, however, consists of three functions, so its band would be compiled three
times more, for nothing. Here a shell calls a band that was compiled by itself, like a function of a foreign library.

A kernel that is called from kernels only needs no wrapper that converts Python's objects: it has a twin without one.
"""

import contextlib
import copy
import hashlib
import importlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numba
from llvmlite import binding

_here = threading.local()


def compile_calls_apart(shell: Any) -> None:
    """Let a parallel shell call its kernels like functions of a foreign library."""
    compile_own = shell.compile

    def compile_shell(signature: Any) -> Any:
        with _within_shell(True):
            return compile_own(signature)

    shell.compile = compile_shell


def separate_wrapper(kernel: Any, function: Callable[..., Any], **options: Any) -> None:
    """Give a kernel a twin, without wrappers for Python, that takes the calls of other kernels."""
    twin = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)(function)
    own_template = kernel.get_call_template

    def get_call_template(arguments: Any, keywords: Any) -> Any:
        if not _is_within_shell():
            return twin.get_call_template(arguments, keywords)
        with _within_shell(False):
            template = own_template(arguments, keywords)
            for types in kernel.overloads:
                Foreign.of(function, types).introduce(kernel)
        return template

    def get_overload(types: Any) -> Any:
        if not _is_within_shell():
            return twin.get_overload(types)
        return Foreign.of(function, types)

    kernel.twin, kernel.get_call_template, kernel.get_overload = twin, get_call_template, get_overload


@dataclass(frozen=True)
class Foreign:
    """A compiled kernel that other compiled code calls by the name of its symbol.

    Parameters
    ----------
    module, name
        Where the kernel is found.
    types
        Numba's types of its arguments.
    symbol
        What calling code names it; unlike Numba's own name it does not depend on what else the process has compiled.
    """

    module: str
    name: str
    types: tuple[Any, ...]
    symbol: str

    @classmethod
    def of(cls, function: Callable[..., Any], types: Iterable[Any]) -> "Foreign":
        """Describe a kernel by the function that it is made of."""
        where, types = (function.__module__, function.__qualname__), tuple(types)
        return cls(*where, types, "framencc." + hashlib.sha256(repr((*where, types)).encode()).hexdigest())

    def __call__(self) -> None:
        """Make the symbol known in a process that has read the calling code from disk; Numba calls this before."""
        kernel = getattr(importlib.import_module(self.module), self.name)
        with _within_shell(False):
            kernel.compile(self.types)
        self._make_known(kernel)

    def introduce(self, kernel: Any) -> None:
        """Make the symbol known, and tell Numba how to compile a call."""
        context = kernel.targetctx
        if self in context._defns:
            return
        self._make_known(kernel)
        description = copy.copy(kernel.overloads[self.types].fndesc)
        description.mangled_name = self.symbol

        def call(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            context.active_code_library._reload_init.add(self)
            return context.call_internal(builder, description, signature, arguments)

        context.insert_func_defn([(call, self, description.argtypes)])

    def _make_known(self, kernel: Any) -> None:
        compiled = kernel.overloads[self.types]
        address = compiled.library.get_pointer_to_function(compiled.fndesc.mangled_name)
        assert address, f"{self.name} has no machine code"
        binding.add_symbol(self.symbol, address)


def _is_within_shell() -> bool:
    return bool(getattr(_here, "is_within_shell", False))


@contextlib.contextmanager
def _within_shell(value: bool) -> Iterator[None]:
    before, _here.is_within_shell = _is_within_shell(), value
    try:
        yield
    finally:
        _here.is_within_shell = before
