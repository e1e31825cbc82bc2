"""From maps to codes, and the numbers of a map."""

import numpy as np

from framencc.kernels.compilation import kernel

# A mean is summed in units of 2^-30: integer addition gives the same total in any order, and vectorises.
UNITS_PER_ONE = 1 << 30


@kernel()
def encode_rows(rho, gain, offset, maximum, y0, y1, codes):
    """Write round(gain * rho + offset), halves upwards, cut to 0 ... maximum; NaN (no measurement) becomes 0."""
    for y in range(y0, y1):
        row, out = rho[y], codes[y]
        for x in range(out.size):
            value = min(gain * np.float64(row[x]) + offset, maximum)
            out[x] = np.int64(value + 0.5) if value > 0.0 else 0


@kernel()
def measure_rows(rho, validity, y0, y1, totals, counts):
    """Sum rho (in units of 2^-30) and count the pixels of each row that were measured (validity 0)."""
    unit = np.float32(UNITS_PER_ONE)
    for y in range(y0, y1):
        row, why = rho[y], validity[y]
        total = np.int64(0)
        count = np.int64(0)
        for x in range(row.size):
            measured = why[x] == 0
            total += np.int64(row[x] * unit) if measured else np.int64(0)
            count += np.int64(1) if measured else np.int64(0)
        totals[y] = total
        counts[y] = count
