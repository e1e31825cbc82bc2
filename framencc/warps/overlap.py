"""How well two pictures agree where they overlap, for every whole-pixel shift of one against the other.

Padfield, "Masked Object Registration in the Fourier Domain", IEEE TIP 21(5), 2012: the normalised correlation of the
overlap alone, which knows no wrap-around and no edge.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from framencc.frames import frozen
from framencc.sampling import area_mean

_LEAST_SHARE = 0.1
_SMALL_SIDE = 256
_ENOUGH_PIXELS = 1 << 17
_FLAT = 1e-9
_LEAST_PAIRS = 0.2  # of all pixels
_MOST_MOVES = 8
_FARTHEST = 4.0  # steps
_AWAY = 4  # pixels
_LEAST_FALL = 0.02  # of what is unexplained
_NO_FALL = 1e-5

Plane = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class _Spectra:
    weights: Spectrum
    values: Spectrum
    squares: Spectrum
    energy: float


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift, and how well the pictures agree there.

    Parameters
    ----------
    dx, dy
        Pull convention: reference (x, y) is at frame (x + dx, y + dy).
    correlation
        Normalised correlation of the overlap.
    share
        The overlap's share of the picture, or of the smaller of the two areas that count.
    """

    dx: float
    dy: float
    correlation: float
    share: float

    @property
    def score(self) -> float:
        """Agreement that pays for a small overlap, in which chance agrees more easily."""
        return self.correlation * math.sqrt(self.share)

    @property
    def doubt(self) -> float:
        """What stays unexplained, which counts for more in a small overlap."""
        return (1 - self.correlation) / max(self.share, 1e-9)


def chance(one: npt.NDArray[Any], other: npt.NDArray[Any], use: npt.NDArray[np.bool_]) -> float:
    """Return the standard deviation of the correlation that pictures as coarse as these two have by chance.

    Bartlett's: of unrelated ones it is sqrt(sum of the products of their autocorrelations / number of pixels).

    Parameters
    ----------
    one, other
        (H, W) pictures.
    use
        (H, W) bool, the pixels that count.
    """
    size = [fft.next_fast_len(2 * side - 1, real=True) for side in use.shape]

    def sums(picture: Plane) -> Plane:
        surface: Plane = fft.irfft2(np.abs(fft.rfft2(picture, size)) ** 2, size)
        return surface

    counts = sums(use.astype(np.float64))
    ours, theirs = (sums(np.where(use, picture - picture[use].mean(), 0.0)) for picture in (one, other))
    if min(ours[0, 0], theirs[0, 0]) <= 0:
        return 1.0
    # Few pairs of pixels say nothing of the autocorrelation at a large distance.
    products = np.where(counts >= _LEAST_PAIRS * counts[0, 0], ours * theirs / np.maximum(counts, 1.0), 0.0)
    return math.sqrt(max(0.0, float(products.sum()) / float(ours[0, 0] * theirs[0, 0])))


class OverlapSearch:
    """Correlates pictures with one reference.

    Parameters
    ----------
    reference
        (H, W) picture.
    use
        (H, W) bool, the pixels that count; None: all.
    least_share
        Overlaps of a smaller share are not looked at.
    threads
        Threads to use.
    """

    def __init__(
        self,
        reference: npt.NDArray[np.generic],
        use: npt.NDArray[np.bool_] | None,
        *,
        least_share: float,
        threads: int = 1,
    ) -> None:
        self._shape = (reference.shape[0], reference.shape[1])
        self._padded = [fft.next_fast_len(2 * side - 1, real=True) for side in self._shape]
        self._least_share = least_share
        self._threads = threads
        self._n_used = reference.size if use is None else int(np.count_nonzero(use))
        self._reference = self._spectra(reference, use)

    def best(
        self, frame: npt.NDArray[np.generic], use: npt.NDArray[np.bool_] | None, n_shifts: int, apart: int = 3
    ) -> list[Shift]:
        """Return the shifts of the highest scores, no two of them closer than `apart` pixels, the best first."""
        correlation, share = self._surface(self._spectra(frame, use), frame.size if use is None else int(use.sum()))
        score = correlation * np.sqrt(share)
        found: list[Shift] = []
        height, width = self._padded
        while len(found) < n_shifts:
            y, x = np.unravel_index(int(np.argmax(score)), score.shape)
            if not score[y, x] > 0:
                break
            dy, dx = (int(at) if at < side else int(at) - size for at, side, size in
                      ((y, self._shape[0], height), (x, self._shape[1], width)))  # fmt: skip
            found.append(Shift(dx, dy, float(correlation[y, x]), float(share[y, x])))
            rows, columns = (np.arange(at - apart, at + apart + 1) % size for at, size in ((y, height), (x, width)))
            score[np.ix_(rows, columns)] = 0
        return found

    def _spectra(self, picture: npt.NDArray[np.generic], use: npt.NDArray[np.bool_] | None) -> _Spectra:
        weights: Plane = np.ones(self._shape) if use is None else use.astype(np.float64)
        values = picture.astype(np.float64)
        values -= np.average(values, weights=weights) if weights.any() else 0.0
        values *= weights
        energy = float((values * values).sum())
        weights_, values_, squares_ = (
            fft.rfft2(plane, self._padded, workers=self._threads) for plane in (weights, values, values * values)
        )
        return _Spectra(weights_, values_, squares_, energy)

    def _surface(self, frame: _Spectra, n_used: int) -> tuple[Plane, Plane]:
        def sums(of_reference: Spectrum, of_frame: Spectrum) -> Plane:
            surface: Plane = fft.irfft2(of_reference.conj() * of_frame, self._padded, workers=self._threads)
            return surface

        ours = self._reference
        count = np.rint(sums(ours.weights, frame.weights))
        share = count / max(1, min(n_used, self._n_used))
        far = share < self._least_share
        count = np.maximum(count, 1.0)
        first, second = sums(ours.values, frame.weights), sums(ours.weights, frame.values)
        product = sums(ours.values, frame.values) - first * second / count
        variances = (
            sums(ours.squares, frame.weights) - first * first / count,
            sums(ours.weights, frame.squares) - second * second / count,
        )
        # The transforms round to about 1e-16 of the whole energy; less than that is no texture.
        flat = (variances[0] <= 1e-9 * ours.energy) | (variances[1] <= 1e-9 * frame.energy)
        correlation = np.clip(product / np.sqrt(np.maximum(variances[0] * variances[1], 1e-300)), -1, 1)
        correlation[far | flat] = 0
        return correlation, np.maximum(share, 0)


class Overlap:
    """Correlates the overlap of a reference and frames, at any shift, at full size.

    Parameters
    ----------
    reference
        (H, W) float32, its mean near 0.
    threads
        Threads to use.
    """

    def __init__(self, reference: npt.NDArray[np.float32], *, threads: int = 1) -> None:
        self.reference = frozen(reference)
        self.threads = threads
        self._search: OverlapSearch | None = None

    def with_frame(self, frame: npt.NDArray[np.float32]) -> "OverlapPair":
        """Return the reference together with a frame of the same kind."""
        return OverlapPair(self, frozen(frame))

    def search(self) -> OverlapSearch:
        """Return the search over all shifts of the picture, made smaller."""
        if self._search is None:
            self._search = OverlapSearch(
                self.small(self.reference), None, least_share=_LEAST_SHARE, threads=self.threads
            )
        return self._search

    def small(self, plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return a picture at the size at which all shifts are looked at."""
        shape = plane.shape
        scale = min(1.0, _SMALL_SIDE / max(shape))
        small = np.empty([max(1, round(scale * side)) for side in shape], np.float32)
        area_mean(plane[np.newaxis], small, self.threads)
        return small


class OverlapPair:
    """A reference and a frame; see `Overlap`."""

    def __init__(self, overlap: Overlap, frame: npt.NDArray[np.float32]) -> None:
        self._overlap = overlap
        self._frame = frame
        # A hundred thousand pixels tell as much as all.
        self._step = max(1, frame.size // _ENOUGH_PIXELS)

    def at(self, dx: float, dy: float) -> Shift:
        """Return how well the overlap agrees at a shift."""
        height, width = self._frame.shape
        share = max(0.0, 1 - abs(dx) / width) * max(0.0, 1 - abs(dy) / height)
        if share < _LEAST_SHARE:
            return Shift(dx, dy, 0.0, share)
        one, other = self._overlapping(dx, dy)
        n, first, second = max(one.size, 1), float(one.sum()), float(other.sum())
        products = [float((a * b).sum()) for a, b in ((one, one), (other, other), (one, other))]
        ours, theirs = products[0] - first * first / n, products[1] - second * second / n
        flat = ours <= _FLAT * products[0] or theirs <= _FLAT * products[1]
        correlation = 0.0 if flat else (products[2] - first * second / n) / math.sqrt(ours * theirs)
        return Shift(dx, dy, min(1.0, correlation), share)

    def _overlapping(self, dx: float, dy: float) -> tuple[Plane, Plane]:
        """Return every so many rows of the overlap, of the reference and of the frame, linearly interpolated."""
        height, width = self._frame.shape
        x, y = math.floor(dx), math.floor(dy)
        beside, below = int(dx > x), int(dy > y)
        left, right = max(0, -x), min(width, width - x - beside)
        top, bottom = -(-max(0, -y) // self._step) * self._step, min(height, height - y - below)

        def shifted(down: int) -> npt.NDArray[np.float32]:
            rows = self._frame[top + y + down : max(top, bottom) + y + down : self._step]
            first, second = (rows[:, left + x + more : right + x + more] for more in (0, beside))
            return first + np.float32(dx - x) * (second - first)

        upper, lower = shifted(0), shifted(below)
        ours = self._overlap.reference[top : bottom : self._step, left:right]
        return ours.astype(np.float64), (upper + np.float32(dy - y) * (lower - upper)).astype(np.float64)

    def climb(self, start: Shift, step: int) -> Shift:
        """Follow the correlation from a shift to its peak, in steps that are halved down to a pixel, then between."""
        best = self.at(round(start.dx), round(start.dy))
        while True:
            for _ in range(_MOST_MOVES):
                dx, dy = (self._vertex(best, step, axis) for axis in (0, 1))
                moved = self.at(best.dx + round(dx), best.dy + round(dy))
                if (moved.dx, moved.dy) == (best.dx, best.dy) or moved.correlation <= best.correlation:
                    break
                best = moved
            if step == 1:
                break
            step //= 2
        between = self.at(best.dx + min(max(dx, -1), 1), best.dy + min(max(dy, -1), 1))
        return between if between.correlation > best.correlation else best

    def is_peak(self, shift: Shift) -> bool:
        """Return whether some pixels away the overlap agrees less; of a mere ramp of brightness all shifts agree."""
        falls = []
        for x, y in ((_AWAY, 0), (0, _AWAY)):
            around = [self.at(shift.dx + sign * x, shift.dy + sign * y).correlation for sign in (-1, 1)]
            falls.append(shift.correlation - sum(around) / 2)
        return max(falls) > _LEAST_FALL * (1 - shift.correlation) + _NO_FALL

    def _vertex(self, shift: Shift, step: int, axis: int) -> float:
        """Return how far away along x or y the peak of a parabola through three shifts is, a few steps at most."""
        offset = (step, 0) if axis == 0 else (0, step)
        before = self.at(shift.dx - offset[0], shift.dy - offset[1]).correlation
        after = self.at(shift.dx + offset[0], shift.dy + offset[1]).correlation
        bend = 2 * shift.correlation - before - after
        rise = (after - before) / 2
        if bend <= _FLAT:  # no peak near: go where it rises
            return math.copysign(step, rise) if abs(rise) > _FLAT else 0.0
        return step * min(max(rise / bend, -_FARTHEST), _FARTHEST)

    def search(self, n_shifts: int) -> list[Shift]:
        """Return the peaks that are reached from the best of all shifts."""
        small = self._overlap.small(self._frame)
        scale = self._frame.shape[1] / small.shape[1]
        found = self._overlap.search().best(small, None, n_shifts)
        step = 1 << max(0, math.ceil(math.log2(scale)))
        return [self.climb(Shift(scale * one.dx, scale * one.dy, one.correlation, one.share), step) for one in found]
