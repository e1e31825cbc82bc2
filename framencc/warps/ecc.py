"""Methods ``euclidean``, ``affine`` and ``homography``: the enhanced correlation coefficient, from coarse to fine.

Evangelidis and Psarakis, "Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization", IEEE TPAMI
30(10), 2008, as OpenCV's findTransformECC has it. The criterion itself does not change with gain and offset of the
whole picture; the local normalisation before it takes care of those that change across it.

Both pictures are normalised on the reference's grid, over the pixels that both have: the frame is first brought there
by what is known of the matrix so far, and ECC finds the rest. A normalisation of each picture by itself would pull at
the matrix, because its Gaussian neither scales with the picture nor ends where the other one does.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.errors import SpecError, WarpError
from framencc.frames import Frame, Picture, Use
from framencc.spec.warp import WarpSpec
from framencc.warps.base import Matrix, Warp, WarpMethod
from framencc.warps.opencv import Levels, common_codes, import_cv2, opencv_threads, to_eight_bits
from framencc.warps.overlap import OverlapSearch, chance
from framencc.warps.views import Gray, View, require_texture

_COARSEST_SIDE = 64
_MOST_LEVELS = 4
_SMOOTHING = 5  # OpenCV's own Gaussian, pixels
_MOST_PASSES = 4
_NEAR = 0.3  # pixels: what ECC still finds then is too little to make the normalisation of both differ
_LEAST_OVERLAP = 0.125
_MOST = 0.5  # of a pixel's area has to be inside
_HALF = 127
# Correlations: faces that match have 0.6 and more, wrong matrices rarely 0.3. A search from nothing follows where a
# matrix is not trusted, or the correlation has fallen by more than a fifth since the frame before.
_TRUSTED = 0.6
_DROP = 0.8
_LEAST = 0.3
# Below the first, a correlation has to be so many standard deviations beyond that of unrelated pictures: by chance the
# best of all matrices reaches three and a half of them, or a little more where it may stretch the picture.
_NO_DOUBT = 0.9
_BEYOND_CHANCE = {"euclidean": 3.6, "affine": 4.0, "homography": 4.0}
_TURNS = (0, 15, -15, 30, -30, 45, -45, 60, -60)  # degrees that a search from nothing tries
_TURN_SIDE = 96
_MOST_TURNS = 3  # of them are followed


Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Level:
    """A picture at one size, and which of its pixels count (None: all)."""

    gray: Gray
    use: Use | None

    @property
    def n_used(self) -> int:
        return self.gray.size if self.use is None else int(np.count_nonzero(self.use))


@dataclass(frozen=True, slots=True)
class _Found:
    """A matrix between pixels of the view, the correlation under it, and the overlap's share of the reference."""

    matrix: Matrix
    correlation: float
    share: float

    @property
    def score(self) -> float:
        """Correlation that pays for a small overlap, in which chance agrees more easily."""
        return self.correlation * math.sqrt(self.share)


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a search begins: on which level (or the coarsest), and from which correlation on it is the only one."""

    matrix: Matrix
    level: int
    even_out: bool = True
    trusted: float = _TRUSTED


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
        # What masks the frame alone says less well which pixels of the reference count.
        self._with_mask = getattr(self._cv2, "findTransformECCWithMask", None)
        if region is not None and self._with_mask is None:
            raise SpecError(
                f"warp.region = mask with warp.method = {spec.method} needs a newer OpenCV than "
                f"{self._cv2.__version__}: pip install --upgrade opencv-python-headless"
            )
        self._spec = spec
        self._view = view
        self._ranges = levels
        self._motion = {
            "euclidean": self._cv2.MOTION_EUCLIDEAN,
            "affine": self._cv2.MOTION_AFFINE,
            "homography": self._cv2.MOTION_HOMOGRAPHY,
        }[spec.method]
        gray = view.gray(reference)
        require_texture(gray, "reference")
        use = view.known(reference)
        if region is not None:
            inside = view.shares(region) >= _MOST
            use = inside if use is None else use & inside
        self._corners = view.corners(region)
        self._reference = self._levels(gray, use, levels[0])
        self._overlaps: OverlapSearch | None = None

    def limited(self, threads: int | None) -> contextlib.AbstractContextManager[None]:
        """Limit OpenCV; see `WarpMethod.limited`."""
        return opencv_threads(self._cv2, threads)

    def estimate(self, frame: Frame, previous: Warp | None) -> Warp:
        """Find the matrix, beginning with that of the previous frame; see `WarpMethod.estimate`."""
        gray = self._view.gray(frame.data)
        require_texture(gray, "frame")
        levels = self._levels(gray, self._view.known(frame.data), self._ranges[1])
        best: _Found | None = None
        for start in self._starts(levels, previous):
            found = self._climb(start, levels)
            best = found if best is None or (found is not None and found.score > best.score) else best
            if best is not None and best.correlation >= start.trusted:
                break
        if best is not None and best.score >= _LEAST:
            best = self._settle(best.matrix, levels, 0)
        if best is None:
            raise WarpError("ECC did not converge: frame and reference have too little in common")
        if best.score < _LEAST:
            raise WarpError(
                f"ECC found no match: the best matrix gives a correlation of {best.correlation:.2f} "
                f"on {best.share:.0%} of the reference"
            )
        if best.correlation < min(_NO_DOUBT, _BEYOND_CHANCE[self._spec.method] * self._chance(best.matrix, levels)):
            raise WarpError(
                f"ECC found no match: images of so little detail reach a correlation of {best.correlation:.2f} by "
                "chance"
            )
        full = self._view.to_full_size(best.matrix)
        return Warp(matrix=full, report={"matrix": full.tolist(), "ecc_correlation": best.correlation})

    def _starts(self, levels: list[_Level], previous: Warp | None) -> Iterator[_Start]:
        """Give what a search can begin with, the likeliest first."""
        if previous is not None and previous.matrix is not None:
            usual = previous.report.get("ecc_correlation", 0.0)
            # The coarse levels could only lead away from a good start.
            yield _Start(self._view.to_view(previous.matrix), 1, trusted=max(_TRUSTED, _DROP * usual))
        yield _Start(np.eye(3), _MOST_LEVELS)
        # Evening out takes away the coarse shapes by which a large motion is found.
        yield _Start(np.eye(3), _MOST_LEVELS, even_out=False)
        for matrix in self._turned_starts(levels):
            yield _Start(matrix, _MOST_LEVELS)

    def _climb(self, start: _Start, levels: list[_Level]) -> _Found | None:
        """Refine a matrix on all levels but the finest, past those that do not converge; None if the last does not."""
        found, matrix = None, start.matrix
        last = min(1, len(levels) - 1)
        for level in range(min(start.level, len(levels) - 1), last - 1, -1):
            found = self._settle(matrix, levels, level, start.even_out)
            matrix = matrix if found is None else found.matrix
        # Only correlations of evened-out pictures can be compared.
        return found if start.even_out else self._settle(matrix, levels, last)

    def _settle(self, matrix: Matrix, levels: list[_Level], level: int, even_out: bool = True) -> _Found | None:
        """Refine a matrix on one level; None where ECC does not converge or the matrix makes no sense."""
        reference, frame = self._reference[level], levels[level]
        down = self._between(levels[0].gray.shape, frame.gray.shape)
        up = np.linalg.inv(down)
        matrix, correlation = self._of_its_kind(down @ matrix @ up, frame.gray.shape), 0.0
        sigma = self._spec.normalisation_sigma * down[0, 0] if even_out else 0.0
        for _ in range(_MOST_PASSES):
            moved, inside = self._moved(frame, matrix)
            use = inside if reference.use is None else inside & reference.use
            share = np.count_nonzero(use) / max(1, reference.n_used)
            if share < _LEAST_OVERLAP:
                return None
            pictures = [self._eight_bits(gray, sigma, use) for gray in (reference.gray, moved)]
            step = self._step(pictures[0], pictures[1], use, inside)
            if step is None:
                return None
            rest, correlation = step
            matrix = matrix @ rest
            whole = up @ matrix @ down
            if not self._makes_sense(whole):
                return None
            if correlation < _LEAST or self._distance(up @ rest @ down, np.eye(3)) < _NEAR / down[0, 0]:
                break
        return _Found(whole / whole[2, 2], correlation, share)

    def _chance(self, matrix: Matrix, levels: list[_Level]) -> float:
        """Return what correlation unrelated pictures like these have under a matrix; the coarsest level tells."""
        reference, frame = self._reference[-1], levels[-1]
        down = self._between(levels[0].gray.shape, frame.gray.shape)
        moved, use = self._moved(frame, down @ matrix @ np.linalg.inv(down))
        use = use if reference.use is None else use & reference.use
        if not use.any():
            return 1.0
        sigma = self._spec.normalisation_sigma * down[0, 0]
        return chance(self._eight_bits(reference.gray, sigma, use), self._eight_bits(moved, sigma, use), use)

    def _step(self, reference: Codes, frame: Codes, use: Use, inside: Use) -> tuple[Matrix, float] | None:
        """Let ECC find the matrix from the reference to a frame that is nearly on its grid."""
        criteria = (
            self._cv2.TERM_CRITERIA_EPS | self._cv2.TERM_CRITERIA_COUNT,
            self._spec.max_iterations,
            self._spec.epsilon,
        )
        start = np.eye(3 if self._motion == self._cv2.MOTION_HOMOGRAPHY else 2, 3, dtype=np.float32)
        try:
            if self._with_mask is None:
                correlation, found = self._cv2.findTransformECC(
                    reference, frame, start, self._motion, criteria, use.view(np.uint8), _SMOOTHING
                )
            else:
                masks = [mask.view(np.uint8) * np.uint8(255) for mask in (use, inside)]
                correlation, found = self._with_mask(
                    reference, frame, *masks, start, self._motion, criteria, _SMOOTHING
                )
        except self._cv2.error:
            return None
        matrix = np.eye(3)
        matrix[: len(found)] = found
        return (matrix, float(correlation)) if np.isfinite(matrix).all() else None

    def _of_its_kind(self, matrix: Matrix, shape: tuple[int, ...]) -> Matrix:
        """Make rigid again what is rigid on another level: their pixels need not be quite square on this one."""
        if self._motion != self._cv2.MOTION_EUCLIDEAN:
            return matrix
        first, _, second = np.linalg.svd(matrix[:2, :2])
        middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
        rigid = np.eye(3)
        rigid[:2, :2] = first @ second
        rigid[:2, 2] = matrix[:2, :2] @ middle + matrix[:2, 2] - rigid[:2, :2] @ middle
        return rigid

    def _moved(self, level: _Level, matrix: Matrix) -> tuple[Gray, Use]:
        """Bring a frame onto the reference's grid; also return where it then has values."""
        size = level.gray.shape[::-1]
        everywhere = np.ones(level.gray.shape, bool) if level.use is None else level.use
        whole = everywhere.view(np.uint8) * np.uint8(255)
        linear = self._cv2.INTER_LINEAR | self._cv2.WARP_INVERSE_MAP
        moved = self._cv2.warpPerspective(level.gray, matrix, size, flags=linear, borderMode=self._cv2.BORDER_REPLICATE)
        return moved, self._cv2.warpPerspective(whole, matrix, size, flags=linear) == 255

    def _eight_bits(self, gray: Gray, sigma: float, use: Use | None) -> Codes:
        return to_eight_bits(self._cv2, gray, sigma, (0.0, 255.0), self._view.threads, use)

    def _distance(self, one: Matrix, other: Matrix) -> float:
        """Return how far two matrices between pixels of the view are apart at the corners of what counts."""
        first, second = self._corners @ one.T, self._corners @ other.T
        if not (first[:, 2].min() > 0 and second[:, 2].min() > 0):
            return float("inf")
        return float(np.linalg.norm(first[:, :2] / first[:, 2:] - second[:, :2] / second[:, 2:], axis=1).max())

    def _makes_sense(self, matrix: Matrix) -> bool:
        """Refuse a matrix under which a corner of what counts flies away or the picture folds over."""
        matrix = matrix / matrix[2, 2]
        return bool(
            np.isfinite(matrix).all()
            and np.linalg.det(matrix) > 0
            and self._distance(matrix, np.eye(3)) <= self._view.farthest
        )

    def _turned_starts(self, levels: list[_Level]) -> list[Matrix]:
        """Find the shift for each of some turns on small pictures; return the matrices of those that agree best."""
        frame = self._small(levels[-1])
        shape = frame.gray.shape
        if self._overlaps is None:
            small = self._small(self._reference[-1])
            self._overlaps = OverlapSearch(
                self._turnable(small), small.use, least_share=2 * _LEAST_OVERLAP, threads=self._view.threads
            )
        even = _Level(self._turnable(frame).astype(np.float32), frame.use)
        found = []
        for degrees in _TURNS:
            turn = np.eye(3)
            middle = (shape[1] - 1) / 2, (shape[0] - 1) / 2
            turn[:2] = self._cv2.getRotationMatrix2D(middle, degrees, 1.0)
            for shift in self._overlaps.best(*self._moved(even, turn), n_shifts=1):
                found.append((shift.score, turn @ np.array([[1, 0, shift.dx], [0, 1, shift.dy], [0, 0, 1.0]])))
        down = self._between(levels[0].gray.shape, shape)
        found.sort(key=lambda start: -start[0])
        return [np.linalg.inv(down) @ matrix @ down for score, matrix in found[:_MOST_TURNS] if score >= _LEAST]

    def _turnable(self, level: _Level) -> Codes:
        shrunk = level.gray.shape[1] / self._reference[0].gray.shape[1]
        return self._eight_bits(level.gray, self._spec.normalisation_sigma * shrunk, level.use)

    def _small(self, level: _Level) -> _Level:
        scale = min(1.0, _TURN_SIDE / max(level.gray.shape))
        return self._shrunk(level, tuple(round(scale * side) for side in level.gray.shape))

    def _levels(self, gray: Gray, use: Use | None, black_white: Levels | None) -> list[_Level]:
        levels = [_Level(common_codes(gray, black_white), use)]
        while len(levels) < _MOST_LEVELS and min(levels[-1].gray.shape) >= 2 * _COARSEST_SIDE:
            height, width = levels[-1].gray.shape
            levels.append(self._shrunk(levels[-1], ((height + 1) // 2, (width + 1) // 2)))
        return levels

    def _shrunk(self, level: _Level, shape: tuple[int, ...]) -> _Level:
        if level.gray.shape == shape:
            return level

        def shrink(picture: npt.NDArray[Any]) -> Any:
            return self._cv2.resize(picture, (shape[1], shape[0]), interpolation=self._cv2.INTER_AREA)

        use = None if level.use is None else shrink(level.use.view(np.uint8) * np.uint8(255)) > _HALF
        return _Level(shrink(level.gray), use)

    def _between(self, whole: tuple[int, ...], small: tuple[int, ...]) -> Matrix:
        """Return the matrix from pixels of the finest level to those of a coarser one, centres at integers."""
        sx, sy = small[1] / whole[1], small[0] / whole[0]
        return np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1.0]])
