"""The thing that comes between the camera and the face: a hand in a knitted glove."""

import math

import numpy as np

from framencc.demo.motion import FloatArray

# Capsules of the open hand, fingers up, in pixels about the middle of the palm: from, to, radius.
_CAPSULES = (
    ((-42.0, -50.0), (-68.0, -148.0), 18.0),
    ((-15.0, -60.0), (-24.0, -178.0), 19.0),
    ((16.0, -60.0), (21.0, -172.0), 19.0),
    ((45.0, -50.0), (65.0, -140.0), 16.0),
    ((-42.0, 28.0), (-115.0, -38.0), 19.0),
    ((-18.0, -12.0), (-15.0, 35.0), 50.0),
    ((18.0, -12.0), (15.0, 35.0), 50.0),
    ((0.0, 38.0), (0.0, 525.0), 45.0),
)
_SOFTNESS = 1.5
_STITCH = (13.0, 9.0)


class Hand:
    """A hand at one place.

    Parameters
    ----------
    x, y
        The middle of the palm in pixels of the frame.
    angle
        How far the fingers lean to the right, in radians.
    """

    def __init__(self, x: float, y: float, angle: float) -> None:
        self._centre = (x, y)
        self._cosine, self._sine = math.cos(angle), math.sin(angle)

    def distance(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Return how far points of the frame are from the hand's outline, in pixels; negative inside."""
        across, along = self._own(x, y)
        nearest = np.full_like(across, np.inf)
        for (x0, y0), (x1, y1), radius in _CAPSULES:
            length = math.hypot(x1 - x0, y1 - y0)
            unit_x, unit_y = (x1 - x0) / length, (y1 - y0) / length
            part = np.clip((across - x0) * unit_x + (along - y0) * unit_y, 0, length)
            # Three times as fast as hypot, whose care for overflow is not needed.
            squared = np.square(across - x0 - part * unit_x) + np.square(along - y0 - part * unit_y)
            np.minimum(nearest, np.sqrt(squared) - radius, out=nearest)
        return nearest

    def cover(self, picture: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
        """Return a picture of the frame's points with the hand in front of it."""
        distance = self.distance(x, y)
        opacity = np.clip(0.5 - distance / (2 * _SOFTNESS), 0, 1)
        # Darker towards the outline, as round things are.
        depth = np.clip(-distance / 16, 0, 1)
        shade = 48 + 80 * depth * (2 - depth) + self._knit(x, y)
        covered: FloatArray = picture + opacity * (shade - picture)
        return covered

    def _knit(self, x: FloatArray, y: FloatArray) -> FloatArray:
        across, along = self._own(x, y)
        column = across / _STITCH[0]
        slant = np.abs(column - np.floor(column) - 0.5) * 2
        stitches = np.sin(2 * np.pi * (along / _STITCH[1] + 0.7 * slant))
        knit: FloatArray = 34 * stitches * (0.55 + 0.45 * slant)
        return knit

    def _own(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Turn points of the frame into the hand's own coordinates."""
        x, y = x - self._centre[0], y - self._centre[1]
        return x * self._cosine + y * self._sine, y * self._cosine - x * self._sine
