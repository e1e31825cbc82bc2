"""Local normalized cross-correlation: one loop over the rows of a band for every kind of picture and option.

A row is computed in segments of `SEGMENT` columns. Where no pixel of a segment is excluded, or none but those that are
for every frame, the reference's share is known beforehand; else it is summed as well, over the pixels that count.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.kernels.accesses import at, put
from framencc.kernels.calls import call
from framencc.kernels.coefficients import (
    accumulate,
    classify,
    combine_bits,
    correlate_row,
    divide,
    fill_row,
    judge,
    mark,
    take_reference,
)
from framencc.kernels.combination import combine_rows, mark_margin
from framencc.kernels.compilation import kernel
from framencc.kernels.scoring import follow_edges, follow_row
from framencc.kernels.sharing import share
from framencc.kernels.window_sums import LINE, SEGMENT, STEPS, Window, advance, extent, row_sums

Array = npt.NDArray[Any]

PLAIN, PREPARED, SUMMED, EXCLUDED = range(4)  # kinds of segments


class Prepared(NamedTuple):
    """A reference and what every frame needs of it, for K targets (radii); every array is one-dimensional."""

    planes: Array  # (C, H, W)
    why: Array  # (H, W) uint8: the codes of pixels that count for no frame; empty where all do
    known: Array  # (K, C, H, W) sums over windows; NaN where a window of floats is flat
    scale: Array  # (K, H, W) 1 / sqrt(sum over C of n S_RR + n^2 noise), 0 where flat
    counts: Array  # (K, H, W) int32 pixels of each window that count; empty where all do
    codes: Array  # (K, H, W) uint8: why a pixel has no value in any frame, or 0; empty where all have one


class Grid(NamedTuple):
    """The pictures' shape, and how the sums of K targets are laid out in memory."""

    n_channels: int
    height: int
    width: int
    reflect: bool
    blocks: bool  # sums never subtract
    pitch: int  # from one sum of a triple to the next
    radii: Array  # (K,)
    plans: Array  # (K, steps, 8) as by `plan_row_sums`
    offsets: Array  # (K + 1,) where the column sums of each target begin


class Options(NamedTuple):
    """The options of the correlation; numbers that results are computed with have the type of the results."""

    flat: Any
    fill: np.float32
    noise: Any  # C noise_sigma^2, in a frame's codes
    reference_noise: Any  # the same in the reference's codes
    prior: Any  # C flat noise_sigma (noise_sigma in the reference's codes)
    flat_share: float  # of floats: a frame's window is flat up to this share of its energy
    reference_flat_share: float
    min_valid_fraction: float  # of the window's pixels in the picture
    border_is_valid: bool
    how: int  # maps of several radii are combined
    step: int  # rows that are computed of one segment before the next


class Scratch(NamedTuple):
    """Memory of the bands, a row each; K' is 0 for a single target."""

    sums: Array  # (B, .) of the sums' type: column sums, then sums of neighbours
    floats: Array  # (B, 3 * SEGMENT) of the results' type
    maps: Array  # (B, K' * step * W + 2 * SEGMENT) float32
    codes: Array  # (B, K' * step * W + SEGMENT + W) uint8
    kinds: Array  # (B, segments) uint8
    counts: Array  # (B, K * W + SEGMENT) int32


@kernel()
def _kind(reference, why, grid, y0, y1, x0, x1):
    """Tell which kind of segment the rows y0 to y1 of the columns x0 to x1 are."""
    reach = grid.radii.max()
    first, last = max(0, x0 - reach), min(grid.width, x1 + reach)
    seen, differ = np.uint8(0), np.uint8(0)
    for y in range(max(0, y0 - reach), min(grid.height, y1 + reach)):
        row = y * grid.width + first
        ours = at(reference.why, row) if reference.why.size > 0 else at(why, row)
        one_seen, one_differs, _ = call(combine_bits, at(why, row), ours, last - first)
        seen, differ = seen | one_seen, differ | one_differs
    if seen == 0:
        return PLAIN
    for y in range(y0, y1):
        row = at(why, y * grid.width + x0)
        if call(combine_bits, row, row, x1 - x0)[2] > 0:
            return PREPARED if reference.why.size > 0 and differ == 0 else SUMMED
    return EXCLUDED


@kernel()
def _count_in_image(window, y, x0, size, counts):
    """Count the pixels in the picture of the windows of a row."""
    radius, width, reflect = window.radius, window.width, window.reflect
    n_rows = extent(y, window.height, radius, reflect)
    for x in range(size):
        put(counts, x, np.int32(n_rows * extent(x0 + x, width, radius, reflect)))


@kernel()
def _lay_out(grid, target, segment, masked):
    """Return the window of a target, where a segment's sums begin, and how many lie between those of two channels."""
    radius = grid.radii[target]
    window = Window(grid.height, grid.width, radius, grid.reflect, grid.blocks, grid.pitch)
    size = 3 * grid.pitch * (2 * radius + 4 if grid.blocks else 1) * (2 if masked else 1)
    # The first column that is summed lies at the beginning of a cache line.
    lead = -radius % LINE if segment == 0 else 0
    return window, grid.offsets[target] + segment * size + lead, -(-grid.width // SEGMENT) * size


@kernel()
def _correlate_segment(reference, pictures, why, grid, options, widen, noisy, inexact, memory, place, y0, top, bottom):
    """Correlate the rows top to bottom of a segment of a band, which begins at y0, with one target."""
    sums, floats, reasons, in_image, own_counts = memory
    target, segment, kind, out, validity, stride, stride_of_codes = place
    window, state, next_channel = _lay_out(grid, target, segment, why is not None)
    x0, x1 = segment * SEGMENT, min(grid.width, (segment + 1) * SEGMENT)
    size, padded, n_pixels = x1 - x0, x1 - x0 + 2 * window.radius, grid.height * grid.width
    n_segments = -(-grid.width // SEGMENT)
    kept, summed, last = kind != PLAIN, kind == SUMMED, grid.n_channels - 1
    share, reference_share = options.flat_share, options.reference_flat_share
    noise, prior, reference_noise = options.noise, options.prior, options.reference_noise
    variance, numerator, own_scale = floats, at(floats, SEGMENT), at(floats, 2 * SEGMENT)
    own_known, scratch = at(sums, grid.offsets[-1]), at(sums, grid.offsets[-1] + SEGMENT)
    plan, pitch, counts = at(grid.plans, target * STEPS), window.pitch, in_image
    here, between = target * n_pixels + x0, next_channel // (2 * n_segments)
    scales, sums_known = at(reference.scale, here), at(reference.known, target * grid.n_channels * n_pixels + x0)
    all_counts, all_codes = at(reference.counts, here), at(reference.codes, here)
    for y in range(top, bottom):
        row, any_flat, begins = y * window.width, False, y == y0
        if why is not None and kind == EXCLUDED:
            call(mark, at(why, row + x0), options.fill, size, out, validity)
            out, validity = at(out, stride), at(validity, stride_of_codes)
            continue
        if begins or y <= window.radius or y + window.radius >= window.height:
            call(_count_in_image, window, y, x0, size, in_image)
        scale = at(scales, row)
        if why is not None and kept:
            counts = own_counts if summed else at(all_counts, row)
            scale = own_scale if summed else scale
        for channel in range(grid.n_channels):
            known = at(sums_known, channel * n_pixels + row)
            columns = at(sums, state + channel * next_channel)
            if why is not None and summed:
                known, own_columns = own_known, at(columns, between)
                call(advance, pictures, why, window, channel, x0, x1, y, begins, own_columns, True, True)
                a, b, c = call(row_sums, own_columns, pitch, plan, padded, scratch)
                call(
                    take_reference,
                    a,
                    b,
                    c,
                    pitch,
                    True,
                    channel == 0,
                    channel == last,
                    reference_noise,
                    reference_share,
                    widen,
                    inexact,
                    size,
                    counts,
                    known,
                    scale,
                )
            call(advance, pictures, why, window, channel, x0, x1, y, begins, columns, kept, False)
            a, b, c = call(row_sums, columns, pitch, plan, padded, scratch)
            if last == 0:
                energies = noise, prior, options.flat
                any_flat = call(
                    correlate_row, a, b, c, pitch, counts, known, scale, energies, share, widen, noisy, inexact, size, out
                )
            if last > 0 or any_flat:
                call(
                    accumulate,
                    channel == 0,
                    a,
                    b,
                    c,
                    pitch,
                    counts,
                    known,
                    noise,
                    prior,
                    share,
                    widen,
                    inexact,
                    size,
                    variance,
                    numerator,
                )
        if last > 0:
            any_flat = call(divide, numerator, variance, scale, options.flat, inexact, size, out)
        if any_flat:
            call(classify, variance, scale, size, validity)
        else:
            call(fill_row, np.uint8(0), size, validity)
        if why is not None and kept:
            codes = reasons if summed else at(all_codes, row)
            if summed:
                call(judge, at(why, row + x0), counts, in_image, options.min_valid_fraction, size, codes)
            call(mark, codes, options.fill, size, out, validity)
        if options.border_is_valid:
            call(mark_margin, x0, x1, y, window.radius, grid.height, grid.width, options.fill, out, validity)
        out, validity = at(out, stride), at(validity, stride_of_codes)


@kernel()
def _correlate_band(
    band,
    reference,
    pictures,
    why,
    grid,
    options,
    widen,
    noisy,
    inexact,
    combined,
    scratch,
    edges,
    rho,
    validity,
    following,
    tally,
):
    """Correlate the rows of a band with every target, combine what they give, and do with it what follows."""
    y0, y1 = edges[band], edges[band + 1]
    n_targets, n_segments, width = grid.radii.size, -(-grid.width // SEGMENT), grid.width
    n_kept = n_targets * options.step * width if combined is not None else 0
    sums, floats = at(scratch.sums, band * scratch.sums.shape[1]), at(scratch.floats, band * scratch.floats.shape[1])
    maps, codes = at(scratch.maps, band * scratch.maps.shape[1]), at(scratch.codes, band * scratch.codes.shape[1])
    counts = at(scratch.counts, band * scratch.counts.shape[1])
    reasons, unwanted = at(codes, n_kept), at(codes, n_kept + SEGMENT)
    addresses = at(pictures[0], 0), at(pictures[1], 0), at(pictures[2], 0), at(pictures[3], 0)
    for segment in range(n_segments):
        x0, x1 = segment * SEGMENT, min(width, (segment + 1) * SEGMENT)
        scratch.kinds[band, segment] = PLAIN if why is None else call(_kind, reference, why, grid, y0, y1, x0, x1)
    for top in range(y0, y1, options.step):
        bottom = min(y1, top + options.step)
        for target in range(n_targets):
            for segment in range(n_segments):
                x0, kept = segment * SEGMENT, target * options.step * width
                memory = sums, floats, reasons, at(counts, target * width + x0), at(counts, n_targets * width)
                out = at(maps, kept + x0) if n_kept else at(rho, top * width + x0)
                reasons_out, stride = at(codes, kept + x0), width
                if not n_kept:  # straight to the map's codes, or, where nobody wants them, into one row that is reused
                    reasons_out = at(validity, top * width + x0) if validity.size else at(unwanted, x0)
                    stride = width if validity.size else 0
                place = target, segment, scratch.kinds[band, segment], out, reasons_out, width, stride
                call(
                    _correlate_segment,
                    reference,
                    addresses,
                    why,
                    grid,
                    options,
                    widen,
                    noisy,
                    inexact,
                    memory,
                    place,
                    y0,
                    top,
                    bottom,
                )
        for y in range(top, bottom):
            if combined is not None:
                for x in range(0, width, SEGMENT):
                    row, size, how = (y - top) * width + x, min(SEGMENT, width - x), options.how
                    out, reasons_out = at(rho, y * width + x), at(validity, y * width + x)
                    given, codes_given, stride, spare = (
                        at(maps, row),
                        at(codes, row),
                        options.step * width,
                        at(maps, n_kept),
                    )
                    call(combine_rows, given, codes_given, n_targets, stride, how, size, spare, out, reasons_out)
            if following is not None:
                call(follow_row, y, at(rho, 0), validity, following, tally, band)


@kernel()
def correlate(
    reference,
    pictures,
    why,
    grid,
    options,
    widen,
    noisy,
    inexact,
    combined,
    scratch,
    edges,
    rho,
    validity,
    following,
    tally,
):
    """Correlate a frame with a prepared reference.

    Band b holds the rows edges[b] to edges[b + 1]. `pictures` are the frame, the reference, a row of zeros and one of
    ones; `why`, (H W,) uint8, is not 0 where a pixel does not count, or None. `rho`, (H W,) float32, and `validity`,
    (H, W) uint8, are filled. By their types, `widen`, `noisy`, `inexact` and `combined` (more than one target),
    None or True, choose what is compiled.
    `following` and `tally`, or None, are those of `framencc.kernels.scoring.follow_row`.
    """
    share(
        _correlate_band,
        edges.size - 1,
        reference,
        pictures,
        why,
        grid,
        options,
        widen,
        noisy,
        inexact,
        combined,
        scratch,
        edges,
        rho,
        validity,
        following,
        tally,
    )
    if following is not None:
        call(follow_edges, validity, following, tally)


@kernel()
def _prepare_band(band, reference, pictures, why, grid, options, widen, inexact, scratch, edges):
    y0, y1 = edges[band], edges[band + 1]
    sums = at(scratch.sums, band * scratch.sums.shape[1])
    in_image, n_pixels = at(scratch.counts, band * scratch.counts.shape[1]), grid.height * grid.width
    rows, pitch = at(sums, grid.offsets[-1] + SEGMENT), grid.pitch
    addresses = at(pictures[0], 0), at(pictures[1], 0), at(pictures[2], 0), at(pictures[3], 0)
    for target in range(grid.radii.size):
        plan = at(grid.plans, target * STEPS)
        for segment in range(-(-grid.width // SEGMENT)):
            x0, x1 = segment * SEGMENT, min(grid.width, (segment + 1) * SEGMENT)
            window, state, next_channel = _lay_out(grid, target, segment, why is not None)
            size, own, counts = x1 - x0, False, in_image
            if why is not None:
                own = call(_kind, reference, why, grid, y0, y1, x0, x1) != PLAIN
            for y in range(y0, y1):
                pixel = y * grid.width + x0
                place = target * n_pixels + pixel
                call(_count_in_image, window, y, x0, size, in_image)
                if why is not None:
                    counts = at(reference.counts, place)
                    call(_count_in_image, window, y, x0, size, counts)
                for channel in range(grid.n_channels):
                    columns = at(sums, state + channel * next_channel)
                    call(advance, addresses, why, window, channel, x0, x1, y, y == y0, columns, own, own)
                    a, b, c = call(row_sums, columns, pitch, plan, size + 2 * window.radius, rows)
                    known = at(reference.known, (target * grid.n_channels + channel) * n_pixels + pixel)
                    scale, first, last = at(reference.scale, place), channel == 0, channel == grid.n_channels - 1
                    noise, share = options.reference_noise, options.reference_flat_share
                    call(
                        take_reference,
                        a,
                        b,
                        c,
                        pitch,
                        own,
                        first,
                        last,
                        noise,
                        share,
                        widen,
                        inexact,
                        size,
                        counts,
                        known,
                        scale,
                    )
                if why is not None:
                    codes = at(reference.codes, place)
                    call(judge, at(why, pixel), counts, in_image, options.min_valid_fraction, size, codes)


@kernel()
def prepare(reference, pictures, why, grid, options, widen, _, inexact, __, scratch, edges):
    """Fill a reference's sums, scale and, with `why`, counts and codes; `pictures` hold it twice.

    The other arguments are those of `correlate`.
    """
    share(_prepare_band, edges.size - 1, reference, pictures, why, grid, options, widen, inexact, scratch, edges)
