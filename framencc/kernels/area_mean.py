"""Making a picture smaller: every new pixel is the mean of the area that it covers."""

import numpy as np

from framencc.kernels.compilation import kernel


@kernel()
def _add_row(row, weight, total):
    for x in range(total.size):
        total[x] += np.float32(row[x]) * weight


@kernel()
def area_mean_rows(picture, y0, y1, out):
    """Fill the rows y0 to y1 of `out`, (h, w) float32, from `picture`, (H, W) of any kind with h <= H and w <= W."""
    height, width = picture.shape
    step_y, step_x = height / out.shape[0], width / out.shape[1]
    total = np.empty(width, np.float32)
    for y in range(y0, y1):
        top, bottom = y * step_y, min(np.float64(height), (y + 1) * step_y)
        total[:] = 0.0
        for row in range(int(top), min(height, int(np.ceil(bottom)))):
            _add_row(picture[row], np.float32(min(row + 1.0, bottom) - max(np.float64(row), top)), total)
        for x in range(out.shape[1]):
            left, right = x * step_x, min(np.float64(width), (x + 1) * step_x)
            value = 0.0
            for column in range(int(left), min(width, int(np.ceil(right)))):
                value += total[column] * (min(column + 1.0, right) - max(np.float64(column), left))
            out[y, x] = value / (step_x * step_y)
