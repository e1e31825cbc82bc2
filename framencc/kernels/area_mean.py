"""Making a picture smaller: every new pixel is the mean of the area that it covers, perhaps of its squares as well."""

import numba
import numpy as np

from framencc.kernels.accesses import get, put
from framencc.kernels.compilation import kernel, parallel_kernel


@kernel()
def _add_row(row, weight, total, squares, total_squares):
    for x in range(total.size):
        value = np.float32(get(row, x))
        put(total, x, get(total, x) + value * weight)
        if squares is not None:
            put(total_squares, x, get(total_squares, x) + value * value * weight)


@kernel()
def _join_columns(total, step, area, out):
    width = total.size
    if step == 1.0:
        for x in range(out.size):
            out[x] = total[x] / area
        return
    for x in range(out.size):
        left, right = x * step, min(np.float64(width), (x + 1) * step)
        first, last = int(left), min(width, int(np.ceil(right))) - 1
        value = total[first] * (min(first + 1.0, right) - left)
        for column in range(first + 1, last):
            value += total[column]
        if last > first:
            value += total[last] * (right - last)
        out[x] = value / area


@kernel()
def area_mean_rows(planes, weights, y0, y1, out, squares):
    """Fill the rows y0 to y1; see `area_mean`."""
    height, width = planes.shape[1:]
    step_y, step_x = height / out.shape[0], width / out.shape[1]
    total, total_squares = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(y0, y1):
        top, bottom = y * step_y, min(np.float64(height), (y + 1) * step_y)
        total[:] = 0.0
        total_squares[:] = 0.0
        for row in range(int(top), min(height, int(np.ceil(bottom)))):
            share = np.float32(min(row + 1.0, bottom) - max(np.float64(row), top))
            for channel in range(len(planes)):
                _add_row(planes[channel, row], share * weights[channel], total, squares, total_squares)
        _join_columns(total, step_x, step_x * step_y, out[y])
        if squares is not None:
            _join_columns(total_squares, step_x, step_x * step_y, squares[y])


@parallel_kernel()
def area_mean(planes, weights, n_bands, out, squares):
    """Fill `out`, (h, w) float32, with means of areas of `planes`, (C, H, W) of any kind with h <= H and w <= W.

    Channels are added up by their `weights`, (C,) float32. `squares`, if not None, gets the means of the squares.
    """
    height = out.shape[0]
    for i in numba.prange(n_bands):
        area_mean_rows(planes, weights, height * i // n_bands, height * (i + 1) // n_bands, out, squares)
