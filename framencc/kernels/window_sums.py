"""Sums over windows: column sums that move down the rows, and from them sums of neighbours along a row.

Three sums lie `pitch` apart and go together, a triple: of the frame F, F F and R F; where pixels are excluded also of
the reference R, R R and the number of pixels, over those that count.

Exact sums (of integers, int32, int64 or float64) take in one row and drop another; integers may wrap on the way, a
window's sum comes out exact. Sums of floats never subtract: that would carry the rounding of the brightest row that
they ever held into the darkest window below it. A window's rows are the end of one block of 2 r + 1 rows and the
beginning of the next (van Herk 1992, Gil and Werman 1993, for sums): one total from each block's end upwards, one from
its beginning downwards. Blocks begin at multiples of 2 r + 1 rows, so the bits depend on the picture alone.

Along a row, windows are put together from sums of 3, 9, 27, ... columns (`plan_row_sums`): the last three terms are
added where the result is needed.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.kernels.accesses import add, at, cast, get, mul, put, sub
from framencc.kernels.calls import call
from framencc.kernels.coefficients import fill_row
from framencc.kernels.compilation import kernel

Array = npt.NDArray[Any]

LINE = 16  # numbers of four bytes in a cache line
SEGMENT = 2048  # columns that are summed at a time, so that a row's sums stay in the first-level cache
BUFFERS, _MOST_STEPS, _NUMBERS = 7, 8, 8
STEPS = _MOST_STEPS * _NUMBERS  # numbers that make a plan


class Window(NamedTuple):
    """The pictures' shape, a window's radius, and how sums over it are laid out in memory."""

    height: int
    width: int
    radius: int
    pitch: int  # from one sum of a triple to the next
    plan: Any  # address of the steps of `plan_row_sums`


def plan_row_sums(radius: int, pitch: int) -> Array:
    """Plan how a window's columns are added up: rows of (base, offset) three times, the offset of the sum, its reach.

    Base 0 are the column sums, base 1 the sums of neighbours. The last row that is used names the three terms of the
    window itself, and fills nothing (a negative offset).
    """
    side, plan, buffers = 2 * radius + 1, [], {1: 0}
    length = 3
    while length < side:
        part = length // 3
        plan.append([buffers[part], 0, buffers[part], part, buffers[part], 2 * part, len(buffers), length - 1])
        buffers[length] = len(buffers)
        length *= 3
    terms, start, rest = [], 0, side
    for length in sorted(buffers, reverse=True):
        while rest >= length:
            terms.append((buffers[length], start, length))
            start, rest = start + length, rest - length
    n_buffers = len(buffers)
    while len(terms) > 3:
        a, b, c = terms[-3:]
        length = a[2] + b[2] + c[2]
        plan.append([a[0], 0, b[0], b[1] - a[1], c[0], c[1] - a[1], n_buffers, length - 1])
        terms[-3:] = [(n_buffers, a[1], length)]
        n_buffers += 1
    plan.append([number for buffer, shift, _ in terms for number in (buffer, shift)] + [-1, side - 1])
    steps = np.full((_MOST_STEPS, _NUMBERS), -1)
    steps[: len(plan)] = plan
    bases, offsets = steps[:, 0:6:2], steps[:, 1:6:2]
    offsets += np.maximum(bases - 1, 0) * 3 * pitch
    bases[:] = bases > 0
    steps[:, 6] = (steps[:, 6] - 1) * 3 * pitch
    return steps


@kernel()
def extent(position, size, radius, reflect):
    """Count the rows or columns of the window around `position` that lie in the picture."""
    if reflect:
        return 2 * radius + 1
    first, last = position - radius, position + radius
    return (last if last < size else size - 1) - (first if first > 0 else 0) + 1


@kernel()
def _find(index, size, reflect):
    """Return which row or column an index means: beyond the picture the mirrored one (`symmetric`), or none (-1)."""
    if 0 <= index < size:
        return index
    if not reflect:
        return -1
    index %= 2 * size
    return index if index < size else 2 * size - 1 - index


@kernel()
def _slide(new, new_reference, new_why, old, old_reference, old_why, source, out, pitch, size, own):
    """Let sums take in one row and drop another: of F, F F and R F, with `own` of R, R R and the number of pixels.

    Where there is a `why`, they are taken over the pixels that count.
    """
    none, one = cast(0, out), cast(1, out)
    for x in range(size):
        f, r, m = cast(get(new, x), out), cast(get(new_reference, x), out), one
        g, q, n = cast(get(old, x), out), cast(get(old_reference, x), out), one
        if new_why is not None:
            keep, kept = get(new_why, x) == 0, get(old_why, x) == 0
            f, r, m = f if keep else none, r if keep else none, one if keep else none
            g, q, n = g if kept else none, q if kept else none, one if kept else none
        if own is not None:
            f, g = r, q
        put(out, x, add(get(source, x), sub(f, g)))
        put(out, x + pitch, add(get(source, x + pitch), sub(mul(f, f), mul(g, g))))
        last = sub(m, n) if own is not None else sub(mul(f, r), mul(g, q))
        put(out, x + 2 * pitch, add(get(source, x + 2 * pitch), last))


@kernel()
def _join(a, b, size, out):
    for x in range(size):
        put(out, x, add(get(a, x), get(b, x)))


@kernel()
def _update(pictures, why, window, channel, first, size, entering, leaving, source, out, kept, own):
    """Let sums take in one row and drop another (-1: none), from `source` to `out`."""
    frame, reference, blank, excluded = pictures
    plane = channel * window.height * window.width + first
    new, old = plane + entering * window.width, plane + leaving * window.width
    f, r = (at(frame, new), at(reference, new)) if entering >= 0 else (blank, blank)
    g, q = (at(frame, old), at(reference, old)) if leaving >= 0 else (blank, blank)
    pitch = window.pitch
    if why is None or not kept:
        call(_slide, f, r, None, g, q, None, source, out, pitch, size, None)
    else:
        new_why = at(why, entering * window.width + first) if entering >= 0 else excluded
        old_why = at(why, leaving * window.width + first) if leaving >= 0 else excluded
        if own:
            call(_slide, f, r, new_why, g, q, old_why, source, out, pitch, size, True)
        else:
            call(_slide, f, r, new_why, g, q, old_why, source, out, pitch, size, None)


@kernel()
def _mirror_margins(state, window, x0, x1):
    """Mirror the column sums beyond the picture's sides (where the window is cut, they stay zero)."""
    for plane in range(3):
        row = plane * window.pitch + window.radius - x0
        for start, stop in ((x0 - window.radius, 0), (window.width, x1 + window.radius)):
            for x in range(start, stop):
                inside = call(_find, x, window.width, True)  # a division is not worth vector code
                put(state, row + x, get(state, row + inside))


@kernel()
def advance(pictures, why, window, reflect, inexact, place, state, kept, own, scratch):
    """Move a triple of column sums to row `y`; return where the three terms of its row sums are, and their pitch.

    Parameters
    ----------
    pictures
        Addresses of the frame, the reference, and rows of zeros and of ones for what lies beyond the picture.
    why
        Not 0 for pixels that are excluded, or None. `kept` says that there are some; `own` asks for R, R R and N.
    reflect
        The picture is mirrored beyond its edges.
    inexact
        None or True: sums never subtract.
    place
        How many channels there are, and which this one is; x0 and x1; y; whether that is a band's first row.
    state
        The address of the triple, of the columns from x0 - r to x1 + r; where sums never subtract, the totals of the
        block that begins and of the ends of the block before follow it.
    """
    radius, height, group = window.radius, window.height, 3 * window.pitch
    _, channel, x0, x1, y, begins = place
    first = x0 - radius if x0 > radius else 0
    size = (x1 + radius if x1 + radius < window.width else window.width) - first
    columns = at(state, first - (x0 - radius))
    entering = _find(y + radius, height, reflect)
    if inexact is None:
        leaving = -1
        if begins:
            call(fill_row, cast(0, state), group, state)
            for row in range(y - radius, y + radius):
                new = _find(row, height, reflect)
                call(_update, pictures, why, window, channel, first, size, new, -1, columns, columns, kept, own)
        else:
            leaving = _find(y - radius - 1, height, reflect)
        call(_update, pictures, why, window, channel, first, size, entering, leaving, columns, columns, kept, own)
    else:
        side = 2 * radius + 1
        into, beginning = y % side, at(columns, group)
        if begins:
            call(fill_row, cast(0, state), (side + 3) * group, state)
        if begins or into == 0:
            block = y - into
            for i in range(side - 1, -1, -1):
                end, row = at(columns, (2 + i) * group), _find(block - radius + i, height, reflect)
                call(_update, pictures, why, window, channel, first, size, row, -1, at(end, group), end, kept, own)
            call(fill_row, cast(0, state), group, at(state, group))
            for i in range(block, y):
                row = _find(i + radius + 1, height, reflect)
                call(_update, pictures, why, window, channel, first, size, row, -1, beginning, beginning, kept, own)
        else:
            call(_update, pictures, why, window, channel, first, size, entering, -1, beginning, beginning, kept, own)
        call(_join, at(state, (2 + into) * group), at(state, group), group, state)
    if reflect:
        call(_mirror_margins, state, window, x0, x1)
    return call(_sum_rows, state, window, x1 - x0 + 2 * radius, scratch)


@kernel()
def _sum3(a, b, c, pitch, size, out):
    for x in range(size):
        put(out, x, add(get(a, x), add(get(b, x), get(c, x))))
        put(out, x + pitch, add(get(a, x + pitch), add(get(b, x + pitch), get(c, x + pitch))))
        put(out, x + 2 * pitch, add(get(a, x + 2 * pitch), add(get(b, x + 2 * pitch), get(c, x + 2 * pitch))))


@kernel()
def _sum_rows(columns, window, size, scratch):
    """Add up neighbours of a triple; return the addresses of the first window's three terms, and their pitch.

    `size` counts the columns, margins included.
    """
    step, plan, bases = 0, window.plan, (columns, scratch)
    while True:
        a = at(bases[get(plan, step)], get(plan, step + 1))
        b = at(bases[get(plan, step + 2)], get(plan, step + 3))
        c = at(bases[get(plan, step + 4)], get(plan, step + 5))
        out, reach = get(plan, step + 6), get(plan, step + 7)
        if out < 0:
            return a, b, c, window.pitch
        call(_sum3, a, b, c, window.pitch, size - reach, at(scratch, out))
        step += _NUMBERS
