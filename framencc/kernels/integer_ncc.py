"""Local normalized cross-correlation of one channel of integers, from exact sums.

The reference's sums are known beforehand, so three remain to be taken for a frame: F, F F and R F. `integer_steps` says
why they are exact.
"""

import numpy as np

from framencc.kernels.box_sums import NO_ROW, count, extent, row_index, row_sums, slide, slide_products
from framencc.kernels.compilation import kernel
from framencc.kernels.exclusion import N_SUMS, advance_excluded, correct_row
from framencc.kernels.integer_steps import (
    FRAME,
    FRAME_SQUARES,
    PRODUCTS,
    classify,
    correlation,
    covariance,
    noise_part,
)


@kernel()
def advance(reference, frame, entering, leaving, settings, columns):
    """Move the column sums of F, F F and R F down by one row."""
    inside = slice(settings.radius, settings.radius + frame.shape[1])
    height = frame.shape[0]
    new, new_reference, old, old_reference = settings.blank, settings.blank, settings.blank, settings.blank
    entering, leaving = row_index(entering, height, settings), row_index(leaving, height, settings)
    if entering >= 0:
        new, new_reference = frame[entering], reference[entering]
    if leaving >= 0:
        old, old_reference = frame[leaving], reference[leaving]
    slide(new, old, columns[FRAME, inside])
    slide_products(new, new, old, old, columns[FRAME_SQUARES, inside])
    slide_products(new, new_reference, old, old_reference, columns[PRODUCTS, inside])


@kernel()
def _variance(n_pixels, sums, squares, noise, wide, in_floats, out):
    for x in range(out.size):
        out[x] = noise_part(n_pixels[x], noise) + covariance(n_pixels[x], squares[x], sums[x], sums[x], wide, in_floats)


@kernel()
def _finish(n_pixels, reference_sums, scale, sums, products, variance, prior, settings, out):
    flat, wide, in_floats = settings.flat, settings.wide, settings.in_floats
    for x in range(out.size):
        exact = covariance(n_pixels[x], products[x], reference_sums[x], sums[x], wide, in_floats)
        out[x] = correlation(noise_part(n_pixels[x], prior) + exact, variance[x], scale[x], flat)


@kernel()
def correlate_rows(reference, frame, excluded, settings, y0, y1, out, validity):
    """Correlate the rows y0 to y1 of one channel, of which all or nearly all pixels count: the most frequent case.

    `frame` is (1, H, W) like the reference's planes. `excluded` is None where all pixels count, or says which do not.
    `out` is (y1 - y0, W) float32, and `validity` of that shape, uint8, or empty where it is not wanted and nothing is
    excluded; it receives 0 (measured), 1 (flat reference), 2 (flat frame), the code of a pixel that is excluded, or 5
    (too few others). Where `out` is empty, `frame` must be the reference's plane: its sums are filled, and its variance
    is added to `scale`.
    """
    _, height, width = frame.shape
    radius = settings.radius
    columns = np.zeros((3, width + 2 * radius), settings.accumulator.dtype)
    sums = np.empty((3, width), settings.accumulator.dtype)
    scratch = np.zeros(width + 2 * radius + 1, settings.accumulator.dtype)
    variance = np.empty(width, np.float32)
    n_columns, n_pixels = np.empty(width, np.int32), np.empty(width, np.int32)
    for x in range(width):
        n_columns[x] = extent(x, width, settings)
    prior = settings.noise.prior
    if excluded is not None:
        columns_excluded = np.zeros((width + 2 * radius, N_SUMS), settings.accumulator.dtype)
        n_rows = np.zeros(excluded.blocks.shape[1], np.int64)
    for y in range(y0 - 2 * radius, y1):  # the first 2 r turns only fill the window of row y0
        leaving = y - radius - 1 if y > y0 else NO_ROW
        advance(reference.planes[0], frame[0], y + radius, leaving, settings, columns)
        if excluded is not None:
            planes = reference.planes[0], frame[0]
            advance_excluded(*planes, excluded, y + radius, leaving, settings, columns_excluded, n_rows)
        if y < y0:
            continue
        for plane in range(3):
            row_sums(columns[plane], settings, scratch, sums[plane])
        count(extent(y, height, settings), n_columns, n_pixels)
        wide, in_floats = settings.wide, settings.in_floats
        _variance(n_pixels, sums[FRAME], sums[FRAME_SQUARES], settings.noise.frame, wide, in_floats, variance)
        known, scale = reference.sums[0, y], reference.scale[y]
        if out.size == 0:
            known[:] = sums[FRAME]
            if reference.squares.size > 0:
                reference.squares[y] = sums[FRAME_SQUARES]
            for x in range(width):
                scale[x] += variance[x]
            continue
        _finish(n_pixels, known, scale, sums[FRAME], sums[PRODUCTS], variance, prior, settings, out[y - y0])
        if validity.size > 0:
            classify(variance, scale, validity[y - y0])
        if excluded is not None:
            whole = sums, known, reference.squares[y], n_pixels, excluded.why[y]
            correct_row(columns_excluded, n_rows, whole, prior, settings, out[y - y0], validity[y - y0])
