"""How kernels are compiled, and how their compiled code is kept on disk without ever getting in the way.

Numba's own cache raises at import where no folder is writable, and raises EOFError for a truncated file. Neither may
stop a measurement: the first falls back to compiling in every process (said once, as a warning), the second to
compiling again. ``FRAMENCC_CACHE=0`` turns the cache off.
"""

import contextlib
import functools
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import IndexDataCacheFile
from numba.core.registry import cpu_target

from framencc.kernels.calls import called_by, make_known_again

logger = logging.getLogger(__name__)

CACHE_SWITCH = "FRAMENCC_CACHE"
_state: dict[str, Any] = {"warned": False, "listener": None}


def tell_of_compiling(listener: Callable[[], None] | None) -> None:
    """Have `listener` called before the first kernel is compiled that is going to be kept on disk; None: nobody."""
    _state["listener"] = listener


def load_compiler() -> None:
    """Load what Numba would load with the first kernel, but SciPy's linear algebra, 0.15 s for what no kernel uses.

    For a process of our own: whatever else it compiles cannot multiply matrices then.
    """
    if "scipy.linalg" not in sys.modules:
        sys.modules["scipy.linalg"] = None  # type: ignore[assignment]
        try:
            importlib.import_module("numba.np.arraymath")
            importlib.import_module("numba.np.linalg")
        finally:
            del sys.modules["scipy.linalg"]
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


def kernel() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function on its first call: no Python objects, the GIL released, IEEE arithmetic.

    No fastmath: reassociation would make results depend on the processor, and nnan would break the tests for NaN.
    """
    return _compile


def parallel_kernel() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function whose `prange` over bands is shared among threads; call it with `framencc.kernels.launch`.

    It should do nothing itself but call one plain kernel for each band, because all that it holds is compiled twice.
    """
    return functools.partial(_compile, parallel=True)


def _compile(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    options |= {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    dispatcher = numba.njit(**options)(function)
    # Calls of other kernels go to a twin, which is not compiled to take Python's objects: that saves almost half.
    inner = numba.njit(no_cpython_wrapper=True, **options)(function)
    dispatcher.inner, inner.inner = inner, inner
    dispatcher.get_call_template, dispatcher.get_overload = inner.get_call_template, inner.get_overload
    if os.environ.get(CACHE_SWITCH, "1") != "0":
        _enable_cache(dispatcher)
        _enable_cache(inner, "inner")
    result: Callable[..., Any] = dispatcher
    return result


@functools.cache
def _folder_stamp() -> tuple[tuple[str, float, int], ...]:
    """Tell one state of the kernels' folder from another."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple((file.name, file.stat().st_mtime, file.stat().st_size) for file in files)


def _enable_cache(dispatcher: Any, suffix: str = "") -> None:
    try:
        dispatcher.enable_caching()
    except RuntimeError as error:
        if not _state["warned"]:
            _state["warned"] = True
            warnings.warn(
                f"compiled kernels cannot be kept on disk, so every start compiles them again: {error}; "
                f"set NUMBA_CACHE_DIR to a writable folder, or {CACHE_SWITCH}=0 to silence this",
                RuntimeWarning,
                stacklevel=2,
            )
        return
    cache = dispatcher._cache
    # Numba looks for changes in the kernel's own file only, but a kernel is made of what it calls, too.
    stamp, implementation = _folder_stamp(), cache._impl
    if suffix:
        cache._cache_file = IndexDataCacheFile(cache._cache_path, f"{implementation.filename_base}.{suffix}", stamp)
    cache._cache_file._source_stamp = stamp
    # Nor does it know what a kernel refers to by name.
    reduce, rebuild = implementation.reduce, implementation.rebuild
    implementation.reduce = lambda data: (called_by(data), reduce(data))

    def rebuild_with_what_it_calls(target_context: Any, payload: Any) -> Any:
        make_known_again(payload[0])
        return rebuild(target_context, payload[1])

    implementation.rebuild = rebuild_with_what_it_calls
    load, save = cache.load_overload, cache.save_overload

    def load_or_compile(signature: Any, target_context: Any) -> Any:
        try:
            found = load(signature, target_context)
            # Processes that fill a folder at once, or a merge of two folders, can put one kernel's code under the
            # name of another, which would take its arguments for what they are not.
            if found is not None and tuple(found.signature.args) != tuple(getattr(signature, "args", signature)):
                raise ValueError("it was compiled for other types")
        except Exception as error:  # noqa: BLE001  (a damaged pickle can raise anything)
            logger.info("a cached kernel cannot be read (%s) and is compiled again", error)
            with contextlib.suppress(OSError):
                cache.flush()  # a damaged index would otherwise stop every later save
            found = None
        if found is None and (listener := _state["listener"]) is not None:
            _state["listener"] = None
            listener()
        return found

    def save_or_go_on(signature: Any, data: Any) -> None:
        try:
            save(signature, data)
        except Exception as error:  # noqa: BLE001  (a damaged pickle can raise anything)
            logger.info("a compiled kernel cannot be kept on disk: %s", error)

    cache.load_overload, cache.save_overload = load_or_compile, save_or_go_on
