"""How parallel kernels are launched: one at a time in a process, with as many threads as were asked for.

A parallel kernel is a thin shell, `@parallel_kernel()`, with a `prange` over bands of rows, over plain kernels that
compute one band. Bands write disjoint parts of the outputs, so who computes one never matters.

Numba's workqueue layer ends the process when two threads enter it at once, so one lock guards every launch. A forked
process inherits no threads, and no lock that it could release: so fork waits for the kernel that runs, and the child
begins with a free lock. GNU OpenMP ends a forked child that enters it, so there the bands are computed one by one.

Which threading layer Numba uses, and how its threads wait, is the host's choice; the command line makes it for its own
process (`framencc.cli`).
"""

import os
import threading
from collections.abc import Callable
from typing import Any

import numba

Shell = Callable[..., Any]

_BANDS_PER_THREAD = 4
_lock = threading.Lock()
_state = {"alone": False}
_serial: dict[Shell, Shell] = {}


def default_threads() -> int:
    """How many threads the kernels use unless told otherwise: NUMBA_NUM_THREADS, or every core we may run on."""
    return int(numba.config.NUMBA_NUM_THREADS)


def count_bands(height: int, threads: int, *, smallest: int = 32, multiple: int = 1) -> int:
    """Choose into how many bands to cut a picture's rows.

    Parameters
    ----------
    height
        Rows of the picture.
    threads
        How many threads will compute them.
    smallest
        A band has about so many rows at least, because each costs something by itself.
    multiple
        Every band starts at a multiple of this many rows; `band_rows` cuts accordingly.
    """
    n_units = -(-height // multiple)
    return max(1, min(n_units, height // max(1, smallest), threads * _BANDS_PER_THREAD))


def launch(shell: Shell, threads: int, *arguments: Any) -> Any:
    """Call a parallel kernel; whoever comes while another kernel runs in this process waits for it.

    Parameters
    ----------
    shell
        A function made by `framencc.kernels.compilation.parallel_kernel`.
    threads
        How many threads to use, this one included; at most NUMBA_NUM_THREADS take part.
    arguments
        What the shell takes.
    """
    with _lock:
        if _state["alone"] and numba.threading_layer() != "workqueue":
            return _in_series(shell)(*arguments)
        before = numba.get_num_threads()
        numba.set_num_threads(max(1, min(threads, default_threads())))
        try:
            return shell(*arguments)
        finally:
            numba.set_num_threads(before)


def _in_series(shell: Shell) -> Shell:
    """Compile the same shell without threads."""
    if shell not in _serial:
        _serial[shell] = numba.njit(nogil=True, error_model="numpy")(shell.py_func)  # type: ignore[attr-defined]
    return _serial[shell]


def _layer_is_in_use() -> bool:
    try:
        numba.threading_layer()
    except ValueError:  # nothing parallel has run yet, so the child may begin as any process does
        return False
    return True


def _begin_as_a_child() -> None:
    _state["alone"] = _state["alone"] or _layer_is_in_use()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_begin_as_a_child)
