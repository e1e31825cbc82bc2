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
def _gather(row, codes, how, sign, size, begins, total, count):
    """Add the pixels of one more map that have a value, or keep the lower one of `sign` times them; count them."""
    for x in range(size):
        measured, value = get(codes, x) == 0, get(row, x)
        so_far = (_ZERO if how == MEAN else _TWO) if begins else get(total, x)
        lower = sign * value if measured else _TWO
        lowest = so_far if so_far < lower else lower
        put(total, x, so_far + (value if measured else _ZERO) if how == MEAN else lowest)
        put(count, x, (_ZERO if begins else get(count, x)) + (_ONE if measured else _ZERO))


@kernel()
def combine_rows(maps, codes, n_maps, pitch, how, size, spare, out, validity):
    """Combine rows that lie `pitch` apart over those that measured the pixel; where none did, the first stands.

    `spare` has room for two rows.
    """
    total, count, sign = spare, at(spare, size), np.float32(-1.0) if how == MAXIMUM else _ONE
    for k in range(n_maps):
        call(_gather, at(maps, k * pitch), at(codes, k * pitch), how, sign, size, k == 0, total, count)
    for x in range(size):
        measured = get(count, x) > _ZERO
        put(out, x, get(total, x) / (get(count, x) if how == MEAN else sign) if measured else get(maps, x))
        put(validity, x, np.uint8(0) if measured else get(codes, x))


@kernel()
def _smooth_band(band, rho, validity, weights, with_flat, room, out):
    height, width = rho.shape
    n_bands, reach, highest = room.shape[0], (weights.size - 1) // 2, 2 if with_flat else 0
    total, weight, smooth, smooth_weight = room[band, 0], room[band, 1], room[band, 2], room[band, 3]
    for y in range(height * band // n_bands, height * (band + 1) // n_bands):
        room[band] = 0.0
        for source in range(max(0, y - reach), min(height, y + reach + 1)):
            factor = weights[source - y + reach]
            for x in range(width):
                holds = validity[source, x] <= highest
                total[reach + x] += np.float64(rho[source, x]) * factor if holds else 0.0
                weight[reach + x] += factor if holds else 0.0
        for shift in range(2 * reach + 1):
            for x in range(width):
                smooth[x] += total[x + shift] * weights[shift]
                smooth_weight[x] += weight[x + shift] * weights[shift]
        for x in range(width):
            holds = validity[y, x] <= highest
            out[y, x] = np.float32(smooth[x] / smooth_weight[x]) if holds else rho[y, x]


@kernel()
def smooth(rho, validity, weights, with_flat, room, out):
    """Smooth a map with a separable kernel, by the weights of the pixels that hold a value.

    Pixels of code 0, and with `with_flat` those of codes 1 and 2, lend and receive; all others are copied. `room`,
    (B, 4, W + number of weights) float64, is memory for B bands.
    """
    share(_smooth_band, room.shape[0], rho, validity, weights, with_flat, room, out)
