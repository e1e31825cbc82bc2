"""How a picture's rows are shared among threads.

Kernels release the GIL, so plain threads run them side by side. Numba's own parallel layers were measured against
this and lost: a parallel shell doubled the compile time (every inlined kernel is optimised a second time), its OpenMP
layer spins on cores that ffmpeg needs, and its workqueue layer aborts the process when two threads enter it.

Rows are handed out in chunks as threads become free. Who computes a chunk never matters: its pixels depend on the
picture alone. So the calling thread needs no helper: it does not wait for one that cannot be started or is busy.
"""

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numba

logger = logging.getLogger(__name__)

SMALLEST_CHUNK = 32
_CHUNKS_PER_THREAD = 4

_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}


def default_threads() -> int:
    """How many threads the kernels use unless told otherwise: NUMBA_NUM_THREADS, or every core we may run on."""
    return int(numba.config.NUMBA_NUM_THREADS)


def share_rows(
    work: Callable[[int, int], None], height: int, threads: int, *, multiple: int = 1, smallest: int = SMALLEST_CHUNK
) -> None:
    """Call ``work(y0, y1)`` for pieces that together cover the picture.

    Parameters
    ----------
    work
        Called by several threads at a time.
    height
        Rows of the picture.
    threads
        How many threads to use, this one included.
    multiple
        Every piece starts at a multiple of this.
    smallest
        Pieces have at least so many rows, because each costs something by itself.
    """
    chunk = max(smallest, -(-height // (threads * _CHUNKS_PER_THREAD)))
    chunk = -(-chunk // multiple) * multiple
    starts = iter(range(0, height, chunk))
    threads = min(threads, -(-height // chunk))
    if threads == 1:
        work(0, height)
        return

    def take_chunks() -> None:
        # Taking the next item of a range iterator is atomic under the GIL.
        for y0 in starts:
            work(y0, min(height, y0 + chunk))

    helpers: list[Future[None]] = []
    try:
        _call_helpers(take_chunks, threads - 1, helpers)
        take_chunks()
    finally:
        # Nobody may still be writing into the caller's arrays when this function is left, or begin to: whoever has not
        # started finds nothing to do.
        for _ in starts:
            pass
        errors = [helper.exception() for helper in helpers if not helper.cancel()]
    for error in errors:
        if error is not None:
            raise error


def _call_helpers(work: Callable[[], None], workers: int, called: list[Future[None]]) -> None:
    """Add to `called` as many helpers as can be had."""
    pool = _pool(workers)
    try:
        for _ in range(workers):
            called.append(pool.submit(work))
    except RuntimeError as error:  # no thread can be started, or none any more as the interpreter ends
        logger.debug("%s; %d of %d helpers take part", error, len(called), workers)
        # A pool keeps the work for which it could not start a thread, and that work the caller's arrays.
        with _lock:
            if _pools.get(workers) is pool:
                del _pools[workers]
        pool.shutdown(wait=False, cancel_futures=True)


def _pool(workers: int) -> ThreadPoolExecutor:
    with _lock:
        if workers not in _pools:
            _pools[workers] = ThreadPoolExecutor(workers, thread_name_prefix="framencc-kernel")
        return _pools[workers]


def _forget_pools() -> None:
    """Start anew in a forked child, which has none of its parent's threads."""
    global _lock  # noqa: PLW0603  (the parent's lock may have been held at the fork)
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)
