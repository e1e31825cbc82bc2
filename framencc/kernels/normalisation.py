"""Evening out a picture's local mean and contrast."""

import numpy as np

from framencc.kernels.accesses import get, put
from framencc.kernels.compilation import kernel

MIDDLE = np.float32(128.0)
_ZERO, _WHITE, _HALF = np.float32(0.0), np.float32(255.0), np.float32(0.5)


@kernel()
def _normalise(row, unit, means, gains, part, codes):
    (mean, mean_below), (gain, gain_below) = means, gains
    for x in range(codes.size):
        middle = get(mean, x) + part * (get(mean_below, x) - get(mean, x))
        steepness = get(gain, x) + part * (get(gain_below, x) - get(gain, x))
        value = MIDDLE + steepness * (unit * get(row, x) - middle)
        put(codes, x, np.uint8(np.int32(min(max(value, _ZERO), _WHITE) + _HALF)))


@kernel()
def normalise_rows(gray, unit, mean, gain, y0, y1, out):
    """Write 128 + gain (unit * gray - mean), rounded and cut to 0 ... 255, for the rows y0 to y1.

    `gray` is (H, W) float32, `out` (H, W) uint8. `mean` and `gain` are (h, W) float32, h <= H: between their rows, each
    of which stands for H / h rows, they are interpolated.
    """
    height, n_rows = gray.shape[0], mean.shape[0]
    for y in range(y0, y1):
        position = min(max((y + 0.5) * n_rows / height - 0.5, 0.0), n_rows - 1.0)
        above = int(position)
        below = min(above + 1, n_rows - 1)
        means, gains = (mean[above], mean[below]), (gain[above], gain[below])
        _normalise(gray[y], unit, means, gains, np.float32(position - above), out[y])
