"""How the head of the demo moves: a displacement that is known at every point of the reference, not measured.

The displacement is a formula, so it can be evaluated between pixels, and the map from the frame back to the reference
can be found as exactly as one likes. It is zero on the picture's edge: nothing ever comes from outside the frame.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SIZE = 512
"""Width and height of the demo's pictures in pixels."""

FloatArray = npt.NDArray[np.float32]

_NECK = (256.0, 470.0)  # what the head tilts about
_JAW_CENTRE = 250.0
_JAW_HALF_WIDTH = 150.0
# Down the face the jaw's share grows from none above the upper lip to all at the lower lip and fades on the neck.
_JAW_ROWS = (317.0, 387.0, 430.0, 508.0)
_TOLERANCE = 1e-3
_MAX_ITERATIONS = 100


@dataclass(frozen=True, slots=True)
class Pose:
    """What the head does at one time.

    Parameters
    ----------
    turn, nod
        How far the middle of the face moves to the right and down, in pixels.
    tilt
        Rotation about the neck in radians, clockwise as seen.
    jaw
        How far the chin moves down, in pixels.
    """

    turn: float
    nod: float
    tilt: float
    jaw: float


def pixel_grid() -> tuple[FloatArray, FloatArray]:
    """Return the x and the y of every pixel centre, each (SIZE, SIZE)."""
    y, x = np.indices((SIZE, SIZE), dtype=np.float32)
    return x, y


def displacement_at(pose: Pose, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Evaluate the displacement at points of the reference.

    Parameters
    ----------
    pose
        What the head does.
    x, y
        The points in pixels, of one shape.

    Returns
    -------
    dx, dy : numpy.ndarray
        In pixels: what the reference shows at (x, y), the frame shows at (x + dx, y + dy).
    """
    u, v = x * np.float32(1 / (SIZE - 1)), y * np.float32(1 / (SIZE - 1))
    # 1 in the middle, 0 on the edge, as the depth of a head is: what stands out moves most when it turns.
    depth = np.square(16 * u * (1 - u) * v * (1 - v))
    dx = depth * (pose.turn - pose.tilt * (y - _NECK[1]))
    dy = depth * (pose.nod + pose.tilt * (x - _NECK[0]))
    if pose.jaw:
        jaw = _ramp(y, *_JAW_ROWS[:2]) * (1 - _ramp(y, *_JAW_ROWS[2:]))
        jaw *= np.square(np.clip(1 - np.square((x - _JAW_CENTRE) / _JAW_HALF_WIDTH), 0, None))
        dy += pose.jaw * jaw
    return dx, dy


def displacement(pose: Pose) -> FloatArray:
    """Evaluate the displacement on the reference's pixel grid.

    Parameters
    ----------
    pose
        What the head does.

    Returns
    -------
    numpy.ndarray
        (SIZE, SIZE, 2) float32, (dx, dy) in pixels: warped(x, y) = frame(x + dx, y + dy).
    """
    return np.stack(displacement_at(pose, *pixel_grid()), axis=-1)


def origins(pose: Pose) -> tuple[FloatArray, FloatArray]:
    """Find for every pixel of the frame the point of the reference that it shows.

    The fixed point of ``g = p - displacement(g)``, by iteration. The displacement changes by less than one pixel from
    one pixel to the next, so every step brings the point nearer.

    Parameters
    ----------
    pose
        What the head does.

    Returns
    -------
    x, y : numpy.ndarray
        (SIZE, SIZE) float32 in pixels of the reference, off by less than 0.01.
    """
    pixel_x, pixel_y = pixel_grid()
    x, y = pixel_x, pixel_y
    for _ in range(_MAX_ITERATIONS):
        dx, dy = displacement_at(pose, x, y)
        next_x, next_y = pixel_x - dx, pixel_y - dy
        step = max(np.abs(next_x - x).max(), np.abs(next_y - y).max())
        x, y = next_x, next_y
        if step < _TOLERANCE:
            return x, y
    raise ValueError(f"{pose} folds the picture; its displacement cannot be inverted")


def _ramp(value: FloatArray, low: float, high: float) -> FloatArray:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    part: FloatArray = np.clip((value - low) / (high - low), 0, 1)
    risen: FloatArray = part * part * (3 - 2 * part)
    return risen
