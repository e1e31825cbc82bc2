"""What adds up over the maps of a clip, pixel by pixel."""

import numba
import numpy as np

from framencc.kernels.compilation import kernel, parallel_kernel
from framencc.kernels.scoring import UNITS_PER_ONE


@kernel()
def _add_map_rows(rho, validity, y0, y1, lowest, totals, counts):
    unit = np.float32(UNITS_PER_ONE)
    for y in range(y0, y1):
        for x in range(lowest.shape[1]):
            lowest[y, x] = min(lowest[y, x], rho[y, x]) if validity[y, x] == 0 else lowest[y, x]
        for x in range(totals.shape[1]):
            measured = validity[y, x] == 0
            totals[y, x] += np.int64(rho[y, x] * unit) if measured else np.int64(0)
            counts[y, x] += np.int32(1) if measured else np.int32(0)


@parallel_kernel()
def add_map(rho, validity, n_bands, lowest, totals, counts):
    """Keep the lowest value of every measured pixel; add it up in units of 2^-30 (int64), and count it (int32).

    What is not wanted is empty: `lowest`, or `totals` and `counts`.
    """
    height = rho.shape[0]
    for i in numba.prange(n_bands):
        y0, y1 = height * i // n_bands, height * (i + 1) // n_bands
        _add_map_rows(rho, validity, y0, y1, lowest, totals, counts)
