"""Methods ``euclidean``, ``affine`` and ``homography``: the enhanced correlation coefficient, from coarse to fine.

Evangelidis and Psarakis, "Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization", IEEE TPAMI
30(10), 2008, as OpenCV's findTransformECC has it. The criterion itself does not change with gain and offset of the
whole picture; the local normalisation before it takes care of those that change across it.
"""

import contextlib
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.errors import SpecError, WarpError
from framencc.frames import Frame, Picture, Use
from framencc.spec.warp import WarpSpec
from framencc.warps.base import Matrix, Warp, WarpMethod
from framencc.warps.opencv import Levels, import_cv2, opencv_threads, to_eight_bits
from framencc.warps.views import View, require_texture

Pyramid = list[npt.NDArray[np.uint8]]

_COARSEST_SIDE = 64
_MOST_LEVELS = 4
_SMOOTHING = 5  # OpenCV's own Gaussian, pixels


class EccMethod(WarpMethod):
    """Finds one matrix for the whole picture.

    Parameters
    ----------
    spec
        The options.
    view
        What of a picture is looked at.
    reference
        (H, W) or (3, H, W) reference.
    levels
        The values of black and white in the reference and in frames; None for floats.
    region
        (H, W) bool, the pixels of the reference that count; None: all.
    """

    def __init__(
        self,
        spec: WarpSpec,
        view: View,
        reference: Picture,
        levels: tuple[Levels | None, Levels | None],
        region: Use | None = None,
    ) -> None:
        self._cv2 = import_cv2(spec.method)
        self._spec = spec
        self._view = view
        self._levels = levels[1]
        self._motion = {
            "euclidean": self._cv2.MOTION_EUCLIDEAN,
            "affine": self._cv2.MOTION_AFFINE,
            "homography": self._cv2.MOTION_HOMOGRAPHY,
        }[spec.method]
        require_texture(view.gray(reference), "reference")
        sigmas = dict.fromkeys((spec.normalisation_sigma, 0.0))  # the second where the first finds nothing
        self._references = {sigma: self._pyramid(reference, levels[0], sigma) for sigma in sigmas}
        self._masks: list[npt.NDArray[np.uint8]] | None = None
        if region is not None:
            if not hasattr(self._cv2, "findTransformECCWithMask"):
                raise SpecError(
                    f"warp.region = mask with warp.method = {spec.method} needs a newer OpenCV than "
                    f"{self._cv2.__version__}: pip install --upgrade opencv-python-headless"
                )
            whole = np.ascontiguousarray(view.crop(region)).view(np.uint8) * np.uint8(255)
            self._masks = [self._shrunk(whole, level.shape) for level in self._references[0.0]]

    def limited(self, threads: int | None) -> contextlib.AbstractContextManager[None]:
        """Limit OpenCV; see `WarpMethod.limited`."""
        return opencv_threads(self._cv2, threads)

    def estimate(self, frame: Frame, previous: Warp | None) -> Warp:
        """Find the matrix, beginning with that of the previous frame; see `WarpMethod.estimate`."""
        require_texture(self._view.gray(frame.data), "frame")
        start = None if previous is None else previous.matrix
        # Evening out takes away the coarse shapes by which a large motion is found, so it has a second try without.
        problem: WarpError | None = None
        for sigma in self._references:
            pyramid = self._pyramid(frame.data, self._levels, sigma)
            try:
                return self._search(start, pyramid, self._references[sigma])
            except WarpError as error:
                problem = problem or error
                start = None
        assert problem is not None
        raise problem

    def _search(self, start: Matrix | None, pyramid: Pyramid, reference: Pyramid) -> Warp:
        matrix = np.eye(3) if start is None else self._view.to_view(start)
        correlation = 0.0
        # From a good start the fine level is enough, and the coarse ones could only lead away from it.
        for level in range(len(pyramid) if start is None else 1, 0, -1):
            matrix, correlation = self._refine(matrix, pyramid, reference, level - 1)
        full = self._view.to_full_size(matrix)
        self._require_sense(full)
        return Warp(matrix=full, report={"matrix": full.tolist(), "ecc_correlation": correlation})

    def _refine(self, matrix: Matrix, pyramid: Pyramid, reference: Pyramid, level: int) -> tuple[Matrix, float]:
        down = self._between(pyramid[0].shape, pyramid[level].shape)
        start = down @ matrix @ np.linalg.inv(down)
        start = (start / start[2, 2]).astype(np.float32)
        if self._motion != self._cv2.MOTION_HOMOGRAPHY:
            start = np.ascontiguousarray(start[:2])
        criteria = (
            self._cv2.TERM_CRITERIA_EPS | self._cv2.TERM_CRITERIA_COUNT,
            self._spec.max_iterations,
            self._spec.epsilon,
        )
        try:
            correlation, found = self._transform(reference[level], pyramid[level], level, start, criteria)
        except self._cv2.error:
            raise WarpError("ECC did not converge: frame and reference have too little in common") from None
        whole = np.eye(3)
        whole[: len(found)] = found
        if not np.isfinite(whole).all():
            raise WarpError("ECC found no finite matrix")
        whole = np.linalg.inv(down) @ whole @ down
        return whole / whole[2, 2], float(correlation)

    def _transform(self, reference: Any, frame: Any, level: int, start: Any, criteria: Any) -> Any:
        if self._masks is None:
            return self._cv2.findTransformECC(reference, frame, start, self._motion, criteria, None, _SMOOTHING)
        everything = np.full(frame.shape, 255, np.uint8)
        return self._cv2.findTransformECCWithMask(
            reference, frame, self._masks[level], everything, start, self._motion, criteria, _SMOOTHING
        )

    def _require_sense(self, matrix: Matrix) -> None:
        """Refuse a matrix under which a corner flies away or the picture folds over."""
        height, width = self._view.full_shape
        corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1.0]])
        moved = corners @ matrix.T
        if not (np.isfinite(moved).all() and (moved[:, 2] > 0).all() and np.linalg.det(matrix) > 0):
            raise WarpError("ECC found a matrix that turns the picture inside out")
        distance = np.linalg.norm(moved[:, :2] / moved[:, 2:] - corners[:, :2], axis=1)
        if distance.max() > max(height, width):
            raise WarpError(f"ECC found a matrix that moves a corner by {distance.max():.0f} pixels")

    def _pyramid(self, picture: Picture, black_white: Levels | None, sigma: float) -> Pyramid:
        whole = to_eight_bits(self._cv2, self._view.gray(picture), sigma, black_white, self._view.threads)
        levels = [whole]
        while len(levels) < _MOST_LEVELS and min(levels[-1].shape) >= 2 * _COARSEST_SIDE:
            height, width = levels[-1].shape
            levels.append(self._shrunk(levels[-1], ((height + 1) // 2, (width + 1) // 2)))
        return levels

    def _shrunk(self, picture: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        if picture.shape == shape:
            return picture
        small: npt.NDArray[np.uint8] = self._cv2.resize(
            picture, (shape[1], shape[0]), interpolation=self._cv2.INTER_AREA
        )
        return small

    def _between(self, whole: tuple[int, ...], small: tuple[int, ...]) -> Matrix:
        """Return the matrix from pixels of the finest level to those of a coarser one, centres at integers."""
        sx, sy = small[1] / whole[1], small[0] / whole[0]
        return np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1.0]])
