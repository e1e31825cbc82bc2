"""The demo's clip: a still face made to turn, nod, speak, be lit differently and be hidden by a hand."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from skimage import data, transform

from framencc.channels import to_luma
from framencc.demo.hand import Hand
from framencc.demo.motion import SIZE, FloatArray, Pose, displacement, origins, pixel_grid

N_FRAMES = 75
FRAME_RATE = Fraction(25)
NOISE_SIGMA = 2.0
"""Standard deviation of the frames' noise in code values."""

_SEED = 2014
# The part of the 512 x 512 photograph that a camera on the head would see, and how much larger it is shown.
_LEFT, _TOP, _ZOOM = 125.0, 6.0, 2.5
_MOUTH = (250.0, 336.0)  # midway between the corners
_MOUTH_HALF_WIDTH, _MOUTH_HALF_HEIGHT, _SMILE = 49.0, 11.0, 15.0
_JAW_DROP = 27.0
_OPEN = 0.5  # from here on the mouth counts as open
_FACE = (248.0, 295.0, 104.0, 128.0)  # centre and half axes of the skin from the fringe to the chin

MaskArray = npt.NDArray[np.bool_]
CodeArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Areas:
    """What can be seen where, on the reference's grid.

    Parameters
    ----------
    face
        The face, well away from the hand and the open mouth.
    occluder
        The face behind the hand.
    mouth
        The dark inside of the mouth while it is more than half open.
    """

    face: MaskArray
    occluder: MaskArray
    mouth: MaskArray


class Take:
    """The frames of the clip; each is made on its own, the same whenever it is made.

    `reference` is the neutral picture, (SIZE, SIZE) uint8.
    """

    def __init__(self) -> None:
        # Codes 0 to 255 as floats: skimage's own conversions would rescale them.
        self._photograph: FloatArray = to_luma(data.astronaut()).astype(np.float32)
        self._x, self._y = pixel_grid()
        self.reference: CodeArray = _codes(self._look(self._x, self._y))

    def displacement(self, index: int) -> FloatArray:
        """Return the known displacement of a frame: (SIZE, SIZE, 2) float32 (dx, dy), as `displacement`."""
        return displacement(pose(index))

    def moved(self, index: int) -> FloatArray:
        """Return the neutral picture under the motion of a frame and nothing else, in code values."""
        return self._look(*origins(pose(index)))

    def frame(self, index: int) -> CodeArray:
        """Return what the camera sees: (SIZE, SIZE) uint8.

        Parameters
        ----------
        index
            Number of the frame, from 0 (the neutral face) to N_FRAMES - 1.
        """
        x, y = origins(pose(index))
        picture = self._look(x, y)
        picture = _open_mouth(picture, x, y, mouth_opening(index))
        if (hand := _hand(index)) is not None:
            picture = hand.cover(picture, self._x, self._y)
        noise = np.random.default_rng((_SEED, index)).standard_normal(picture.shape, np.float32)
        return _codes(_light(picture, self._x, self._y, index) + NOISE_SIGMA * noise)

    def warped(self, index: int, frame: CodeArray) -> CodeArray:
        """Bring a frame onto the reference by its known displacement, with linear interpolation."""
        offset = self.displacement(index)
        rows_columns = np.stack([self._y + offset[..., 1], self._x + offset[..., 0]])
        return _codes(_sample(frame.astype(np.float32), rows_columns, order=1))

    def areas(self, index: int, margin: float) -> Areas:
        """Say what can be seen where.

        Parameters
        ----------
        index
            Number of the frame.
        margin
            How far in pixels the face's area stays away from the hand and the mouth.
        """
        centre_x, centre_y, half_width, half_height = _FACE
        face = np.hypot((self._x - centre_x) / half_width, (self._y - centre_y) / half_height) < 1
        hand_distance = np.full_like(self._x, np.inf)
        if (hand := _hand(index)) is not None:
            offset = self.displacement(index)
            hand_distance = hand.distance(self._x + offset[..., 0], self._y + offset[..., 1])
        opening = mouth_opening(index)
        mouth_distance = _mouth_distance(self._x, self._y, opening) if opening else np.full_like(self._x, np.inf)
        return Areas(
            face=face & (hand_distance > margin) & (mouth_distance > margin),
            occluder=face & (hand_distance < 0),
            mouth=(hand_distance > 0) & (mouth_distance < 0) & (opening > _OPEN),
        )

    def _look(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Sample the photograph at points of the reference; the reference is this at its own pixels."""
        return _sample(self._photograph, np.stack([y / _ZOOM + _TOP, x / _ZOOM + _LEFT]), order=3)


def pose(index: int) -> Pose:
    """Return what the head does in a frame."""
    time = _seconds(index)
    return Pose(
        turn=26 * _bump(time, 2.4, 0.75) - 11 * _bump(time, 1.0, 0.9),
        nod=8 * _bump(time, 0.95, 0.8) - 7 * _bump(time, 1.75, 0.7) + 5 * _bump(time, 2.4, 0.5),
        tilt=0.06 * _bump(time, 2.45, 0.7) - 0.03 * _bump(time, 0.8, 0.7),
        jaw=_JAW_DROP * mouth_opening(index),
    )


def mouth_opening(index: int) -> float:
    """Return how far the mouth is open in a frame, from 0 to 1."""
    time = _seconds(index)
    return 0.45 * _bump(time, 0.3, 0.22) + _bump(time, 0.84, 0.4)


def _hand(index: int) -> Hand | None:
    """Return the hand where it is in a frame, or None where it is out of sight."""
    near = _bump(_seconds(index), 1.6, 0.6)
    return Hand(760 - 430 * near, 500 - 90 * near, -0.9 + 0.45 * near) if near else None


def _light(picture: FloatArray, x: FloatArray, y: FloatArray, index: int) -> FloatArray:
    """Let the light grow dimmer and walk about the head, as a picture's gain, offset and gradient."""
    time = _seconds(index)
    change = _bump(time, 1.5, 1.5)
    gain, slope, offset = np.float32(1 - 0.22 * change), 0.2 * change / SIZE, np.float32(12 * change)
    across, down = (np.float32(slope * part) for part in (math.cos(2.4 * time), math.sin(2.4 * time)))
    middle = np.float32(SIZE / 2)
    return picture * (gain + across * (x - middle) + down * (y - middle)) + offset


def _open_mouth(picture: FloatArray, x: FloatArray, y: FloatArray, opening: float) -> FloatArray:
    """Return the picture with the inside of the mouth between the lips; x and y are where the reference shows it."""
    if not opening:
        return picture
    opacity = np.clip(0.5 - _mouth_distance(x, y, opening) / 3, 0, 1) * min(1.0, opening / 0.15)
    tongue = np.exp(-np.square((x - _MOUTH[0]) / 25) - np.square((y - _MOUTH[1] - 23) / 7))
    # Uneven on purpose: without any texture the inside would count as flat, and flat is no reason for doubt.
    folds = np.sin(0.31 * x + 0.17 * y + 2.3 * np.sin(0.09 * y - 0.05 * x))
    folds += np.sin(0.43 * y - 0.12 * x + 1.9 * np.sin(0.13 * x))
    opened: FloatArray = picture + opacity * (26 + 30 * tongue + 6 * folds - picture)
    return opened


def _mouth_distance(x: FloatArray, y: FloatArray, opening: float) -> FloatArray:
    """Return about how far points of the reference are from the outline of the open mouth; negative inside."""
    across = (x - _MOUTH[0]) / _MOUTH_HALF_WIDTH
    # The lips smile: the middle of the opening lies lower than its corners.
    along = y - _MOUTH[1] - _SMILE * (1 - np.square(across))
    half_height = _MOUTH_HALF_HEIGHT * opening
    distance: FloatArray = (np.hypot(across, along / half_height) - 1) * half_height
    return distance


def _sample(picture: FloatArray, rows_columns: FloatArray, *, order: int) -> FloatArray:
    sampled: FloatArray = transform.warp(picture, rows_columns, order=order, mode="edge", preserve_range=True)
    return sampled.astype(np.float32, copy=False)


def _codes(picture: FloatArray) -> CodeArray:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _seconds(index: int) -> float:
    return float(index / FRAME_RATE)


def _bump(time: float, centre: float, half_width: float) -> float:
    """Rise smoothly from 0 to 1 at `centre` and fall back to 0, within `half_width` on either side."""
    away = abs(time - centre) / half_width
    return 0.5 + 0.5 * math.cos(math.pi * away) if away < 1 else 0.0
