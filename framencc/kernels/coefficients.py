"""From the sums of a row's windows to correlation coefficients and validity codes.

With n pixels in a window, n S_xy = n sum(x y) - sum(x) sum(y). Of integers it is exact, whatever the contrast:

- int32 sums, uint8, radius <= 9: |n S_xy| <= n^2 255^2 / 4 < 2^31, so everything is done in 32 bits;
- int32 sums, uint8, radius <= 90 (`widen`): sums stay below 2^31, n S_xy and all on the way to it below n^2 255^2 <
  2^53, exact in float64;
- float64 sums, uint16, radius <= 18: n^2 65535^2 < 2^53;
- int64 sums, radius <= 127: |n S_xy| <= n^2 65535^2 / 4 < 2^63.

Only the last step, numerator / sqrt(variance), and the pooling over channels are in float32, which costs at most 4e-7;
over channels, by Cauchy's inequality, pooling costs less than the final division. So a pixel's bits depend on its
window alone, whichever way that was summed.

Of floats (`inexact`) float64 sums lose at most about 1e-15 (mean / sigma)^2 of n S_xy. A window counts as flat where
S_FF <= `flat_share` sum(F^2). Then, and where the reference is flat, what rounding leaves of S_RF = 0 could outweigh
the noise model, or another channel: it is left out. The reference's sum of a flat window is kept as NaN to say so.
"""

import numpy as np

from framencc.kernels.accesses import add, cast, get, mul, put, sub
from framencc.kernels.compilation import kernel

_ONE, _ZERO = np.float32(1.0), np.float32(0.0)


@kernel()
def _covariance(n, products, sums, other_sums, widen):
    """Take n S_xy, exact until it is rounded to float32."""
    if widen is None:
        return np.float32(sub(mul(n, products), mul(sums, other_sums)))
    return np.float32(np.float64(n) * np.float64(products) - np.float64(sums) * np.float64(other_sums))


@kernel()
def start(counts, energy, size, out):
    """Write what the noise model adds to n S_xy: n^2 times an energy."""
    for x in range(size):
        n = cast(get(counts, x), out)
        put(out, x, n * n * energy)


@kernel()
def accumulate(a, b, c, pitch, counts, known, widen, size, variance, numerator):
    """Add a channel's n S_FF and n S_RF; the sums of F, F F and R F have the terms a, b and c, `pitch` apart."""
    for x in range(size):
        f = add(add(get(a, x), get(b, x)), get(c, x))
        squares = add(add(get(a, x + pitch), get(b, x + pitch)), get(c, x + pitch))
        products = add(add(get(a, x + 2 * pitch), get(b, x + 2 * pitch)), get(c, x + 2 * pitch))
        n = cast(get(counts, x), a)
        put(variance, x, get(variance, x) + _covariance(n, squares, f, f, widen))
        put(numerator, x, get(numerator, x) + _covariance(n, products, get(known, x), f, widen))


@kernel()
def accumulate_floats(a, b, c, pitch, counts, known, flat_share, size, variance, numerator):
    """Do what `accumulate` does for floats."""
    for x in range(size):
        f = get(a, x) + get(b, x) + get(c, x)
        squares = get(a, x + pitch) + get(b, x + pitch) + get(c, x + pitch)
        products = get(a, x + 2 * pitch) + get(b, x + 2 * pitch) + get(c, x + 2 * pitch)
        n, r = np.float64(get(counts, x)), get(known, x)
        energy = n * squares
        value = energy - f * f
        has_texture = value > flat_share * energy
        put(variance, x, get(variance, x) + (value if has_texture else 0.0))
        both = has_texture & (r == r)  # noqa: PLR0124  (not NaN)
        put(numerator, x, get(numerator, x) + (n * products - r * f if both else 0.0))


@kernel()
def _quotient(numerator, variance, scale, inexact):
    """Take rho from n S_RF, n S_FF and 1 / sqrt(n S_RR)."""
    if inexact is None:
        return min(max(numerator * scale / np.sqrt(variance), -_ONE), _ONE)
    numerator *= scale
    # The squares are divided, whose quotient fits float32: its root costs a third of float64's.
    root = np.sqrt(np.float32(min(numerator * numerator / variance, 1.0)))
    return root if numerator >= 0.0 else -root


@kernel()
def divide(numerator, variance, scale, flat, inexact, size, out):
    """Write rho; return whether any window is flat."""
    n_flat = np.int32(0)
    for x in range(size):
        v, s = get(variance, x), get(scale, x)
        measured = (v > 0) & (s > 0)
        put(out, x, _quotient(get(numerator, x), v, s, inexact) if measured else flat)
        n_flat = add(n_flat, np.int32(not measured))
    return n_flat > 0


@kernel()
def correlate_row(a, b, c, pitch, counts, known, scale, energies, widen, noisy, size, out):
    """Do what `start`, `accumulate` and `divide` do, for one channel of integers, without a detour by memory."""
    (noise, prior, flat), n_flat = energies, np.int32(0)
    for x in range(size):
        f = add(add(get(a, x), get(b, x)), get(c, x))
        squares = add(add(get(a, x + pitch), get(b, x + pitch)), get(c, x + pitch))
        products = add(add(get(a, x + 2 * pitch), get(b, x + 2 * pitch)), get(c, x + 2 * pitch))
        n, s = cast(get(counts, x), a), get(scale, x)
        variance = _covariance(n, squares, f, f, widen)
        numerator = _covariance(n, products, get(known, x), f, widen)
        if noisy is not None:
            square = np.float32(n) * np.float32(n)
            variance, numerator = square * noise + variance, square * prior + numerator
        measured = (variance > _ZERO) & (s > _ZERO)
        put(out, x, _quotient(numerator, variance, s, None) if measured else flat)
        n_flat = add(n_flat, np.int32(not measured))
    return n_flat > 0


@kernel()
def take_reference(a, b, c, pitch, flat_share, widen, inexact, counts, size, known, variance):
    """Take the reference's share of a channel from its own sums R and R R; `counts` holds the windows' pixels."""
    for x in range(size):
        r = add(add(get(a, x), get(b, x)), get(c, x))
        squares = add(add(get(a, x + pitch), get(b, x + pitch)), get(c, x + pitch))
        n = cast(get(counts, x), a)
        if inexact is None:
            put(known, x, r)
            put(variance, x, get(variance, x) + _covariance(n, squares, r, r, widen))
        else:
            energy = n * squares
            value = energy - r * r
            has_texture = value > flat_share * energy
            put(known, x, r if has_texture else np.nan)
            put(variance, x, get(variance, x) + (value if has_texture else 0.0))


@kernel()
def take_counts(a, b, c, size, counts):
    """Take the number of pixels of each window that count."""
    for x in range(size):
        put(counts, x, np.int32(add(add(get(a, x), get(b, x)), get(c, x))))


@kernel()
def invert_roots(variance, size, scale):
    """Write 1 / sqrt(variance), 0 where the window is flat."""
    for x in range(size):
        v = get(variance, x)
        put(scale, x, cast(1.0, scale) / np.sqrt(v) if v > 0.0 else cast(0.0, scale))


@kernel()
def classify(variance, scale, size, validity):
    """Tell windows with a value (0) from those with a flat reference (1) or a flat frame (2)."""
    for x in range(size):
        flat_frame = np.uint8(2) if get(variance, x) <= 0.0 else np.uint8(0)
        put(validity, x, np.uint8(1) if get(scale, x) <= 0.0 else flat_frame)


@kernel()
def judge(why, counts, in_image, min_valid_fraction, size, codes):
    """Write why a pixel has no value, or 0: its own code if it is excluded, 5 if too little of its window counts."""
    for x in range(size):
        code = get(why, x)
        too_few = (code == 0) & (np.float64(get(counts, x)) / np.float64(get(in_image, x)) < min_valid_fraction)
        put(codes, x, np.uint8(5) if too_few else code)


@kernel()
def mark(codes, fill, size, out, validity):
    """Fill in the pixels that have no value, whose code is not 0."""
    for x in range(size):
        code = get(codes, x)
        put(out, x, fill if code != 0 else get(out, x))
        put(validity, x, code if code != 0 else get(validity, x))


@kernel()
def fill_row(value, size, out):
    """Write one value along a row."""
    for x in range(size):
        put(out, x, value)


@kernel()
def copy_row(row, size, out):
    """Copy a row."""
    for x in range(size):
        put(out, x, get(row, x))


@kernel()
def combine_bits(codes, others, size):
    """Return the codes' disjunction, that of their difference from others, and the number of zeros."""
    seen, differ, n_zeros = np.uint8(0), np.uint8(0), np.int64(0)
    for x in range(size):
        code = get(codes, x)
        seen |= code
        differ |= code ^ get(others, x)
        n_zeros += np.int64(code == 0)
    return seen, differ, n_zeros
