"""Local normalized cross-correlation of integer pictures, from exact sums.

With n pixels in a window, n * S_xy = n * sum(x y) - sum(x) * sum(y) is an integer, so nothing is lost to cancellation
however small the contrast. All sums wrap modulo 2^32 or 2^64, and still come out exact wherever the final difference
fits, because addition, subtraction and multiplication commute with the wrapping:

- uint8, radius <= 9: |n S_xy| <= n^2 255^2 / 4 < 2^31, so everything is done in 32 bits;
- uint8, radius <= 127: sums stay below 2^32, differences are taken in 64 bits;
- uint16, radius <= 127: |n S_xy| <= n^2 65535^2 / 4 < 2^63, so everything is done in 64 bits.

Only the last step, numerator / sqrt(variance), is in float32, which costs at most 4e-7.

A band of rows keeps one sum a column down the rows (the entering row is added, the leaving one subtracted), and adds
2 r + 1 of them along the row. Every loop touches few arrays, each through a slice that starts at 0: with more arrays,
or an offset in the index, the compiler gives up vectorising.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.kernels.compilation import kernel

Array = npt.NDArray[Any]

MAX_RADIUS_32_BIT = 9
_NO_ROW = -(1 << 30)


class IntegerReference(NamedTuple):
    """A reference and what every frame needs of it, computed once."""

    plane: Array  # (H, W) uint8 or uint16
    sums: Array  # (H, W) window sums, in the accumulator's type
    scale: Array  # (H, W) float32, 1 / sqrt(n S_RR + n^2 noise), 0 where flat


class IntegerSettings(NamedTuple):
    """The options of the correlation, as the kernels need them."""

    radius: int
    reflect: bool
    flat: np.float32
    noise: np.float32  # noise_sigma^2
    blank: Array  # (W,) zeros of the picture's dtype: the rows above and below the picture
    accumulator: Array  # (0,) of the dtype of sums: int32, uint32 or int64
    wide: bool | None  # None: n S_xy fits 32 bits. Decided by type, so that only one of the loops is compiled


def integer_settings(
    dtype: np.dtype[Any], width: int, radius: int, border: str, flat: float, noise_sigma: float
) -> IntegerSettings:
    """Choose the arithmetic for a dtype and a radius."""
    narrow = dtype == np.uint8 and radius <= MAX_RADIUS_32_BIT
    accumulator = np.int32 if narrow else np.uint32 if dtype == np.uint8 else np.int64
    blank = np.zeros(width, dtype)
    blank.flags.writeable = False
    return IntegerSettings(
        radius,
        border == "reflect",
        np.float32(flat),
        np.float32(noise_sigma**2),
        blank,
        np.empty(0, accumulator),
        None if narrow else True,
    )


@kernel()
def _mirror(index, size):
    index %= 2 * size
    return index if index < size else 2 * size - 1 - index


@kernel()
def _row(plane, index, settings):
    """Return the row at `index`; beyond the picture the mirrored row, or zeros."""
    height = plane.shape[0]
    if index == _NO_ROW or not (settings.reflect or 0 <= index < height):
        return settings.blank
    return plane[_mirror(index, height)]


@kernel()
def _slide(new, old, sums):
    for x in range(sums.size):
        sums[x] += np.int64(new[x]) - np.int64(old[x])


@kernel()
def _slide_products(new, new_other, old, old_other, sums):
    for x in range(sums.size):
        sums[x] += np.int64(new[x]) * np.int64(new_other[x]) - np.int64(old[x]) * np.int64(old_other[x])


@kernel()
def _mirror_margins(columns, radius):
    """Mirror the column sums beyond the picture's sides (where the window is cut, they stay zero)."""
    width = columns.size - 2 * radius
    for x in range(radius):
        columns[x] = columns[radius + _mirror(x - radius, width)]
        columns[radius + width + x] = columns[radius + _mirror(width + x, width)]


@kernel()
def _advance(reference, frame, entering, leaving, settings, columns):
    """Move the column sums of F, F F and R F down by one row."""
    inside = slice(settings.radius, settings.radius + frame.shape[1])
    new, new_reference = _row(frame, entering, settings), _row(reference, entering, settings)
    old, old_reference = _row(frame, leaving, settings), _row(reference, leaving, settings)
    _slide(new, old, columns[0, inside])
    _slide_products(new, new, old, old, columns[1, inside])
    _slide_products(new, new_reference, old, old_reference, columns[2, inside])
    if settings.reflect:
        for plane in range(3):
            _mirror_margins(columns[plane], settings.radius)


@kernel()
def _sum3(a, b, c, out):
    for x in range(out.size):
        out[x] = a[x] + b[x] + c[x]


@kernel()
def _difference(ahead, behind, out):
    for x in range(out.size):
        out[x] = ahead[x] - behind[x]


@kernel()
def _running_totals(columns, out):
    total = np.int64(0)
    for x in range(columns.size):
        total += np.int64(columns[x])
        out[x] = total


@kernel()
def _row_sums(columns, radius, scratch, out):
    """Add every 2 r + 1 neighbours: in threes while that is short, else as a difference of running totals."""
    if radius > 4:
        _running_totals(columns, scratch[1:])
        _difference(scratch[2 * radius + 1 :], scratch, out)
        return
    triples = out if radius == 1 else scratch[: columns.size - 2]
    _sum3(columns, columns[1:], columns[2:], triples)
    if radius > 1:
        second = columns[3:] if radius == 2 else triples[3:]
        third = columns[4:] if radius == 2 else columns[6:] if radius == 3 else triples[6:]
        _sum3(triples, second, third, out)


@kernel()
def _extent(position, size, settings):
    """How many of the 2 r + 1 rows or columns around `position` lie in the picture."""
    if settings.reflect:
        return 2 * settings.radius + 1
    return min(size - 1, position + settings.radius) - max(0, position - settings.radius) + 1


@kernel()
def _variance(n_rows, n_columns, sums, squares, noise, wide, out):
    for x in range(out.size):
        n = np.int32(n_rows * n_columns[x])
        exact = np.int64(n) * np.int64(squares[x]) - np.int64(sums[x]) * np.int64(sums[x])
        if wide is None:
            out[x] = np.float32(np.int32(exact)) + np.float32(n) * np.float32(n) * noise
        else:
            out[x] = np.float32(exact) + np.float32(n) * np.float32(n) * noise


@kernel()
def _finish(n_rows, n_columns, reference_sums, scale, sums, products, variance, prior, flat, wide, out):
    for x in range(out.size):
        n = np.int32(n_rows * n_columns[x])
        exact = np.int64(n) * np.int64(products[x]) - np.int64(reference_sums[x]) * np.int64(sums[x])
        if wide is None:
            numerator = np.float32(np.int32(exact)) + np.float32(n) * np.float32(n) * prior
        else:
            numerator = np.float32(exact) + np.float32(n) * np.float32(n) * prior
        rho = numerator * scale[x] / np.sqrt(variance[x])
        rho = min(max(rho, np.float32(-1.0)), np.float32(1.0))
        out[x] = rho if (variance[x] > np.float32(0.0)) & (scale[x] > np.float32(0.0)) else flat


@kernel()
def _invert_root(variance, out):
    for x in range(out.size):
        out[x] = np.float32(1.0) / np.sqrt(variance[x]) if variance[x] > np.float32(0.0) else np.float32(0.0)


@kernel()
def _classify(variance, scale, validity):
    for x in range(validity.size):
        flat_frame = np.uint8(2) if variance[x] <= np.float32(0.0) else np.uint8(0)
        validity[x] = np.uint8(1) if scale[x] <= np.float32(0.0) else flat_frame


@kernel()
def correlate_rows(reference, frame, settings, y0, y1, out, validity):
    """Correlate the rows y0 to y1 of a frame with a prepared reference.

    `frame` is (H, W), of the reference's dtype; `out` is (H, W) float32. `validity` is (H, W) uint8, or empty where it
    is not wanted, and receives 0 (measured), 1 (flat reference) or 2 (flat frame). Where `out` is empty, `frame` must
    be the reference's own plane, and its sums and scale are filled instead.
    """
    width = frame.shape[1]
    radius, wide = settings.radius, settings.wide
    columns = np.zeros((3, width + 2 * radius), settings.accumulator.dtype)
    sums = np.empty((3, width), settings.accumulator.dtype)
    scratch = np.zeros(width + 2 * radius + 1, settings.accumulator.dtype)
    variance = np.empty(width, np.float32)
    n_columns = np.empty(width, np.int32)
    for x in range(width):
        n_columns[x] = _extent(x, width, settings)
    prior = settings.flat * settings.noise if settings.noise > 0 else np.float32(0.0)
    for y in range(y0 - 2 * radius, y1):  # the first 2 r turns only fill the window of row y0
        leaving = y - radius - 1 if y > y0 else _NO_ROW
        _advance(reference.plane, frame, y + radius, leaving, settings, columns)
        if y < y0:
            continue
        for plane in range(3):
            _row_sums(columns[plane], radius, scratch, sums[plane])
        n_rows = _extent(y, frame.shape[0], settings)
        _variance(n_rows, n_columns, sums[0], sums[1], settings.noise, wide, variance)
        if out.size == 0:
            reference.sums[y] = sums[0]
            _invert_root(variance, reference.scale[y])
            continue
        scale = reference.scale[y]
        _finish(
            n_rows, n_columns, reference.sums[y], scale, sums[0], sums[2], variance, prior, settings.flat, wide, out[y]
        )
        if validity.size > 0:
            _classify(variance, scale, validity[y])
