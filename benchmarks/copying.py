"""The limit that memory sets: a parallel copy of as many bytes as a map of 8-bit pictures moves.

Of every pixel such a map reads the frame (1 byte), the reference (1), its window sum (4) and scale (4), and writes the
correlation (4): 14 bytes. A copy that reads 7 bytes a pixel and writes 7 moves as many.
"""

from collections.abc import Callable

import numba
import numpy as np

from benchmarks.pictures import Picture

BYTES_A_PIXEL = 14


@numba.njit(parallel=True)
def _copy(source: Picture, target: Picture) -> None:
    for i in numba.prange(source.size):
        target[i] = source[i]


def copier(size: tuple[int, int], threads: int) -> Callable[[], None]:
    """Return a function that copies what a map of that size moves."""
    n_words = size[0] * size[1] * BYTES_A_PIXEL // 2 // 4
    source, target = np.ones(n_words, np.float32), np.zeros(n_words, np.float32)

    def copy() -> None:
        before = numba.get_num_threads()
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        try:
            _copy(source, target)
        finally:
            numba.set_num_threads(before)

    copy()
    if not np.array_equal(source, target):
        raise AssertionError("the copy is not a copy")
    return copy
