"""From maps and frames to small colour pictures."""

import numpy as np

from framencc.kernels.compilation import kernel

# Stands where a confidence code, 0 to 255, would: too little of the area was measured.
NOT_MEASURED = 256


@kernel()
def _add_measured(rho, why, total, count):
    for x in range(rho.size):
        measured = why[x] == 0
        total[x] += max(rho[x], np.float32(0)) if measured else np.float32(0)
        count[x] += np.float32(measured)


@kernel()
def reduce_map_rows(rho, validity, y0, y1, out):
    """Fill the rows y0 to y1 of `out`, (h, w) uint16: round(255 max(rho, 0)) on average over what is measured.

    Every pixel of `out` stands for whole pixels of the map, (H, W) with h <= H and w <= W, and none belongs to two.
    """
    height, width = rho.shape
    total, count = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(y0, y1):
        top, bottom = y * height // out.shape[0], (y + 1) * height // out.shape[0]
        total[:] = 0.0
        count[:] = 0.0
        for row in range(top, bottom):
            _add_measured(rho[row], validity[row], total, count)
        left = 0
        for x in range(out.shape[1]):
            right = (x + 1) * width // out.shape[1]
            value, n_measured = np.float32(0), np.float32(0)
            for column in range(left, right):
                value += total[column]
                n_measured += count[column]
            enough = n_measured > 0 and 2 * n_measured >= (bottom - top) * (right - left)
            out[y, x] = np.uint16(255 * min(value / n_measured, np.float32(1)) + 0.5) if enough else NOT_MEASURED
            left = right


@kernel()
def shade_rows(values, black, gain, y0, y1, out):
    """Write round(gain * (value - black)), cut to 0 ... 255, as uint16; NaN becomes 0."""
    for y in range(y0, y1):
        row, shades = values[y], out[y]
        for x in range(row.size):
            shade = min((row[x] - black) * gain, np.float32(255))
            shades[x] = np.uint16(shade + np.float32(0.5)) if shade > 0 else 0


@kernel()
def paint_rows(codes, palette, place, zoom, y0, y1, canvas):
    """Draw the rows y0 to y1 of (h, w) codes at `place` (top, left) of an (H, W, 3) canvas, each pixel `zoom` wide."""
    for y in range(y0, y1):
        for copy in range(zoom):
            line, at = canvas[place[0] + y * zoom + copy], place[1]
            for x in range(codes.shape[1]):
                code = codes[y, x]
                red, green, blue = palette[code, 0], palette[code, 1], palette[code, 2]
                for _ in range(zoom):
                    line[at, 0], line[at, 1], line[at, 2] = red, green, blue
                    at += 1


@kernel()
def tint_rows(shades, codes, tint, place, zoom, y0, y1, canvas):
    """Draw as `paint_rows` does, shades of gray under the tint of each code.

    `tint`, (257, 4) int32: the share of the gray that is left, and red, green and blue to add to it, in 2^-16.
    """
    for y in range(y0, y1):
        for copy in range(zoom):
            line, at = canvas[place[0] + y * zoom + copy], place[1]
            for x in range(codes.shape[1]):
                code = codes[y, x]
                gray = tint[code, 0] * np.int32(shades[y, x]) + np.int32(1 << 15)
                red, green, blue = (
                    np.uint8((gray + tint[code, 1]) >> 16),
                    np.uint8((gray + tint[code, 2]) >> 16),
                    np.uint8((gray + tint[code, 3]) >> 16),
                )
                for _ in range(zoom):
                    line[at, 0], line[at, 1], line[at, 2] = red, green, blue
                    at += 1
