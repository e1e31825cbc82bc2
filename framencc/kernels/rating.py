"""The numbers of a map: its codes counted, its values summed and ranked, over the whole or over parts of it.

Medians and percentiles are exact: a histogram says in which bin a rank lies, and only that bin has to be ordered.
Pixels come in stretches, pieces of a row that belong to one part of the picture (a region, or what is in none), so
that the loops run over plain rows whatever the shapes of the parts are.
"""

import numpy as np

from framencc.kernels.compilation import kernel

# A mean is summed in units of 2^-30: integer addition gives the same total in any order, and vectorises.
UNITS_PER_ONE = 1 << 30
# Of [-1, 1]. So few that a histogram stays in the fastest cache; the last one is for what does not count.
BINS = 4096
_PER_ONE, _ONE = np.float32(BINS // 2), np.float32(1.0)


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
def count_rows(validity, y0, y1, counts):
    """Count the pixels of each code in the rows y0 to y1; `counts` is (H, number of codes)."""
    for y in range(y0, y1):
        why = validity[y]
        # Few rows hold more than two codes, and only those that are there are counted.
        seen = _seen(why)
        for code in range(counts.shape[1]):
            counts[y, code] = _count(why, np.uint8(code)) if seen >> code & 1 else 0


@kernel()
def _find_bins(rho, why, bins):
    """Write each pixel's bin. A larger value never has a lower bin; that is all that selection needs."""
    last = np.int32(BINS - 1)
    for x in range(bins.size):
        place = min(max(np.int32((rho[x] + _ONE) * _PER_ONE), np.int32(0)), last)
        bins[x] = place if why[x] == 0 else np.int32(BINS)


@kernel()
def _sum(rho, why, threshold):
    """Return how many pixels count, their sum in units of 2^-30, and how many are below the threshold."""
    unit = np.float32(UNITS_PER_ONE)
    count, total, below = np.int64(0), np.int64(0), np.int64(0)
    for x in range(rho.size):
        measured = why[x] == 0
        count += np.int64(measured)
        total += np.int64(rho[x] * unit) if measured else np.int64(0)
        below += np.int64(measured and rho[x] < threshold)
    return count, total, below


@kernel()
def rate_rows(rho, validity, stretches, first, threshold, y0, y1, sums, histogram):
    """Add up the rows y0 to y1, part by part.

    `stretches` is (N, 3) int32, part, x0 and x1 of each, those of row y from ``first[y]`` on. What `_sum` returns is
    added to `sums`, (P, 3) int64; `histogram` is (P, BINS + 1) int32, and counts the pixels of each bin.
    """
    bins = np.empty(rho.shape[1], np.int32)
    for y in range(y0, y1):
        for k in range(first[y], first[y + 1]):
            part, x0, x1 = stretches[k, 0], stretches[k, 1], stretches[k, 2]
            row, why = rho[y, x0:x1], validity[y, x0:x1]
            count, total, below = _sum(row, why, threshold)
            if count == 0:
                continue
            sums[part, 0] += count
            sums[part, 1] += total
            sums[part, 2] += below
            places = bins[: x1 - x0]
            _find_bins(row, why, places)
            counts = histogram[part]
            for x in range(places.size):
                counts[places[x]] += 1


@kernel()
def collect_rows(rho, validity, stretches, first, slots, y0, y1, places, values):
    """Copy the pixels of wanted bins; `slots`, (P, BINS + 1) int32, numbers those from 0 on, and is -1 elsewhere.

    The pixels of slot s go to `values` from ``places[s]`` on, which moves along.
    """
    bins = np.empty(rho.shape[1], np.int32)
    for y in range(y0, y1):
        for k in range(first[y], first[y + 1]):
            part, x0, x1 = stretches[k, 0], stretches[k, 1], stretches[k, 2]
            row, wanted = rho[y, x0:x1], slots[part]
            found = bins[: x1 - x0]
            _find_bins(row, validity[y, x0:x1], found)
            for x in range(found.size):
                slot = wanted[found[x]]
                if slot >= 0:
                    values[places[slot]] = row[x]
                    places[slot] += 1
