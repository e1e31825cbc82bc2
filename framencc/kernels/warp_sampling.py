"""Samples a picture where a warp says, and tells why where it cannot.

The work goes through short pieces of a row in stages, over buffers that stay in the first-level cache: where every
sample lies (the offset of its upper left tap, and the fractions of a pixel beyond it) and whether that is inside; the
blend of the taps; the output's own number format. Nothing branches inside a stage, so each one vectorises.

- A displacement is split into whole pixels and a fraction before the pixel's own coordinate is added, so the fraction
  is exact to 2^-24 px (float32) however wide the picture. A matrix's positions are float64.
- Taps are read as words of four bytes that hold their right neighbours, too: of 8 bits all four of a row for cubic. So
  two gathers make a linear sample of integers, four one of floats. Nearest and linear need no tap beyond the edge: a
  tap that weighs nothing is not looked at. For cubic the picture is copied with a margin that repeats its edge.

Fixed point or float32, measured at 1920 x 1080 on 8-bit pictures, one thread, CPU time, medians of 25 rounds in turn:
warping and correlating (radius 3) takes 15.6 ms with round(256 value) in uint16 against 25.9 ms with float32 (0.61;
where pixels are masked 0.59), because the correlation of integers is the quicker one. Against float64 the samples are
off by 7.8e-6 of full scale, which is the rounding to 1 / 256 of a code, and by 1.3e-7 in float32. The correlation of a
textured picture with a noise of 4 codes is off by at most 4.4e-4 and 2.4e-6, that of nothing but noise of 0.6 codes
by 2.5e-3 and 9e-6; rounding to whole codes would cost 0.09 and 0.7. As a camera's own noise moves it by far more than
1e-3, fixed point is the rule, and float32 there for who needs it.

How far from the floor: of the 1.4 ns that a linear 8-bit sample takes on one core, its two gathers alone take 0.4,
finding it 0.6; reading the field and writing the results from and to beyond the caches add about 0.3.
"""

from typing import NamedTuple

import numpy as np

from framencc.kernels.accesses import fetch, get, put, tap
from framencc.kernels.compilation import kernel

BEFORE, AFTER, BELOW = 1, 2, 2  # columns and rows of the margin
OUTSIDE, MASKED = np.uint8(3), np.uint8(4)
ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
TWO, FIVE_HALVES, THREE_HALVES = np.float32(2.0), np.float32(2.5), np.float32(1.5)
_PIECE = 256
_LINE = 16  # float32 numbers in a cache line


class SamplingSettings(NamedTuple):
    """The options of the sampling; what is None or not decides by type, so that only the loops needed are compiled."""

    height: int  # of the picture without its margin
    width: int
    margin: int  # BEFORE, or 0 for a picture without a margin
    holes: bool | None  # not None for float pictures, whose taps of zero weight may be NaN
    gain: np.float32 | None  # output is round(gain * value) in uint16, or where None the value in float32
    maximum: np.float32  # largest code of an integer picture


@kernel()
def _copy(row, out):
    for x in range(row.size):
        put(out, x, get(row, x))


@kernel()
def pad_rows(picture, y0, y1, padded):
    """Copy a picture into one with a margin that repeats its edge, the rows y0 to y1 of the latter.

    `picture` is (C, H, W), `padded` (C, BEFORE + H + BELOW, BEFORE + W + AFTER) of the same dtype.
    """
    n_channels, height, width = picture.shape
    for channel in range(n_channels):
        for y in range(y0, y1):
            row, out = picture[channel, min(max(y - BEFORE, 0), height - 1)], padded[channel, y]
            _copy(row, out[BEFORE:])
            for x in range(BEFORE):
                out[x] = row[0]
            for x in range(BEFORE + width, out.size):
                out[x] = row[width - 1]


@kernel()
def _is_inside(whole, fraction, last):
    return (whole >= ZERO) & (whole <= (last if fraction == ZERO else last - ONE))


@kernel()
def _locate_field(shifts, columns, x0, y, last, stride, offset, fraction_x, fraction_y, codes):
    """Find the samples of a row's piece that starts at column x0; `shifts` holds its (dx, dy) one after the other."""
    first, row = np.float32(x0), np.float32(y)
    for i in range(fraction_x.size):
        dx, dy = get(shifts, 2 * i), get(shifts, 2 * i + 1)
        floor_x, floor_y = np.floor(dx), np.floor(dy)
        # Whole numbers below 2^24, or far outside, or NaN, for which every comparison is false.
        x, y_tap = (get(columns, i) + first) + floor_x, row + floor_y
        right, lower = dx - floor_x, dy - floor_y
        inside = _is_inside(x, right, last[0]) & _is_inside(y_tap, lower, last[1])
        put(offset, i, np.int32(np.int32(y_tap if inside else ZERO) * stride + np.int32(x if inside else ZERO)))
        put(fraction_x, i, right)
        put(fraction_y, i, lower)
        put(codes, i, np.uint8(0) if inside else OUTSIDE)


@kernel()
def _locate_matrix(matrix, projective, columns, x0, y, last, stride, offset, fraction_x, fraction_y, codes):
    """Find the samples of a row's piece that starts at column x0, by a 3 x 3 matrix whose last row may be 0 0 1."""
    a, b, c = matrix[0, 0], matrix[0, 1] * y + matrix[0, 2], matrix[1, 0]
    d, e, f = matrix[1, 1] * y + matrix[1, 2], matrix[2, 0], matrix[2, 1] * y + matrix[2, 2]
    for i in range(fraction_x.size):
        column = np.float64(get(columns, i)) + x0
        position_x, position_y, ahead = a * column + b, c * column + d, True
        if projective is not None:  # two divisions cost as much as all the rest
            divisor = e * column + f
            position_x, position_y, ahead = position_x / divisor, position_y / divisor, divisor > 0.0
        x, y_tap = np.floor(position_x), np.floor(position_y)
        right, lower = np.float32(position_x - x), np.float32(position_y - y_tap)
        inside = ahead & _is_inside(x, right, last[0]) & _is_inside(y_tap, lower, last[1])
        put(offset, i, np.int32(np.int32(y_tap if inside else 0.0) * stride + np.int32(x if inside else 0.0)))
        put(fraction_x, i, right)
        put(fraction_y, i, lower)
        put(codes, i, np.uint8(0) if inside else OUTSIDE)


@kernel()
def _weigh(value, weight, holes):
    if holes is None:
        return value * weight
    return (value if weight != ZERO else ZERO) * weight


@kernel()
def _weight(weight, counting):
    if counting is None:
        return weight
    return ONE if weight != ZERO else ZERO


@kernel()
def _blend_nearest(plane, stride, offset, fraction_x, fraction_y, out):
    for i in range(out.size):
        right = np.int32(1) if get(fraction_x, i) >= HALF else np.int32(0)
        lower = stride if get(fraction_y, i) >= HALF else np.int32(0)
        put(out, i, tap(plane, np.int32(get(offset, i) + right + lower), 0))


@kernel()
def _linear_row(plane, here, left, right, holes):
    if holes is None:
        return tap(plane, here, 0) * left + tap(plane, here, 1) * right
    beside = np.int32(here + (np.int32(1) if right != ZERO else np.int32(0)))
    return _weigh(tap(plane, here, 0), left, holes) + _weigh(tap(plane, beside, 0), right, holes)


@kernel()
def _blend_linear(plane, stride, offset, fraction_x, fraction_y, holes, counting, out):
    for i in range(out.size):
        here = get(offset, i)
        right, lower = get(fraction_x, i), get(fraction_y, i)
        # Where a tap weighs nothing, a float picture without a margin may have none.
        below = np.int32(here + (stride if lower != ZERO else np.int32(0)))
        left, upper = _weight(ONE - right, counting), _weight(ONE - lower, counting)
        right, lower = _weight(right, counting), _weight(lower, counting)
        first = _linear_row(plane, here, left, right, holes)
        second = _linear_row(plane, below, left, right, holes)
        put(out, i, _weigh(first, upper, holes) + _weigh(second, lower, holes))


@kernel()
def _keys(t, counting):
    """Weigh the taps at -1, 0, 1, 2 for a sample at t (Keys 1981, a = -1/2); all but one are 0 at t = 0 and t = 1."""
    return (
        _weight(((ONE - HALF * t) * t - HALF) * t, counting),
        _weight((THREE_HALVES * t - FIVE_HALVES) * t * t + ONE, counting),
        _weight(((TWO - THREE_HALVES * t) * t + HALF) * t, counting),
        _weight((HALF * t - HALF) * t * t, counting),
    )


@kernel()
def _cubic_row(plane, here, weights, holes):
    left = _weigh(tap(plane, here, 0), weights[0], holes) + _weigh(tap(plane, here, 1), weights[1], holes)
    right = _weigh(tap(plane, here, 2), weights[2], holes) + _weigh(tap(plane, here, 3), weights[3], holes)
    return left + right


@kernel()
def _blend_cubic(plane, stride, offset, fraction_x, fraction_y, holes, counting, out):
    for i in range(out.size):
        here = np.int32(get(offset, i) - stride - 1)
        across, down = _keys(get(fraction_x, i), counting), _keys(get(fraction_y, i), counting)
        value = _weigh(_cubic_row(plane, here, across, holes), down[0], holes)
        here = np.int32(here + stride)
        value += _weigh(_cubic_row(plane, here, across, holes), down[1], holes)
        here = np.int32(here + stride)
        value += _weigh(_cubic_row(plane, here, across, holes), down[2], holes)
        here = np.int32(here + stride)
        value += _weigh(_cubic_row(plane, here, across, holes), down[3], holes)
        put(out, i, value)


@kernel()
def _finish(values, codes, holes, gain, maximum, out):
    for i in range(out.size):
        value = get(values, i) if get(codes, i) == 0 else ZERO
        if holes is None:
            value = min(max(value, ZERO), maximum)
        else:
            value += value - value  # an infinity becomes NaN
        if gain is None:
            put(out, i, value)
        else:
            put(out, i, np.uint16(np.int32(value * gain + HALF)))


@kernel()
def _piece(field, matrix, y, x0, x1, settings, stride, columns, offset, fractions, codes):
    """Find the samples of the columns x0 to x1 of a row, and let what follows a field's piece come nearer meanwhile."""
    size = x1 - x0
    right, lower = fractions[0, :size], fractions[1, :size]
    if field is not None:
        last = np.float32(settings.width - 1), np.float32(settings.height - 1)
        _locate_field(field[y, 2 * x0 : 2 * x1], columns, x0, y, last, stride, offset, right, lower, codes)
        for x in range(0, 2 * _PIECE, _LINE):
            fetch(field[y], 2 * x1 + x)
    if matrix is not None:
        last = np.float64(settings.width - 1), np.float64(settings.height - 1)
        if matrix[2, 0] == 0.0 and matrix[2, 1] == 0.0 and matrix[2, 2] == 1.0:
            _locate_matrix(matrix, None, columns, x0, y, last, stride, offset, right, lower, codes)
        else:
            _locate_matrix(matrix, True, columns, x0, y, last, stride, offset, right, lower, codes)
    return right, lower


@kernel()
def _buffers():
    columns = np.empty(_PIECE, np.float32)
    for x in range(_PIECE):
        columns[x] = x
    return columns, np.empty(_PIECE, np.int32), np.empty((3, _PIECE), np.float32)


@kernel()
def sample_rows(picture, field, matrix, nearest, cubic, settings, y0, y1, out, validity):
    """Sample the rows y0 to y1 of the output grid.

    `picture` is (C, H, W) uint8, uint16 or float32; for cubic, or where H = 1 or H W < 4, it is what `pad_rows` made
    of that, and `settings.margin` is BEFORE, else 0. Either `field` is (h, 2 w) float32, dx and dy in turn, and
    `matrix` None, or `matrix` is (3, 3) float64 and `field` None. One of `nearest` and `cubic` is True, or both are
    None for linear. `out` is (C, h, w) uint16 or float32 as `settings.gain` says, and `validity` (h, w) uint8; it
    receives 0 or 3 (outside), and there `out` receives 0.
    """
    n_channels, n_rows, stride = picture.shape
    planes = picture.reshape(n_channels, n_rows * stride)
    step, origin = np.int32(stride), settings.margin * (stride + 1)
    holes, gain = settings.holes, settings.gain
    columns, offsets, buffers = _buffers()
    for y in range(y0, y1):
        for x0 in range(0, out.shape[2], _PIECE):
            x1 = min(out.shape[2], x0 + _PIECE)
            codes, offset, values = validity[y, x0:x1], offsets[: x1 - x0], buffers[2, : x1 - x0]
            right, lower = _piece(field, matrix, y, x0, x1, settings, step, columns, offset, buffers, codes)
            for channel in range(n_channels):
                plane = planes[channel, origin:]
                if nearest is not None:
                    _blend_nearest(plane, step, offset, right, lower, values)
                elif cubic is not None:
                    _blend_cubic(plane, step, offset, right, lower, holes, None, values)
                else:
                    _blend_linear(plane, step, offset, right, lower, holes, None, values)
                _finish(values, codes, holes, gain, settings.maximum, out[channel, y, x0:x1])


@kernel()
def _mark(n_masked, codes, out, y, x0):
    for i in range(codes.size):
        if (n_masked[i] > ZERO) & (codes[i] == 0):
            codes[i] = MASKED
            for channel in range(out.shape[0]):
                out[channel, y, x0 + i] = 0


@kernel()
def mark_rows(masked, field, matrix, nearest, cubic, settings, y0, y1, out, validity):
    """Give code 4 and value 0 to the samples of the rows y0 to y1 that have a masked tap whose weight is not 0.

    `masked` is (1, H, W) uint8, 1 where a pixel is masked, with a margin as that of `sample_rows`' picture. All else is
    as `sample_rows` has it and left it. A pass of its own keeps the usual one short to compile.
    """
    _, n_rows, stride = masked.shape
    step, origin = np.int32(stride), settings.margin * (stride + 1)
    plane = masked.reshape(n_rows * stride)[origin:]
    columns, offsets, buffers = _buffers()
    outside = np.empty(_PIECE, np.uint8)
    for y in range(y0, y1):
        for x0 in range(0, out.shape[2], _PIECE):
            x1 = min(out.shape[2], x0 + _PIECE)
            offset, n_masked = offsets[: x1 - x0], buffers[2, : x1 - x0]
            codes = outside[: x1 - x0]
            right, lower = _piece(field, matrix, y, x0, x1, settings, step, columns, offset, buffers, codes)
            if nearest is not None:
                _blend_nearest(plane, step, offset, right, lower, n_masked)
            elif cubic is not None:
                _blend_cubic(plane, step, offset, right, lower, None, True, n_masked)
            else:
                _blend_linear(plane, step, offset, right, lower, None, True, n_masked)
            _mark(n_masked, validity[y, x0:x1], out, y, x0)
