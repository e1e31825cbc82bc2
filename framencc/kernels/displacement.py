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
def length_rows(field, y0, y1, totals, largest, counts):
    """Sum the lengths of each row's displacements, find the largest, and count those that are not NaN."""
    for y in range(y0, y1):
        row = field[y]
        total, most, count = 0.0, 0.0, 0
        for x in range(row.shape[0]):
            length = np.sqrt(np.float64(row[x, 0]) ** 2 + np.float64(row[x, 1]) ** 2)
            known = length >= 0.0
            total += length if known else 0.0
            most = max(most, length if known else 0.0)
            count += 1 if known else 0
        totals[y], largest[y], counts[y] = total, most, count
