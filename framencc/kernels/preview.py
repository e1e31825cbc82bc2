"""From frames and maps to small colour pictures."""

import numba
import numpy as np

from framencc.kernels.area_mean import area_mean_rows
from framencc.kernels.compilation import kernel, parallel_kernel

# Stands where a confidence code, 0 to 255, would: too little of the area was measured.
NOT_MEASURED = 256


@kernel()
def _paint(codes, shades, tint, place, zoom, y, canvas):
    for copy in range(zoom):
        line, at = canvas[place[0] + y * zoom + copy], place[1]
        for x in range(codes.size):
            code = codes[x]
            gray = (1 << 15) + (tint[code, 0] * np.int64(shades[x]) if shades.size else 0)
            red, green, blue = gray + tint[code, 1], gray + tint[code, 2], gray + tint[code, 3]
            for _ in range(zoom):
                line[at, 0], line[at, 1], line[at, 2] = red >> 16, green >> 16, blue >> 16
                at += 1


@kernel()
def _draw_frame_rows(planes, weights, black, gain, tint, place, zoom, y0, y1, small, shades, canvas):
    area_mean_rows(planes, weights, y0, y1, small, small[:0])
    for y in range(y0, y1):
        for x in range(shades.shape[1]):
            value = min((small[y, x] - black) * gain, np.float32(255))
            shades[y, x] = np.uint16(value + np.float32(0.5)) if value > 0 else 0
        _paint(shades[y], shades[y, :0], tint, place, zoom, y, canvas)


@parallel_kernel()
def draw_frame(planes, weights, black, gain, tint, place, zoom, n_bands, small, shades, canvas):
    """Fill `shades`, (h, w) uint16, with the weighted sum of (C, H, W) planes: round(gain * (sum - black)), 0 to 255.

    NaN becomes 0. `small`, (h, w) float32 with h <= H and w <= W, is filled with the sum's means. Then the shades are
    drawn, as `draw_map` draws codes; with `zoom` 0 they are not.
    """
    for i in numba.prange(n_bands):
        y0, y1 = len(shades) * i // n_bands, len(shades) * (i + 1) // n_bands
        _draw_frame_rows(planes, weights, black, gain, tint, place, zoom, y0, y1, small, shades, canvas)


@kernel()
def _add_measured(rho, validity, total, count):
    for x in range(rho.size):
        measured = validity[x] == 0
        total[x] += max(rho[x], np.float32(0)) if measured else np.float32(0)
        count[x] += np.float32(measured)


@kernel()
def _draw_map_rows(rho, validity, shades, tint, place, zoom, shape, y0, y1, canvas):
    (height, width), (n_rows, n_columns) = rho.shape, shape
    total, count = np.empty(width, np.float32), np.empty(width, np.float32)
    sums, counts, codes = (
        np.empty(n_columns, np.float32),
        np.empty(n_columns, np.float32),
        np.empty(n_columns, np.uint16),
    )
    ends = np.arange(1, n_columns + 1) * width // n_columns
    for y in range(y0, y1):
        top, bottom, left = y * height // n_rows, (y + 1) * height // n_rows, 0
        total[:] = 0.0
        count[:] = 0.0
        for row in range(top, bottom):
            _add_measured(rho[row], validity[row], total, count)
        for x in range(n_columns):
            value, n_measured = total[left], count[left]
            for column in range(left + 1, ends[x]):
                value += total[column]
                n_measured += count[column]
            sums[x] = value
            counts[x] = n_measured if 2 * n_measured >= (bottom - top) * (ends[x] - left) else np.float32(0)
            left = ends[x]
        for x in range(n_columns):  # apart from the sums, so that it vectorises
            code = np.int32(255 * min(sums[x] / counts[x], np.float32(1)) + 0.5)
            codes[x] = np.uint16(code if counts[x] > 0 else NOT_MEASURED)
        _paint(codes, shades[y] if len(shades) else codes[:0], tint, place, zoom, y, canvas)


@parallel_kernel()
def draw_map(rho, validity, shades, tint, place, zoom, shape, n_bands, canvas):
    """Draw a map, (H, W): the codes round(255 max(rho, 0)), on average over what is measured.

    It becomes h x w = `shape` pixels, h <= H and w <= W, each of whole pixels of the map. They are drawn `zoom` wide at
    `place`, top and left, of an (., ., 3) uint8 canvas: `tint`, (257, 4) int32, holds for each code the share that is
    left of the gray in (h, w) `shades`, which may be empty, and red, green and blue to add, in 2^-16.
    """
    for i in numba.prange(n_bands):
        y0, y1 = shape[0] * i // n_bands, shape[0] * (i + 1) // n_bands
        _draw_map_rows(rho, validity, shades, tint, place, zoom, shape, y0, y1, canvas)
