"""Several radii of a uint8 picture at once: one table of running totals serves the windows of every radius.

The table holds the sums of F, F F and R F over everything above and to the left of a pixel, for the rows that the
largest window reaches; a window's sum is then a difference of four entries, whatever its radius. Sums wrap modulo
2^32, and a window's own stay below that for any radius up to 127, so they come out exact. n S_xy is less than 2^53 and
exact in float64, for which every processor has vector instructions (for 64-bit integers many have not).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.kernels.box_sums import extent, mirror
from framencc.kernels.compilation import kernel
from framencc.kernels.integer_steps import ONE, ZERO, Noise, classify
from framencc.kernels.maps import MEAN, combine_rows

Array = npt.NDArray[Any]


class RadiiReference(NamedTuple):
    """A reference and what every frame needs of it, for each of K > 1 radii."""

    planes: Array  # (1, H, W) uint8
    radii: Array  # (K,) int64
    sums: Array  # (K, H, W) uint32 window sums
    scale: Array  # (K, H, W) float32, 1 / sqrt(n S_RR + n^2 noise), 0 where flat


class RadiiSettings(NamedTuple):
    """The options of the correlation, as the kernels need them."""

    reflect: bool
    flat: np.float32
    noise: Noise
    how: int  # the maps are combined


class _Window(NamedTuple):
    radius: int
    reflect: bool


@kernel()
def _pad(row, reflect, out):
    """Copy a row between margins that mirror it, or stay 0."""
    reach = (out.size - row.size) // 2
    inside = out[reach : reach + row.size]
    for x in range(row.size):
        inside[x] = row[x]
    if reflect:
        for x in range(reach):
            out[x] = row[mirror(x - reach, row.size)]
            out[reach + row.size + x] = row[mirror(row.size + x, row.size)]


@kernel()
def _add_totals(row, table, above, here, plane):
    before, out = table[above, plane, 1:], table[here, plane, 1:]
    total = np.int64(0)
    for x in range(row.size):
        total += np.int64(row[x])
        out[x] = before[x] + total


@kernel()
def _multiply(row, other, out):
    for x in range(out.size):
        out[x] = np.int64(row[x]) * np.int64(other[x])


@kernel()
def _advance(reference, frame, y, reflect, padded, products, table, here):
    """Write the table's row `here`: the one above, and the running totals of row `y` of the pictures."""
    height, ring = frame.shape[1], table.shape[0]
    above, here = (here - 1) % ring, here % ring
    if not (reflect or 0 <= y < height):
        table[here] = table[above]
        return
    y = mirror(y, height)
    _pad(frame[0, y], reflect, padded[0])
    _pad(reference[0, y], reflect, padded[1])
    _add_totals(padded[0], table, above, here, 0)
    for plane in range(1, 3):  # the products beforehand, which makes vector code of them
        _multiply(padded[0], padded[plane - 1], products)
        _add_totals(products, table, above, here, plane)


@kernel()
def _corners(table, last, before, first, side, plane, out):
    a, b = table[last, plane, first + side :], table[last, plane, first:]
    c, d = table[before, plane, first + side :], table[before, plane, first:]
    for x in range(out.size):
        out[x] = a[x] - b[x] - c[x] + d[x]


@kernel()
def _window_sums(table, middle, radius, out):
    """Take the sums over the windows of a radius around the table's row `middle`, which is a picture's row."""
    ring, _, width = table.shape
    first, side = (width - 1 - out.shape[1]) // 2 - radius, 2 * radius + 1
    for plane in range(3):
        _corners(table, (middle + radius) % ring, (middle - radius - 1) % ring, first, side, plane, out[plane])


@kernel()
def _variance(n_rows, n_columns, sums, squares, noise, out):
    for x in range(out.size):
        n, total = n_rows * n_columns[x], np.float64(sums[x])
        out[x] = np.float32(n * np.float64(squares[x]) - total * total) + np.float32(n) * np.float32(n) * noise


@kernel()
def _finish(n_rows, n_columns, known, scale, sums, products, variance, prior, flat, out):
    """Write a row of the map; returns whether any window of it is flat."""
    seen = np.int32(0)
    for x in range(out.size):
        n = n_rows * n_columns[x]
        covariance = np.float32(n * np.float64(products[x]) - np.float64(known[x]) * np.float64(sums[x]))
        numerator = covariance + np.float32(n) * np.float32(n) * prior
        rho = min(max(numerator * scale[x] / np.sqrt(variance[x]), -ONE), ONE)
        measured = (variance[x] > ZERO) & (scale[x] > ZERO)
        out[x] = rho if measured else flat
        seen |= np.int32(not measured)
    return seen != 0


@kernel()
def _add(row, total):
    for x in range(total.size):
        total[x] += row[x]


@kernel()
def _mean(total, row, divisor, out):
    for x in range(out.size):
        out[x] = (total[x] + row[x]) / divisor


@kernel()
def _combine(reference, maps, codes, variance, flat, settings, y, out, validity):
    """Combine row `y` of all maps; with `flat` some of their windows are flat."""
    n_radii = maps.shape[0]
    if flat or settings.how != MEAN:
        for k in range(n_radii):
            classify(variance[k], reference.scale[k, y], codes[k, 0])
        combine_rows(maps, codes, settings.how, out, validity)
        return
    # The same sums without conditions, for nearly every row of nearly every picture.
    for k in range(1, n_radii - 1):
        _add(maps[k, 0], maps[0, 0])
    _mean(maps[0, 0], maps[n_radii - 1, 0], np.float32(n_radii), out[0])
    validity[:] = 0


@kernel()
def correlate_radii(reference, frame, settings, y0, y1, out, validity):
    """Correlate the rows y0 to y1 of one channel, nothing masked, and combine the maps of all radii.

    `frame` is (1, H, W) like the reference's planes. `out` is (y1 - y0, W) float32, and `validity` of that shape,
    uint8, or empty where it is not wanted. Where `out` is empty, `frame` must be the reference's plane: its sums are
    filled, and `scale` with its variances.
    """
    _, height, width = frame.shape
    n_radii, reach, reflect = reference.radii.size, reference.radii.max(), settings.reflect
    # The sums down to the row before the first are zero.
    table = np.zeros((2 * reach + 2, 3, width + 2 * reach + 1), np.uint32)
    padded, products = np.zeros((2, width + 2 * reach), np.uint8), np.empty(width + 2 * reach, np.int32)
    n_columns = np.empty((n_radii, width))
    for k in range(n_radii):
        for x in range(width):
            n_columns[k, x] = extent(x, width, _Window(reference.radii[k], reflect))
    sums, variance = np.empty((3, width), np.uint32), np.empty((n_radii, width), np.float32)
    maps, codes = np.empty((n_radii, 1, width), np.float32), np.empty((n_radii, 1, width), np.uint8)
    spare = np.empty((1, width), np.uint8)
    prior = settings.noise.prior
    for y in range(y0 - 2 * reach, y1):  # the first 2 r turns only fill the table
        last, middle = y + 2 * reach - y0 + 1, y + reach - y0 + 1
        _advance(reference.planes, frame, y + reach, reflect, padded, products, table, last)
        if y < y0:
            continue
        flat = False
        for k in range(n_radii):
            radius, known, scale = reference.radii[k], reference.sums[k, y], reference.scale[k, y]
            _window_sums(table, middle, radius, sums)
            n_rows = np.float64(extent(y, height, _Window(radius, reflect)))
            _variance(n_rows, n_columns[k], sums[0], sums[1], settings.noise.frame, variance[k])
            if out.size == 0:
                known[:], scale[:] = sums[0], variance[k]
                continue
            row = maps[k, 0]
            flat |= _finish(
                n_rows, n_columns[k], known, scale, sums[0], sums[2], variance[k], prior, settings.flat, row
            )
        if out.size > 0:
            codes_row = validity[y - y0 : y - y0 + 1] if validity.size > 0 else spare
            _combine(reference, maps, codes, variance, flat, settings, y, out[y - y0 : y - y0 + 1], codes_row)
