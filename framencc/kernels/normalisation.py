"""Evening out a picture's local mean and contrast."""

import numba
import numpy as np

from framencc.kernels.accesses import get, put
from framencc.kernels.compilation import kernel, parallel_kernel

MIDDLE = np.float32(128.0)
_ZERO, _WHITE, _HALF = np.float32(0.0), np.float32(255.0), np.float32(0.5)


@kernel()
def normalise_rows(gray, unit, mean, gain, y0, y1, out):
    """Fill the rows y0 to y1; see `normalise`."""
    (height, width), n_rows = gray.shape, mean.shape[0]
    pixels, codes = gray.reshape(height * width), out.reshape(height * width)
    means, gains = mean.reshape(n_rows * width), gain.reshape(n_rows * width)
    for y in range(y0, y1):
        position = min(max((y + 0.5) * n_rows / height - 0.5, 0.0), n_rows - 1.0)
        above, part = int(position), np.float32(position - int(position))
        first, second = above * width, min(above + 1, n_rows - 1) * width
        for x in range(width):
            middle = get(means, first + x) + part * (get(means, second + x) - get(means, first + x))
            steepness = get(gains, first + x) + part * (get(gains, second + x) - get(gains, first + x))
            value = MIDDLE + steepness * (unit * np.float32(get(pixels, y * width + x)) - middle)
            put(codes, y * width + x, np.uint8(np.int32(min(max(value, _ZERO), _WHITE) + _HALF)))


@parallel_kernel()
def normalise(gray, unit, mean, gain, n_bands, out):
    """Write 128 + gain (unit * gray - mean), rounded and cut to 0 ... 255.

    `gray` is (H, W) of any kind, `out` (H, W) uint8. `mean` and `gain` are (h, W) float32, h <= H: between their rows,
    each of which stands for H / h rows, they are interpolated.
    """
    height = gray.shape[0]
    for i in numba.prange(n_bands):
        normalise_rows(gray, unit, mean, gain, height * i // n_bands, height * (i + 1) // n_bands, out)
