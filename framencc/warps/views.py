"""What the estimation of a warp looks at: gray, perhaps a part of the picture, perhaps smaller, perhaps normalised."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from framencc.channels import DEFAULT_MATRIX, LUMA_WEIGHTS
from framencc.frames import Picture, Use
from framencc.warps.base import Field, Matrix

Gray = npt.NDArray[np.float32]

_REGION_MARGIN = 0.1  # of the region's longer side: what moves may have come from outside
SMALLEST_SIDE = 32


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
    """

    full_shape: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    shape: tuple[int, int]

    @classmethod
    def choose(cls, full_shape: tuple[int, int], size: int | None, region: Use | None) -> "View":
        """Choose what to look at.

        Parameters
        ----------
        full_shape
            Height and width of the pictures.
        size
            Longest side of the view in pixels; None: not made smaller.
        region
            (H, W) bool; the view is the bounding box of its true pixels and a margin. None: all.
        """
        height, width = full_shape
        rows, columns = (0, height), (0, width)
        if region is not None and region.any():
            ys, xs = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
            margin = max(8, round(_REGION_MARGIN * max(np.ptp(ys), np.ptp(xs))))
            rows = max(0, int(ys[0]) - margin), min(height, int(ys[-1]) + 1 + margin)
            columns = max(0, int(xs[0]) - margin), min(width, int(xs[-1]) + 1 + margin)
        part = rows[1] - rows[0], columns[1] - columns[0]
        scale = 1.0 if size is None else min(1.0, size / max(part))
        shape = tuple(max(min(side, SMALLEST_SIDE), round(scale * side)) for side in part)
        return cls(full_shape, rows, columns, (shape[0], shape[1]))

    @property
    def _scale(self) -> tuple[float, float]:
        """View pixels per picture pixel, along x and y."""
        height, width = self.shape
        return width / (self.columns[1] - self.columns[0]), height / (self.rows[1] - self.rows[0])

    def crop(self, picture: Picture) -> Picture:
        """Cut the part out of an (H, W) or (3, H, W) picture."""
        return picture[..., self.rows[0] : self.rows[1], self.columns[0] : self.columns[1]]

    def gray(self, picture: Picture) -> Gray:
        """Return the view of a picture: of three channels the luma, made smaller by averaging over areas."""
        part = self.crop(picture)
        if part.ndim == 3:
            part = np.tensordot(np.array(LUMA_WEIGHTS[DEFAULT_MATRIX], np.float32), part, axes=1)
        gray = np.ascontiguousarray(part, np.float32)
        if picture.dtype.kind == "f":
            gray = np.nan_to_num(gray, nan=0.0, posinf=0.0, neginf=0.0)
        if gray.shape == self.shape:
            return gray
        from skimage.transform import resize_local_mean  # noqa: PLC0415  (slow to import, and few jobs need it)

        small: Gray = resize_local_mean(gray, self.shape, preserve_range=True).astype(np.float32)
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
        (sx, sy), (top, left) = self._scale, (self.rows[0], self.columns[0])
        return np.array([[sx, 0, (0.5 - left) * sx - 0.5], [0, sy, (0.5 - top) * sy - 0.5], [0, 0, 1.0]])

    def scale_field(self, field: Field) -> Field:
        """Give displacements in view pixels in picture pixels."""
        if self._scale == (1.0, 1.0):
            return field
        scaled: Field = (field / np.array(self._scale, np.float32)).astype(np.float32)
        return scaled


def _normalised(matrix: Matrix) -> Matrix:
    result: Matrix = matrix / matrix[2, 2]
    return result
