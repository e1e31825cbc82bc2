"""How well two pictures agree where they overlap, for every whole-pixel shift of one against the other.

Padfield, "Masked Object Registration in the Fourier Domain", IEEE TIP 21(5), 2012: the normalised correlation of the
overlap alone, which knows no wrap-around and no edge.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

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
        The overlap's share of the smaller of the two areas that count.
    """

    dx: int
    dy: int
    correlation: float
    share: float

    @property
    def score(self) -> float:
        """Agreement that pays for a small overlap, in which chance agrees more easily."""
        return self.correlation * math.sqrt(self.share)


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
