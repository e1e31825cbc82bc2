"""Evening out a picture's local mean and contrast."""

import numpy as np

from framencc.kernels.accesses import get, put
from framencc.kernels.compilation import kernel
from framencc.kernels.sharing import share

MIDDLE = np.float32(128.0)
_ZERO, _WHITE, _HALF = np.float32(0.0), np.float32(255.0), np.float32(0.5)


@kernel()
def _normalise_band(band, n_bands, gray, unit, mean, gain, out):
    (height, width), n_rows = gray.shape, mean.shape[0]
    pixels, codes = gray.reshape(height * width), out.reshape(height * width)
    means, gains = mean.reshape(n_rows * width), gain.reshape(n_rows * width)
    for y in range(height * band // n_bands, height * (band + 1) // n_bands):
        position = min(max((y + 0.5) * n_rows / height - 0.5, 0.0), n_rows - 1.0)
        above, part = int(position), np.float32(position - int(position))
        first, second = above * width, min(above + 1, n_rows - 1) * width
        for x in range(width):
            middle = get(means, first + x) + part * (get(means, second + x) - get(means, first + x))
            steepness = get(gains, first + x) + part * (get(gains, second + x) - get(gains, first + x))
            value = MIDDLE + steepness * (unit * np.float32(get(pixels, y * width + x)) - middle)
            put(codes, y * width + x, np.uint8(np.int32(min(max(value, _ZERO), _WHITE) + _HALF)))


@kernel()
def normalise(gray, unit, mean, gain, n_bands, out):
    """Write 128 + gain (unit * gray - mean), rounded and cut to 0 ... 255.

    `gray` is (H, W) of any kind, `out` (H, W) uint8. `mean` and `gain` are (h, W) float32, h <= H: between their rows,
    each of which stands for H / h rows, they are interpolated.
    """
    share(_normalise_band, n_bands, n_bands, gray, unit, mean, gain, out)
