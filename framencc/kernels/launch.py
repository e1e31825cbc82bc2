"""How parallel kernels are launched: one at a time in a process, with as many threads as were asked for.

A parallel kernel is a thin shell with a `prange` over bands of rows (`@parallel_kernel()`, or by `share`), over one
plain kernel that computes a band. Bands write disjoint parts of the outputs, so the number of threads never shows in a
result.

Numba's workqueue layer ends the process when two threads enter it at once, so one lock guards every launch. A call
that asks for one thread needs neither layer nor lock: it runs the shell as plain Python, which calls the same compiled
band. So threads of a pool that ask for one thread each compute side by side.

Fork waits for the kernel that runs or is being compiled, so that the child finds the lock and the compiler free. GNU
OpenMP ends a forked child that enters it, and TBB may: such a child computes on the calling thread alone.

Which threading layer Numba uses, and how its threads wait, is the host's choice; the command line makes it for its own
process (`framencc.cli`).
"""

import os
import threading
from collections.abc import Callable
from typing import Any

import numba
from numba.core.compiler_lock import global_compiler_lock

Shell = Callable[..., Any]

_BANDS_PER_THREAD = 4
_lock = threading.RLock()  # reentrant: a signal handler may fork or launch in the midst of a launch
_compiler = global_compiler_lock._lock  # a call for one thread compiles with this lock alone
_state = {"alone": False}


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
        The shell cuts between units of this many rows, so there are at most as many bands as units.
    """
    n_units = -(-height // multiple)
    return max(1, min(n_units, height // max(1, smallest), threads * _BANDS_PER_THREAD))


def launch(shell: Shell, threads: int, *arguments: Any) -> None:
    """Call a parallel kernel; whoever comes while another kernel runs in this process waits for it.

    Parameters
    ----------
    shell
        A kernel with a `prange` over bands, or one that shares them (`framencc.kernels.sharing`); it must be valid as
        plain Python, too.
    threads
        How many threads to use, this one included; at most NUMBA_NUM_THREADS take part.
    arguments
        What the shell takes.
    """
    threads = min(threads, default_threads())
    if threads <= 1 or _state["alone"]:
        shell.py_func(*arguments)  # type: ignore[attr-defined]
        return
    with _lock:
        before = numba.get_num_threads()
        try:
            numba.set_num_threads(threads)
            shell(*arguments)
        finally:
            try:
                numba.set_num_threads(before)
            except BaseException:  # of a signal's handler; the host's choice comes back all the same
                numba.set_num_threads(before)
                raise


def _begin_as_a_child() -> None:
    for lock in (_lock, _compiler):
        try:
            lock.release()
        except RuntimeError:  # the wait was interrupted, and a thread that this process does not have may hold the lock
            lock._at_fork_reinit()  # type: ignore[union-attr]  # the same object, which forks of this child wait for
    try:
        _state["alone"] = numba.threading_layer() != "workqueue"
    except ValueError:  # nothing parallel has run yet, so the child may begin as any process does
        _state["alone"] = False


if hasattr(os, "register_at_fork"):
    # The locks' own methods: between them and the fork no signal handler's exception can come. What is registered last
    # comes first: the locks are taken in the order in which a launch takes them.
    os.register_at_fork(before=_compiler.acquire, after_in_parent=_compiler.release)
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_begin_as_a_child)
