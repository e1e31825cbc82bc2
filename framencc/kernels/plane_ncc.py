"""The correlation of float32 pictures in its most frequent case: one channel, nothing masked.

The method and the flat rule are those of `float_ncc`; here is the shortest way through them. A tile is so narrow that
its rows stay in the first-level cache, and the three sums F, F F and R F lie `PITCH` apart in one array: a distance
that the compiler knows, so it can see that they do not overlap and turn a loop over all three into vector code.
"""

import numpy as np

from framencc.kernels.box_sums import extent, mirror
from framencc.kernels.compilation import kernel

# Rows of 520 float64 hold a tile and its margins; a power of two would put all of them into the same lines of a cache.
PITCH = 520
SQUARES, PRODUCTS, GROUP = PITCH, 2 * PITCH, 3 * PITCH


def tile_columns(radius: int) -> int:
    """Choose a tile's width, which with 2 r columns of margins fills the buffers."""
    return PITCH - 2 * radius


@kernel()
def _copy(row, out):
    for x in range(out.size):
        out[x] = row[x]


@kernel()
def _piece(plane, y, x0, settings, buffer):
    """Return a piece of row `y` that starts at column x0; beyond the picture it is mirrored or 0."""
    height, width = plane.shape
    n = buffer.size
    if 0 <= y < height and x0 >= 0 and x0 + n <= width:
        return plane[y, x0 : x0 + n]
    if not (0 <= y < height or settings.reflect):
        buffer[:] = 0.0
        return buffer
    y = mirror(y, height)
    first, last = max(0, -x0), min(n, width - x0)
    buffer[:first] = 0.0
    buffer[last:] = 0.0
    _copy(plane[y, x0 + first : x0 + last], buffer[first:last])
    if settings.reflect:
        for side in range(2):
            for x in range(0 if side == 0 else last, first if side == 0 else n):
                buffer[x] = plane[y, mirror(x0 + x, width)]
    return buffer


@kernel()
def _extend(frame, reference, total, out):
    """Add a row to the totals of F, F F and R F."""
    for x in range(frame.size):
        f, r = np.float64(frame[x]), np.float64(reference[x])
        out[x] = total[x] + f
        out[x + SQUARES] = total[x + SQUARES] + f * f
        out[x + PRODUCTS] = total[x + PRODUCTS] + f * r


@kernel()
def _extend_and_join(frame, reference, end, beginning, columns):
    """Add a row to a block's beginning, and to that the end of the block before."""
    for x in range(frame.size):
        f, r = np.float64(frame[x]), np.float64(reference[x])
        sums, squares, products = beginning[x] + f, beginning[x + SQUARES] + f * f, beginning[x + PRODUCTS] + f * r
        beginning[x], beginning[x + SQUARES], beginning[x + PRODUCTS] = sums, squares, products
        columns[x] = end[x] + sums
        columns[x + SQUARES] = end[x + SQUARES] + squares
        columns[x + PRODUCTS] = end[x + PRODUCTS] + products


@kernel()
def _sum3(a, b, c, out):
    for x in range(out.size):
        out[x] = a[x] + b[x] + c[x]


@kernel()
def _accumulate(part, out):
    for x in range(out.size):
        out[x] += part[x]


@kernel()
def _row_sums(columns, side, scratch, out):
    """Add every `side` neighbours in all three planes, by sums of three, nine, ... of them; `columns` is used up."""
    size = columns.size - side + 1
    if side <= 9:
        triples = out[: columns.size - 2] if side == 3 else scratch[: columns.size - 2]
        _sum3(columns, columns[1:], columns[2:], triples)
        if side > 3:
            second = columns[3:] if side == 5 else triples[3:]
            third = columns[4:] if side == 5 else columns[6:] if side == 7 else triples[6:]
            _sum3(triples, second, third, out[:size])
        return
    out[:] = 0.0
    source, target, taken, length = columns, scratch, 0, 1
    while True:
        for _ in range(side // length % 3):
            _accumulate(source[taken:], out[:size])
            taken += length
        if 3 * length > side:
            break
        tripled = target[: source.size - 2 * length]
        _sum3(source, source[length:], source[2 * length :], tripled)
        source, target, length = tripled, source, 3 * length


@kernel()
def _finish(sums, n_rows, n_columns, known, scale, settings, out):
    noise, flat, flat_share = settings.noise, settings.flat, settings.flat_share
    prior = flat * noise if noise > 0 else 0.0
    for x in range(out.size):
        n = n_rows * n_columns[x]
        frame, energy = sums[x], n * sums[x + SQUARES]
        variance = energy - frame * frame
        textured = variance > flat_share * energy
        variance = n * n * noise + (variance if textured else 0.0)
        covariance = n * sums[x + PRODUCTS] - known[x] * frame
        # What rounding leaves of a flat window's zero could outweigh the noise model.
        numerator = n * n * prior + (covariance if textured & (scale[x] > 0.0) else 0.0)
        numerator *= np.abs(scale[x])
        # Squares are divided: no float32 overflows at 1, and its root costs a third of float64's.
        root = np.sqrt(np.float32(min(numerator * numerator / variance, 1.0)))
        rho = root if numerator >= 0.0 else -root
        out[x] = rho if (variance > 0.0) & (scale[x] != 0.0) else flat


@kernel()
def _classify(sums, n_rows, n_columns, scale, settings, validity):
    noise, flat_share = settings.noise, settings.flat_share
    for x in range(validity.size):
        n = n_rows * n_columns[x]
        energy = n * sums[x + SQUARES]
        textured = energy - sums[x] * sums[x] > flat_share * energy
        flat_frame = np.uint8(0) if textured | (noise > 0.0) else np.uint8(2)
        validity[x] = np.uint8(1) if scale[x] == 0.0 else flat_frame


@kernel()
def _prepare(sums, n_rows, n_columns, settings, known, scale):
    noise, flat_share = settings.noise, settings.flat_share
    for x in range(known.size):
        n = n_rows * n_columns[x]
        energy = n * sums[x + SQUARES]
        variance = energy - sums[x] * sums[x]
        textured = variance > flat_share * energy
        variance = n * n * noise + (variance if textured else 0.0)
        root = 1.0 / np.sqrt(variance) if variance > 0.0 else 0.0
        known[x], scale[x] = sums[x], root if textured else -root


@kernel()
def correlate_plane(reference, frame, settings, y0, y1, out, validity):
    """Correlate the rows y0 (a multiple of the tile's rows) to y1 of one channel, nothing masked.

    `frame` is (1, H, W) like the reference's planes. `out` is (y1 - y0, W) float32, and `validity` of that shape,
    uint8, or empty where it is not wanted; it receives 0 (measured), 1 (flat reference) or 2 (flat frame). Where `out`
    is empty, `frame` must be the reference's plane: its sums and scale are filled.
    """
    _, height, width = frame.shape
    radius = settings.radius
    side = 2 * radius + 1
    # ends[i] is the sum of a block's rows from i to its last; ends[side] stays zero.
    ends = np.zeros((side + 1, GROUP))
    # Arrays of their own: of slices of one the compiler would not know that they do not overlap.
    beginning, columns, scratch, sums = np.zeros(GROUP), np.zeros(GROUP), np.zeros(GROUP), np.zeros(GROUP)
    buffers, n_columns = np.empty((2, PITCH), np.float32), np.empty(PITCH)
    for top in range(y0, y1, settings.tile_rows):
        for x0 in range(0, width, settings.tile_columns):
            x1 = min(width, x0 + settings.tile_columns)
            left, n = x0 - radius, x1 - x0 + 2 * radius
            for x in range(x1 - x0):
                n_columns[x] = extent(x0 + x, width, settings)
            for y in range(top, min(y1, top + settings.tile_rows)):
                into = (y - top) % side
                if into == 0:
                    for i in range(side - 1, -1, -1):
                        f = _piece(frame[0], y - radius + i, left, settings, buffers[0, :n])
                        r = _piece(reference.planes[0], y - radius + i, left, settings, buffers[1, :n])
                        _extend(f, r, ends[i + 1], ends[i])
                    beginning[:] = 0.0
                    columns[:] = ends[0]
                else:
                    f = _piece(frame[0], y + radius, left, settings, buffers[0, :n])
                    r = _piece(reference.planes[0], y + radius, left, settings, buffers[1, :n])
                    _extend_and_join(f, r, ends[into], beginning, columns)
                _row_sums(columns[: 2 * PITCH + n], side, scratch, sums)
                n_rows, part = extent(y, height, settings), slice(x0, x1)
                known, scale = reference.sums[0, y, part], reference.scale[y, part]
                if out.size == 0:
                    _prepare(sums, n_rows, n_columns, settings, known, scale)
                    continue
                _finish(sums, n_rows, n_columns, known, scale, settings, out[y - y0, part])
                if validity.size > 0:
                    _classify(sums, n_rows, n_columns, scale, settings, validity[y - y0, part])
