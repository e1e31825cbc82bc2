"""Samples a picture where a warp says, and tells why where it cannot.

A band goes through short pieces of a row in stages, over buffers that stay in the first-level cache: where every sample
lies (the offset of its upper left tap, the fractions of a pixel beyond it, whether it is inside), then the blend of the
taps. Nothing branches inside a stage, so each one vectorises. A displacement is split into whole pixels and a fraction
before the pixel's own coordinate is added, so the fraction is exact to 2^-24 px (float32) however wide the picture. A
matrix is sampled by the float32 displacements that it means, so a run repeated from its own fields gives the same bits.

Taps are read as words of four bytes that hold their right neighbours, too: two gathers make a linear sample of
integers, four one of floats. Nearest and linear need no tap beyond the edge, as a tap that weighs nothing is not looked
at; for cubic the picture is copied with a margin. Masked pixels are NaN in a plane of their own, sampled like floats.
"""

from typing import NamedTuple

import numpy as np

from framencc.kernels.accesses import at, get, put, tap
from framencc.kernels.calls import call
from framencc.kernels.compilation import kernel
from framencc.kernels.displacement import displace
from framencc.kernels.sharing import share

BEFORE, AFTER, BELOW = 1, 2, 2  # columns and rows of the margin
OUTSIDE, MASKED = np.uint8(3), np.uint8(4)
ZERO, HALF, ONE, TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)
THREE_HALVES, FIVE_HALVES = np.float32(1.5), np.float32(2.5)
STAY, RIGHT = np.int32(0), np.int32(1)
_PIECE = 256


class SamplingSettings(NamedTuple):
    """The options of the sampling; what is None or not decides by type, so that only the loops needed are compiled."""

    last_x: np.float32  # of the picture without its margin
    last_y: np.float32
    stride: np.int32  # pixels from row to row
    origin: np.int32  # of the first pixel inside the margin
    maximum: np.float32  # largest code of an integer picture
    holes: bool | None  # not None for float pictures, whose taps of zero weight may be NaN
    gain: np.float32 | None  # output is round(gain * value) in uint16, or where None the value in float32


@kernel()
def _weigh(value, weight, holes):
    if holes is None:
        return value * weight
    return (value if weight != ZERO else ZERO) * weight


@kernel()
def _keys(t):
    """Weigh the taps at -1, 0, 1, 2 for a sample at t (Keys 1981, a = -1/2); all but one are 0 at t = 0 and t = 1."""
    return (
        ((ONE - HALF * t) * t - HALF) * t,
        (THREE_HALVES * t - FIVE_HALVES) * t * t + ONE,
        ((TWO - THREE_HALVES * t) * t + HALF) * t,
        (HALF * t - HALF) * t * t,
    )


@kernel()
def _row(plane, here, weights, cubic, holes):
    """Blend the taps of one row."""
    if cubic is not None:
        left = _weigh(tap(plane, here, 0), weights[0], holes) + _weigh(tap(plane, here, 1), weights[1], holes)
        right = _weigh(tap(plane, here, 2), weights[2], holes) + _weigh(tap(plane, here, 3), weights[3], holes)
        return left + right
    if holes is None:
        return tap(plane, here, 0) * weights[0] + tap(plane, here, 1) * weights[1]
    beside = np.int32(here + (RIGHT if weights[1] != ZERO else STAY))
    return _weigh(tap(plane, here, 0), weights[0], holes) + _weigh(tap(plane, beside, 0), weights[1], holes)


@kernel()
def _blend(plane, places, size, settings, nearest, cubic, holes, gain, codes, at, out, to):
    offset, across, down = places
    stride, maximum = settings.stride, settings.maximum
    for i in range(size):
        here, right, lower = get(offset, i), get(across, i), get(down, i)
        if nearest is not None:
            below = np.int32(here + (stride if lower >= HALF else STAY))
            value = tap(plane, np.int32(below + (RIGHT if right >= HALF else STAY)), 0)
        elif cubic is not None:
            weights, rows, here = _keys(right), _keys(lower), np.int32(here - stride - RIGHT)
            value = _weigh(_row(plane, here, weights, cubic, holes), rows[0], holes)
            value += _weigh(_row(plane, np.int32(here + stride), weights, cubic, holes), rows[1], holes)
            value += _weigh(_row(plane, np.int32(here + 2 * stride), weights, cubic, holes), rows[2], holes)
            value += _weigh(_row(plane, np.int32(here + 3 * stride), weights, cubic, holes), rows[3], holes)
        else:  # where a tap weighs nothing, a picture without a margin may have none
            weights, below = (ONE - right, right), np.int32(here + (stride if lower != ZERO else STAY))
            value = _weigh(_row(plane, here, weights, None, holes), ONE - lower, holes)
            value += _weigh(_row(plane, below, weights, None, holes), lower, holes)
        value = value if get(codes, at + i) == 0 else ZERO
        if holes is None:
            value = min(max(value, ZERO), maximum)
        else:
            value += value - value  # an infinity becomes NaN
        if gain is None:
            put(out, to + i, value)
        else:
            put(out, to + i, np.uint16(np.int32(value * gain + HALF)))


@kernel()
def _sample_band(band, n_bands, planes, masked, field, matrix, nearest, cubic, settings, out, validity):
    n_channels, height, width = out.shape
    target, codes = out.reshape(n_channels * height * width), validity.reshape(height * width)
    fractions, values = np.empty((2, _PIECE), np.float32), np.empty(2 * _PIECE, np.float32)
    offset, across, down = np.empty(_PIECE, np.int32), fractions[0], fractions[1]
    places, holes, gain = (offset, across, down), settings.holes, settings.gain
    last_x, last_y = settings.last_x, settings.last_y
    for y in range(height * band // n_bands, height * (band + 1) // n_bands):
        row = np.float32(y)
        for x0 in range(0, width, _PIECE):
            size, first = min(_PIECE, width - x0), y * width + x0
            if matrix is not None:
                call(displace, y, x0, x0 + size, matrix, 0, values)
                shifts = at(values, 0)
            if field is not None:
                shifts = at(field, 2 * first)
            for i in range(size):
                dx, dy = get(shifts, 2 * i), get(shifts, 2 * i + 1)
                floor_x, floor_y = np.floor(dx), np.floor(dy)
                # Whole numbers below 2^24, or far outside, or NaN, for which every comparison is false.
                x, y_tap = np.float32(np.int32(x0 + i)) + floor_x, row + floor_y
                right, lower = dx - floor_x, dy - floor_y
                inside = (x >= ZERO) & (x <= (last_x if right == ZERO else last_x - ONE))
                inside = inside & (y_tap >= ZERO) & (y_tap <= (last_y if lower == ZERO else last_y - ONE))
                x, y_tap = (x if inside else ZERO), (y_tap if inside else ZERO)
                put(offset, i, np.int32(np.int32(y_tap) * settings.stride + np.int32(x) + settings.origin))
                put(across, i, right)
                put(down, i, lower)
                put(codes, first + i, np.uint8(0) if inside else OUTSIDE)
            if masked is not None:
                call(_blend, masked, places, size, settings, nearest, cubic, True, None, codes, first, values, 0)
                for i in range(size):
                    codes[first + i] = MASKED if np.isnan(values[i]) else codes[first + i]
            for channel in range(n_channels):
                to, plane = channel * height * width + first, planes[channel]
                call(_blend, plane, places, size, settings, nearest, cubic, holes, gain, codes, first, target, to)


@kernel()
def sample(planes, masked, field, matrix, nearest, cubic, settings, n_bands, out, validity):
    """Fill `out`, (C, h, w), and `validity`, (h, w): 0, 3 (outside) or 4 (masked), where `out` gets 0.

    `planes` is (C, H * W); for cubic, or where H = 1 or H * W < 4, with margins. `masked` is None or (H * W,) float32,
    NaN where masked. Either `field` is (h * w * 2,) or `matrix` (3, 3); at most one of `nearest` and `cubic` is True.
    """
    share(_sample_band, n_bands, n_bands, planes, masked, field, matrix, nearest, cubic, settings, out, validity)
