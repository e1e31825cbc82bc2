"""Pixels without a value (NaN, infinite) before a warp is estimated: taken from their surroundings.

A hole of one value is a black or a gray patch with edges all around it, and edges are what an estimator follows.
"""

import numpy as np
import numpy.typing as npt

from framencc.frames import Picture, Use

Plane = npt.NDArray[np.float32]


def known_pixels(picture: Picture) -> Use | None:
    """Return where an (H, W) or (3, H, W) picture has a finite value in each channel, (H, W); None: everywhere."""
    if picture.dtype.kind != "f":
        return None
    finite = np.isfinite(picture)
    if finite.all():
        return None
    return finite if picture.ndim == 2 else np.logical_and.reduce(finite)


def fill_holes(plane: Picture, known: Use) -> Plane:
    """Return an (H, W) plane whose unknown pixels continue the known ones around them smoothly.

    By halves: a pixel of half the size is the mean of those of its four that are known, and what stays unknown at one
    size is interpolated from the next smaller one.
    """
    value: Plane = np.where(known, plane, np.float32(0)).astype(np.float32)
    return _filled(value, known.astype(np.float32))


def _filled(value: Plane, weight: Plane) -> Plane:
    if value.size == 1 or (weight > 0).all():
        return value
    totals = [_halved(plane) for plane in (value * weight, weight)]
    half = np.divide(totals[0], np.maximum(totals[1], 1e-9), dtype=np.float32)
    # A pixel with four known ones counts no more than one of them does: near the edge the edge decides.
    coarse = _filled(half, np.minimum(totals[1], 1, dtype=np.float32))
    result: Plane = np.where(weight > 0, value, _doubled(coarse, value.shape))
    return result


def _halved(plane: Plane) -> Plane:
    """Sum blocks of 2 x 2."""
    even = np.pad(plane, [(0, side % 2) for side in plane.shape])
    rows = even[0::2] + even[1::2]
    result: Plane = rows[:, 0::2] + rows[:, 1::2]
    return result


def _doubled(plane: Plane, shape: tuple[int, ...]) -> Plane:
    """Interpolate between the centres of blocks of 2 x 2."""
    for axis in (0, 1):
        padding = [(1, 1) if axis == index else (0, 0) for index in (0, 1)]
        wide = np.moveaxis(np.pad(plane, padding, mode="edge"), axis, 0)
        twice = np.empty((2 * (len(wide) - 2), wide.shape[1]), np.float32)
        twice[0::2] = 0.75 * wide[1:-1] + 0.25 * wide[:-2]
        twice[1::2] = 0.75 * wide[1:-1] + 0.25 * wide[2:]
        plane = np.moveaxis(twice, 0, axis)
    return np.ascontiguousarray(plane[: shape[0], : shape[1]])
