"""The correlation of float32 pictures in its most frequent case: one channel, nothing masked, nothing mirrored.

The method and the flat rule are those of `float_ncc`; here is the shortest way through them. A tile is so narrow that
its rows stay near the processor, and the sums of F, F F and R F lie `PITCH` apart in one array: a distance that the
compiler knows, so it can turn a loop over all three into vector code. What is an offset in one plane is the same
offset in all, so sums of neighbours are taken in one loop from the first plane's start to the last one's end.

Every loop takes whole arrays and cuts its rows out itself: what is cut out in the caller is counted as a reference,
which costs more than a short loop.
"""

import numpy as np

from framencc.kernels.box_sums import extent
from framencc.kernels.compilation import kernel

# A tile with its margins.
PITCH = 392
SQUARES, PRODUCTS, GROUP = PITCH, 2 * PITCH, 3 * PITCH


def tile_columns(radius: int) -> int:
    """Choose a tile's width, which with 2 r columns of margins fills the buffers."""
    return PITCH - 2 * radius


@kernel()
def _copy(row, out):
    for x in range(out.size):
        out[x] = row[x]


@kernel()
def _extend(frame, reference, y, x0, x1, margin, ends, i):
    """Add a row of the picture to an end of the block: ends[i] = ends[i + 1] + row."""
    total, out = ends[i + 1, margin:], ends[i, margin:]
    if not 0 <= y < frame.shape[1]:
        _copy(total, out)
        return
    frame_row, reference_row = frame[0, y, x0:x1], reference[0, y, x0:x1]
    for x in range(frame_row.size):
        f, r = np.float64(frame_row[x]), np.float64(reference_row[x])
        out[x] = total[x] + f
        out[x + SQUARES] = total[x + SQUARES] + f * f
        out[x + PRODUCTS] = total[x + PRODUCTS] + f * r


@kernel()
def _add(a, b, out):
    for x in range(out.size):
        out[x] = a[x] + b[x]


@kernel()
def _extend_and_join(frame, reference, y, x0, x1, margin, ends, i, beginning, columns):
    """Add a row of the picture to a block's beginning, and to that the end ends[i] of the block before."""
    end, begin, joined = ends[i, margin:], beginning[margin:], columns[margin:]
    if not 0 <= y < frame.shape[1]:
        _add(end, begin, joined)
        return
    frame_row, reference_row = frame[0, y, x0:x1], reference[0, y, x0:x1]
    for x in range(frame_row.size):
        f, r = np.float64(frame_row[x]), np.float64(reference_row[x])
        sums, squares, products = begin[x] + f, begin[x + SQUARES] + f * f, begin[x + PRODUCTS] + f * r
        begin[x], begin[x + SQUARES], begin[x + PRODUCTS] = sums, squares, products
        joined[x] = end[x] + sums
        joined[x + SQUARES] = end[x + SQUARES] + squares
        joined[x + PRODUCTS] = end[x + PRODUCTS] + products


@kernel()
def _sum3(first, second, shift, third, other_shift, size, out):
    a, b, c, total = first, second[shift:], third[other_shift:], out[:size]
    for x in range(total.size):
        total[x] = a[x] + b[x] + c[x]


@kernel()
def _accumulate(part, shift, size, out):
    a, total = part[shift:], out[:size]
    for x in range(total.size):
        total[x] += a[x]


@kernel()
def _row_sums(columns, side, width, scratch, spare, out):
    """Add every `side` neighbours in all three planes, by sums of three, nine, ... of them."""
    size = 2 * PITCH + width
    n = size + side - 3
    if side == 3:
        _sum3(columns, columns, 1, columns, 2, size, out)
        return
    _sum3(columns, columns, 1, columns, 2, n, scratch)
    if side == 5:
        _sum3(scratch, columns, 3, columns, 4, size, out)
    elif side == 7:
        _sum3(scratch, scratch, 3, columns, 6, size, out)
    elif side == 9:
        _sum3(scratch, scratch, 3, scratch, 6, size, out)
    else:
        out[:] = 0.0
        for taken in range(side % 3):
            _accumulate(columns, taken, size, out)
        source, target, taken, length = scratch, spare, side % 3, 3
        while True:
            for _ in range(side // length % 3):
                _accumulate(source, taken, size, out)
                taken += length
            if 3 * length > side:
                break
            n -= 2 * length
            _sum3(source, source, length, source, 2 * length, n, target)
            source, target, length = target, source, 3 * length


@kernel()
def _finish(sums, n_rows, n_columns, reference, y, x0, x1, settings, row, out):
    noise, flat, flat_share = settings.noise, settings.flat, settings.flat_share
    prior = settings.prior
    known, scale = reference.sums[0, y, x0:x1], reference.scale[y, x0:x1]
    n_in_row, rho_row = n_columns[x0:x1], out[row, x0:x1]
    for x in range(rho_row.size):
        n = n_rows * n_in_row[x]
        frame, energy = sums[x], n * sums[x + SQUARES]
        variance = energy - frame * frame
        textured = variance > flat_share * energy
        variance = n * n * noise + (variance if textured else 0.0)
        covariance = n * sums[x + PRODUCTS] - known[x] * frame
        # What rounding leaves of a flat window's zero could outweigh the noise model.
        numerator = n * n * prior + (covariance if textured & (scale[x] > 0.0) else 0.0)
        numerator *= np.abs(scale[x])
        # The squares are divided, whose quotient fits float32: its root costs a third of float64's.
        root = np.sqrt(np.float32(min(numerator * numerator / variance, 1.0)))
        rho = root if numerator >= 0.0 else -root
        rho_row[x] = rho if (variance > 0.0) & (scale[x] != 0.0) else flat


@kernel()
def _classify(sums, n_rows, n_columns, reference, y, x0, x1, settings, row, validity):
    noise, flat_share = settings.noise, settings.flat_share
    scale, n_in_row, codes = reference.scale[y, x0:x1], n_columns[x0:x1], validity[row, x0:x1]
    for x in range(codes.size):
        energy = n_rows * n_in_row[x] * sums[x + SQUARES]
        textured = energy - sums[x] * sums[x] > flat_share * energy
        flat_frame = np.uint8(0) if textured | (noise > 0.0) else np.uint8(2)
        codes[x] = np.uint8(1) if scale[x] == 0.0 else flat_frame


@kernel()
def _prepare(sums, n_rows, n_columns, settings, y, x0, x1, reference):
    noise, flat_share = settings.noise, settings.flat_share
    known, scale, n_in_row = reference.sums[0, y, x0:x1], reference.scale[y, x0:x1], n_columns[x0:x1]
    for x in range(known.size):
        n = n_rows * n_in_row[x]
        energy = n * sums[x + SQUARES]
        variance = energy - sums[x] * sums[x]
        textured = variance > flat_share * energy
        variance = n * n * noise + (variance if textured else 0.0)
        root = 1.0 / np.sqrt(variance) if variance > 0.0 else 0.0
        # The sign says whether there is texture, or noise alone.
        known[x], scale[x] = sums[x], root if textured else -root


@kernel()
def correlate_plane(reference, frame, settings, y0, y1, out, validity):
    """Correlate the rows y0 (a multiple of the tile's rows) to y1 of one channel, nothing masked or mirrored.

    `frame` is (1, H, W) like the reference's planes. `out` is (y1 - y0, W) float32, and `validity` of that shape,
    uint8, or empty where it is not wanted; it receives 0 (measured), 1 (flat reference) or 2 (flat frame). Where `out`
    is empty, `frame` must be the reference's plane: its sums are filled, and its scale, negative where the window is
    flat but for the noise model.
    """
    _, height, width = frame.shape
    radius, planes = settings.radius, reference.planes
    side = 2 * radius + 1
    # ends[i] is the sum of a block's rows from i to its last; ends[side] stays zero.
    ends = np.empty((side + 1, GROUP))
    beginning, columns, sums = np.empty(GROUP), np.empty(GROUP), np.empty(GROUP)
    scratch, spare = np.empty(GROUP), np.empty(GROUP)
    n_columns = np.empty(width)
    for x in range(width):
        n_columns[x] = extent(x, width, settings)
    for top in range(y0, y1, settings.tile_rows):
        for x0 in range(0, width, settings.tile_columns):
            x1 = min(width, x0 + settings.tile_columns)
            first, last = max(0, x0 - radius), min(width, x1 + radius)
            margin = first - (x0 - radius)
            ends[:] = 0.0  # other columns are margins now
            for y in range(top, min(y1, top + settings.tile_rows)):
                into = (y - top) % side
                if into == 0:
                    for i in range(side - 1, -1, -1):
                        _extend(frame, planes, y - radius + i, first, last, margin, ends, i)
                    beginning[:] = 0.0
                    columns[:] = ends[0]
                else:
                    _extend_and_join(frame, planes, y + radius, first, last, margin, ends, into, beginning, columns)
                _row_sums(columns, side, x1 - x0, scratch, spare, sums)
                n_rows = extent(y, height, settings)
                if out.size == 0:
                    _prepare(sums, n_rows, n_columns, settings, y, x0, x1, reference)
                    continue
                _finish(sums, n_rows, n_columns, reference, y, x0, x1, settings, y - y0, out)
                if validity.size > 0:
                    _classify(sums, n_rows, n_columns, reference, y, x0, x1, settings, y - y0, validity)
