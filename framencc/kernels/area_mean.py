"""Making a picture smaller: every new pixel is the mean of the area that it covers, perhaps of its squares as well."""

import numpy as np

from framencc.kernels.compilation import kernel


@kernel()
def _add_row(row, weight, total):
    for x in range(total.size):
        total[x] += np.float32(row[x]) * weight


@kernel()
def _add_squares(row, weight, total):
    for x in range(total.size):
        value = np.float32(row[x])
        total[x] += value * value * weight


@kernel()
def _rows_of(y, step, height):
    """Return from where to where the new row `y` reaches, and the picture's rows there as a range."""
    top, bottom = y * step, min(np.float64(height), (y + 1) * step)
    return top, bottom, int(top), min(height, int(np.ceil(bottom)))


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
def area_mean_rows(picture, y0, y1, out):
    """Fill the rows y0 to y1 of `out`, (h, w) float32, from `picture`, (H, W) of any kind with h <= H and w <= W."""
    height, width = picture.shape
    step_y, step_x = height / out.shape[0], width / out.shape[1]
    total = np.empty(width, np.float32)
    for y in range(y0, y1):
        top, bottom, first, end = _rows_of(y, step_y, height)
        total[:] = 0.0
        for row in range(first, end):
            _add_row(picture[row], np.float32(min(row + 1.0, bottom) - max(np.float64(row), top)), total)
        _join_columns(total, step_x, step_x * step_y, out[y])


@kernel()
def area_moments_rows(picture, y0, y1, out, squares):
    """Do what `area_mean_rows` does, and fill `squares` with the means of the squares, in the same pass."""
    height, width = picture.shape
    step_y, step_x = height / out.shape[0], width / out.shape[1]
    total, total_squares = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(y0, y1):
        top, bottom, first, end = _rows_of(y, step_y, height)
        total[:] = 0.0
        total_squares[:] = 0.0
        for row in range(first, end):
            weight = np.float32(min(row + 1.0, bottom) - max(np.float64(row), top))
            _add_row(picture[row], weight, total)
            _add_squares(picture[row], weight, total_squares)
        _join_columns(total, step_x, step_x * step_y, out[y])
        _join_columns(total_squares, step_x, step_x * step_y, squares[y])
