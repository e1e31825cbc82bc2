"""Displacement fields: those of a matrix, how long displacements are, and whether the way there and back closes."""

import numpy as np

from framencc.kernels.accesses import at, copy_four, get, put
from framencc.kernels.calls import call
from framencc.kernels.compilation import kernel
from framencc.kernels.sharing import share

LOST = np.float32(np.inf)
# Distances are counted in bins of 1/1024 of their size: by the upper bits of a float32, from 2^-10 to 2^14 pixels.
BIN_BITS, FIRST_BIN, N_BINS = 13, (127 - 10) << 10, 24 << 10
BEYOND, UNKNOWN, FAILING, N_COUNTS = N_BINS, N_BINS + 1, N_BINS + 2, N_BINS + 3  # further counts in the same array
_I32 = np.int32
_INFINITE, _MAGNITUDE = np.int32(0x7F800000), np.int32(0x7FFFFFFF)
_ZERO, _ONE, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_PIECE = 128


@kernel()
def displace(y, x0, x1, matrix, pitch, out):
    """Write the float32 (dx, dy) that a (3, 3) matrix means from out[pitch * y] on; NaN where it divides by 0 or less.

    They are those of the columns x0 to x1.
    """
    v, first = np.float64(y), pitch * y
    plain = matrix[2, 0] == 0.0 and matrix[2, 1] == 0.0 and matrix[2, 2] == 1.0
    for x in range(x0, x1):
        u = np.float64(np.int32(x))
        across = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]
        down = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]
        if not plain:  # two divisions cost as much as all the rest
            divisor = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2]
            across = across / divisor if divisor > 0.0 else np.nan
            down = down / divisor if divisor > 0.0 else np.nan
        put(out, first + 2 * (x - x0), np.float32(across - u))
        put(out, first + 2 * (x - x0) + 1, np.float32(down - v))


@kernel()
def matrix_field(matrix, height, width, out):
    """Fill (height * width * 2,) displacements."""
    share(displace, height, 0, width, matrix, 2 * width, out)


@kernel()
def _close(forward, backward, scale, beyond, shape, y, x0, size, scratch, distance):
    """Fill the distances of `size` pixels from (x0, y) on; see `describe`."""
    offset, right, down, upper, lower = scratch
    (height, width), row = shape, np.float32(y)
    last_x, last_y, below = np.float32(width - 1), np.float32(height - 1), _I32(2 * width)
    for i in range(size):
        column, dx, dy = np.float32(_I32(x0 + i)), get(forward, 2 * i), get(forward, 2 * i + 1)
        end_x, end_y = column + dx, row + dy
        in_x, in_y = (end_x if end_x > _ZERO else _ZERO), (end_y if end_y > _ZERO else _ZERO)  # not NaN either
        in_x, in_y = (in_x if in_x < last_x else last_x), (in_y if in_y < last_y else last_y)
        # The four taps are those to the right and below, at the far edges those to the left and above.
        tap_x, tap_y = column + np.floor(in_x - column), row + np.floor(in_y - row)
        tap_x, tap_y = (tap_x if tap_x < last_x else last_x - _ONE), (tap_y if tap_y < last_y else last_y - _ONE)
        put(offset, i, _I32(_I32(tap_y) * below + _I32(2) * _I32(tap_x)))
        put(right, i, (in_x - column) - (tap_x - column))
        put(down, i, (in_y - row) - (tap_y - row))
        # The picture goes on for half a pixel beyond the centres of the view's outer pixels.
        put(distance, i, beyond if (abs(end_x - in_x) > _HALF) | (abs(end_y - in_y) > _HALF) else _ZERO)
    for i in range(size):  # faster than to gather numbers one by one, as the next loop would
        copy_four(backward, offset[i], upper, 4 * i)
        copy_four(backward, _I32(offset[i] + below), lower, 4 * i)
    for i in range(size):
        a, b, left, above, mark = right[i], down[i], _ONE - right[i], _ONE - down[i], distance[i]
        back_x = (upper[4 * i] * left + upper[4 * i + 2] * a) * above
        back_x += (lower[4 * i] * left + lower[4 * i + 2] * a) * b
        back_y = (upper[4 * i + 1] * left + upper[4 * i + 3] * a) * above
        back_y += (lower[4 * i + 1] * left + lower[4 * i + 3] * a) * b
        rest_x, rest_y = (get(forward, 2 * i) + back_x) / scale[0], (get(forward, 2 * i + 1) + back_y) / scale[1]
        length = np.sqrt(rest_x * rest_x + rest_y * rest_y)
        put(distance, i, -length if mark < _ZERO else length + mark)


@kernel()
def _measure(field, distance, width, limit, lengths, bins, counts):
    """Sum a row's lengths; return also the bits of the largest one's square, and how many are not NaN.

    Distances, as many as there are `bins`, are counted; see `describe`.
    """
    known, largest, failing = np.int64(0), np.int64(0), _I32(0)
    for x in range(width):
        dx, dy = np.float64(get(field, 2 * x)), np.float64(get(field, 2 * x + 1))
        square = np.float64(dx * dx + dy * dy)
        bits = square.view(np.int64)  # ordered like the numbers, as none is negative
        known += np.int64(square >= 0.0)
        largest = max(largest, bits if square >= 0.0 else 0)
        put(lengths, x, np.sqrt(square if square >= 0.0 else 0.0))
    size = width
    while size > 1:  # always in the same order; a running sum would wait for every addition
        kept = size - size // 2
        for x in range(size // 2):
            lengths[x] += lengths[kept + x]
        size = kept
    for x in range(bins.size):
        far = np.float32(get(distance, x))
        bits = far.view(np.int32) & _MAGNITUDE
        bin_ = min(max((bits >> BIN_BITS) - FIRST_BIN, 0), BEYOND)
        failing = _I32(failing + _I32((bits > limit) & (bits <= _INFINITE)))
        put(bins, x, np.uint16(UNKNOWN if bits > _INFINITE else bin_))
    for x in range(bins.size):
        counts[bins[x]] += 1
    counts[FAILING] += failing
    return lengths[0], largest, known


@kernel()
def _describe_band(band, n_bands, field, backward, scale, beyond, limit, shape, distance, rows, counts):
    (height, width), (totals, largest, n_known) = shape, rows
    lengths, bins = np.empty(width), np.empty(min(width, distance.size), np.uint16)
    fractions = np.empty((2, _PIECE), np.float32)
    taps = np.empty((2, 4 * _PIECE), np.float32)
    scratch = np.empty(_PIECE, np.int32), fractions[0], fractions[1], taps[0], taps[1]
    own_counts = counts[band]
    for y in range(height * band // n_bands, height * (band + 1) // n_bands):
        if backward is not None:
            for x0 in range(0, width, _PIECE):
                first, size = y * width + x0, min(_PIECE, width - x0)
                forward, out = at(field, 2 * first), at(distance, first)
                call(_close, forward, backward, scale, beyond, shape, y, x0, size, scratch, out)
        first = y * width
        sums = call(_measure, at(field, 2 * first), at(distance, first), width, limit, lengths, bins, own_counts)
        totals[y], largest[y], n_known[y] = sums


@kernel()
def describe(n_bands, field, backward, scale, beyond, limit, shape, distance, rows, counts):
    """Find forward-backward distances, if there is a way back, and take the statistics of a field and of distances.

    `field` is (H * W * 2,) float32, `shape` (H, W), and `distance` (H * W,) float32, or empty. `backward`, like
    `field`, or None: `distance` gets |f(x) + b(x + f(x))|, where b is linearly interpolated, over `scale` (x, y).
    Where x + f(x) has left the picture, it gets `beyond`, which is `LOST`, or where that is negative minus the length.

    `rows`, three arrays of H, get of each row the sum of its displacements' lengths, the bits of the square of the
    largest (float64), and how many are not NaN. `counts`, (n_bands, N_COUNTS) zeros, get how many distances lie in each
    bin, `BEYOND` them all, are NaN (`UNKNOWN`), or above the limit (`FAILING`), given by the bits of a float32.
    """
    share(_describe_band, n_bands, n_bands, field, backward, scale, beyond, limit, shape, distance, rows, counts)
