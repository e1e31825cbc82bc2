"""What the correlation of integer pictures is made of: its options, and its steps along a row.

With n pixels in a window, n * S_xy = n * sum(x y) - sum(x) * sum(y) is an integer, so nothing is lost to cancellation
however small the contrast. All sums wrap modulo 2^32 or 2^64, and still come out exact wherever the final difference
fits, because addition, subtraction and multiplication commute with the wrapping:

- uint8, radius <= 9: |n S_xy| <= n^2 255^2 / 4 < 2^31, so everything is done in 32 bits;
- uint8, radius <= 127: sums stay below 2^32, and |n S_xy| and all on the way to it below n^2 255^2 < 2^53, exact in
  float64, which converts and multiplies in vector code where 64-bit integers need AVX-512;
- uint16, radius <= 127: |n S_xy| <= n^2 65535^2 / 4 < 2^63, so everything is done in 64 bits.

Only the last step, numerator / sqrt(variance), and the pooling over channels are in float32, which costs at most 4e-7.
As the sums are exact, the bits of a result depend on the pixels of its window alone, whichever way they were summed.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.kernels.compilation import kernel

Array = npt.NDArray[Any]

MAX_RADIUS_32_BIT = 9
FRAME, FRAME_SQUARES, PRODUCTS, REFERENCE, REFERENCE_SQUARES = range(5)
ONE, ZERO = np.float32(1.0), np.float32(0.0)


class Noise(NamedTuple):
    """What the noise model adds to n S_xy over n^2, each in its own picture's codes: nothing is rescaled."""

    frame: np.float32  # C * noise_sigma^2
    reference: np.float32  # C * (noise_sigma * scale)^2, scale: how many of the reference's codes one of a frame's is
    prior: np.float32  # C * flat * noise_sigma * (noise_sigma * scale)


class IntegerReference(NamedTuple):
    """A reference and what every frame needs of it, computed once."""

    planes: Array  # (C, H, W) uint8 or uint16
    sums: Array  # (C, H, W) window sums, in the accumulator's type
    scale: Array  # (H, W) float32, 1 / sqrt(sum over C of n S_RR + n^2 noise), 0 where flat
    squares: Array  # (H, W) window sums of one channel's squares; empty where no pixel will be masked


class IntegerSettings(NamedTuple):
    """The options of the correlation, as the kernels need them."""

    radius: int
    reflect: bool
    flat: np.float32
    noise: Noise
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
    width: int,
    *,
    radius: int,
    reflect: bool,
    flat: float,
    noise: Noise,
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
        noise,
        np.float32(fill),
        min_valid_fraction,
        blank,
        blank_why,
        np.empty(0, accumulator),
        None if narrow else True,
        None if narrow or dtype != np.uint8 else True,
    )


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
def noise_part(n_pixels, energy):
    """Take what the noise model adds to n S_xy: n^2 times an energy."""
    n = np.float32(n_pixels)
    return n * n * energy


@kernel()
def inverse_root(variance):
    """Take 1 / sqrt(variance), 0 where the window is flat."""
    return ONE / np.sqrt(variance) if variance > ZERO else ZERO


@kernel()
def correlation(numerator, variance, scale, flat):
    """Take rho from n S_RF, n S_FF and 1 / sqrt(n S_RR)."""
    rho = min(max(numerator * scale / np.sqrt(variance), -ONE), ONE)
    return rho if (variance > ZERO) & (scale > ZERO) else flat


@kernel()
def flat_code(variance, scale):
    """Tell a measured window (0) from one with a flat reference (1) or a flat frame (2)."""
    flat_frame = np.uint8(2) if variance <= ZERO else np.uint8(0)
    return np.uint8(1) if scale <= ZERO else flat_frame


@kernel()
def usable_code(why, n_pixels, in_image, min_valid_fraction):
    """Tell whether a pixel counts itself (else its code), and enough of its window does (else 5)."""
    too_few = (why == 0) & (np.float64(n_pixels) / np.float64(in_image) < min_valid_fraction)
    return np.uint8(5) if too_few else why


@kernel()
def classify(variance, scale, validity):
    """Write `flat_code` along a row."""
    for x in range(validity.size):
        validity[x] = flat_code(variance[x], scale[x])
