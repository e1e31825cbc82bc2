"""Making a picture smaller: every new pixel is the mean of the area that it covers, perhaps of its squares as well."""

import numpy as np

from framencc.kernels.calls import call
from framencc.kernels.compilation import kernel
from framencc.kernels.sharing import share


@kernel()
def area_mean_rows(planes, weights, y0, y1, out, squares):
    """Fill the rows y0 to y1; see `area_mean`."""
    height, width = planes.shape[1:]
    step_y, step_x = height / out.shape[0], width / out.shape[1]
    area, total = step_x * step_y, np.empty((2, width), np.float32)
    for y in range(y0, y1):
        top, bottom = y * step_y, min(np.float64(height), (y + 1) * step_y)
        total[:] = 0.0
        for row in range(int(top), min(height, int(np.ceil(bottom)))):
            covered = np.float32(min(row + 1.0, bottom) - max(np.float64(row), top))
            for channel in range(len(planes)):
                weight = covered * weights[channel]
                for x in range(width):
                    total[0, x] += np.float32(planes[channel, row, x]) * weight
                for x in range(width if squares.size else 0):
                    value = np.float32(planes[channel, row, x])
                    total[1, x] += value * value * weight
        for moment in range(2 if squares.size else 1):
            target = squares if moment else out
            for x in range(out.shape[1]):
                if step_x == 1.0:
                    target[y, x] = total[moment, x] / area
                    continue
                left, right = x * step_x, min(np.float64(width), (x + 1) * step_x)
                first, last = int(left), min(width, int(np.ceil(right))) - 1
                value = total[moment, first] * (min(first + 1.0, right) - left)
                for column in range(first + 1, last):
                    value += total[moment, column]
                if last > first:
                    value += total[moment, last] * (right - last)
                target[y, x] = value / area


@kernel()
def _area_mean_band(band, n_bands, planes, weights, out, squares):
    height = out.shape[0]
    y0, y1 = height * band // n_bands, height * (band + 1) // n_bands
    call(area_mean_rows, planes, weights, y0, y1, out, squares)


@kernel()
def area_mean(planes, weights, n_bands, out, squares):
    """Fill `out`, (h, w) float32, with means of areas of `planes`, (C, H, W) of any kind with h <= H and w <= W.

    Channels are added up by their `weights`, (C,) float32. `squares`, like `out`, gets the means of the squares; (0, 0)
    where they are not wanted.
    """
    share(_area_mean_band, n_bands, n_bands, planes, weights, out, squares)
