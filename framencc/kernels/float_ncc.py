"""Local normalized cross-correlation of float32 pictures, from float64 sums that never subtract.

A running sum down the rows (add the entering row, subtract the leaving one) would carry the rounding of the brightest
row it ever held into the darkest window below it. Here a window's rows are the end of one block of 2 r + 1 rows and
the beginning of the next (van Herk 1992, Gil and Werman 1993, for sums): one total from each block's end upwards, one
from its beginning downwards, three additions a row whatever the radius. Along the row, sums double their length.
So a window's sums hold its own pixels and nothing else, and n S_xy = n sum(x y) - sum(x) sum(y) loses at most about
1e-15 (mean / sigma)^2 of itself.

A window counts as flat where S_FF <= 2^-44 sum(F^2), that is a standard deviation below 2.4e-7 of the root mean
square: two to four times float32's own spacing, and thirty times the rounding of the sums.

The blocks start at the first row of a tile, and tiles follow from the picture's size and the radius alone, so the
result has the same bits for any number of threads.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.kernels.compilation import kernel

Array = npt.NDArray[Any]

FLAT_SHARE = 2.0**-44
_TILE_BYTES = 1 << 19


class FloatReference(NamedTuple):
    """A reference and what every frame needs of it, computed once."""

    plane: Array  # (H, W) float32
    sums: Array  # (H, W) float64 window sums
    scale: Array  # (H, W) float64, 1 / sqrt(n S_RR + n^2 noise), 0 where flat


class FloatSettings(NamedTuple):
    """The options of the correlation, as the kernels need them."""

    radius: int
    reflect: bool
    flat: float
    noise: float  # noise_sigma^2
    tile_rows: int
    tile_columns: int


def float_settings(radius: int, border: str, flat: float, noise_sigma: float, tile_rows: int) -> FloatSettings:
    """Choose the tiles: wide rows are quick, but three planes of 2 r + 1 of them should stay in the cache."""
    tile_columns = max(256, _TILE_BYTES // (24 * (2 * radius + 1)) - 2 * radius)
    return FloatSettings(radius, border == "reflect", float(flat), float(noise_sigma) ** 2, tile_rows, tile_columns)


@kernel()
def _mirror(index, size):
    index %= 2 * size
    return index if index < size else 2 * size - 1 - index


@kernel()
def _copy(row, out):
    for x in range(out.size):
        out[x] = row[x]


@kernel()
def _load(plane, y, x0, settings, out):
    """Fetch a piece of row `y` that starts at column x0; beyond the picture it is mirrored, or zero."""
    height, width = plane.shape
    if not (0 <= y < height or settings.reflect):
        out[:] = 0.0
        return
    row = plane[_mirror(y, height)]
    first, last = max(0, -x0), min(out.size, width - x0)
    _copy(row[x0 + first : x0 + last], out[first:last])
    for x in range(out.size):
        if x == first:
            break
        out[x] = row[_mirror(x0 + x, width)] if settings.reflect else 0.0
    for x in range(last, out.size):
        out[x] = row[_mirror(x0 + x, width)] if settings.reflect else 0.0


@kernel()
def _add(row, total, out):
    for x in range(out.size):
        out[x] = total[x] + row[x]


@kernel()
def _add_product(row, other, total, out):
    for x in range(out.size):
        out[x] = total[x] + row[x] * other[x]


@kernel()
def _extend(reference, frame, y, x0, settings, rows, totals, out):
    """Add one row to the totals of F, F F and R F."""
    _load(frame, y, x0, settings, rows[0])
    _load(reference, y, x0, settings, rows[1])
    _add(rows[0], totals[0], out[0])
    _add_product(rows[0], rows[0], totals[1], out[1])
    _add_product(rows[0], rows[1], totals[2], out[2])


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
def _extent(position, size, settings):
    """How many of the 2 r + 1 rows or columns around `position` lie in the picture."""
    if settings.reflect:
        return 2 * settings.radius + 1
    return min(size - 1, position + settings.radius) - max(0, position - settings.radius) + 1


@kernel()
def _variance(n_rows, n_columns, sums, squares, noise, out):
    for x in range(out.size):
        n = n_rows * n_columns[x]
        energy = n * squares[x]
        value = energy - sums[x] * sums[x]
        out[x] = (value if value > FLAT_SHARE * energy else 0.0) + n * n * noise


@kernel()
def _finish(n_rows, n_columns, reference_sums, scale, sums, products, variance, prior, flat, out):
    for x in range(out.size):
        n = n_rows * n_columns[x]
        numerator = n * products[x] - reference_sums[x] * sums[x] + n * n * prior
        rho = numerator * scale[x] / np.sqrt(variance[x])
        rho = min(max(rho, -1.0), 1.0)
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
def _tile(reference, frame, settings, tile, out, validity):
    y0, y1, x0, x1 = tile
    height, width = frame.shape
    radius = settings.radius
    side = 2 * radius + 1
    padded = x1 - x0 + 2 * radius
    rows = np.empty((2, padded))
    ends = np.zeros((side + 1, 3, padded))  # ends[i]: the sum of a block's rows from i to its last; [side] stays zero
    beginning = np.empty((3, padded))
    columns = np.empty((3, padded))
    scratch = np.empty((2, padded))
    sums = np.empty((3, x1 - x0))
    variance = np.empty(x1 - x0)
    n_columns = np.empty(x1 - x0)
    for x in range(x0, x1):
        n_columns[x - x0] = _extent(x, width, settings)
    prior = settings.flat * settings.noise if settings.noise > 0 else 0.0
    for y in range(y0, y1):
        into = (y - y0) % side
        if into == 0:
            for row in range(side - 1, -1, -1):
                _extend(reference.plane, frame, y - radius + row, x0 - radius, settings, rows, ends[row + 1], ends[row])
            beginning[:] = 0.0
        else:
            _extend(reference.plane, frame, y + radius, x0 - radius, settings, rows, beginning, beginning)
        for plane in range(3):
            _add(ends[into, plane], beginning[plane], columns[plane])
            _row_sums(columns[plane], side, scratch, sums[plane])
        n_rows = _extent(y, height, settings)
        _variance(n_rows, n_columns, sums[0], sums[1], settings.noise, variance)
        scale = reference.scale[y, x0:x1]
        if out.size == 0:
            _copy(sums[0], reference.sums[y, x0:x1])
            _invert_root(variance, scale)
            continue
        known = reference.sums[y, x0:x1]
        _finish(n_rows, n_columns, known, scale, sums[0], sums[2], variance, prior, settings.flat, out[y, x0:x1])
        if validity.size > 0:
            _classify(variance, scale, validity[y, x0:x1])


@kernel()
def correlate_rows(reference, frame, settings, y0, y1, out, validity):
    """Correlate the rows y0 (a multiple of the tile's rows) to y1 of a frame with a prepared reference.

    `frame` is (H, W) float32 and finite, `out` (H, W) float32. `validity` is (H, W) uint8, or empty where it is not
    wanted, and receives 0 (measured), 1 (flat reference) or 2 (flat frame). Where `out` is empty, `frame` must be the
    reference's own plane, and its sums and scale are filled instead.
    """
    width = frame.shape[1]
    for y in range(y0, y1, settings.tile_rows):
        for x in range(0, width, settings.tile_columns):
            tile = (y, min(y1, y + settings.tile_rows), x, min(width, x + settings.tile_columns))
            _tile(reference, frame, settings, tile, out, validity)
