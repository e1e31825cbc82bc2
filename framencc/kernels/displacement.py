"""The displacements that a matrix means."""

import numpy as np

from framencc.kernels.compilation import kernel


@kernel()
def matrix_field_rows(matrix, y0, y1, out):
    """Fill rows of an (H, W, 2) float32 field; NaN where the (3, 3) float64 matrix divides by 0 or less."""
    for y in range(y0, y1):
        row = out[y]
        for x in range(row.shape[0]):
            u, v = np.float64(x), np.float64(y)
            divisor = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2]
            across = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]
            down = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]
            row[x, 0] = across / divisor - u if divisor > 0.0 else np.nan
            row[x, 1] = down / divisor - v if divisor > 0.0 else np.nan


@kernel()
def _measure(row, lengths):
    """Write the lengths of a row's displacements, -1 where one is NaN."""
    for x in range(lengths.size):
        dx, dy = np.float64(row[2 * x]), np.float64(row[2 * x + 1])
        square = dx * dx + dy * dy
        lengths[x] = np.sqrt(square) if square >= 0.0 else -1.0


@kernel()
def _count_known(lengths):
    count = np.int64(0)
    for x in range(lengths.size):
        count += np.int64(lengths[x] >= 0.0)
    return count


@kernel()
def _fold(beyond, largest_beyond, total, largest):
    for x in range(beyond.size):
        total[x] += beyond[x]
        largest[x] = max(largest[x], largest_beyond[x])


@kernel()
def length_rows(field, y0, y1, totals, largest, counts):
    """Sum the lengths of each row's displacements, find the largest, and count those that are not NaN.

    `field` is (H, 2 W) float32, dx and dy in turn. A row is folded in halves until one number is left, always in the
    same order: a running sum would wait for every addition, and could not be taken in vector code.
    """
    width = field.shape[1] // 2
    total, most = np.empty(width), np.empty(width)
    for y in range(y0, y1):
        _measure(field[y], most)
        counts[y] = _count_known(most)
        for x in range(width):
            most[x] = max(most[x], 0.0)
            total[x] = most[x]
        size = width
        while size > 1:
            kept = size - size // 2
            _fold(total[kept:size], most[kept:size], total, most)
            size = kept
        totals[y], largest[y] = total[0], most[0]
