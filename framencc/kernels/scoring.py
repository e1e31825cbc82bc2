"""What is done with each finished row of a map: weighting by forward-backward distance, codes, and scores.

`follow_row` does it while the row is in the first-level cache. Sums are kept by row and part of the image: sums of
integers are exact, and the order of float sums depends on the row alone. So results never depend on bands or threads.
"""

from typing import Any, NamedTuple

import numpy as np

from framencc.kernels.accesses import get, put
from framencc.kernels.calls import call
from framencc.kernels.compilation import kernel
from framencc.kernels.sharing import share

# A mean is summed in units of 2^-30: integer addition gives the same total in any order, and vectorises.
UNITS_PER_ONE = 1 << 30
# Bin k of the histogram is centred at k / BINS_PER_ONE - 1; one more counts the invalid pixels.
BINS_PER_ONE = 4096
BINS = 2 * BINS_PER_ONE + 1
N_CODES = 10
# Of so many numbers the sums of their upper and of their lower 16 bits fit 32 bits, which vector code adds fastest.
_CHUNK = 16384
_I32 = np.int32
_ZERO, _PER_ONE, _CENTRE, _LAST = np.float32(0), np.float32(BINS_PER_ONE), np.float32(4096.5), np.float32(BINS - 1)
_UNITS = np.float32(UNITS_PER_ONE)


class Following(NamedTuple):
    """What is done with the finished rows of one lane. An array of size 0 stands for what is not wanted.

    Arrays are C-contiguous. The image is cut into P parts, 0 being all that is in no region.
    """

    width: Any
    distance: Any  # (H, W) float32 forward-backward distance, px
    distance_scale: Any  # float64, px
    codes: Any  # (H, W) uint8 or uint16, written: min(gain * rho + offset, maximum), rounded
    gain: Any  # float64, as are the next two
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


class Tally(NamedTuple):
    """What the rows of B bands add up to; arrays of size 0: no scores.

    `kept` and `reference_texture` stay from frame to frame: in a row whose valid pixels have not changed since, the
    reference's sums are the same.
    """

    rows: Any  # (B, 2) int64: first row of a band, and the latest; -2 before the frame
    code_counts: Any  # (H, number of codes) int64
    sums: Any  # (H, P, 3) int64: number of valid pixels, sum in units of 2^-30, number below the threshold
    histograms: Any  # (B, P, BINS + 1) int32, 0 before the frame
    texture: Any  # (H, P, C, 4), int64 or of floats float64: values, squares, differences to the right and above
    reference_texture: Any  # the same of the reference
    pairs: Any  # (H, P, 2) int64: pairs of valid neighbours, to the right and above
    lengths: Any  # (H, P) float64, px
    n_lengths: Any  # (H, P) int64
    kept: Any  # (H, W) uint8 validity of which the reference was summed, at first 255
    changed: Any  # (H,) uint8: `kept` has changed with this frame
    bins: Any  # (B, W) uint16
    terms: Any  # (B, W) float64


@kernel()
def _weigh(row, start, validity, distance, at, width, scale):
    """Multiply max(rho, 0) by exp(-distance / scale) where a pixel holds a value."""
    for x in range(width):
        rho, far = get(row, start + x), np.float64(get(distance, at + x))
        # exp(t) = exp(t / 4096)^4096, six terms of the series and 12 squares: 3e-9 off. exp(-110) is 0 in float32.
        t = max(-far / scale, -110.0) * (1.0 / 4096.0)
        power = 1.0 + t * (1.0 + t * (1.0 / 2.0 + t * (1.0 / 6.0 + t * (1.0 / 24.0 + t * (1.0 / 120.0)))))
        for _ in range(12):
            power *= power
        weight = power if far >= 0.0 else 0.0
        holds = (get(validity, at + x) <= 2) & (rho == rho)  # noqa: PLR0124  (not NaN)
        put(row, start + x, np.float32(np.float64(rho if rho > _ZERO else _ZERO) * weight) if holds else rho)


@kernel()
def _encode(row, start, codes, at, width, gain, offset, maximum):
    """Write round(gain * rho + offset), halves upwards, cut to 0 ... maximum; NaN becomes 0."""
    for x in range(width):
        value = min(gain * np.float64(get(row, start + x)) + offset, maximum)
        put(codes, at + x, _I32(value + 0.5) if value > 0.0 else _I32(0))


@kernel()
def _rate(row, start, validity, at, size, threshold, bins, scratch, histograms, band, part):
    """Count the bins of valid pixels; return their number, sum in units of 2^-30, and number below the threshold."""
    count, total, n_below = np.int64(0), np.int64(0), np.int64(0)
    for begin in range(0, size, _CHUNK):
        n_valid, high, low, below = _I32(0), _I32(0), _I32(0), _I32(0)
        for x in range(begin, min(size, begin + _CHUNK)):
            valid, rho = get(validity, at + x) == 0, get(row, start + x)
            units = _I32(rho * _UNITS) if valid else _I32(0)
            high, low = _I32(high + (units >> 16)), _I32(low + (units & 65535))
            n_valid, below = _I32(n_valid + _I32(valid)), _I32(below + _I32(valid & (rho < threshold)))
            place = rho * _PER_ONE + _CENTRE
            place = place if place > _ZERO else _ZERO
            put(bins, scratch + x, _I32(place if place < _LAST else _LAST) if valid else _I32(BINS))
        count, n_below, total = count + n_valid, n_below + below, total + np.int64(high) * 65536 + low
    for x in range(size):
        histograms[band, part, bins[band, x]] += 1
    return count, total, n_below


@kernel()
def _add_up(terms, band, size):
    """Sum float64 numbers in four chains, which do not wait for each other."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for x in range(0, size - 3, 4):
        a, b, c, d = a + terms[band, x], b + terms[band, x + 1], c + terms[band, x + 2], d + terms[band, x + 3]
    for x in range(size // 4 * 4, size):
        a += terms[band, x]
    return (a + b) + (c + d)


@kernel()
def _sum_texture(floats, planes, pixel, validity, at, size, step, terms, band):
    """Return 0, the sum of the valid pixels, and that of their squares.

    With a step: the number of pairs of valid pixels so far apart, the sum of their absolute differences, and 0.
    """
    count, scratch = np.int64(0), band * terms.shape[1]
    if floats is None:
        total, squares = np.int64(0), np.int64(0)
        for begin in range(0, size, _CHUNK):
            n, part, high, low = _I32(0), _I32(0), _I32(0), _I32(0)
            for x in range(begin, min(size, begin + _CHUNK)):
                if step is None:
                    value = np.uint32(get(planes, pixel + x)) if get(validity, at + x) == 0 else np.uint32(0)
                    square = np.uint32(value * value)
                    high, low = _I32(high + (square >> 16)), _I32(low + (square & 65535))
                    part = _I32(part + value)
                else:
                    valid = (get(validity, at + x) | get(validity, at + x + step)) == 0
                    one, other = _I32(get(planes, pixel + x)), _I32(get(planes, pixel + x + step))
                    n, part = _I32(n + valid), _I32(part + (max(one, other) - min(one, other) if valid else 0))
            count, total, squares = count + n, total + part, squares + np.int64(high) * 65536 + low
        return count, total, squares
    for x in range(size):
        if step is None:
            value, valid = np.float64(get(planes, pixel + x)), get(validity, at + x) == 0
        else:
            value = abs(np.float64(get(planes, pixel + x)) - np.float64(get(planes, pixel + x + step)))
            valid = (get(validity, at + x) | get(validity, at + x + step)) == 0
            count += np.int64(valid)
        put(terms, scratch + x, value if valid else 0.0)
    total, squares = call(_add_up, terms, band, size), 0.0
    if step is None:
        for x in range(size):
            terms[band, x] *= terms[band, x]
        squares = call(_add_up, terms, band, size)
    return count, total, squares


@kernel()
def _add_texture(floats, planes, y, validity, stretches, first, terms, band, whole, above, pairs, sums):
    """Sum a row of each channel: its values, squares and pairs to the right if `whole`, those with the row above."""
    height, width = validity.shape
    for part in range(pairs.shape[1]):
        pairs[y, part, 0], pairs[y, part, 1] = 0 if whole else pairs[y, part, 0], 0 if above else pairs[y, part, 1]
        for channel in range(planes.shape[0]):
            for k in range(0 if whole else 3, 4 if above else 3):
                sums[y, part, channel, k] = 0
    for channel in range(planes.shape[0]):
        plane = channel * height * width
        for k in range(first[y], first[y + 1] if whole else first[y]):
            part, x0, x1 = stretches[k, 0], stretches[k, 1], stretches[k, 2]
            at, inner = y * width + x0, min(x1, width - 1) - x0
            _, total, squares = call(_sum_texture, floats, planes, plane + at, validity, at, x1 - x0, None, terms, band)
            count, right, _ = call(_sum_texture, floats, planes, plane + at, validity, at, inner, 1, terms, band)
            pairs[y, part, 0] += count if channel == 0 else 0
            sums[y, part, channel, 0] += total
            sums[y, part, channel, 1] += squares
            sums[y, part, channel, 2] += right
        # A pair belongs to the part of its upper pixel.
        for k in range(first[y - 1] if above else first[y], first[y]):
            part, x0, x1 = stretches[k, 0], stretches[k, 1], stretches[k, 2]
            at = (y - 1) * width + x0
            count, below, _ = call(_sum_texture, floats, planes, plane + at, validity, at, x1 - x0, width, terms, band)
            pairs[y, part, 1] += count if channel == 0 else 0
            sums[y, part, channel, 3] += below


@kernel()
def _add_lengths(y, field, m, validity, stretches, first, terms, band, lengths, n_lengths):
    """Sum the lengths of a row's displacements over the valid pixels that have one."""
    width, scratch, v = validity.shape[1], band * terms.shape[1], float(y)
    for part in range(lengths.shape[1]):
        lengths[y, part], n_lengths[y, part] = 0.0, 0
    for k in range(first[y], first[y + 1]):
        part, x0, x1 = stretches[k, 0], stretches[k, 1], stretches[k, 2]
        at, count = y * width + x0, np.int64(0)
        for x in range(x1 - x0 if m.size else 0):
            u = float(x0 + x)
            divisor = m[2, 0] * u + m[2, 1] * v + m[2, 2]
            dx = (m[0, 0] * u + m[0, 1] * v + m[0, 2]) / divisor - u
            dy = (m[1, 0] * u + m[1, 1] * v + m[1, 2]) / divisor - v
            put(terms, scratch + x, dx * dx + dy * dy if divisor > 0.0 else np.nan)
        for x in range(0 if m.size else x1 - x0):
            dx, dy = np.float64(get(field, 2 * (at + x))), np.float64(get(field, 2 * (at + x) + 1))
            put(terms, scratch + x, dx * dx + dy * dy)
        for x in range(x1 - x0):
            counts = (get(validity, at + x) == 0) & (terms[band, x] >= 0.0)
            count += np.int64(counts)
            terms[band, x] = np.sqrt(terms[band, x]) if counts else 0.0
        lengths[y, part] += call(_add_up, terms, band, x1 - x0)
        n_lengths[y, part] += count


@kernel()
def _note_validity(y, validity, kept, changed, code_counts):
    """Count the codes of a row; keep them, and note whether other pixels are valid than in the row kept before."""
    width = validity.shape[1]
    at, highest, differs = y * width, np.uint8(0), np.uint8(0)
    for x in range(width):
        code = get(validity, at + x)
        highest = max(highest, code)
        differs |= np.uint8((code == 0) != (get(kept, at + x) == 0))
    code_counts[y, 0] = width
    for code in range(1, code_counts.shape[1]):
        count = _I32(0)
        for x in range(width if code <= highest else 0):
            count = _I32(count + (get(validity, at + x) == code))
        code_counts[y, code] = count
        code_counts[y, 0] -= count
    changed[y] = differs
    for x in range(width if differs else 0):
        kept[y, x] = validity[y, x]


@kernel()
def follow_row(y, row, start, validity, following, tally, band):
    """Do with row y of a map, which lies in ``row[start : start + W]`` and may be changed there, what is wanted.

    `row` is 1-D float32, `validity` (H, W) uint8, complete for this row. The rows of a band come one after the other;
    at last `follow_edges` takes what rows of two bands have in common. `band` is an int64.
    """
    width, first, stretches, terms = following.width, following.first, following.stretches, tally.terms
    at = y * width
    if following.distance.size:
        call(_weigh, row, start, validity, following.distance, at, width, following.distance_scale)
    if following.codes.size:
        call(_encode, row, start, following.codes, at, width, following.gain, following.offset, following.maximum)
    if not tally.sums.size:
        return
    above = tally.rows[band, 1] == y - 1
    tally.rows[band, 1] = y
    if not above:
        tally.rows[band, 0] = y
    for part in range(tally.sums.shape[1]):
        tally.sums[y, part, 0], tally.sums[y, part, 1], tally.sums[y, part, 2] = 0, 0, 0
    for k in range(first[y], first[y + 1]):
        part, x0, size = stretches[k, 0], start + stretches[k, 1], stretches[k, 2] - stretches[k, 1]
        bins, x1, threshold = band * width, at + stretches[k, 1], following.threshold
        count, total, below = call(
            _rate, row, x0, validity, x1, size, threshold, tally.bins, bins, tally.histograms, band, part
        )
        tally.sums[y, part, 0] += count
        tally.sums[y, part, 1] += total
        tally.sums[y, part, 2] += below
    call(_note_validity, y, validity, tally.kept, tally.changed, tally.code_counts)
    if following.field.size or following.matrix.size:
        field, matrix = following.field, following.matrix
        call(_add_lengths, y, field, matrix, validity, stretches, first, terms, band, tally.lengths, tally.n_lengths)
    changed = tally.changed[y] > 0
    both = above and (changed or tally.changed[y - 1] > 0)
    floats, planes, sums = following.float_frame, following.frame, tally.texture
    call(_add_texture, floats, planes, y, validity, stretches, first, terms, band, True, above, tally.pairs, sums)
    if changed or both:
        own, planes, sums = following.float_reference, following.reference, tally.reference_texture
        call(_add_texture, own, planes, y, validity, stretches, first, terms, band, changed, both, tally.pairs, sums)


@kernel()
def follow_edges(validity, following, tally):
    """Take the pairs of neighbours in two bands, when all rows have been followed."""
    first, stretches, terms = following.first, following.stretches, tally.terms
    for band in range(tally.rows.shape[0] if tally.sums.size else 0):
        y = tally.rows[band, 0]
        if y > 0:
            floats, planes, sums = following.float_frame, following.frame, tally.texture
            call(
                _add_texture, floats, planes, y, validity, stretches, first, terms, band, False, True, tally.pairs, sums
            )
            own, planes, sums = following.float_reference, following.reference, tally.reference_texture
            call(_add_texture, own, planes, y, validity, stretches, first, terms, band, False, True, tally.pairs, sums)


@kernel()
def _follow_band(band, n_bands, rho, validity, following, tally):
    height = rho.size // following.width
    for y in range(height * band // n_bands, height * (band + 1) // n_bands):
        call(follow_row, y, rho, y * following.width, validity, following, tally, band)


@kernel()
def follow_map(n_bands, rho, validity, following, tally):
    """Follow the rows of a finished map, which lie in `rho`, (H W,) float32, one after the other."""
    share(_follow_band, n_bands, n_bands, rho, validity, following, tally)
    call(follow_edges, validity, following, tally)
