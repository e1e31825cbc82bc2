"""What happens to finished maps, and to colour pictures before: combining radii, smoothing, splitting channels."""

import numpy as np

from framencc.kernels.compilation import kernel

MEAN, MINIMUM, MAXIMUM = range(3)


@kernel()
def split_rows(picture, y0, y1, planes):
    """Copy the rows y0 to y1 of an (H, W, C) picture to (C, H, W) planes."""
    for y in range(y0, y1):
        for channel in range(planes.shape[0]):
            out = planes[channel, y]
            for x in range(out.size):
                out[x] = picture[y, x, channel]


@kernel()
def combine_rows(maps, codes, how, out, validity):
    """Combine (K, rows, W) maps over those that measured the pixel (code 0); where none did, the first one stands."""
    n_maps, n_rows, width = maps.shape
    for y in range(n_rows):
        for x in range(width):
            count, total = 0, 0.0
            low, high = np.float32(2.0), np.float32(-2.0)
            for k in range(n_maps):
                measured = codes[k, y, x] == 0
                value = maps[k, y, x]
                count += 1 if measured else 0
                total += np.float64(value) if measured else 0.0
                low = min(low, value) if measured else low
                high = max(high, value) if measured else high
            combined = np.float32(total / count) if how == MEAN else low if how == MINIMUM else high
            out[y, x] = combined if count > 0 else maps[0, y, x]
            validity[y, x] = 0 if count > 0 else codes[0, y, x]


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
def smooth_rows(rho, validity, kernel_weights, with_flat, y0, y1, out):
    """Smooth the rows y0 to y1 with a separable kernel, by the weights of the pixels that hold a value.

    Pixels of code 0, and with `with_flat` those of codes 1 and 2, lend and receive; all others are copied.
    """
    height, width = rho.shape
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
