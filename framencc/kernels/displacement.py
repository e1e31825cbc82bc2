"""Displacement fields: those of a matrix, how long displacements are, and whether the way there and back closes."""

import numba
import numpy as np

from framencc.kernels.accesses import get, put, tap
from framencc.kernels.compilation import kernel, parallel_kernel

LOST = np.float32(np.inf)
# Distances are counted in bins of 1/1024 of their size: by the upper bits of a float32, from 2^-10 to 2^14 pixels.
BIN_BITS, FIRST_BIN, N_BINS = 13, (127 - 10) << 10, 24 << 10
BEYOND, UNKNOWN, FAILING, N_COUNTS = N_BINS, N_BINS + 1, N_BINS + 2, N_BINS + 3  # further counts in the same array
_INFINITE, _MAGNITUDE = np.int32(0x7F800000), np.int32(0x7FFFFFFF)
_ZERO, _ONE, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)


@kernel()
def displace(matrix, x0, x1, y, out, at):
    """Write the float32 (dx, dy) that a (3, 3) matrix means from out[at] on; NaN where it divides by 0 or less."""
    v = np.float64(y)
    plain = matrix[2, 0] == 0.0 and matrix[2, 1] == 0.0 and matrix[2, 2] == 1.0
    for x in range(x0, x1):
        u = np.float64(np.int32(x))
        across = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]
        down = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]
        if not plain:  # two divisions cost as much as all the rest
            divisor = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2]
            across = across / divisor if divisor > 0.0 else np.nan
            down = down / divisor if divisor > 0.0 else np.nan
        put(out, at + 2 * (x - x0), np.float32(across - u))
        put(out, at + 2 * (x - x0) + 1, np.float32(down - v))


@parallel_kernel()
def matrix_field(matrix, height, width, out):
    """Fill (height * width * 2,) displacements."""
    for y in numba.prange(height):
        displace(matrix, 0, width, y, out, 2 * y * width)


@kernel()
def _fold(total, largest, kept, beyond):
    for x in range(beyond):
        put(total, x, get(total, x) + get(total, kept + x))
        put(largest, x, max(get(largest, x), get(largest, kept + x)))


@kernel()
def _measure_rows(field, distance, limit, width, y0, y1, totals, largest, n_known, counts):
    total, most = np.empty(width), np.empty(width)
    for y in range(y0, y1):
        known = np.int64(0)
        for x in range(width):
            dx, dy = np.float64(get(field, 2 * (y * width + x))), np.float64(get(field, 2 * (y * width + x) + 1))
            square = dx * dx + dy * dy
            length = np.sqrt(square if square >= 0.0 else 0.0)
            known += np.int64(square >= 0.0)
            put(total, x, length)
            put(most, x, length)
        size = width
        while size > 1:  # always in the same order; a running sum would wait for every addition
            kept = size - size // 2
            _fold(total, most, kept, size // 2)
            size = kept
        totals[y], largest[y], n_known[y] = total[0], most[0], known
        failing = np.int64(0)
        for at in range(y * width, (y + 1) * width if distance.size else y * width):
            bits = distance[at] & _MAGNITUDE
            bin_ = min(max((bits >> BIN_BITS) - FIRST_BIN, 0), BEYOND)
            counts[UNKNOWN if bits > _INFINITE else bin_] += 1
            failing += np.int64((bits > limit) & (bits <= _INFINITE))
        counts[FAILING] += failing


@parallel_kernel()
def measure(field, distance, limit, width, n_bands, totals, largest, n_known, counts):
    """Sum the lengths of each row's displacements, find the largest, count those that are not NaN; count distances.

    `field` is (H * width * 2,) float32; `distance` (H * width,) the bits of float32, or empty, and `limit` such bits.
    `counts` is (n_bands, N_COUNTS) zeros: how many distances lie in each bin, `BEYOND` them all, are NaN (`UNKNOWN`),
    or above the limit (`FAILING`).
    """
    height = totals.size
    for i in numba.prange(n_bands):
        y0, y1 = height * i // n_bands, height * (i + 1) // n_bands
        _measure_rows(field, distance, limit, width, y0, y1, totals, largest, n_known, counts[i])


@kernel()
def _close_rows(forward, backward, scale, shape, y0, y1, distance, lost):
    height, width = shape
    last_x, last_y, below = np.float32(width - 1), np.float32(height - 1), np.int32(2 * width)
    for y in range(y0, y1):
        row = np.float32(y)
        for x in range(width):
            at, column = y * width + x, np.float32(np.int32(x))
            dx, dy = get(forward, 2 * at), get(forward, 2 * at + 1)
            end_x, end_y = column + dx, row + dy
            in_x, in_y = (end_x if end_x > _ZERO else _ZERO), (end_y if end_y > _ZERO else _ZERO)  # not NaN either
            in_x, in_y = (in_x if in_x < last_x else last_x), (in_y if in_y < last_y else last_y)
            floor_x, floor_y = np.floor(in_x - column), np.floor(in_y - row)
            right, lower = (in_x - column) - floor_x, (in_y - row) - floor_y
            here = np.int32(np.int32(row + floor_y) * below + np.int32(2) * np.int32(column + floor_x))
            # Where a tap weighs nothing, there may be none.
            beside = np.int32(here + (np.int32(2) if right > _ZERO else np.int32(0)))
            step = below if lower > _ZERO else np.int32(0)
            under, across = np.int32(here + step), np.int32(beside + step)
            left, upper = _ONE - right, _ONE - lower
            back_x = (tap(backward, here, 0) * left + tap(backward, beside, 0) * right) * upper
            back_x += (tap(backward, under, 0) * left + tap(backward, across, 0) * right) * lower
            back_y = (tap(backward, here, 1) * left + tap(backward, beside, 1) * right) * upper
            back_y += (tap(backward, under, 1) * left + tap(backward, across, 1) * right) * lower
            rest_x, rest_y = (dx + back_x) / scale[0], (dy + back_y) / scale[1]
            # The picture goes on for half a pixel beyond the centres of the view's outer pixels.
            left_it = (abs(end_x - in_x) > _HALF) | (abs(end_y - in_y) > _HALF)
            length = np.sqrt(rest_x * rest_x + rest_y * rest_y)
            if lost is None:
                put(distance, at, LOST if left_it else length)
            else:
                put(distance, at, length)
                put(lost, at, _ONE if left_it else _ZERO)


@parallel_kernel()
def close(forward, backward, scale, shape, n_bands, distance, lost):
    """Fill |f(x) + b(x + f(x))|, where b is linearly interpolated, over `scale` (x, y).

    `forward` and `backward` are (H * W * 2,) float32 with `shape` (H, W). Where x + f(x) has left the picture,
    `distance`, (H * W,) float32, gets `LOST`; or, where it is not None, `lost` 1 instead of 0.
    """
    for i in numba.prange(n_bands):
        y0, y1 = shape[0] * i // n_bands, shape[0] * (i + 1) // n_bands
        _close_rows(forward, backward, scale, shape, y0, y1, distance, lost)
