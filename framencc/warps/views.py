"""What the estimation of a warp looks at: gray, perhaps a part of the picture, perhaps smaller, perhaps normalised."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.channels import DEFAULT_MATRIX, LUMA_WEIGHTS
from framencc.errors import SpecError, WarpError
from framencc.frames import Picture, Use
from framencc.sampling import area_mean
from framencc.warps.base import Field, Matrix
from framencc.warps.holes import fill_holes, known_pixels

Gray = npt.NDArray[Any]  # uint8, uint16 or float32

_REGION_MARGIN = 0.1  # of the region's longer side: what moves may have come from outside
SMALLEST_SIDE = 32
SMALLEST_PICTURE = 16  # OpenCV's flow finds no patches in less
_FLAT = 1e-6  # of the largest value
_NEARLY_ALL = 0.999  # of the area that a pixel of the view covers


@dataclass(frozen=True, slots=True)
class View:
    """A part of the picture at a size, and the way back to the whole picture at full size.

    Parameters
    ----------
    full_shape
        Height and width of the pictures.
    rows, columns
        The part that is looked at, half-open.
    shape
        Height and width of that part in the view.
    threads
        Threads to use.
    """

    full_shape: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    shape: tuple[int, int]
    threads: int = 1

    @classmethod
    def choose(cls, full_shape: tuple[int, int], size: int | None, region: Use | None, threads: int = 1) -> "View":
        """Choose what to look at.

        Parameters
        ----------
        full_shape
            Height and width of the pictures.
        size
            Longest side of the view in pixels; None: not made smaller.
        region
            (H, W) bool; the view is the bounding box of its true pixels and a margin. None: all.
        threads
            Threads to use.

        Raises
        ------
        SpecError
            When the pictures are too small for a motion to be found.
        """
        height, width = full_shape
        if min(full_shape) < SMALLEST_PICTURE:
            raise SpecError(
                f"a warp can be estimated on pictures of {SMALLEST_PICTURE} x {SMALLEST_PICTURE} pixels or more, not "
                f"of {width} x {height}"
            )
        rows, columns = (0, height), (0, width)
        if region is not None and region.any():
            ys, xs = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
            margin = max(8, round(_REGION_MARGIN * max(np.ptp(ys), np.ptp(xs))))
            rows = _widened(int(ys[0]) - margin, int(ys[-1]) + 1 + margin, height)
            columns = _widened(int(xs[0]) - margin, int(xs[-1]) + 1 + margin, width)
        part = rows[1] - rows[0], columns[1] - columns[0]
        scale = 1.0 if size is None else min(1.0, size / max(part))
        shape = tuple(max(min(side, SMALLEST_SIDE), round(scale * side)) for side in part)
        return cls(full_shape, rows, columns, (shape[0], shape[1]), threads)

    @property
    def farthest(self) -> float:
        """The longer side of the whole picture in pixels of the view."""
        return max(side * scale for side, scale in zip(self.full_shape, reversed(self.scale), strict=True))

    @property
    def is_full_size(self) -> bool:
        """Whether a pixel of the view is one of the picture."""
        return self.shape == (self.rows[1] - self.rows[0], self.columns[1] - self.columns[0])

    @property
    def scale(self) -> tuple[float, float]:
        """View pixels per picture pixel, along x and y."""
        height, width = self.shape
        return width / (self.columns[1] - self.columns[0]), height / (self.rows[1] - self.rows[0])

    def crop(self, picture: Picture) -> Picture:
        """Cut the part out of an (H, W) or (3, H, W) picture."""
        return picture[..., self.rows[0] : self.rows[1], self.columns[0] : self.columns[1]]

    def gray(self, picture: Picture) -> Gray:
        """Return the view of a picture: of three channels the luma, made smaller by averaging over areas.

        Pixels that are not finite are filled from those around them. One channel that fits as it is keeps its dtype.
        """
        part = self.crop(picture)
        known = known_pixels(part)
        planes = part if part.ndim == 3 else part[np.newaxis]
        if known is not None:
            planes = np.stack([fill_holes(plane, known) for plane in planes])
        if len(planes) == 1 and planes[0].shape == self.shape:
            return np.ascontiguousarray(planes[0])
        return self._shrink(planes, LUMA_WEIGHTS[DEFAULT_MATRIX] if len(planes) == 3 else (1.0,))

    def shares(self, region: Use) -> Gray:
        """Return how much of the area of each pixel of the view lies in a region, (h, w) from 0 to 1."""
        return self._shrink(self.crop(region).view(np.uint8)[np.newaxis])

    def corners(self, region: Use | None) -> Matrix:
        """Return the corners (x, y, 1) of a region's bounding box, or of all, in pixels of the view, (4, 3)."""
        height, width = self.full_shape
        top, bottom, left, right = 0, height - 1, 0, width - 1
        if region is not None and region.any():
            ys, xs = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
            top, bottom, left, right = int(ys[0]), int(ys[-1]), int(xs[0]), int(xs[-1])
        corners = np.array([[x, y, 1.0] for x in (left, right) for y in (top, bottom)])
        result: Matrix = corners @ self._into_view().T
        return result

    def known(self, picture: Picture) -> Use | None:
        """Return where the view of a picture has a value of its own, (h, w) bool; None: everywhere."""
        known = known_pixels(self.crop(picture))
        return None if known is None else self._shrink(known.view(np.uint8)[np.newaxis]) > _NEARLY_ALL

    def _shrink(self, planes: Picture, weights: Sequence[float] = (1.0,)) -> npt.NDArray[np.float32]:
        small = np.empty(self.shape, np.float32)
        area_mean(planes, small, self.threads, weights=weights)
        return small

    def to_full_size(self, matrix: Matrix) -> Matrix:
        """Turn a matrix between view pixels into one between picture pixels."""
        into = self._into_view()
        return _normalised(np.linalg.inv(into) @ matrix @ into)

    def to_view(self, matrix: Matrix) -> Matrix:
        """Turn a matrix between picture pixels into one between view pixels."""
        into = self._into_view()
        return _normalised(into @ matrix @ np.linalg.inv(into))

    def _into_view(self) -> Matrix:
        # Pixel centres are at integers, so a pixel of the view that covers k pixels lies (k - 1) / 2 into them.
        (sx, sy), (top, left) = self.scale, (self.rows[0], self.columns[0])
        return np.array([[sx, 0, (0.5 - left) * sx - 0.5], [0, sy, (0.5 - top) * sy - 0.5], [0, 0, 1.0]])

    def scale_field(self, field: Field) -> Field:
        """Give displacements in view pixels in picture pixels."""
        if self.scale == (1.0, 1.0):
            return field
        scaled: Field = (field / np.array(self.scale, np.float32)).astype(np.float32)
        return scaled


def require_texture(gray: Gray, name: str) -> None:
    """Refuse a view in which nothing can be found again.

    Raises
    ------
    WarpError
        When it is flat, but for rounding.
    """
    lowest, highest = float(gray.min()), float(gray.max())
    limit = _FLAT * max(-lowest, highest)
    # Two pixels that differ by d give all n a standard deviation of d / sqrt(2 n) or more: nearly always that will do.
    if highest - lowest > limit * math.sqrt(2 * gray.size):
        return
    if float(gray.std(dtype=np.float64)) <= limit:
        raise WarpError(f"the {name} has no texture")


def _widened(first: int, last: int, size: int) -> tuple[int, int]:
    """Bring a range inside 0 to `size`, and give it the least length of a view."""
    missing = max(0, SMALLEST_SIDE - (last - first))
    first, last = first - missing // 2, last + missing - missing // 2
    first, last = (first - max(0, last - size), min(last, size)) if last > size else (first, last)
    first, last = (0, min(size, last - first)) if first < 0 else (first, last)
    return first, last


def _normalised(matrix: Matrix) -> Matrix:
    result: Matrix = matrix / matrix[2, 2]
    return result
