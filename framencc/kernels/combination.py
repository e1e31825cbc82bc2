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
def _add(row, size, total):
    for x in range(size):
        put(total, x, get(total, x) + get(row, x))


@kernel()
def _divide(divisor, size, total):
    for x in range(size):
        put(total, x, get(total, x) / divisor)


@kernel()
def _extreme(row, sign, size, out):
    for x in range(size):
        put(out, x, sign * min(sign * get(row, x), sign * get(out, x)))


@kernel()
def combine_rows(maps, codes, n_maps, pitch, how, size, out, validity):
    """Combine rows that lie `pitch` apart over those that measured the pixel; where none did, the first stands."""
    seen = np.uint8(0)
    for k in range(n_maps):
        for x in range(size):
            seen |= get(codes, k * pitch + x)
    sign = np.float32(-1.0) if how == MAXIMUM else _ONE
    if seen == 0:  # the same without conditions, for nearly every row of nearly every picture
        for x in range(size):
            put(out, x, get(maps, x))
            put(validity, x, np.uint8(0))
        for k in range(1, n_maps):
            if how == MEAN:
                call(_add, at(maps, k * pitch), size, out)
            else:
                call(_extreme, at(maps, k * pitch), sign, size, out)
        if how == MEAN:
            call(_divide, np.float32(n_maps), size, out)
        return
    for x in range(size):
        total, count = _ZERO, _ZERO
        for k in range(n_maps):
            value, measured = get(maps, k * pitch + x), get(codes, k * pitch + x) == 0
            if how == MEAN:
                total += value if measured else _ZERO
            elif measured:
                total = value if count == 0 else sign * min(sign * total, sign * value)
            count += _ONE if measured else _ZERO
        if how == MEAN:
            total /= count
        put(out, x, total if count > 0 else get(maps, x))
        put(validity, x, np.uint8(0) if count > 0 else get(codes, x))


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
