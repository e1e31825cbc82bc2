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

from framencc.kernels.box_sums import count, extent, mirror
from framencc.kernels.compilation import kernel

Array = npt.NDArray[Any]

FLAT_SHARE_OF_FLOATS, FLAT_SHARE_OF_INTEGERS = 2.0**-44, 2.0**-50
_TILE_BYTES, _TILE_ROWS = 1 << 19, 72
_FRAME, _FRAME_SQUARES, _PRODUCTS, _REFERENCE, _REFERENCE_SQUARES, _N_PIXELS = range(6)


class FloatReference(NamedTuple):
    """A reference and what every frame needs of it, computed once."""

    planes: Array  # (C, H, W) float32
    sums: Array  # (C, H, W) float64 window sums
    textured: Array  # (C, H, W) uint8, 0 where flat; empty for `plane_ncc`, where the sign of `scale` says it
    scale: Array  # (H, W) float64, 1 / sqrt(sum over C of n S_RR + n^2 noise), 0 where flat


class FloatSettings(NamedTuple):
    """The options of the correlation, as the kernels need them."""

    radius: int
    reflect: bool
    flat: float
    flat_share: float  # of the frame: a window is flat up to this share of its energy
    reference_flat_share: float
    noise: float  # C * noise_sigma^2, in a frame's values
    reference_noise: float  # the same in the reference's values
    prior: float  # C * flat * noise_sigma * the same in the reference's values
    fill: float
    min_valid_fraction: float  # of the window's pixels in the picture
    tile_rows: int
    tile_columns: int


def tile_rows(radius: int) -> int:
    """Choose a tile's height: whole blocks, and so many that those which only fill the first windows cost little."""
    side = 2 * radius + 1
    return side * max(2, _TILE_ROWS // side)


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
        out[x] = total[x] + np.float64(row[x]) * np.float64(other[x])


@kernel()
def _accumulate(row, out):
    # Not _add(row, out, out): a loop whose input may be its output runs element by element.
    for x in range(out.size):
        out[x] += row[x]


@kernel()
def _extend(reference, frame, why, y, x0, n, settings, rows, totals, out):
    """Add n pixels of one row to the totals of F, F F and R F, and with a mask of R, R R and the pixels that count."""
    _, height, width = frame.shape
    if why.size == 0 and not settings.reflect:
        # The short way: straight from the picture, whose margins stay zero.
        a, b = max(0, -x0), min(n, width - x0)
        for c in range(frame.shape[0]):
            if 0 <= y < height:
                f, r = frame[c, y, x0 + a : x0 + b], reference[c, y, x0 + a : x0 + b]
                _add(f, totals[c, _FRAME, a:b], out[c, _FRAME, a:b])
                _add_product(f, f, totals[c, _FRAME_SQUARES, a:b], out[c, _FRAME_SQUARES, a:b])
                _add_product(f, r, totals[c, _PRODUCTS, a:b], out[c, _PRODUCTS, a:b])
            else:
                for plane in range(3):
                    _copy(totals[c, plane, a:b], out[c, plane, a:b])
        return
    f, r = rows[0, :n], rows[1, :n]
    for c in range(frame.shape[0]):
        _load(frame[c], why, y, x0, settings, f)
        _load(reference[c], why, y, x0, settings, r)
        _add(f, totals[c, _FRAME, :n], out[c, _FRAME, :n])
        _add_product(f, f, totals[c, _FRAME_SQUARES, :n], out[c, _FRAME_SQUARES, :n])
        _add_product(f, r, totals[c, _PRODUCTS, :n], out[c, _PRODUCTS, :n])
        if why.size > 0:
            _add(r, totals[c, _REFERENCE, :n], out[c, _REFERENCE, :n])
            _add_product(r, r, totals[c, _REFERENCE_SQUARES, :n], out[c, _REFERENCE_SQUARES, :n])
    if why.size > 0:
        _load_counts(why, y, x0, settings, f)
        _add(f, totals[0, _N_PIXELS, :n], out[0, _N_PIXELS, :n])


@kernel()
def _sum3(a, b, c, out):
    for x in range(out.size):
        out[x] = a[x] + b[x] + c[x]


@kernel()
def _row_sums(columns, side, scratch, out):
    """Add every `side` neighbours: in threes while that is short, else from sums of 1, 2, 4, ... of them."""
    if side <= 9:
        triples = out if side == 3 else scratch[0, : columns.size - 2]
        _sum3(columns, columns[1:], columns[2:], triples)
        if side > 3:
            second = columns[3:] if side == 5 else triples[3:]
            third = columns[4:] if side == 5 else columns[6:] if side == 7 else triples[6:]
            _sum3(triples, second, third, out)
        return
    size = columns.size
    source, taken, length, turn = columns, 0, 1, 0
    while True:
        if side & length:
            if taken == 0:
                _copy(source, out)
            else:
                _accumulate(source[taken:], out)
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
def _add_variance(n_pixels, sums, squares, flat_share, out, textured):
    for x in range(out.size):
        energy = n_pixels[x] * squares[x]
        value = energy - sums[x] * sums[x]
        has_texture = value > flat_share * energy
        out[x] += value if has_texture else 0.0
        textured[x] = np.uint8(1) if has_texture else np.uint8(0)


@kernel()
def _add_covariance(n_pixels, sums, other_sums, products, textured, other_textured, out):
    for x in range(out.size):
        # What rounding leaves of a flat window's zero could outweigh the noise model, or another channel.
        both = (textured[x] & other_textured[x]) != 0
        out[x] += n_pixels[x] * products[x] - sums[x] * other_sums[x] if both else 0.0


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
def _row(reference, why, settings, tile, y, columns, rows, textured, out, validity):
    """Turn the column sums around row `y` into correlations; `rows` and `textured` are buffers."""
    x0, x1 = tile[2], tile[3]
    width = x1 - x0
    n = width + 2 * settings.radius
    masked, side = why.size > 0, 2 * settings.radius + 1
    sums = rows[2:8]
    numerator, variance, scale = rows[8, :width], rows[9, :width], rows[10, :width]
    n_pixels, in_image, n_columns = rows[11, :width], rows[12, :width], rows[13, :width]
    count(extent(y, reference.planes.shape[1], settings), n_columns, in_image)
    if masked:
        _row_sums(columns[0, _N_PIXELS, :n], side, rows, n_pixels)
    else:
        n_pixels = in_image
    _start(n_pixels, settings.noise, variance)
    _start(n_pixels, settings.prior, numerator)
    reference_variance = sums[5, :width]
    if masked:
        _start(n_pixels, settings.reference_noise, reference_variance)
    for channel in range(reference.planes.shape[0]):
        for plane in range(5 if masked else 3):
            _row_sums(columns[channel, plane, :n], side, rows, sums[plane, :width])
        frame, squares, products = sums[_FRAME, :width], sums[_FRAME_SQUARES, :width], sums[_PRODUCTS, :width]
        _add_variance(n_pixels, frame, squares, settings.flat_share, variance, textured[0, :width])
        if out.size == 0:
            _copy(frame, reference.sums[channel, y, x0:x1])
            _copy(textured[0, :width], reference.textured[channel, y, x0:x1])
        elif masked:
            known, squares = sums[_REFERENCE, :width], sums[_REFERENCE_SQUARES, :width]
            share = settings.reference_flat_share
            _add_variance(n_pixels, known, squares, share, reference_variance, textured[1, :width])
            _add_covariance(n_pixels, known, frame, products, textured[0, :width], textured[1, :width], numerator)
        else:
            known, texture = reference.sums[channel, y, x0:x1], reference.textured[channel, y, x0:x1]
            _add_covariance(n_pixels, known, frame, products, textured[0, :width], texture, numerator)
    if out.size == 0:
        _invert_root(variance, reference.scale[y, x0:x1])
        return
    if masked:
        _invert_root(reference_variance, scale)
    else:
        scale = reference.scale[y, x0:x1]
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
    radius, planes = settings.radius, reference.planes
    side, n_planes = 2 * radius + 1, 6 if why.size > 0 else 3
    padded = min(width, settings.tile_columns) + 2 * radius
    # ends[i] is the sum of a block's rows from i to its last; ends[side] stays zero.
    ends = np.zeros((side + 1, n_channels, n_planes, padded))
    beginning = np.zeros((2, n_channels, n_planes, padded))
    columns = np.empty((n_channels, n_planes, padded))
    rows = np.empty((14, padded))
    textured = np.empty((2, padded), np.uint8)
    for top in range(y0, y1, settings.tile_rows):
        bottom = min(y1, top + settings.tile_rows)
        for x0 in range(0, width, settings.tile_columns):
            x1 = min(width, x0 + settings.tile_columns)
            n = x1 - x0 + 2 * radius
            for x in range(x1 - x0):
                rows[13, x] = extent(x0 + x, width, settings)
            if settings.tile_columns < width:
                ends[:] = 0.0  # other columns are margins now
            for y in range(top, bottom):
                into = (y - top) % side
                here, before = beginning[into % 2], beginning[1 - into % 2]
                if into == 0:
                    for i in range(side - 1, -1, -1):
                        row, below = y - radius + i, ends[i + 1]
                        _extend(planes, frame, why, row, x0 - radius, n, settings, rows, below, ends[i])
                    beginning[:] = 0.0
                else:
                    _extend(planes, frame, why, y + radius, x0 - radius, n, settings, rows, before, here)
                for channel in range(n_channels):
                    for plane in range(n_planes):
                        _add(ends[into, channel, plane, :n], here[channel, plane, :n], columns[channel, plane, :n])
                tile = (top, bottom, x0, x1)
                part = slice(x0, x1)
                map_row = out[y - y0, part] if out.size > 0 else out[0]
                code_row = validity[y - y0, part] if validity.size > 0 else validity[0]
                _row(reference, why, settings, tile, y, columns, rows, textured, map_row, code_row)
