"""The same correlation where pixels are masked, or several channels are pooled.

With a mask, which pixels of the reference count depends on the frame too. So R, R R and the number of pixels are summed
beside F, F F and R F, over rows that are zero where a pixel does not count. Over channels n S_xy is pooled in float32;
by Cauchy's inequality its rounding stays below that of the final division.
"""

import numpy as np

from framencc.kernels.box_sums import NO_ROW, count, extent, row_index, row_sums, slide, slide_products
from framencc.kernels.compilation import kernel
from framencc.kernels.integer_ncc import advance
from framencc.kernels.integer_steps import (
    FRAME,
    FRAME_SQUARES,
    PRODUCTS,
    REFERENCE,
    REFERENCE_SQUARES,
    classify,
    correlation,
    covariance,
    inverse_root,
    noise_part,
    usable_code,
)


@kernel()
def _keep(row, why, out):
    for x in range(out.size):
        out[x] = row[x] if why[x] == 0 else 0


@kernel()
def _slide_counts(new, old, sums):
    for x in range(sums.size):
        sums[x] += np.int64(new[x] == 0) - np.int64(old[x] == 0)


@kernel()
def _advance_masked(reference, frame, why, entering, leaving, settings, kept, columns):
    """Move the column sums of F, F F, R F, R, R R and of the pixels that count down by one row."""
    inside = slice(settings.radius, settings.radius + frame.shape[2])
    height = frame.shape[1]
    entering, leaving = row_index(entering, height, settings), row_index(leaving, height, settings)
    new_why = why[entering] if entering >= 0 else settings.blank_why
    old_why = why[leaving] if leaving >= 0 else settings.blank_why
    n_channels = frame.shape[0]
    _slide_counts(new_why, old_why, columns[n_channels, 0, inside])
    new, new_reference, old, old_reference = kept[0], kept[1], kept[2], kept[3]
    for channel in range(n_channels):
        sums = columns[channel]
        # Where there is no row, its `why` lets nothing of any other row through.
        _keep(frame[channel, max(0, entering)], new_why, new)
        _keep(reference[channel, max(0, entering)], new_why, new_reference)
        _keep(frame[channel, max(0, leaving)], old_why, old)
        _keep(reference[channel, max(0, leaving)], old_why, old_reference)
        slide(new, old, sums[FRAME, inside])
        slide_products(new, new, old, old, sums[FRAME_SQUARES, inside])
        slide_products(new, new_reference, old, old_reference, sums[PRODUCTS, inside])
        slide(new_reference, old_reference, sums[REFERENCE, inside])
        slide_products(new_reference, new_reference, old_reference, old_reference, sums[REFERENCE_SQUARES, inside])


@kernel()
def _invert_root(variance, out):
    for x in range(out.size):
        out[x] = inverse_root(variance[x])


@kernel()
def _start(n_pixels, energy, out):
    for x in range(out.size):
        out[x] = noise_part(n_pixels[x], energy)


@kernel()
def _add_covariance(n_pixels, sums, other_sums, products, settings, out):
    wide, in_floats = settings.wide, settings.in_floats
    for x in range(out.size):
        out[x] += covariance(n_pixels[x], products[x], sums[x], other_sums[x], wide, in_floats)


@kernel()
def _divide(numerator, variance, scale, flat, out):
    for x in range(out.size):
        out[x] = correlation(numerator[x], variance[x], scale[x], flat)


@kernel()
def _mark(why, n_pixels, in_image, settings, out, validity):
    for x in range(out.size):
        code = usable_code(why[x], n_pixels[x], in_image[x], settings.min_valid_fraction)
        if code != 0:
            out[x] = settings.fill
            validity[x] = code


@kernel()
def pool_rows(reference, frame, why, settings, y0, y1, out, validity):
    """Correlate the rows y0 to y1 of any number of channels, with or without a mask.

    As `correlate_rows`, but `why` is (H, W) uint8, 0 for the pixels that count, otherwise the code that `validity`
    receives; or it is empty, and all count. With a mask `validity` must not be empty, and also receives 5 (too few).
    """
    n_channels, height, width = frame.shape
    radius = settings.radius
    masked = why.size > 0
    n_planes = 5 if masked else 3
    columns = np.zeros((n_channels + 1, n_planes, width + 2 * radius), settings.accumulator.dtype)
    sums = np.empty((6, width), settings.accumulator.dtype)
    scratch = np.zeros(width + 2 * radius + 1, settings.accumulator.dtype)
    kept = np.empty((4, width), settings.blank.dtype)
    numerator, variance = np.empty(width, np.float32), np.empty(width, np.float32)
    reference_variance, masked_scale = np.empty(width, np.float32), np.empty(width, np.float32)
    n_columns, in_image = np.empty(width, np.int32), np.empty(width, np.int32)
    for x in range(width):
        n_columns[x] = extent(x, width, settings)
    prior = settings.noise.prior
    for y in range(y0 - 2 * radius, y1):  # the first 2 r turns only fill the window of row y0
        leaving = y - radius - 1 if y > y0 else NO_ROW
        if masked:
            _advance_masked(reference.planes, frame, why, y + radius, leaving, settings, kept, columns)
        else:
            for channel in range(n_channels):
                advance(reference.planes[channel], frame[channel], y + radius, leaving, settings, columns[channel])
        if y < y0:
            continue
        count(extent(y, height, settings), n_columns, in_image)
        n_pixels = sums[5]
        if masked:
            row_sums(columns[n_channels, 0], settings, scratch, n_pixels)
        else:
            count(1, in_image, n_pixels)
        _start(n_pixels, settings.noise.frame, variance)
        _start(n_pixels, settings.noise.reference, reference_variance)
        _start(n_pixels, prior, numerator)
        for channel in range(n_channels):
            for plane in range(n_planes):
                row_sums(columns[channel, plane], settings, scratch, sums[plane])
            known = sums[REFERENCE] if masked else reference.sums[channel, y]
            _add_covariance(n_pixels, sums[FRAME], sums[FRAME], sums[FRAME_SQUARES], settings, variance)
            _add_covariance(n_pixels, known, sums[FRAME], sums[PRODUCTS], settings, numerator)
            if masked:
                _add_covariance(n_pixels, known, known, sums[REFERENCE_SQUARES], settings, reference_variance)
        if masked:
            _invert_root(reference_variance, masked_scale)
        scale = masked_scale if masked else reference.scale[y]
        _divide(numerator, variance, scale, settings.flat, out[y - y0])
        if validity.size > 0:
            classify(variance, scale, validity[y - y0])
        if masked:
            _mark(why[y], n_pixels, in_image, settings, out[y - y0], validity[y - y0])
