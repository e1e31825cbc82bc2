"""What happens to finished maps: the margin, one map out of those of several radii, smoothing."""

import numpy as np

from framencc.kernels.accesses import at, get, put
from framencc.kernels.calls import call
from framencc.kernels.compilation import kernel
from framencc.kernels.sharing import share

MEAN, MINIMUM, MAXIMUM = range(3)
_OUTSIDE, _MASKED, _NOT_FINITE = np.uint8(3), np.uint8(4), np.uint8(6)
_ONE, _ZERO, _TWO = np.float32(1.0), np.float32(0.0), np.float32(2.0)


@kernel()
def mark_margin(x0, x1, y, radius, height, width, fill, out, validity):
    """Mark the pixels x0 to x1 of a row whose window leaves the picture; codes 4 and 6 go first."""
    outside = y < radius or y >= height - radius
    for first, last in ((x0, x1 if outside else min(x1, radius)), (x1 if outside else max(x0, width - radius), x1)):
        for x in range(first - x0, last - x0):
            put(out, x, fill)
            code = get(validity, x)
            put(validity, x, code if code == _MASKED or code == _NOT_FINITE else _OUTSIDE)


@kernel()
def _gather(row, codes, how, sign, size, total, count):
    """Add the pixels of one more map that have a value, or keep the lower one of `sign` times them; count them."""
    for x in range(size):
        measured, value = get(codes, x) == 0, get(row, x)
        lower = sign * value if measured else _TWO
        lowest = get(total, x) if get(total, x) < lower else lower
        put(total, x, get(total, x) + (value if measured else _ZERO) if how == MEAN else lowest)
        put(count, x, get(count, x) + (_ONE if measured else _ZERO))


@kernel()
def _choose(total, count, first, first_codes, how, sign, size, out, validity):
    for x in range(size):
        measured = get(count, x) > _ZERO
        put(out, x, get(total, x) / (get(count, x) if how == MEAN else sign) if measured else get(first, x))
        put(validity, x, np.uint8(0) if measured else get(first_codes, x))


@kernel()
def combine_rows(maps, codes, n_maps, pitch, how, size, spare, out, validity):
    """Combine rows that lie `pitch` apart over those that measured the pixel; where none did, the first stands.

    `spare` has room for two rows.
    """
    total, count, sign = spare, at(spare, size), np.float32(-1.0) if how == MAXIMUM else _ONE
    for x in range(size):
        put(total, x, _ZERO if how == MEAN else _TWO)
        put(count, x, _ZERO)
    for k in range(n_maps):
        call(_gather, at(maps, k * pitch), at(codes, k * pitch), how, sign, size, total, count)
    call(_choose, total, count, maps, codes, how, sign, size, out, validity)


@kernel()
def _add_weighted(row, part, weight, total, weights):
    for x in range(total.size):
        total[x] += np.float64(row[x]) * weight if part[x] else 0.0
        weights[x] += weight if part[x] else 0.0


@kernel()
def _add_shifted(row, weight, total):
    for x in range(total.size):
        total[x] += row[x] * weight


@kernel()
def _smooth_band(band, n_bands, rho, validity, kernel_weights, with_flat, out):
    height, width = rho.shape
    y0, y1 = height * band // n_bands, height * (band + 1) // n_bands
    reach = (kernel_weights.size - 1) // 2
    part = np.empty(width, np.bool_)
    padded = np.zeros((2, width + 2 * reach))
    inside = slice(reach, reach + width)
    smooth = np.empty((2, width))
    for y in range(y0, y1):
        padded[:] = 0.0
        smooth[:] = 0.0
        for source in range(max(0, y - reach), min(height, y + reach + 1)):
            codes = validity[source]
            for x in range(width):
                part[x] = codes[x] == 0 or (with_flat and codes[x] <= 2)
            _add_weighted(rho[source], part, kernel_weights[source - y + reach], padded[0, inside], padded[1, inside])
        for shift in range(2 * reach + 1):
            _add_shifted(padded[0, shift:], kernel_weights[shift], smooth[0])
            _add_shifted(padded[1, shift:], kernel_weights[shift], smooth[1])
        codes = validity[y]
        for x in range(width):
            takes = codes[x] == 0 or (with_flat and codes[x] <= 2)
            out[y, x] = np.float32(smooth[0, x] / smooth[1, x]) if takes else rho[y, x]


@kernel()
def smooth(rho, validity, kernel_weights, with_flat, n_bands, out):
    """Smooth a map with a separable kernel, by the weights of the pixels that hold a value.

    Pixels of code 0, and with `with_flat` those of codes 1 and 2, lend and receive; all others are copied.
    """
    share(_smooth_band, n_bands, n_bands, rho, validity, kernel_weights, with_flat, out)
