"""Takes back from the sums of windows what pixels have added to them that do not count.

Where few pixels are masked, as in a warped frame, hardly a window holds one. So all windows are summed as if every
pixel counted, with the reference's sums known beforehand. Beside that go column sums of the excluded pixels alone, and
the windows that hold some are done again, one by one. Exact sums come out the same whichever way they are taken, so a
pixel has the bits that `pool_rows` gives it, which sums only what counts.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.kernels.box_sums import mirror, row_index
from framencc.kernels.compilation import kernel
from framencc.kernels.integer_steps import (
    FRAME,
    FRAME_SQUARES,
    PRODUCTS,
    REFERENCE,
    REFERENCE_SQUARES,
    correlation,
    covariance,
    flat_code,
    inverse_root,
    noise_part,
    usable_code,
)

BLOCK = 32
NUMBER = 5  # of pixels, beside the sums of FRAME to REFERENCE_SQUARES
N_SUMS = 6


class Excluded(NamedTuple):
    """The pixels that do not count."""

    why: npt.NDArray[Any]  # (H, W) uint8, not 0 where a pixel does not count: its code
    blocks: npt.NDArray[Any]  # (H, ceil(W / BLOCK)) uint8, 1 where so many pixels of a row hold one that does not


@kernel()
def _holds_any(why):
    seen = np.uint8(0)
    for x in range(why.size):
        seen |= why[x]
    return np.uint8(seen != 0)


@kernel()
def find_blocks(why, y0, y1, blocks):
    """Fill the rows y0 to y1 of `Excluded.blocks`."""
    for y in range(y0, y1):
        for block in range(blocks.shape[1]):
            blocks[y, block] = _holds_any(why[y, block * BLOCK : (block + 1) * BLOCK])


@kernel()
def share_touched(blocks, radius, y0, y1):
    """Return which share of the blocks of the rows y0 to y1 has an excluded pixel `radius` rows above or below."""
    height, n_blocks = blocks.shape
    n_touched = 0
    n_rows = np.zeros(n_blocks, np.int64)
    for y in range(y0 - 2 * radius, y1):
        for row, sign in ((y + radius, 1), (y - radius - 1, -1)):
            if y0 - radius <= row < height and row >= 0:
                for block in range(n_blocks):
                    n_rows[block] += sign * np.int64(blocks[row, block])
        if y >= y0:
            for block in range(n_blocks):
                n_touched += np.int64(n_rows[block] > 0)
    return n_touched / (n_blocks * (y1 - y0))


@kernel()
def _add_block(frame, reference, why, sign, columns):
    for x in range(why.size):
        if why[x] != 0:
            f, r, sums = np.int64(frame[x]), np.int64(reference[x]), columns[x]
            sums[FRAME] += sign * f
            sums[FRAME_SQUARES] += sign * f * f
            sums[PRODUCTS] += sign * f * r
            sums[REFERENCE] += sign * r
            sums[REFERENCE_SQUARES] += sign * r * r
            sums[NUMBER] += sign


@kernel()
def advance_excluded(reference, frame, excluded, entering, leaving, settings, columns, n_rows):
    """Move the column sums of what is excluded down by one row.

    `columns` is (W + 2 r, N_SUMS). `n_rows` tells of each block how many of the window's rows hold an excluded pixel.
    """
    height, width = frame.shape
    for y, sign in ((entering, 1), (leaving, -1)):
        row = row_index(y, height, settings)
        if row < 0:
            continue
        for block in range(n_rows.size):
            if excluded.blocks[row, block] != 0:
                n_rows[block] += sign
                x0, x1 = block * BLOCK, min(width, (block + 1) * BLOCK)
                part = columns[settings.radius + x0 : settings.radius + x1]
                _add_block(frame[row, x0:x1], reference[row, x0:x1], excluded.why[row, x0:x1], sign, part)


@kernel()
def _next_run(n_rows, first, radius, width):
    """Return the next columns x0 to x1, from column `first` on, whose windows may hold an excluded pixel."""
    block = max(0, first - radius) // BLOCK
    while block < n_rows.size and (n_rows[block] == 0 or (block + 1) * BLOCK + radius <= first):
        block += 1
    if block == n_rows.size:
        return width, width
    x0 = max(first, block * BLOCK - radius)
    while block < n_rows.size and n_rows[block] > 0:
        block += 1
    return x0, min(width, block * BLOCK + radius)


@kernel()
def _correct(x, whole, gone, left, prior, settings, out, validity):
    """Correlate one window without what is excluded from it."""
    sums, known, squares, in_image, why = whole
    for plane in range(3):
        left[plane] = sums[plane, x] - gone[plane]
    left[REFERENCE] = known[x] - gone[REFERENCE]
    left[REFERENCE_SQUARES] = squares[x] - gone[REFERENCE_SQUARES]
    left[NUMBER] = in_image[x] - gone[NUMBER]
    n, frame, reference = left[NUMBER], left[FRAME], left[REFERENCE]
    wide, in_floats, noise = settings.wide, settings.in_floats, settings.noise
    variance = noise_part(n, noise.frame) + covariance(n, left[FRAME_SQUARES], frame, frame, wide, in_floats)
    own = covariance(n, left[REFERENCE_SQUARES], reference, reference, wide, in_floats)
    scale = inverse_root(noise_part(n, noise.reference) + own)
    numerator = noise_part(n, prior) + covariance(n, left[PRODUCTS], reference, frame, wide, in_floats)
    code = usable_code(why[x], n, in_image[x], settings.min_valid_fraction)
    out[x] = correlation(numerator, variance, scale, settings.flat) if code == 0 else settings.fill
    validity[x] = flat_code(variance, scale) if code == 0 else code


@kernel()
def correct_row(columns, n_rows, whole, prior, settings, out, validity):
    """Do those windows of a row again that hold an excluded pixel.

    `whole` are, of whole windows, the sums of F, F F and R F, of R and of R R, and their numbers of pixels in the
    picture; and the row of `why`.
    """
    side, width = 2 * settings.radius + 1, out.size
    if settings.reflect:
        for x in range(settings.radius):
            for edge in (x, settings.radius + width + x):
                columns[edge] = columns[settings.radius + mirror(edge - settings.radius, width)]
    gone, left = np.empty(N_SUMS, columns.dtype), np.empty(N_SUMS, columns.dtype)
    x0, x1 = _next_run(n_rows, 0, settings.radius, width)
    while x0 < width:
        gone[:] = 0
        for x in range(x0, x0 + side - 1):
            for plane in range(N_SUMS):
                gone[plane] += columns[x, plane]
        for x in range(x0, x1):
            for plane in range(N_SUMS):
                gone[plane] += columns[x + side - 1, plane]
            if gone[NUMBER] != 0:
                _correct(x, whole, gone, left, prior, settings, out, validity)
            for plane in range(N_SUMS):
                gone[plane] -= columns[x, plane]
        x0, x1 = _next_run(n_rows, x1, settings.radius, width)
