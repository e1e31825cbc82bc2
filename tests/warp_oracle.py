"""What sampling a frame means, as plain float64 loops. Imports nothing of the package under test."""

import math
from collections.abc import Callable

import numpy as np

OUTSIDE, MASKED = 3, 4


def of_field(field):
    """Position in the frame of each pixel of the output."""
    return lambda x, y: (x + float(field[y, x, 0]), y + float(field[y, x, 1]))


def of_matrix(matrix):
    """Likewise for a matrix; None where it divides by 0 or less."""

    def position(x, y):
        u, v, w = (float(row[0]) * x + (float(row[1]) * y + float(row[2])) for row in matrix)
        return (u / w, v / w) if w > 0 else (math.nan, math.nan)

    return position


def weights(position: float, interpolation: str) -> list[tuple[int, float]]:
    """The taps along one axis and their weights, without those that weigh nothing."""
    first = math.floor(position)
    t = position - first
    if interpolation == "nearest":
        taps = [(first + (t >= 0.5), 1.0)]
    elif interpolation == "linear":
        taps = [(first, 1 - t), (first + 1, t)]
    else:
        taps = [(tap, keys(abs(position - tap))) for tap in range(first - 1, first + 3)]
    return [(tap, weight) for tap, weight in taps if weight != 0]


def keys(distance: float, a: float = -0.5) -> float:
    """Equation 4 of Keys (1981), with a free."""
    if distance < 1:
        return (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    if distance < 2:
        return a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    return 0.0


def sample(
    planes: np.ndarray,
    position_of: Callable[[int, int], tuple[float, float]],
    size: tuple[int, int],
    interpolation: str,
    use: np.ndarray | None = None,
    maximum: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (C, h, w) float64 values, cut to 0 ... maximum if there is one, and (h, w) uint8 codes."""
    n_channels, height, width = planes.shape
    values, codes = np.zeros((n_channels, *size)), np.zeros(size, np.uint8)
    for y in range(size[0]):
        for x in range(size[1]):
            column, row = position_of(x, y)
            if not (0 <= column <= width - 1 and 0 <= row <= height - 1):
                codes[y, x] = OUTSIDE
                continue
            total = np.zeros(n_channels)
            for tap_y, weight_y in weights(row, interpolation):
                for tap_x, weight_x in weights(column, interpolation):
                    place = min(max(tap_y, 0), height - 1), min(max(tap_x, 0), width - 1)
                    if use is not None and not use[place]:
                        codes[y, x] = MASKED
                    tap = planes[:, place[0], place[1]].astype(np.float64)
                    total += np.where(np.isfinite(tap), weight_y * weight_x * tap, np.nan)
            if codes[y, x] == 0:
                values[:, y, x] = total if maximum is None else np.clip(total, 0, maximum)
    return values, codes
