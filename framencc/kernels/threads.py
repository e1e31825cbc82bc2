"""How a picture's rows are shared among threads.

Kernels release the GIL, so plain threads run them side by side. Numba's own parallel layers were measured against
this and lost: a parallel shell doubled the compile time (every inlined kernel is optimised a second time), its OpenMP
layer spins on cores that ffmpeg needs, and its workqueue layer aborts the process when two threads enter it.

Rows are handed out in chunks as threads become free. Who computes a chunk never matters: its pixels depend on the
picture alone.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numba

TILE_ROWS = 64
_CHUNKS_PER_THREAD = 4

_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}


def default_threads() -> int:
    """How many threads the kernels use unless told otherwise: NUMBA_NUM_THREADS, or every core we may run on."""
    return int(numba.config.NUMBA_NUM_THREADS)


def tile_rows(radius: int) -> int:
    """Rows of a tile: a function of the radius alone, large enough that the rows around a tile cost little."""
    return max(TILE_ROWS, 2 * (2 * radius + 1))


def share_rows(work: Callable[[int, int], None], height: int, rows: int, threads: int) -> None:
    """Call ``work(y0, y1)`` for pieces that cover the picture, each starting at a multiple of `rows`."""
    n_tiles = -(-height // rows)
    threads = min(threads, n_tiles)
    chunk = rows * max(1, n_tiles // (threads * _CHUNKS_PER_THREAD))
    starts = iter(range(0, height, chunk))
    if threads == 1:
        work(0, height)
        return

    def take_chunks() -> None:
        # Taking the next item of a range iterator is atomic under the GIL.
        for y0 in starts:
            work(y0, min(height, y0 + chunk))

    futures: list[Future[None]] = [_pool(threads - 1).submit(take_chunks) for _ in range(threads - 1)]
    try:
        take_chunks()
    finally:
        # Nobody may still be writing into the caller's arrays when an error leaves this function.
        errors = [future.exception() for future in futures]
    for error in errors:
        if error is not None:
            raise error


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
