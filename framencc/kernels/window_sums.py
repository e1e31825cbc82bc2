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
    reflect: bool
    blocks: bool  # sums never subtract
    pitch: int  # from one sum of a triple to the next


def plan_row_sums(radius: int) -> Array:
    """Plan how a window's columns are added up: rows of (buffer, shift) three times, the buffer to fill, its reach.

    Buffer 0 holds the column sums. The last row that is used names the three terms of the window itself, and fills none
    (-1).
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
    return steps


@kernel()
def mirror(index, size):
    """Map an index beyond a picture to the mirrored one inside (NumPy's ``symmetric``), however far it lies."""
    index %= 2 * size
    return index if index < size else 2 * size - 1 - index


@kernel()
def _row_index(y, window):
    """Return which row of the picture stands at `y`: beyond it the mirrored one, or none (-1)."""
    if not (window.reflect or 0 <= y < window.height):
        return -1
    return mirror(y, window.height)


@kernel()
def extent(position, size, radius, reflect):
    """Count the rows or columns of the window around `position` that lie in the picture."""
    if reflect:
        return 2 * radius + 1
    return min(size - 1, position + radius) - max(0, position - radius) + 1


@kernel()
def _slide(new, new_reference, old, old_reference, source, out, pitch, size):
    for x in range(size):
        f, r = cast(get(new, x), out), cast(get(new_reference, x), out)
        g, q = cast(get(old, x), out), cast(get(old_reference, x), out)
        put(out, x, add(get(source, x), sub(f, g)))
        put(out, x + pitch, add(get(source, x + pitch), sub(mul(f, f), mul(g, g))))
        put(out, x + 2 * pitch, add(get(source, x + 2 * pitch), sub(mul(f, r), mul(g, q))))


@kernel()
def _slide_kept(new, new_reference, new_why, old, old_reference, old_why, source, out, pitch, size):
    """Do what `_slide` does over the pixels that count."""
    none = cast(0, out)
    for x in range(size):
        keep, kept = get(new_why, x) == 0, get(old_why, x) == 0
        f, r = cast(get(new, x), out) if keep else none, cast(get(new_reference, x), out) if keep else none
        g, q = cast(get(old, x), out) if kept else none, cast(get(old_reference, x), out) if kept else none
        put(out, x, add(get(source, x), sub(f, g)))
        put(out, x + pitch, add(get(source, x + pitch), sub(mul(f, f), mul(g, g))))
        put(out, x + 2 * pitch, add(get(source, x + 2 * pitch), sub(mul(f, r), mul(g, q))))


@kernel()
def _slide_reference(new, new_why, old, old_why, source, out, pitch, size):
    """Slide the sums of R, R R and the number of pixels that count."""
    none, one = cast(0, out), cast(1, out)
    for x in range(size):
        keep, kept = get(new_why, x) == 0, get(old_why, x) == 0
        r, q = cast(get(new, x), out) if keep else none, cast(get(old, x), out) if kept else none
        put(out, x, add(get(source, x), sub(r, q)))
        put(out, x + pitch, add(get(source, x + pitch), sub(mul(r, r), mul(q, q))))
        n = sub(one if keep else none, one if kept else none)
        put(out, x + 2 * pitch, add(get(source, x + 2 * pitch), n))


@kernel()
def _join(a, b, size, out):
    for x in range(size):
        put(out, x, add(get(a, x), get(b, x)))


@kernel()
def _update(pictures, why, window, channel, first, size, entering, leaving, source, out, kept, own):
    """Let sums take in one row and drop another (-1: none), from `source` to `out`.

    `pictures` are the frame, the reference, and rows of zeros and of ones for what lies beyond the picture. `why` is
    not 0 for pixels that are excluded, or None. `kept` says that there are some; `own` asks for R, R R and N.
    """
    frame, reference, blank, excluded = pictures
    plane = channel * window.height * window.width + first
    new, old = plane + entering * window.width, plane + leaving * window.width
    f, r = (at(frame, new), at(reference, new)) if entering >= 0 else (at(blank, 0), at(blank, 0))
    g, q = (at(frame, old), at(reference, old)) if leaving >= 0 else (at(blank, 0), at(blank, 0))
    if why is None or not kept:
        call(_slide, f, r, g, q, source, out, window.pitch, size)
    else:
        new_why = at(why, entering * window.width + first) if entering >= 0 else at(excluded, 0)
        old_why = at(why, leaving * window.width + first) if leaving >= 0 else at(excluded, 0)
        if own:
            call(_slide_reference, r, new_why, q, old_why, source, out, window.pitch, size)
        else:
            call(_slide_kept, f, r, new_why, g, q, old_why, source, out, window.pitch, size)


@kernel()
def _clear(out, size):
    for x in range(size):
        put(out, x, cast(0, out))


@kernel()
def _mirror_margins(state, pitch, radius, width, x0, x1):
    """Mirror the column sums beyond the picture's sides (where the window is cut, they stay zero)."""
    for plane in range(3):
        row = plane * pitch + radius - x0
        for x in range(x0 - radius, 0):
            put(state, row + x, get(state, row + call(mirror, x, width)))  # a division is not worth vector code
        for x in range(width, x1 + radius):
            put(state, row + x, get(state, row + call(mirror, x, width)))  # a division is not worth vector code


@kernel()
def advance(pictures, why, window, channel, x0, x1, y, begins, state, kept, own):
    """Move a triple of column sums to row `y`; `begins` says that it is the first one of a band.

    `state` is the address of the triple, of the columns from x0 - r to x1 + r; with `window.blocks` the totals of the
    block that begins and of the ends of the block before follow it.
    """
    radius, group = window.radius, 3 * window.pitch
    first, last = max(0, x0 - radius), min(window.width, x1 + radius)
    margin, size = first - (x0 - radius), last - first
    columns = at(state, margin)
    entering = _row_index(y + radius, window)
    if not window.blocks:
        leaving = -1 if begins else _row_index(y - radius - 1, window)
        if begins:
            call(_clear, state, group)
            for row in range(y - radius, y + radius):
                new = _row_index(row, window)
                call(_update, pictures, why, window, channel, first, size, new, -1, columns, columns, kept, own)
        call(_update, pictures, why, window, channel, first, size, entering, leaving, columns, columns, kept, own)
    else:
        side = 2 * radius + 1
        into, beginning = y % side, at(columns, group)
        if begins:
            call(_clear, state, (side + 3) * group)
        if begins or into == 0:
            block = y - into
            for i in range(side - 1, -1, -1):
                end, row = at(columns, (2 + i) * group), _row_index(block - radius + i, window)
                call(_update, pictures, why, window, channel, first, size, row, -1, at(end, group), end, kept, own)
            call(_clear, at(state, group), group)
            for i in range(block, y):
                row = _row_index(i + radius + 1, window)
                call(_update, pictures, why, window, channel, first, size, row, -1, beginning, beginning, kept, own)
        else:
            call(_update, pictures, why, window, channel, first, size, entering, -1, beginning, beginning, kept, own)
        call(_join, at(state, (2 + into) * group), at(state, group), group, state)
    if window.reflect:
        call(_mirror_margins, state, window.pitch, radius, window.width, x0, x1)


@kernel()
def _sum3(a, b, c, pitch, size, out):
    for x in range(size):
        put(out, x, add(get(a, x), add(get(b, x), get(c, x))))
        put(out, x + pitch, add(get(a, x + pitch), add(get(b, x + pitch), get(c, x + pitch))))
        put(out, x + 2 * pitch, add(get(a, x + 2 * pitch), add(get(b, x + 2 * pitch), get(c, x + 2 * pitch))))


@kernel()
def _term(columns, scratch, group, buffer, shift):
    return at(columns, shift) if buffer == 0 else at(scratch, (buffer - 1) * group + shift)


@kernel()
def row_sums(columns, pitch, plan, size, scratch):
    """Add up neighbours of a triple; return the addresses of the three terms of the first window's sums.

    `size` counts the columns, margins included.
    """
    step, group = 0, 3 * pitch
    while True:
        a = _term(columns, scratch, group, get(plan, step), get(plan, step + 1))
        b = _term(columns, scratch, group, get(plan, step + 2), get(plan, step + 3))
        c = _term(columns, scratch, group, get(plan, step + 4), get(plan, step + 5))
        buffer, reach = get(plan, step + 6), get(plan, step + 7)
        if buffer < 0:
            return a, b, c
        call(_sum3, a, b, c, pitch, size - reach, _term(columns, scratch, group, buffer, 0))
        step += _NUMBERS
