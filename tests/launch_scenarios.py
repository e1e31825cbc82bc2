"""Ways in which a process may use the kernels: ``python launch_scenarios.py NAME`` ends with 0 if that one works.

A file of its own, because processes that are spawned import it again. `tests/test_launch.py` runs it.
"""

import contextlib
import functools
import hashlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from numba.core.compiler_lock import global_compiler_lock

import framencc
from framencc.kernels.compilation import kernel, parallel_kernel
from framencc.kernels.launch import count_bands, launch

N_CALLERS = 4


@kernel()
def _mix_band(rounds, y0, y1, out):
    for y in range(y0, y1):
        for x in range(out.shape[1]):
            value = np.uint32(y * out.shape[1] + x)
            for _ in range(rounds):
                value = np.uint32(value * np.uint32(1664525) + np.uint32(1013904223)) ^ (value >> np.uint32(7))
            out[y, x] = value


@parallel_kernel()
def _mix(rounds, n_bands, out):
    height = out.shape[0]
    for i in numba.prange(n_bands):
        _mix_band(rounds, height * i // n_bands, height * (i + 1) // n_bands, out)


@parallel_kernel()
def _count_threads(out):
    for i in numba.prange(1):
        out[i] = numba.get_num_threads()


def mix(threads: int = 2, rounds: int = 200) -> bytes:
    """Launch a kernel of our own; two at once would end the process where the layer allows only one."""
    out = np.empty((256, 128), np.uint32)
    launch(_mix, threads, rounds, count_bands(len(out), threads), out)
    return out.tobytes()


def measure(threads: int = 2) -> str:
    """Correlate masked pictures of two kinds, and return the digest of the maps."""
    rng = np.random.default_rng(3)
    digest = hashlib.sha256()
    for dtype in (np.uint8, np.float32):
        reference, frame = rng.integers(0, 256, (2, 150, 160)).astype(dtype)
        mask = rng.random(frame.shape) < 0.95
        prepared = framencc.Reference(reference, 3, mask=mask, threads=threads)
        for array in prepared.ncc(frame, return_validity=True):
            digest.update(array)
    return digest.hexdigest()


@functools.cache
def expected() -> tuple[str, bytes]:
    """Return the results of one thread, which takes no part in any of this."""
    return measure(1), mix(1)


def check(*_: object) -> bool:
    """Compute, and compare with the results of one thread."""
    return (measure(2), mix(2)) == expected()


def in_child(action: Callable[[], object]) -> int:
    """Fork, do something in the child, and return its exit code: 0 for a true result."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(Exception):
            code = 0 if action() else 2
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_threads() -> bool:
    """Compute in several threads at once."""
    with ThreadPoolExecutor(N_CALLERS) as pool:
        return all(pool.map(check, range(N_CALLERS)))


def at_once() -> None:
    assert in_threads()
    barrier, found = threading.Barrier(N_CALLERS), []

    def call() -> None:
        barrier.wait()
        found.append(all(check() for _ in range(3)))

    threads = [threading.Thread(target=call) for _ in range(N_CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * N_CALLERS
    assert {measure(n) for n in (1, 2, 3, 4, 64)} == {expected()[0]}


def dask_threads() -> None:
    import dask

    tasks = [dask.delayed(check)(number) for number in range(2 * N_CALLERS)]
    assert all(dask.compute(*tasks, scheduler="threads", num_workers=N_CALLERS))


def fork_after_use() -> None:
    assert check()
    assert in_child(lambda: in_threads() and check()) == 0
    assert in_child(lambda: check() and in_child(lambda: in_threads() and check()) == 0) == 0
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert all(pool.map(check, range(4)))
    assert check()


def fork_before_use() -> None:
    def use() -> bool:
        return check() and bool(numba.threading_layer())  # as any process would, with threads

    assert in_child(use) == 0
    assert check()


def fork_while_computing() -> None:
    expected()
    done, found = threading.Event(), []

    def compute() -> None:
        while not done.is_set():
            found.append(check())

    threads = [threading.Thread(target=compute) for _ in range(2)]
    for thread in threads:
        thread.start()
    codes = [in_child(check) for _ in range(6)]
    done.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * 6
    assert all(found)


def fork_while_compiling() -> None:
    """Calls for one thread take no lock of ours, but a child must not find the compiler taken either."""
    begun = threading.Event()

    def compile_alone() -> None:
        with global_compiler_lock:  # as long as a big kernel takes
            begun.set()
            threading.Event().wait(1.0)

    thread = threading.Thread(target=compile_alone)
    thread.start()
    assert begun.wait(60)
    assert in_child(lambda: mix(1) and in_child(lambda: mix(1)) == 0) == 0
    thread.join()


def fork_that_is_interrupted() -> None:
    """A fork waits for a long kernel, and a signal handler raises: Python reports that, and forks all the same."""
    expected()
    long, reported = mix(2, 10_000), []
    sys.unraisablehook = lambda what: reported.append(what.exc_type)
    signal.signal(signal.SIGALRM, _raise)
    found: list[bool] = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: found.append(mix(2, 10_000) == long))
        thread.start()
        with contextlib.suppress(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            assert in_child(lambda: check() and in_child(check) == 0) == 0
            threading.Event().wait(0.1)
        assert check()  # after the long kernel, not beside it
        thread.join()
    assert found == [True] * 3
    assert set(reported) <= {KeyboardInterrupt, RuntimeError}


def _raise(*_: object) -> None:
    raise KeyboardInterrupt


def interrupts() -> None:
    """Whatever a signal's handler raises, the next launch finds the lock free and the host's thread mask as it was."""
    assert check()
    numba.set_num_threads(3)
    signal.signal(signal.SIGALRM, _raise)
    n_interrupts = 0
    for number in range(40):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.0005 * number)
            while True:
                mix(2, 200)
        except KeyboardInterrupt:
            n_interrupts += 1
        assert numba.get_num_threads() == 3
    assert n_interrupts == 40
    assert in_threads()


def handlers_that_compute() -> None:
    """A handler runs in the thread that it interrupts, perhaps in the midst of a launch."""
    assert check()
    found: list[bool] = []
    signal.signal(signal.SIGALRM, lambda *_: found.append(check() and in_child(check) == 0))
    for number in range(10):
        signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.002 * number)
        while len(found) <= number:
            assert mix(2, 200) == expected()[1]
    assert found == [True] * 10


def other_processes() -> None:
    assert check()
    for method in ("spawn", "forkserver"):
        if method in multiprocessing.get_all_start_methods():
            with multiprocessing.get_context(method).Pool(1) as pool:
                assert pool.apply(check)
    assert check()


def host() -> None:
    expected()
    try:
        layer = numba.threading_layer()
    except ValueError:
        layer = None
    assert layer is None, "import and calls for one thread start nothing"
    numba.set_num_threads(3)
    assert check()
    assert numba.threading_layer() == os.environ["NUMBA_THREADING_LAYER"]
    used = np.zeros(1, np.int64)
    for threads, n_used in ((2, 2), (4, 4), (64, 4)):  # NUMBA_NUM_THREADS is 4
        launch(_count_threads, threads, used)
        assert used[0] == n_used
    try:
        launch(_mix, 2, "no number", 4, None)
    except numba.TypingError:
        pass
    else:
        raise AssertionError("a wrong call must raise")
    assert numba.get_num_threads() == 3
    assert in_threads()
    assert numba.get_num_threads() == 3


def end_while_computing() -> None:
    def compute() -> None:
        while True:
            mix(2, 2000)
            begun.set()

    begun = threading.Event()
    threading.Thread(target=compute, daemon=True).start()
    assert begun.wait(60)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
