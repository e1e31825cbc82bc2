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
def _moments(n, f, squares, products, r, flat_share, widen, inexact):
    """Take n S_FF and n S_RF from sums over a window; those of integers are exact until they are rounded to float32."""
    if inexact is not None:
        energy = n * squares
        value = energy - f * f
        has_texture = value > flat_share * energy
        both = has_texture & (r == r)  # noqa: PLR0124  (not NaN)
        return value if has_texture else 0.0, n * products - r * f if both else 0.0
    if widen is None:
        return np.float32(sub(mul(n, squares), mul(f, f))), np.float32(sub(mul(n, products), mul(r, f)))
    wide, sums = np.float64(n), np.float64(f)
    variance = wide * np.float64(squares) - sums * sums
    return np.float32(variance), np.float32(wide * np.float64(products) - np.float64(r) * sums)


@kernel()
def _sum(a, b, c, x):
    """Add up the three terms of a window's sum."""
    return add(add(get(a, x), get(b, x)), get(c, x))


@kernel()
def accumulate(first, terms, counts, known, energies, flat_share, widen, inexact, size, out):
    """Add a channel's n S_FF and n S_RF; the sums of F, F F and R F have three terms each, `pitch` apart.

    The first channel begins with what the noise model adds: n^2 times an energy.
    """
    (a, b, c, pitch), (noise, prior, _), (variance, numerator) = terms, energies, out
    for x in range(size):
        f, squares, products = _sum(a, b, c, x), _sum(a, b, c, x + pitch), _sum(a, b, c, x + 2 * pitch)
        n = cast(get(counts, x), a)
        own, shared = _moments(n, f, squares, products, get(known, x), flat_share, widen, inexact)
        square = cast(n, variance) * cast(n, variance)
        put(variance, x, (square * noise if first else get(variance, x)) + own)
        put(numerator, x, (square * prior if first else get(numerator, x)) + shared)


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
def divide(numerator, variance, scale, flat, inexact, masked, codes, fill, size, out):
    """Write rho, and with `masked` `fill` where `codes` are not 0; return whether any other window is flat."""
    n_flat = np.int32(0)
    for x in range(size):
        v, s, holds = get(variance, x), get(scale, x), True
        measured = (v > 0) & (s > 0)
        value = _quotient(get(numerator, x), v, s, inexact) if measured else flat
        if masked is not None:
            holds = get(codes, x) == 0
            value = value if holds else fill
        put(out, x, value)
        n_flat = add(n_flat, np.int32((not measured) & holds))
    return n_flat > 0


@kernel()
def correlate_row(
    terms, counts, known, scale, energies, flat_share, widen, noisy, inexact, masked, codes, fill, size, out
):
    """Do what `accumulate` and `divide` do, for one channel, without intermediate buffers."""
    (a, b, c, pitch), (noise, prior, flat), n_flat = terms, energies, np.int32(0)
    for x in range(size):
        f, squares, products = _sum(a, b, c, x), _sum(a, b, c, x + pitch), _sum(a, b, c, x + 2 * pitch)
        n, s, holds = cast(get(counts, x), a), get(scale, x), True
        variance, numerator = _moments(n, f, squares, products, get(known, x), flat_share, widen, inexact)
        if noisy is not None:
            square = cast(n, scale) * cast(n, scale)
            variance, numerator = square * noise + variance, square * prior + numerator
        measured = (variance > 0) & (s > 0)
        value = _quotient(numerator, variance, s, inexact) if measured else flat
        if masked is not None:
            holds = get(codes, x) == 0
            value = value if holds else fill
        put(out, x, value)
        n_flat = add(n_flat, np.int32((not measured) & holds))
    return n_flat > 0


@kernel()
def take_reference(terms, own, first, last, noise, flat_share, widen, inexact, size, counts, known, scale):
    """Take the reference's share of a channel from its own sums R and R R, and the noise model's with the first one.

    `counts` holds the windows' pixels; with `own` it gets them from the third sum. `scale` gets n S_RR so far, with the
    last channel 1 / sqrt(n S_RR), 0 where the window is flat.
    """
    (a, b, c, pitch), one, zero = terms, cast(1, scale), cast(0, scale)
    for x in range(size):
        r, squares = _sum(a, b, c, x), _sum(a, b, c, x + pitch)
        n = _sum(a, b, c, x + 2 * pitch) if own else cast(get(counts, x), a)
        put(counts, x, np.int32(n))
        variance, _ = _moments(n, r, squares, squares, r, flat_share, widen, inexact)
        if inexact is None:
            put(known, x, r)
        else:
            put(known, x, r if variance > 0 else np.nan)
        variance += cast(n, scale) * cast(n, scale) * noise if first else get(scale, x)
        if last:
            put(scale, x, one / np.sqrt(variance) if variance > 0 else zero)
        else:
            put(scale, x, variance)


@kernel()
def classify(variance, scale, masked, codes, size, validity):
    """Tell windows with a value (0) from those with a flat reference (1) or a flat frame (2).

    With `masked` they keep the codes that they have.
    """
    for x in range(size):
        flat_frame = np.uint8(2) if get(variance, x) <= 0.0 else np.uint8(0)
        code = np.uint8(1) if get(scale, x) <= 0.0 else flat_frame
        if masked is not None:
            code = code if get(codes, x) == 0 else get(codes, x)
        put(validity, x, code)


@kernel()
def judge(why, counts, in_image, min_valid_fraction, size, codes):
    """Write why a pixel has no value, or 0: its own code if it is excluded, 5 if too little of its window counts."""
    for x in range(size):
        code = get(why, x)
        too_few = (code == 0) & (np.float64(get(counts, x)) / np.float64(get(in_image, x)) < min_valid_fraction)
        put(codes, x, np.uint8(5) if too_few else code)


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
