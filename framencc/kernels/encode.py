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
def weigh_rows(validity, distance, scale, y0, y1, rho):
    """Multiply max(rho, 0) by exp(-distance / scale) where a pixel holds a value; a NaN distance weighs nothing."""
    for y in range(y0, y1):
        out, why, far = rho[y], validity[y], distance[y]
        for x in range(out.size):
            if why[x] <= 2 and not np.isnan(out[x]):
                weight = np.exp(-np.float64(far[x]) / scale) if far[x] >= 0 else 0.0
                out[x] = np.float32(max(np.float64(out[x]), 0.0) * weight)


@kernel()
def _seen(codes):
    """Return the codes of a row as the bits of a number."""
    seen = np.uint16(0)
    for x in range(codes.size):
        seen |= np.uint16(np.uint16(1) << codes[x])
    return seen


@kernel()
def _count(codes, code):
    count = np.int64(0)
    for x in range(codes.size):
        count += np.int64(codes[x] == code)
    return count


@kernel()
def measure_rows(rho, validity, y0, y1, totals, counts):
    """Sum rho over the measured pixels of each row (in units of 2^-30), and count its pixels of each code (H, 9)."""
    unit = np.float32(UNITS_PER_ONE)
    for y in range(y0, y1):
        row, why = rho[y], validity[y]
        total = np.int64(0)
        for x in range(row.size):
            total += np.int64(row[x] * unit) if why[x] == 0 else np.int64(0)
        totals[y] = total
        # Few rows hold more than two codes, and only those that are there are counted.
        seen = _seen(why)
        for code in range(counts.shape[1]):
            counts[y, code] = _count(why, np.uint8(code)) if seen >> code & 1 else 0
