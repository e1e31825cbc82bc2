"""Box sums of integers: sums over columns that slide down the rows, then sums of neighbours along a row.

Integers may wrap on the way: a window's sum comes out exact modulo 2^32 or 2^64. Every loop touches few arrays, each
through a slice that starts at 0: with more arrays, or an offset in the index, the compiler gives up vectorising.
"""

import numpy as np

from framencc.kernels.compilation import kernel

NO_ROW = -(1 << 30)


@kernel()
def mirror(index, size):
    """Map an index beyond a picture to the mirrored one inside (NumPy's ``symmetric``), however far it lies."""
    index %= 2 * size
    return index if index < size else 2 * size - 1 - index


@kernel()
def row_index(index, height, settings):
    """Which row stands at `index`; beyond the picture the mirrored one, or none."""
    if index == NO_ROW or not (settings.reflect or 0 <= index < height):
        return -1
    return mirror(index, height)


@kernel()
def slide(new, old, sums):
    """Let column sums take in one row and drop another."""
    for x in range(sums.size):
        sums[x] += np.int64(new[x]) - np.int64(old[x])


@kernel()
def slide_products(new, new_other, old, old_other, sums):
    """Let column sums of products take in one pair of rows and drop another."""
    for x in range(sums.size):
        sums[x] += np.int64(new[x]) * np.int64(new_other[x]) - np.int64(old[x]) * np.int64(old_other[x])


@kernel()
def mirror_margins(columns, radius):
    """Mirror the column sums beyond the picture's sides (where the window is cut, they stay zero)."""
    width = columns.size - 2 * radius
    for x in range(radius):
        columns[x] = columns[radius + mirror(x - radius, width)]
        columns[radius + width + x] = columns[radius + mirror(width + x, width)]


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
def row_sums(columns, settings, scratch, out):
    """Add every 2 r + 1 neighbours: in threes while that is short, else as a difference of running totals."""
    radius = settings.radius
    if settings.reflect:
        mirror_margins(columns, radius)
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
def extent(position, size, settings):
    """How many of the 2 r + 1 rows or columns around `position` lie in the picture."""
    if settings.reflect:
        return 2 * settings.radius + 1
    return min(size - 1, position + settings.radius) - max(0, position - settings.radius) + 1


@kernel()
def count(n_rows, n_columns, out):
    """Multiply the rows by the columns of each window."""
    for x in range(out.size):
        out[x] = n_rows * n_columns[x]
