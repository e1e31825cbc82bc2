"""The row filters of PNG, undone: each byte was stored as its difference from what its neighbours foretell."""

import numpy as np

from framencc.kernels.compilation import kernel


@kernel()
def undo_filters(lines, step, rows):
    """Undo filters 0 to 4 of lines (H, 1 + n), whose first byte names the filter, into rows (H, n); all uint8.

    `step` is the number of bytes a pixel has. PNG, third edition, section 9.
    """
    height, n = rows.shape
    for y in range(height):
        kind = lines[y, 0]
        for i in range(n):
            left = np.int64(rows[y, i - step]) if i >= step else 0
            up = np.int64(rows[y - 1, i]) if y > 0 else 0
            guess = 0
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = up
            elif kind == 3:
                guess = (left + up) // 2
            elif kind == 4:
                corner = np.int64(rows[y - 1, i - step]) if y > 0 and i >= step else 0
                # Paeth: the neighbour nearest to left + up - corner; ties go to the left one, then to the upper one.
                from_left, from_up, from_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
                if from_left <= from_up and from_left <= from_corner:
                    guess = left
                else:
                    guess = up if from_up <= from_corner else corner
            rows[y, i] = (np.int64(lines[y, i + 1]) + guess) & 255
