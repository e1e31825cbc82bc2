"""Local normalized cross-correlation of float32 pictures, from float64 sums that never subtract.

A running sum down the rows (add the entering row, subtract the leaving one) would carry the rounding of the brightest
row it ever held into the darkest window below it. Here a window's rows are the end of one block of 2 r + 1 rows and
the beginning of the next (van Herk 1992, Gil and Werman 1993, for sums): one total from each block's end upwards, one
from its beginning downwards, three additions a row whatever the radius. Along the row, sums double their length.
So a window's sums hold its own pixels and nothing else, and n S_xy = n sum(x y) - sum(x) sum(y) loses at most about
1e-15 (mean / sigma)^2 of itself.

A window counts as flat where S_FF <= 2^-44 sum(F^2), that is a standard deviation below 2.4e-7 of the root mean
square: two to four times float32's own spacing, and thirty times the rounding of the sums. For a picture of integers
that came here beside one of floats the bound is 2^-50: above the rounding, and below what any texture of integers has,
(n - 1) / (n 65535)^2.

The blocks start at the first row of a tile, and tiles follow from the picture's size and the options alone, so the
result has the same bits for any number of threads.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.kernels.box_sums import extent, mirror
from framencc.kernels.compilation import kernel

Array = npt.NDArray[Any]

FLAT_SHARE_OF_FLOATS, FLAT_SHARE_OF_INTEGERS = 2.0**-44, 2.0**-50
_TILE_BYTES = 1 << 19
_FRAME, _FRAME_SQUARES, _PRODUCTS, _REFERENCE, _REFERENCE_SQUARES, _N_PIXELS = range(6)


class FloatReference(NamedTuple):
    """A reference and what every frame needs of it, computed once."""

    planes: Array  # (C, H, W) float32
    sums: Array  # (C, H, W) float64 window sums
    scale: Array  # (H, W) float64, 1 / sqrt(sum over C of n S_RR + n^2 noise), 0 where flat


class FloatSettings(NamedTuple):
    """The options of the correlation, as the kernels need them."""

    radius: int
    reflect: bool
    flat: float
    flat_share: float  # of the frame: a window is flat up to this share of its energy
    reference_flat_share: float
    noise: float  # C * noise_sigma^2
    fill: float
    min_valid_fraction: float  # of the window's pixels in the picture
    tile_rows: int
    tile_columns: int


def tile_columns(radius: int, n_planes: int) -> int:
    """Choose a tile's width: wide rows are quick, but 2 r + 1 of them in every plane should stay in the cache."""
    return max(256, _TILE_BYTES // (8 * n_planes * (2 * radius + 1)) - 2 * radius)


@kernel()
def _copy(row, out):
    for x in range(out.size):
        out[x] = row[x]


@kernel()
def _copy_kept(row, why, out):
    for x in range(out.size):
        out[x] = row[x] if why[x] == 0 else 0.0


@kernel()
def _copy_counts(why, out):
    for x in range(out.size):
        out[x] = 1.0 if why[x] == 0 else 0.0


@kernel()
def _load(plane, why, y, x0, settings, out):
    """Fetch a piece of row `y` that starts at column x0; beyond the picture it is mirrored or 0, and 0 if masked."""
    height, width = plane.shape
    if not (0 <= y < height or settings.reflect):
        out[:] = 0.0
        return
    y = mirror(y, height)
    first, last = max(0, -x0), min(out.size, width - x0)
    if why.size > 0:
        _copy_kept(plane[y, x0 + first : x0 + last], why[y, x0 + first : x0 + last], out[first:last])
    else:
        _copy(plane[y, x0 + first : x0 + last], out[first:last])
    for side in range(2):
        for x in range(0 if side == 0 else last, first if side == 0 else out.size):
            source = mirror(x0 + x, width)
            kept = settings.reflect and (why.size == 0 or why[y, source] == 0)
            out[x] = plane[y, source] if kept else 0.0


@kernel()
def _load_counts(why, y, x0, settings, out):
    height, width = why.shape
    if not (0 <= y < height or settings.reflect):
        out[:] = 0.0
        return
    y = mirror(y, height)
    first, last = max(0, -x0), min(out.size, width - x0)
    _copy_counts(why[y, x0 + first : x0 + last], out[first:last])
    for side in range(2):
        for x in range(0 if side == 0 else last, first if side == 0 else out.size):
            out[x] = 1.0 if settings.reflect and why[y, mirror(x0 + x, width)] == 0 else 0.0


@kernel()
def _add(row, total, out):
    for x in range(out.size):
        out[x] = total[x] + row[x]


@kernel()
def _add_product(row, other, total, out):
    for x in range(out.size):
        out[x] = total[x] + row[x] * other[x]


@kernel()
def _extend(reference, frame, why, y, x0, settings, rows, totals, out):
    """Add one row to the totals of F, F F and R F, and with a mask of R, R R and the pixels that count."""
    for channel in range(frame.shape[0]):
        total, result = totals[channel], out[channel]
        _load(frame[channel], why, y, x0, settings, rows[0])
        _load(reference[channel], why, y, x0, settings, rows[1])
        _add(rows[0], total[_FRAME], result[_FRAME])
        _add_product(rows[0], rows[0], total[_FRAME_SQUARES], result[_FRAME_SQUARES])
        _add_product(rows[0], rows[1], total[_PRODUCTS], result[_PRODUCTS])
        if why.size > 0:
            _add(rows[1], total[_REFERENCE], result[_REFERENCE])
            _add_product(rows[1], rows[1], total[_REFERENCE_SQUARES], result[_REFERENCE_SQUARES])
            if channel == 0:
                _load_counts(why, y, x0, settings, rows[0])
                _add(rows[0], total[_N_PIXELS], result[_N_PIXELS])


@kernel()
def _row_sums(columns, side, scratch, out):
    """Add every `side` neighbours from sums of 1, 2, 4, ... of them."""
    size = columns.size
    source, taken, length, turn = columns, 0, 1, 0
    while True:
        if side & length:
            if taken == 0:
                _copy(source, out)
            else:
                _add(source[taken:], out, out)
            taken += length
        if 2 * length > side:
            break
        size -= length
        doubled = scratch[turn, :size]
        _add(source[length:], source, doubled)
        source, turn, length = doubled, 1 - turn, 2 * length


@kernel()
def _start(n_pixels, energy, out):
    for x in range(out.size):
        out[x] = n_pixels[x] * n_pixels[x] * energy


@kernel()
def _add_variance(n_pixels, sums, squares, flat_share, out):
    for x in range(out.size):
        energy = n_pixels[x] * squares[x]
        value = energy - sums[x] * sums[x]
        out[x] += value if value > flat_share * energy else 0.0


@kernel()
def _add_covariance(n_pixels, sums, other_sums, products, out):
    for x in range(out.size):
        out[x] += n_pixels[x] * products[x] - sums[x] * other_sums[x]


@kernel()
def _divide(numerator, variance, scale, flat, out):
    for x in range(out.size):
        rho = min(max(numerator[x] * scale[x] / np.sqrt(variance[x]), -1.0), 1.0)
        out[x] = rho if (variance[x] > 0.0) & (scale[x] > 0.0) else flat


@kernel()
def _invert_root(variance, out):
    for x in range(out.size):
        out[x] = 1.0 / np.sqrt(variance[x]) if variance[x] > 0.0 else 0.0


@kernel()
def _classify(variance, scale, validity):
    for x in range(validity.size):
        flat_frame = np.uint8(2) if variance[x] <= 0.0 else np.uint8(0)
        validity[x] = np.uint8(1) if scale[x] <= 0.0 else flat_frame


@kernel()
def _mark(why, n_pixels, in_image, settings, out, validity):
    for x in range(out.size):
        code = why[x]
        if code == 0 and n_pixels[x] / in_image[x] < settings.min_valid_fraction:
            code = np.uint8(5)
        if code != 0:
            out[x] = settings.fill
            validity[x] = code


@kernel()
def _row(reference, why, settings, tile, y, columns, rows, out, validity):
    """Turn the column sums around row `y` into correlations; `rows` are buffers."""
    x0, x1 = tile[2], tile[3]
    n_channels, height, width = reference.planes.shape
    masked, side = why.size > 0, 2 * settings.radius + 1
    scratch = rows[:2]
    sums = rows[2:8, : x1 - x0]
    numerator, variance, scale = rows[8, : x1 - x0], rows[9, : x1 - x0], rows[10, : x1 - x0]
    n_pixels, in_image = rows[11, : x1 - x0], rows[12, : x1 - x0]
    n_rows = extent(y, height, settings)
    for x in range(x1 - x0):
        in_image[x] = n_rows * extent(x0 + x, width, settings)
    if masked:
        _row_sums(columns[0, _N_PIXELS], side, scratch, n_pixels)
    else:
        _copy(in_image, n_pixels)
    prior = settings.flat * settings.noise if settings.noise > 0 else 0.0
    _start(n_pixels, settings.noise, variance)
    _start(n_pixels, settings.noise, scale)
    _start(n_pixels, prior, numerator)
    for channel in range(n_channels):
        for plane in range(5 if masked else 3):
            _row_sums(columns[channel, plane], side, scratch, sums[plane])
        _add_variance(n_pixels, sums[_FRAME], sums[_FRAME_SQUARES], settings.flat_share, variance)
        if out.size == 0:
            _copy(sums[_FRAME], reference.sums[channel, y, x0:x1])
        elif masked:
            share = settings.reference_flat_share
            _add_variance(n_pixels, sums[_REFERENCE], sums[_REFERENCE_SQUARES], share, scale)
            _add_covariance(n_pixels, sums[_REFERENCE], sums[_FRAME], sums[_PRODUCTS], numerator)
        else:
            _add_covariance(n_pixels, reference.sums[channel, y, x0:x1], sums[_FRAME], sums[_PRODUCTS], numerator)
    if out.size == 0:
        _invert_root(variance, reference.scale[y, x0:x1])
        return
    if masked:
        _invert_root(scale, scale)
    else:
        _copy(reference.scale[y, x0:x1], scale)
    _divide(numerator, variance, scale, settings.flat, out)
    if validity.size > 0:
        _classify(variance, scale, validity)
    if masked:
        _mark(why[y, x0:x1], n_pixels, in_image, settings, out, validity)


@kernel()
def correlate_floats(reference, frame, why, settings, y0, y1, out, validity):
    """Correlate the rows y0 (a multiple of the tile's rows) to y1 of a frame with a prepared reference.

    `frame` is (C, H, W) float32; `why` is (H, W) uint8, 0 for the pixels that count, otherwise the code that `validity`
    receives, or empty, and all count. `out` is (y1 - y0, W) float32, `validity` of that shape, uint8, or empty where it
    is not wanted (with a mask it is needed); it receives 0 (measured), 1 (flat reference), 2 (flat frame) and, with a
    mask, 5 (too few). Where `out` is empty, `frame` must be the reference's own planes; its sums and scale are filled.
    """
    n_channels, _, width = frame.shape
    radius = settings.radius
    side = 2 * radius + 1
    n_planes = 6 if why.size > 0 else 3
    padded = min(width, settings.tile_columns) + 2 * radius
    # ends[i] is the sum of a block's rows from i to its last; ends[side] stays zero.
    ends = np.zeros((side + 1, n_channels, n_planes, padded))
    beginning = np.empty((n_channels, n_planes, padded))
    columns = np.empty((n_channels, n_planes, padded))
    rows = np.empty((13, padded))
    for top in range(y0, y1, settings.tile_rows):
        for x0 in range(0, width, settings.tile_columns):
            tile = (top, min(y1, top + settings.tile_rows), x0, min(width, x0 + settings.tile_columns))
            n = tile[3] - x0 + 2 * radius
            start = x0 - radius
            for y in range(tile[0], tile[1]):
                into = (y - top) % side
                if into == 0:
                    for i in range(side - 1, -1, -1):
                        below, here = ends[i + 1, :, :, :n], ends[i, :, :, :n]
                        _extend(
                            reference.planes, frame, why, y - radius + i, start, settings, rows[:2, :n], below, here
                        )
                    beginning[:] = 0.0
                else:
                    total = beginning[:, :, :n]
                    _extend(reference.planes, frame, why, y + radius, start, settings, rows[:2, :n], total, total)
                for channel in range(n_channels):
                    for plane in range(n_planes):
                        _add(ends[into, channel, plane, :n], beginning[channel, plane, :n], columns[channel, plane, :n])
                if out.size == 0:
                    _row(reference, why, settings, tile, y, columns[:, :, :n], rows[:, :n], out[0], validity[0])
                else:
                    row = out[y - y0, x0 : tile[3]]
                    codes = validity[y - y0, x0 : tile[3]] if validity.size > 0 else validity[0]
                    _row(reference, why, settings, tile, y, columns[:, :, :n], rows[:, :n], row, codes)
