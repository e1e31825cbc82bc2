"""What adds up over the maps of a clip, pixel by pixel."""

import numpy as np

from framencc.kernels.compilation import kernel
from framencc.kernels.scoring import UNITS_PER_ONE


@kernel()
def lower_rows(rho, validity, y0, y1, lowest):
    """Keep the lower of two values where a pixel was measured."""
    for y in range(y0, y1):
        row, why, low = rho[y], validity[y], lowest[y]
        for x in range(low.size):
            low[x] = min(low[x], row[x]) if why[x] == 0 else low[x]


@kernel()
def add_rows(rho, validity, y0, y1, totals, counts):
    """Add the values of measured pixels, in units of 2^-30 (int64), and count them (int32)."""
    unit = np.float32(UNITS_PER_ONE)
    for y in range(y0, y1):
        row, why, total, count = rho[y], validity[y], totals[y], counts[y]
        for x in range(total.size):
            measured = why[x] == 0
            total[x] += np.int64(row[x] * unit) if measured else np.int64(0)
            count[x] += np.int32(1) if measured else np.int32(0)
