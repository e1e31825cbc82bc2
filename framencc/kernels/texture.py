"""Sums from which contrast, sharpness and displacement of parts of a picture follow, over the pixels that count.

Sums of floats depend on their order. Here it depends on the picture and its parts alone: they start anew with each band
of rows, and inside a row every pixel has its lane, which also lets the loops run in vector code.
"""

import numpy as np

from framencc.kernels.compilation import kernel

BAND_ROWS = 16
LANES = 256


@kernel()
def _add_values(row, why, zero, totals, squares):
    """Add the pixels that count, and their squares, to the lanes; return how many they are.

    `zero` says in which type: int64 for codes, float64 for floats.
    """
    count = np.int64(0)
    for start in range(0, row.size, LANES):
        values, reasons = row[start : start + LANES], why[start : start + LANES]
        for x in range(values.size):
            value = zero + values[x] if reasons[x] == 0 else zero
            count += np.int64(reasons[x] == 0)
            totals[x] += value
            squares[x] += value * value
    return count


@kernel()
def _add_differences(row, why, other, why_other, zero, totals):
    """Add the absolute differences of the pairs that count to the lanes; return how many they are."""
    count = np.int64(0)
    for start in range(0, row.size, LANES):
        values, others = row[start : start + LANES], other[start : start + LANES]
        reasons, more = why[start : start + LANES], why_other[start : start + LANES]
        for x in range(values.size):
            counts = (reasons[x] | more[x]) == 0
            totals[x] += abs((zero + values[x]) - (zero + others[x])) if counts else zero
            count += np.int64(counts)
    return count


@kernel()
def _empty(lanes, zero):
    """Return the sum of the lanes, and empty them."""
    total = zero
    for x in range(lanes.size):
        total += lanes[x]
        lanes[x] = zero
    return total


@kernel()
def texture_bands(plane, validity, stretches, first, zero, band0, band1, counts, sums):
    """Sum up bands of BAND_ROWS rows, part by part (`stretches` and `first` as of `rate_rows`).

    Of each band and part, `counts` (B, P, 2) gets the number of pixels, and of pairs with the pixel to the right or
    below where both count; `sums` (B, P, 3), of the type of `zero`, the pixels' sum, that of their squares, and that of
    the pairs' absolute differences. A pair belongs to the part of its left or upper pixel.
    """
    height = plane.shape[0]
    totals, squares, steps = np.empty(LANES, sums.dtype), np.empty(LANES, sums.dtype), np.empty(LANES, sums.dtype)
    totals[:], squares[:], steps[:] = zero, zero, zero
    for band in range(band0, band1):
        counts[band] = 0
        sums[band] = zero
        for y in range(band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS)):
            for k in range(first[y], first[y + 1]):
                part, x0, x1 = stretches[k, 0], stretches[k, 1], stretches[k, 2]
                row, why = plane[y, x0:x1], validity[y, x0:x1]
                count = _add_values(row, why, zero, totals, squares)
                if count == 0:
                    continue
                right, why_right = plane[y, x0 + 1 : x1 + 1], validity[y, x0 + 1 : x1 + 1]  # one less at the edge
                n_right = right.size
                n_pairs = _add_differences(row[:n_right], why[:n_right], right, why_right, zero, steps)
                if y + 1 < height:
                    below, why_below = plane[y + 1, x0:x1], validity[y + 1, x0:x1]
                    n_pairs += _add_differences(row, why, below, why_below, zero, steps)
                counts[band, part, 0] += count
                counts[band, part, 1] += n_pairs
                sums[band, part, 0] += _empty(totals, zero)
                sums[band, part, 1] += _empty(squares, zero)
                sums[band, part, 2] += _empty(steps, zero)


@kernel()
def _add_lengths(row, why, totals):
    """Add the lengths of the displacements of the pixels that count and have one; return how many they are."""
    count = np.int64(0)
    for start in range(0, why.size, LANES):
        values, reasons = row[2 * start : 2 * (start + LANES)], why[start : start + LANES]
        for x in range(reasons.size):
            dx, dy = np.float64(values[2 * x]), np.float64(values[2 * x + 1])
            length = np.sqrt(dx * dx + dy * dy)
            counts = reasons[x] == 0 and length >= 0.0
            totals[x] += length if counts else 0.0
            count += np.int64(counts)
    return count


@kernel()
def displacement_bands(field, validity, stretches, first, band0, band1, counts, sums):
    """Count the pixels that count, and sum the lengths of their displacements, for bands of BAND_ROWS rows.

    `field` is (H, 2 W) float32, dx and dy in turn; a pixel without a displacement does not count. `counts` and `sums`
    are (B, P).
    """
    height = validity.shape[0]
    totals = np.zeros(LANES)
    for band in range(band0, band1):
        counts[band] = 0
        sums[band] = 0.0
        for y in range(band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS)):
            for k in range(first[y], first[y + 1]):
                part, x0, x1 = stretches[k, 0], stretches[k, 1], stretches[k, 2]
                counts[band, part] += _add_lengths(field[y, 2 * x0 : 2 * x1], validity[y, x0:x1], totals)
                sums[band, part] += _empty(totals, 0.0)
