"""Local normalized cross-correlation: one loop over the rows of a band for every kind of picture and option.

A row is computed in segments of `SEGMENT` columns, and of each only from the first to the last column that counts in
the band. Where no pixel is excluded, or none but those that are for every frame, the reference's share is known
beforehand; else it is summed as well, over the pixels that count. A segment of integers in which a long piece holds no
excluded pixel is cut into three for that: a warp leaves out strips along the edges.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.kernels.accesses import at, get, put
from framencc.kernels.calls import call
from framencc.kernels.coefficients import (
    accumulate,
    classify,
    copy_row,
    correlate_row,
    divide,
    fill_row,
    judge,
    take_reference,
)
from framencc.kernels.combination import combine_rows, mark_margin
from framencc.kernels.compilation import kernel
from framencc.kernels.scoring import follow_edges, follow_row
from framencc.kernels.sharing import share
from framencc.kernels.structures import Structure
from framencc.kernels.window_sums import LINE, SEGMENT, STEPS, Window, advance, extent

Array = npt.NDArray[Any]

PLAIN, PREPARED, SUMMED = range(3)  # kinds of pieces of segments
_SHORTEST = 256  # columns of a plain piece


@dataclass(frozen=True, eq=False)
class Grid(Structure):
    """The pictures' shape, the bands, and how the sums of K targets are laid out in memory."""

    n_channels: int
    height: int
    width: int
    pitch: int  # from one sum of a triple to the next
    reach: int  # the largest radius
    n_pieces: int  # into which a segment is cut, 1 or 3
    radii: Array  # (K,)
    plans: Array  # (K, steps, 8) as by `plan_row_sums`
    offsets: Array  # (K + 1,) where the column sums of each target begin
    edges: Array  # (B + 1,): band b holds the rows edges[b] to edges[b + 1]


@dataclass(frozen=True, eq=False)
class Options(Structure):
    """The options of the correlation; numbers that results are computed with have the type of the results.

    The last four, None or True, choose what is compiled.
    """

    flat: Any
    fill: np.float32
    noise: Any  # C noise_sigma^2, in a frame's codes
    reference_noise: Any  # the same in the reference's codes
    prior: Any  # C flat noise_sigma (noise_sigma in the reference's codes)
    flat_share: float  # of floats: a frame's window is flat up to this share of its energy
    reference_flat_share: float
    min_valid_fraction: float  # of the window's pixels in the picture
    border_is_valid: bool
    reflect: bool
    how: int  # maps of several radii are combined
    step: int  # rows that are computed of one segment before the next
    widen: Any
    noisy: Any
    inexact: Any
    combined: Any  # there is more than one target


@dataclass(frozen=True, eq=False)
class Prepared(Structure):
    """A reference and what every frame needs of it, for K targets (radii)."""

    planes: Array  # (C, H, W)
    why: Any  # (H, W) uint8: the codes of pixels that count for no frame; None where all do
    known: Array  # (K, C, H, W) sums over windows; NaN where a window of floats is flat
    scale: Array  # (K, H, W) 1 / sqrt(sum over C of n S_RR + n^2 noise), 0 where flat
    counts: Array  # (K, H, W) int32 pixels of each window that count; empty where all do
    codes: Array  # (K, H, W) uint8: why a pixel has no value in any frame, or 0; empty where all have one
    spans: Array  # (B, pieces, 5) int64: kind, first and behind the last column that count, where it begins and ends
    blank: Array  # a row of zeros like the planes, for what lies beyond the picture
    excluded: Array  # and its codes


@dataclass(frozen=True, eq=False)
class Frame(Structure):
    """A frame, and where its map is written."""

    planes: Array  # (C, H, W)
    why: Any  # (H, W) uint8, not 0 where a pixel does not count, those of the reference included; or None: all count
    masked: Any  # None if `why` is, or True
    is_prepared: bool  # `why` is the reference's
    rho: Any  # (H, W) float32
    validity: Any  # (H, W) uint8; empty where it is not wanted


@dataclass(frozen=True, eq=False)
class Scratch(Structure):
    """Memory of the bands, a row each; K' is 0 for a single target."""

    sums: Array  # (B, .) of the sums' type: column sums, then sums of neighbours
    floats: Array  # (B, 3 * SEGMENT) of the results' type
    maps: Array  # (B, K' * step * W + 2 * SEGMENT) float32
    codes: Array  # (B, K' * step * W + SEGMENT + W) uint8
    counts: Array  # (B, K * W + SEGMENT) int32
    spans: Array  # (B, pieces, 5) int64 as in `Prepared`
    lowest: Array  # (B, 3, pitch) uint8


@kernel()
def _survey_row(codes, others, size, lowest, seen):
    """Return the disjunction of the codes' difference from others; take the lowest and all of each column."""
    differ = np.uint8(0)
    for x in range(size):
        code, least = get(codes, x), get(lowest, x)
        differ |= code ^ get(others, x)
        put(lowest, x, code if code < least else least)
        put(seen, x, get(seen, x) | code)
    return differ


@kernel()
def _find_plain(seen, first, last, x0, x1, grid):
    """Return the longest piece of the columns x0 to x1 whose windows hold no excluded pixel."""
    begin, plain = first, (x1, x1)
    for x in range(first, last + 1):
        if x == last or get(seen, x - first) > 0:
            left, right = begin + grid.reach if begin > 0 else 0, x - grid.reach if x < grid.width else x
            left, right = max(left, x0), min(right, x1)
            plain = (left, right) if right - left > plain[1] - plain[0] else plain
            begin = x + 1
    return plain


@kernel()
def _survey(why, prepared_why, grid, lowest, band, segment, spans):
    """Fill in the spans of a segment of a band."""
    left, right = segment * SEGMENT, min(grid.width, (segment + 1) * SEGMENT)
    y0, y1, x0, x1, n_pieces = grid.edges[band], grid.edges[band + 1], left, right, grid.n_pieces
    first, last = max(0, x0 - grid.reach), min(grid.width, x1 + grid.reach)
    n_columns, differ = last - first, np.uint8(0 if prepared_why is not None else 1)
    beyond, seen = at(lowest, grid.pitch), at(lowest, 2 * grid.pitch)
    call(fill_row, np.uint8(255), n_columns, lowest)
    call(fill_row, np.uint8(0), n_columns, seen)
    for y in range(max(0, y0 - grid.reach), min(grid.height, y1 + grid.reach)):
        row = y * grid.width + first
        ours = at(why, row) if prepared_why is None else at(prepared_why, row)
        differ |= call(_survey_row, at(why, row), ours, n_columns, lowest if y0 <= y < y1 else beyond, seen)
    kind = PREPARED if differ == 0 else SUMMED
    while x0 < x1 and get(lowest, x0 - first) > 0:
        x0 += 1
    while x0 < x1 and get(lowest, x1 - 1 - first) > 0:
        x1 -= 1
    a, b = call(_find_plain, seen, first, last, x0, x1, grid)
    if b - a < (_SHORTEST if n_pieces > 1 else x1 - x0):
        a, b = x1, x1
    for piece in range(3):
        ends = ((kind, x0, a, left, a), (PLAIN, a, b, a, b), (kind, b, x1, b, right))[piece]
        if n_pieces == 1:
            ends = PLAIN if a == x0 < x1 else kind, x0, x1, left, right
        for k in range(5):
            spans[band, n_pieces * segment + min(piece, n_pieces - 1), k] = ends[k]


@kernel()
def _survey_band(why, prepared_why, grid, scratch, band, spans):
    """Find out which kinds of pieces a band's segments have, and from where to where their columns count."""
    lowest = at(scratch.lowest, band * scratch.lowest.shape[1])
    for segment in range(-(-grid.width // SEGMENT)):
        call(_survey, why, prepared_why, grid, lowest, band, segment, spans)


@kernel()
def _count_in_image(window, reflect, y, x0, size, counts):
    """Count the pixels in the picture of the windows of a row."""
    n_rows = extent(y, window.height, window.radius, reflect)
    for x in range(size):
        put(counts, x, np.int32(n_rows * extent(x0 + x, window.width, window.radius, reflect)))


@kernel()
def _lay_out(grid, inexact, target, segment, x0, masked):
    """Return the window of a target, where a piece's sums begin, and the steps between channels and to R's."""
    radius = grid.radii[target]
    window = Window(grid.height, grid.width, radius, grid.pitch, at(grid.plans, target * STEPS))
    size = 3 * grid.pitch * (1 if inexact is None else 2 * radius + 4) * (1 if masked is None else 2)
    # The first column that is summed lies at the beginning of a cache line.
    lead = (x0 - radius) % LINE if x0 < radius else 0
    return (
        window,
        grid.offsets[target] + segment * size + lead,
        -(-grid.width // SEGMENT) * grid.n_pieces * size,
        size // 2,
    )


@kernel()
def _sum_reference(prepared, window, options, why, place, columns, rows, counts, known, scale):
    """Take the reference's share of a channel; with `why` over the pixels that count, whose number is taken, too."""
    n_channels, channel, x0, x1, _, _ = place
    pictures = at(prepared.planes, 0), at(prepared.planes, 0), at(prepared.blank, 0), at(prepared.excluded, 0)
    reflect, widen, inexact, own = options.reflect, options.widen, options.inexact, why is not None
    terms = call(advance, pictures, why, window, reflect, inexact, place, columns, own, own, rows)
    noise, share, first, last = (
        options.reference_noise,
        options.reference_flat_share,
        channel == 0,
        channel + 1 == n_channels,
    )
    call(take_reference, terms, own, first, last, noise, share, widen, inexact, x1 - x0, counts, known, scale)


@kernel()
def _correlate_segment(prepared, frame, grid, options, scratch, masked, inexact, place, out, validity):
    """Correlate the rows top to bottom of a segment of a band with one target."""
    band, target, segment, top, bottom, stride, stride_of_codes = place
    width, n_pixels, alone, fill = grid.width, grid.height * grid.width, grid.n_channels == 1, options.fill
    kind, x0, x1 = PLAIN, segment * SEGMENT, min(width, (segment + 1) * SEGMENT)
    left, right = x0, x1
    if masked is not None:
        spans = prepared.spans if frame.is_prepared else scratch.spans
        kind, x0, x1 = spans[band, segment, 0], spans[band, segment, 1], spans[band, segment, 2]
        left, right = spans[band, segment, 3], spans[band, segment, 4]
    out, validity = at(out, left), at(validity, left)
    window, state, next_channel, between = _lay_out(grid, inexact, target, segment, x0, masked)
    size, kept, summed = x1 - x0, kind != PLAIN, kind == SUMMED
    pictures = at(frame.planes, 0), at(prepared.planes, 0), at(prepared.blank, 0), at(prepared.excluded, 0)
    energies, share = (options.noise, options.prior, options.flat), options.flat_share
    why, reflect, widen, noisy = frame.why, options.reflect, options.widen, options.noisy
    sums, floats = at(scratch.sums, band * scratch.sums.shape[1]), at(scratch.floats, band * scratch.floats.shape[1])
    variance, numerator, own_scale = floats, at(floats, SEGMENT), at(floats, 2 * SEGMENT)
    own_known, rows = at(sums, grid.offsets[-1]), at(sums, grid.offsets[-1] + SEGMENT)
    reasons = at(scratch.codes, band * scratch.codes.shape[1])
    own_counts = at(scratch.counts, band * scratch.counts.shape[1])
    in_image = at(own_counts, SEGMENT + target * width + x0)
    if masked is not None and not kept:
        call(fill_row, np.uint8(0), size, reasons)
    for y in range(top, bottom if x0 < x1 else top):
        row, any_flat, begins, counts = y * width + x0, False, y == grid.edges[band], in_image
        where = target * n_pixels + row
        judged = reasons
        line, codes = at(out, (y - top) * stride + x0 - left), at(validity, (y - top) * stride_of_codes + x0 - left)
        if begins or y <= window.radius or y + window.radius >= grid.height:
            call(_count_in_image, window, reflect, y, x0, size, in_image)
        scale = at(prepared.scale, where)
        if masked is not None:
            judged = at(prepared.codes, where) if kept and not summed else reasons
            counts = own_counts if summed else at(prepared.counts, where) if kept else in_image
            scale = own_scale if summed else scale
        for channel in range(grid.n_channels):
            known = at(prepared.known, (target * grid.n_channels + channel) * n_pixels + row)
            columns = at(sums, state + channel * next_channel)
            step = grid.n_channels, channel, x0, x1, y, begins
            if masked is not None and summed:
                known, own = own_known, at(columns, between)
                call(_sum_reference, prepared, window, options, why, step, own, rows, counts, known, scale)
                if channel == 0:
                    call(judge, at(why, row), counts, in_image, options.min_valid_fraction, size, judged)
            terms = call(advance, pictures, why, window, reflect, inexact, step, columns, kept, False, rows)
            if alone:
                any_flat = call(
                    correlate_row,
                    terms,
                    counts,
                    known,
                    scale,
                    energies,
                    share,
                    widen,
                    noisy,
                    inexact,
                    masked,
                    judged,
                    fill,
                    size,
                    line,
                )
            if any_flat or not alone:
                first, added = channel == 0, (variance, numerator)
                call(accumulate, first, terms, counts, known, energies, share, widen, inexact, size, added)
        if not alone:
            any_flat = call(divide, numerator, variance, scale, options.flat, inexact, masked, judged, fill, size, line)
        if any_flat:
            call(classify, variance, scale, masked, judged, size, codes)
        elif masked is None or not kept:
            call(fill_row, np.uint8(0), size, codes)
        else:
            call(copy_row, judged, size, codes)
    for y in range(top, bottom):
        line, codes = at(out, (y - top) * stride), at(validity, (y - top) * stride_of_codes)
        if masked is not None:
            for first, behind in ((left, x0), (x1, right)):
                call(fill_row, fill, behind - first, at(line, first - left))
                call(copy_row, at(why, y * width + first), behind - first, at(codes, first - left))
        if options.border_is_valid:
            call(mark_margin, left, right, y, window.radius, grid.height, width, fill, line, codes)


@kernel()
def _correlate_band(band, prepared, frame, grid, options, scratch, masked, combined, following, tally):
    """Correlate the rows of a band with every target, combine what they give, and do with it what follows."""
    n_targets, width, step = grid.radii.size, grid.width, options.step
    n_kept = n_targets * step * width if combined is not None else 0
    maps, codes = at(scratch.maps, band * scratch.maps.shape[1]), at(scratch.codes, band * scratch.codes.shape[1])
    codes, wanted = at(codes, SEGMENT), frame.validity.size > 0
    if masked is not None and not frame.is_prepared:
        call(_survey_band, frame.why, prepared.why, grid, scratch, band, scratch.spans)
    for top in range(grid.edges[band], grid.edges[band + 1], step):
        bottom = min(grid.edges[band + 1], top + step)
        for target in range(n_targets):
            for segment in range(-(-width // SEGMENT) * grid.n_pieces):
                kept, row = target * step * width, top * width
                out, validity, stride = at(frame.rho, row), at(frame.validity, row), width
                if n_kept:
                    out, validity = at(maps, kept), at(codes, kept)
                elif not wanted:  # all rows in one that is used again
                    validity, stride = codes, 0
                place = band, target, segment, top, bottom, width, stride
                inexact = options.inexact
                call(_correlate_segment, prepared, frame, grid, options, scratch, masked, inexact, place, out, validity)
        for y in range(top, bottom):
            if combined is not None:
                for x in range(0, width, SEGMENT):
                    row, size, how, spare = (
                        (y - top) * width + x,
                        min(SEGMENT, width - x),
                        options.how,
                        at(maps, n_kept),
                    )
                    out, validity = at(frame.rho, y * width + x), at(frame.validity, y * width + x)
                    given, codes_given, stride = at(maps, row), at(codes, row), step * width
                    call(combine_rows, given, codes_given, n_targets, stride, how, size, spare, out, validity)
            if following is not None:
                call(follow_row, y, at(frame.rho, 0), frame.validity, following, tally, band)


@kernel()
def correlate(prepared, frame, grid, options, scratch, following, tally):
    """Correlate a frame with a prepared reference; `frame.rho` and `frame.validity` are filled.

    `following` and `tally`, or None, are those of `framencc.kernels.scoring.follow_row`.
    """
    n_bands, masked, combined = grid.edges.size - 1, frame.masked, options.combined
    share(_correlate_band, n_bands, prepared, frame, grid, options, scratch, masked, combined, following, tally)
    if following is not None:
        call(follow_edges, frame.validity, following, tally)


@kernel()
def _prepare_band(band, prepared, grid, options, scratch, why, inexact):
    y0, y1, n_pixels, n_channels = grid.edges[band], grid.edges[band + 1], grid.height * grid.width, grid.n_channels
    sums, in_image = at(scratch.sums, band * scratch.sums.shape[1]), at(scratch.counts, band * scratch.counts.shape[1])
    rows = at(sums, grid.offsets[-1] + SEGMENT)
    if why is not None:
        call(_survey_band, why, why, grid, scratch, band, prepared.spans)
    for target in range(grid.radii.size):
        for segment in range(-(-grid.width // SEGMENT)):
            x0, x1 = segment * SEGMENT, min(grid.width, (segment + 1) * SEGMENT)
            window, state, next_channel, _ = _lay_out(grid, inexact, target, segment, x0, why)
            size, counts = x1 - x0, in_image
            for y in range(y0, y1):
                row = y * grid.width + x0
                where = target * n_pixels + row
                call(_count_in_image, window, options.reflect, y, x0, size, in_image)
                if why is not None:
                    counts = at(prepared.counts, where)
                for channel in range(n_channels):
                    columns, step = at(sums, state + channel * next_channel), (n_channels, channel, x0, x1, y, y == y0)
                    known = at(prepared.known, (target * n_channels + channel) * n_pixels + row)
                    scale = at(prepared.scale, where)
                    call(_sum_reference, prepared, window, options, why, step, columns, rows, counts, known, scale)
                if why is not None:
                    judged = at(prepared.codes, where)
                    call(judge, at(why, row), counts, in_image, options.min_valid_fraction, size, judged)


@kernel()
def prepare(prepared, grid, options, scratch):
    """Fill a reference's sums and scale, and where pixels do not count, its counts, codes and spans."""
    share(_prepare_band, grid.edges.size - 1, prepared, grid, options, scratch, prepared.why, options.inexact)
