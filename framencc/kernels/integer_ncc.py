"""Local normalized cross-correlation of integer pictures, from exact sums.

With n pixels in a window, n * S_xy = n * sum(x y) - sum(x) * sum(y) is an integer, so nothing is lost to cancellation
however small the contrast. All sums wrap modulo 2^32 or 2^64, and still come out exact wherever the final difference
fits, because addition, subtraction and multiplication commute with the wrapping:

- uint8, radius <= 9: |n S_xy| <= n^2 255^2 / 4 < 2^31, so everything is done in 32 bits;
- uint8, radius <= 127: sums stay below 2^32, and |n S_xy| and all on the way to it below n^2 255^2 < 2^53, exact in
  float64, which converts and multiplies in vector code where 64-bit integers need AVX-512;
- uint16, radius <= 127: |n S_xy| <= n^2 65535^2 / 4 < 2^63, so everything is done in 64 bits.

Only the last step, numerator / sqrt(variance), and the pooling over channels are in float32, which costs at most 4e-7.

The reference's sums are known beforehand, so three remain to be taken for a frame: F, F F and R F.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.kernels.box_sums import NO_ROW, count, extent, row_index, row_sums, slide, slide_products
from framencc.kernels.compilation import kernel

Array = npt.NDArray[Any]

MAX_RADIUS_32_BIT = 9
FRAME, FRAME_SQUARES, PRODUCTS = range(3)
ONE, ZERO = np.float32(1.0), np.float32(0.0)


class IntegerReference(NamedTuple):
    """A reference and what every frame needs of it, computed once."""

    planes: Array  # (C, H, W) uint8 or uint16
    sums: Array  # (C, H, W) window sums, in the accumulator's type
    scale: Array  # (H, W) float32, 1 / sqrt(sum over C of n S_RR + n^2 noise), 0 where flat


class IntegerSettings(NamedTuple):
    """The options of the correlation, as the kernels need them."""

    radius: int
    reflect: bool
    flat: np.float32
    noise: np.float32  # C * noise_sigma^2
    fill: np.float32
    min_valid_fraction: float  # of the window's pixels in the picture
    blank: Array  # (W,) zeros of the picture's dtype: the rows above and below the picture
    blank_why: Array  # (W,) ones: no pixel of those rows counts
    accumulator: Array  # (0,) of the dtype of sums: int32, uint32 or int64
    # Both are decided by type, so that only one of the loops is compiled.
    wide: bool | None  # None: n S_xy fits 32 bits
    in_floats: bool | None  # None: it may not fit float64


def integer_settings(
    dtype: np.dtype[Any],
    n_channels: int,
    width: int,
    *,
    radius: int,
    reflect: bool,
    flat: float,
    noise_sigma: float,
    fill: float,
    min_valid_fraction: float,
) -> IntegerSettings:
    """Choose the arithmetic for a dtype and a radius."""
    narrow = dtype == np.uint8 and radius <= MAX_RADIUS_32_BIT
    accumulator = np.int32 if narrow else np.uint32 if dtype == np.uint8 else np.int64
    blank = np.zeros(width, dtype)
    blank_why = np.ones(width, np.uint8)
    for row in (blank, blank_why):
        row.flags.writeable = False
    return IntegerSettings(
        radius,
        reflect,
        np.float32(flat),
        np.float32(n_channels * noise_sigma**2),
        np.float32(fill),
        min_valid_fraction,
        blank,
        blank_why,
        np.empty(0, accumulator),
        None if narrow else True,
        None if narrow or dtype != np.uint8 else True,
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
def covariance(n, products, sums, other_sums, wide, in_floats):
    """Take n S_xy = n sum(x y) - sum(x) sum(y), exact until it is rounded to float32."""
    if in_floats is not None:
        return np.float32(np.float64(n) * np.float64(products) - np.float64(sums) * np.float64(other_sums))
    exact = np.int64(n) * np.int64(products) - np.int64(sums) * np.int64(other_sums)
    if wide is None:
        return np.float32(np.int32(exact))
    return np.float32(exact)


@kernel()
def _variance(n_pixels, sums, squares, noise, wide, in_floats, out):
    for x in range(out.size):
        n = np.float32(n_pixels[x])
        out[x] = covariance(n_pixels[x], squares[x], sums[x], sums[x], wide, in_floats) + n * n * noise


@kernel()
def _finish(n_pixels, reference_sums, scale, sums, products, variance, prior, settings, out):
    flat, wide, in_floats = settings.flat, settings.wide, settings.in_floats
    for x in range(out.size):
        n = np.float32(n_pixels[x])
        numerator = covariance(n_pixels[x], products[x], reference_sums[x], sums[x], wide, in_floats) + n * n * prior
        rho = min(max(numerator * scale[x] / np.sqrt(variance[x]), -ONE), ONE)
        out[x] = rho if (variance[x] > ZERO) & (scale[x] > ZERO) else flat


@kernel()
def classify(variance, scale, validity):
    """Tell measured windows (0) from those with a flat reference (1) or a flat frame (2)."""
    for x in range(validity.size):
        flat_frame = np.uint8(2) if variance[x] <= ZERO else np.uint8(0)
        validity[x] = np.uint8(1) if scale[x] <= ZERO else flat_frame


@kernel()
def correlate_rows(reference, frame, settings, y0, y1, out, validity):
    """Correlate the rows y0 to y1 of one channel, nothing masked: the shortest way, for the most frequent case.

    `frame` is (1, H, W) like the reference's planes. `out` is (y1 - y0, W) float32, and `validity` of that shape,
    uint8, or empty where it is not wanted; it receives 0 (measured), 1 (flat reference) or 2 (flat frame). Where `out`
    is empty, `frame` must be the reference's plane: its sums are filled, and its variance is added to `scale`.
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
    prior = settings.flat * settings.noise if settings.noise > 0 else ZERO
    for y in range(y0 - 2 * radius, y1):  # the first 2 r turns only fill the window of row y0
        leaving = y - radius - 1 if y > y0 else NO_ROW
        advance(reference.planes[0], frame[0], y + radius, leaving, settings, columns)
        if y < y0:
            continue
        for plane in range(3):
            row_sums(columns[plane], settings, scratch, sums[plane])
        count(extent(y, height, settings), n_columns, n_pixels)
        wide, in_floats = settings.wide, settings.in_floats
        _variance(n_pixels, sums[FRAME], sums[FRAME_SQUARES], settings.noise, wide, in_floats, variance)
        known, scale = reference.sums[0, y], reference.scale[y]
        if out.size == 0:
            known[:] = sums[FRAME]
            for x in range(width):
                scale[x] += variance[x]
            continue
        _finish(n_pixels, known, scale, sums[FRAME], sums[PRODUCTS], variance, prior, settings, out[y - y0])
        if validity.size > 0:
            classify(variance, scale, validity[y - y0])
