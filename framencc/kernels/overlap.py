"""Sums over the overlap of two pictures of which one is shifted."""

import numpy as np

from framencc.kernels.compilation import kernel


@kernel()
def overlap_sums(reference, frame, dx, dy, step, sums):
    """Add up what the correlation of reference (x, y) and frame (x + dx, y + dy) takes, of every `step`-th row.

    Both are (H, W) float32. Between pixels the frame is interpolated linearly. `sums` gets the number of pixels, the
    sums of both pictures, of their squares and of their product, all float64.
    """
    height, width = reference.shape
    across, down = int(np.floor(dx)), int(np.floor(dy))
    part_x, part_y = np.float32(dx - across), np.float32(dy - down)
    left, right = max(0, -across), min(width, width - across - int(dx > across))
    top, bottom = max(0, -down), min(height, height - down - int(dy > down))
    sums[:] = 0.0
    for y in range((top + step - 1) // step * step, bottom, step):
        r, f, rr, ff, rf = 0.0, 0.0, 0.0, 0.0, 0.0
        ours = reference[y]
        row, below = frame[y + down], frame[min(y + down + 1, height - 1)]
        for x in range(left, right):
            at, after = x + across, min(x + across + 1, width - 1)
            upper = row[at] + part_x * (row[after] - row[at])
            lower = below[at] + part_x * (below[after] - below[at])
            one, other = np.float64(ours[x]), np.float64(upper + part_y * (lower - upper))
            r += one
            f += other
            rr += one * one
            ff += other * other
            rf += one * other
        sums[0] += max(0, right - left)
        sums[1] += r
        sums[2] += f
        sums[3] += rr
        sums[4] += ff
        sums[5] += rf
