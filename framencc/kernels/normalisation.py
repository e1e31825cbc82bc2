"""Evening out a picture's local mean and contrast."""

import numpy as np

from framencc.kernels.compilation import kernel

MIDDLE = np.float32(128.0)
_ZERO, _WHITE, _HALF = np.float32(0.0), np.float32(255.0), np.float32(0.5)


@kernel()
def normalise_rows(gray, mean, gain, y0, y1, out):
    """Write 128 + gain (gray - mean), rounded and cut to 0 ... 255, for the rows y0 to y1; (H, W) float32 to uint8."""
    for y in range(y0, y1):
        row, middle, steepness, codes = gray[y], mean[y], gain[y], out[y]
        for x in range(codes.size):
            value = MIDDLE + steepness[x] * (row[x] - middle[x])
            codes[x] = np.int32(min(max(value, _ZERO), _WHITE) + _HALF)
