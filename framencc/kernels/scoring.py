"""What is done with each finished row of a map: weighting by forward-backward distance, codes, and scores.

`follow_row` does it while the row is in the first-level cache. Sums are kept by row and part of the image: sums of
integers are exact, and the order of float sums depends on the row alone. So results never depend on bands or threads.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from framencc.kernels.accesses import add, at, fma, get, mul, put, shift, sub
from framencc.kernels.calls import call
from framencc.kernels.compilation import kernel
from framencc.kernels.sharing import share
from framencc.kernels.structures import Structure

# A mean is summed in units of 2^-30: integer addition gives the same total in any order, and vectorises.
UNITS_PER_ONE = 1 << 30
# Bin k of the histogram is centred at k / BINS_PER_ONE - 1; one more counts the invalid pixels.
BINS_PER_ONE = 4096
BINS = 2 * BINS_PER_ONE + 1
N_CODES = 10
# What is summed of the pixels of a part in a row, as the last axis of `Tally.counts`.
VALID, TOTAL, BELOW, PAIRS_RIGHT, PAIRS_ABOVE, WITH_LENGTH, N_COUNTS = range(7)
_CHUNK = 16384  # of so many numbers the sums of their upper and of their lower 16 bits fit 32 bits
_I16, _I32, _F32 = np.int16, np.int32, np.float32
_ZERO, _PER_ONE, _CENTRE, _NO_BIN = _F32(0), _F32(BINS_PER_ONE), _F32(BINS_PER_ONE + 0.5), np.uint16(BINS)
_UNITS, _HALF, _SLACK = _F32(UNITS_PER_ONE), _F32(0.5), _F32(-(2.0**-47))


@dataclass(frozen=True, eq=False)
class Following(Structure):
    """What is done with the finished rows of one lane. An array of size 0 stands for what is not wanted.

    The image is cut into P parts, 0 being all that is in no region.
    """

    width: int
    distance: Any  # (H, W) float32 forward-backward distance, px
    distance_scale: Any  # float64, px
    codes: Any  # (H, W) uint8 or uint16, written: gain * rho + offset, cut to 0 ... maximum and to an integer
    gain: Any  # float32, as are the next two
    offset: Any
    maximum: Any
    frame: Any  # (C, H, W) frame whose texture is compared with the reference's; C = 0: it is not
    float_frame: Any  # True where `frame` is float32, None where it holds integers
    reference: Any  # (C, H, W)
    float_reference: Any
    field: Any  # (H, W, 2) float32 displacements, px
    matrix: Any  # (3, 3) float64 that takes the field's place, reference pixel to frame pixel
    threshold: Any  # float32
    stretches: Any  # (N, 3) int32: part, x0 and x1 of the pieces of rows that lie in one part
    first: Any  # (H + 1,) int64: which are those of row y


@dataclass(frozen=True, eq=False)
class Tally(Structure):
    """What the rows of B bands add up to; arrays of size 0: no scores.

    `kept` and `reference_texture` stay from frame to frame: in a row whose valid pixels have not changed since, the
    reference's sums are the same.
    """

    rows: Any  # (B, 2) int64: first row of a band, and the latest; -2 before the frame
    code_counts: Any  # (H, number of codes) int64
    counts: Any  # (H, P, N_COUNTS) int64: see `VALID` and what follows it
    histograms: Any  # (B, P, BINS + 1) int32, 0 before the frame
    texture: Any  # (H, P, C, 4), int64 or of floats float64: values, squares, differences to the right and above
    reference_texture: Any  # the same of the reference
    lengths: Any  # (H, P) float64, px
    kept: Any  # (H, W) uint8 validity of which the reference was summed, at first 255
    changed: Any  # (H,) uint8: `kept` has changed with this frame
    bins: Any  # (B, W) uint16
    terms: Any  # (B, W) float64


@kernel()
def _weigh(row, validity, distance, width, scale):
    """Multiply max(rho, 0) by exp(-distance / scale) where a pixel holds a value."""
    for x in range(width):
        rho, far = get(row, x), np.float64(get(distance, x))
        # exp(t) = exp(t / 4096)^4096, six terms of the series and 12 squares: 3e-9 off. exp(-110) is 0 in float32.
        t = max(-far / scale, -110.0) * (1.0 / 4096.0)
        power = 1.0 + t * (1.0 + t * (1.0 / 2.0 + t * (1.0 / 6.0 + t * (1.0 / 24.0 + t * (1.0 / 120.0)))))
        for _ in range(12):
            power *= power
        weight = power if far >= 0.0 else 0.0
        holds = (get(validity, x) <= 2) & (rho == rho)  # noqa: PLR0124  (not NaN)
        put(row, x, _F32(np.float64(rho if rho > _ZERO else _ZERO) * weight) if holds else rho)


@kernel()
def _encode(row, codes, width, gain, offset, maximum):
    """Write gain * rho + offset, cut to 0 ... maximum and to an integer; NaN becomes 0.

    Rounding to float32 may lift a value to the next integer, never over one: a second look finds where it has.
    """
    for x in range(width):
        rho = get(row, x)
        value = fma(rho, gain, offset)
        value = value if value > _ZERO else _ZERO
        code = _I32(value if value < maximum else maximum)
        lifted = (fma(rho, gain, offset - _F32(code)) < _SLACK) & (code > 0)
        put(codes, x, sub(code, _I32(lifted)))


@kernel()
def _count_bins(bins, size, tally, band, part):
    for x in range(size):
        tally.histograms[band, part, get(bins, x)] += 1


@kernel()
def _rate(row, validity, size, threshold, tally, band, part):
    """Count the bins of valid pixels; return their number, sum in units of 2^-30, and number below the threshold."""
    n_valid, n_below, total = np.int64(0), np.int64(0), np.int64(0)
    bins = at(tally.bins, band * tally.bins.shape[1])
    for begin in range(0, size, _CHUNK):
        end = min(size, begin + _CHUNK)
        n, below, high, low = _I32(0), _I32(0), _I32(0), _I32(0)
        for x in range(begin, end):
            valid, rho = get(validity, x) == 0, get(row, x)
            units = _I32(rho * _UNITS) if valid else _I32(0)
            high, low = add(high, shift(units, _I32(16))), add(low, _I32(units & 65535))
            n, below = add(n, _I32(valid)), add(below, _I32(valid & (rho < threshold)))
            place = np.uint16(_I32(rho * _PER_ONE + _CENTRE)) if valid else _NO_BIN
            put(bins, x, place if place < _NO_BIN else _NO_BIN)
        n_valid, n_below, total = n_valid + n, n_below + below, total + np.int64(high) * 65536 + low
        call(_count_bins, at(bins, begin), end - begin, tally, band, part)
    return n_valid, total, n_below


@kernel()
def _add_up(terms, size):
    """Sum float64 numbers in eight chains, which do not wait for each other."""
    a, b, c, d, e, f, g, h = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for x in range(0, size - 7, 8):
        a, b, c, d = a + get(terms, x), b + get(terms, x + 1), c + get(terms, x + 2), d + get(terms, x + 3)
        e, f, g, h = e + get(terms, x + 4), f + get(terms, x + 5), g + get(terms, x + 6), h + get(terms, x + 7)
    for x in range(size // 8 * 8, size):
        a += get(terms, x)
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@kernel()
def _sum_texture(floats, plane, validity, size, step, terms):
    """Return 0, the sum of the valid pixels, and that of their squares.

    With a step: the number of pairs of valid pixels so far apart, the sum of their absolute differences, and 0.
    """
    count = np.int64(0)
    if floats is None:
        total, squares = np.int64(0), np.int64(0)
        for begin in range(0, size, _CHUNK):
            n, part, high, low = _I32(0), _I32(0), _I32(0), _I32(0)
            for x in range(begin, min(size, begin + _CHUNK)):
                if step is None:
                    value = np.uint32(get(plane, x)) if get(validity, x) == 0 else np.uint32(0)
                    square = mul(value, value)
                    high, low = add(high, _I32(shift(square, np.uint32(16)))), add(low, _I32(square & np.uint32(65535)))
                    part = add(part, _I32(value))
                else:
                    valid = (get(validity, x) | get(validity, x + step)) == 0
                    one, other = _I32(get(plane, x)), _I32(get(plane, x + step))
                    n, part = (
                        add(n, _I32(valid)),
                        add(part, sub(max(one, other), min(one, other)) if valid else _I32(0)),
                    )
            count, total, squares = count + n, total + part, squares + np.int64(high) * 65536 + low
        return count, total, squares
    for x in range(size):
        if step is None:
            value, valid = np.float64(get(plane, x)), get(validity, x) == 0
        else:
            value = abs(np.float64(get(plane, x)) - np.float64(get(plane, x + step)))
            valid = (get(validity, x) | get(validity, x + step)) == 0
            count += np.int64(valid)
        put(terms, x, value if valid else 0.0)
    total, squares = call(_add_up, terms, size), 0.0
    if step is None:
        for x in range(size):
            value = np.float64(get(plane, x))
            put(terms, x, value * value if get(validity, x) == 0 else 0.0)
        squares = call(_add_up, terms, size)
    return count, total, squares


@kernel()
def _add_texture(floats, planes, sums, y, validity, following, tally, band, whole, above):
    """Sum a row of each channel: its values, squares and pairs to the right if `whole`, those with the row above."""
    width, stretches, first, counts = following.width, following.stretches, following.first, tally.counts
    terms, begin, end = at(tally.terms, band * width), first[y - 1] if above else first[y], first[y + 1]
    for part in range(counts.shape[1]):
        for k in range(0 if whole else 3, 4 if above else 3):
            for channel in range(planes.shape[0]):
                sums[y, part, channel, k] = 0
        counts[y, part, PAIRS_RIGHT] = 0 if whole else counts[y, part, PAIRS_RIGHT]
        counts[y, part, PAIRS_ABOVE] = 0 if above else counts[y, part, PAIRS_ABOVE]
    for channel in range(planes.shape[0]):
        # A pair belongs to the part of its upper pixel.
        for k in range(begin, end if whole else first[y]):
            part, x0, size = stretches[k, 0], np.int64(stretches[k, 1]), np.int64(stretches[k, 2] - stretches[k, 1])
            row, upper = (y - 1, True) if k < first[y] else (y, False)
            plane, codes = at(planes, (channel * validity.shape[0] + row) * width + x0), at(validity, row * width + x0)
            step, right = width if upper else 1, min(size, width - 1 - x0)
            count, steps, _ = call(_sum_texture, floats, plane, codes, size if upper else right, step, terms)
            sums[y, part, channel, 3 if upper else 2] += steps
            counts[y, part, PAIRS_ABOVE if upper else PAIRS_RIGHT] += count if channel == 0 else 0
            if not upper:
                _, total, squares = call(_sum_texture, floats, plane, codes, size, None, terms)
                sums[y, part, channel, 0] += total
                sums[y, part, channel, 1] += squares


@kernel()
def _length(square):
    """Take a square root, 1e-14 off: float32's, which costs a third of float64's, and one step of Newton's method."""
    root = np.sqrt(_F32(square))
    rest = square - np.float64(root) * np.float64(root)
    return np.float64(root) + rest * np.float64(_HALF / root) if root > _ZERO else 0.0


@kernel()
def _measure_lengths(y, x0, size, field, m, validity, terms):
    """Write the lengths of displacements, 0 where a pixel is invalid or has none; return how many have one."""
    count, v = np.int64(0), float(y)
    for x in range(size if m.size else 0):
        u = float(x0 + x)
        divisor = m[2, 0] * u + m[2, 1] * v + m[2, 2]
        dx = (m[0, 0] * u + m[0, 1] * v + m[0, 2]) / divisor - u
        dy = (m[1, 0] * u + m[1, 1] * v + m[1, 2]) / divisor - v
        square = dx * dx + dy * dy
        counts = (get(validity, x) == 0) & (divisor > 0.0) & (square >= 0.0)
        count += np.int64(counts)
        put(terms, x, _length(square) if counts else 0.0)
    for x in range(0 if m.size else size):
        dx, dy = np.float64(get(field, 2 * x)), np.float64(get(field, 2 * x + 1))
        square = dx * dx + dy * dy
        counts = (get(validity, x) == 0) & (square >= 0.0)
        count += np.int64(counts)
        put(terms, x, _length(square) if counts else 0.0)
    return count


@kernel()
def _note_validity(y, validity, tally):
    """Count the codes of a row; keep them, and note whether other pixels are valid than in the row kept before."""
    width, code_counts = tally.kept.shape[1], tally.code_counts
    kept, highest, differs = at(tally.kept, y * width), np.uint8(0), np.uint8(0)
    for x in range(width):
        code = get(validity, x)
        highest = max(highest, code)
        differs |= np.uint8((code == 0) != (get(kept, x) == 0))
    code_counts[y, 0] = width
    for code in range(1, code_counts.shape[1]):
        code_counts[y, code] = 0
        for begin in range(0, width if code <= highest else 0, _CHUNK):
            count = _I16(0)
            for x in range(begin, min(width, begin + _CHUNK)):
                count = add(count, _I16(get(validity, x) == np.uint8(code)))
            code_counts[y, code] += count
        code_counts[y, 0] -= code_counts[y, code]
    tally.changed[y] = differs
    for x in range(width if differs else 0):
        put(kept, x, get(validity, x))


@kernel()
def _score_row(y, row, codes, validity, following, tally, band):
    """Add what row y gives to the scores; `codes` is its validity."""
    width, stretches, first, counts = following.width, following.stretches, following.first, tally.counts
    for part in range(counts.shape[1]):
        for k in (VALID, TOTAL, BELOW, WITH_LENGTH):
            counts[y, part, k] = 0
        tally.lengths[y, part] = 0.0
    terms, has_warp = at(tally.terms, band * width), following.field.size > 0 or following.matrix.size > 0
    for k in range(first[y], first[y + 1]):
        part, x0, size = stretches[k, 0], np.int64(stretches[k, 1]), np.int64(stretches[k, 2] - stretches[k, 1])
        here = at(codes, x0)
        n_valid, total, n_below = call(_rate, at(row, x0), here, size, following.threshold, tally, band, part)
        counts[y, part, VALID] += n_valid
        counts[y, part, TOTAL] += total
        counts[y, part, BELOW] += n_below
        if has_warp:
            field = at(following.field, 2 * (y * width + x0))
            count = call(_measure_lengths, y, x0, size, field, following.matrix, here, terms)
            counts[y, part, WITH_LENGTH] += count
            tally.lengths[y, part] += call(_add_up, terms, size)
    call(_note_validity, y, codes, tally)
    above, changed = tally.rows[band, 1] == y - 1, tally.changed[y] > 0
    if not above:
        tally.rows[band, 0] = y
    tally.rows[band, 1] = y
    both, frame, own = above and (changed or tally.changed[y - 1] > 0), following.frame, following.reference
    call(
        _add_texture,
        following.float_frame,
        frame,
        tally.texture,
        y,
        validity,
        following,
        tally,
        band,
        True,
        above,
    )
    if changed or both:
        floats, sums = following.float_reference, tally.reference_texture
        call(_add_texture, floats, own, sums, y, validity, following, tally, band, changed, both)


@kernel()
def follow_row(y, rho, validity, following, tally, band):
    """Do with row y of a map what is wanted.

    `rho` is the address of the map, (H, W) float32, which may be changed; `validity` (H, W) uint8, complete for this
    row. The rows of a band come one after the other; at last `follow_edges` takes what rows of two bands have in
    common. `band` is an int64.
    """
    width = following.width
    row, codes = at(rho, y * width), at(validity, y * width)
    if following.distance.size:
        call(_weigh, row, codes, at(following.distance, y * width), width, following.distance_scale)
    if following.codes.size:
        target = at(following.codes, y * width)
        call(_encode, row, target, width, following.gain, following.offset, following.maximum)
    if tally.counts.size:
        call(_score_row, y, row, codes, validity, following, tally, band)


@kernel()
def follow_edges(validity, following, tally):
    """Take the pairs of neighbours in two bands, when all rows have been followed."""
    floats, own_floats, frame, own = (
        following.float_frame,
        following.float_reference,
        following.frame,
        following.reference,
    )
    for band in range(tally.rows.shape[0] if tally.counts.size else 0):
        y = tally.rows[band, 0]
        if y > 0:
            sums, own_sums = tally.texture, tally.reference_texture
            call(_add_texture, floats, frame, sums, y, validity, following, tally, band, False, True)
            call(_add_texture, own_floats, own, own_sums, y, validity, following, tally, band, False, True)


@kernel()
def _follow_band(band, n_bands, rho, validity, following, tally):
    height = rho.size // following.width
    for y in range(height * band // n_bands, height * (band + 1) // n_bands):
        call(follow_row, y, at(rho, 0), validity, following, tally, band)


@kernel()
def follow_map(n_bands, rho, validity, following, tally):
    """Follow the rows of a finished map, which lie in `rho`, (H W,) float32, one after the other."""
    share(_follow_band, n_bands, n_bands, rho, validity, following, tally)
    call(follow_edges, validity, following, tally)
