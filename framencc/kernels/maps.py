"""What happens to finished maps: combining those of several radii, and smoothing."""

import numpy as np

from framencc.kernels.compilation import kernel

MEAN, MINIMUM, MAXIMUM = range(3)


@kernel()
def _add_measured(row, codes, total, count):
    for x in range(total.size):
        measured = codes[x] == 0
        total[x] += row[x] if measured else np.float32(0.0)
        count[x] += np.float32(1.0) if measured else np.float32(0.0)


@kernel()
def _lower_measured(row, codes, sign, lowest, count):
    for x in range(lowest.size):
        measured = codes[x] == 0
        value = sign * row[x] if measured else np.float32(2.0)
        lowest[x] = min(lowest[x], value)
        count[x] += np.float32(1.0) if measured else np.float32(0.0)


@kernel()
def _choose(combined, divisor, count, first, first_codes, out, validity):
    for x in range(out.size):
        measured = count[x] > np.float32(0.0)
        out[x] = combined[x] / divisor[x] if measured else first[x]
        validity[x] = np.uint8(0) if measured else first_codes[x]


@kernel()
def _all_measured(codes):
    seen = np.uint8(0)
    for x in range(codes.size):
        seen |= codes[x]
    return seen == 0


@kernel()
def _add(row, total):
    for x in range(total.size):
        total[x] += row[x]


@kernel()
def _divide(total, divisor, out):
    for x in range(out.size):
        out[x] = total[x] / divisor


@kernel()
def combine_rows(maps, codes, how, out, validity):
    """Combine the first rows of (K, ., W) maps over those that measured the pixel; where none did, the first stands.

    `maps` and `codes` may hold more rows than `out`: a slice of them would not be contiguous, and the loops slow.
    """
    n_maps, _, width = maps.shape
    combined, count = np.empty(width, np.float32), np.empty(width, np.float32)
    sign = np.float32(-1.0) if how == MAXIMUM else np.float32(1.0)
    signs = np.full(width, sign)
    for y in range(out.shape[0]):
        complete = how == MEAN
        for k in range(n_maps):
            complete = complete and _all_measured(codes[k, y])
        combined[:] = 0.0 if how == MEAN else 2.0
        if complete:  # the same sums without the conditions, for nearly every row of nearly every picture
            for k in range(n_maps):
                _add(maps[k, y], combined)
            _divide(combined, np.float32(n_maps), out[y])
            validity[y, :] = 0
            continue
        count[:] = 0.0
        for k in range(n_maps):
            if how == MEAN:
                _add_measured(maps[k, y], codes[k, y], combined, count)
            else:
                _lower_measured(maps[k, y], codes[k, y], sign, combined, count)
        _choose(combined, count if how == MEAN else signs, count, maps[0, y], codes[0, y], out[y], validity[y])


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
