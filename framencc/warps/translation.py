"""Method ``translation``: sub-pixel phase correlation, the reference's spectrum computed once.

Guizar-Sicairos, Thurman and Fienup, "Efficient subpixel image registration algorithms", Optics Letters 33, 2008, as
scikit-image's phase_cross_correlation has it. The spectrum's phase alone decides, so gain and offset of either picture
do not matter.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import fft
from skimage.registration import phase_cross_correlation

from framencc.errors import WarpError
from framencc.frames import Frame, Picture
from framencc.spec.warp import WarpSpec
from framencc.warps.base import Warp, WarpMethod
from framencc.warps.overlap import Overlap, OverlapPair, Shift
from framencc.warps.views import View, require_texture

Spectrum = npt.NDArray[np.complex64]
Plane = npt.NDArray[np.float32]

_SIGNIFICANT = 4.0
_N_SHIFTS = 4  # that a search over all shifts follows
# Scores (correlation times the root of the overlap's share): what no phases vouch for needs the first.
_TRUSTED = 0.6
_LEAST = 0.2
_SAME = 0.1  # pixels
_MUCH_LESS = 0.6
_NO_DOUBT = 0.1


class TranslationMethod(WarpMethod):
    """Finds one shift for the whole picture.

    Parameters
    ----------
    spec
        The options.
    view
        What of a picture is looked at.
    reference
        (H, W) or (3, H, W) reference.
    """

    def __init__(self, spec: WarpSpec, view: View, reference: Picture) -> None:
        self._upsample_factor = spec.upsample_factor
        self._view = view
        self._window: Plane | None = None
        if spec.window == "hann":
            height, width = view.shape
            self._window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)
        plane = self._plane(reference, "reference")
        self._reference = self._spectrum(plane)
        self._overlap = Overlap(plane, threads=view.threads)

    def estimate(self, frame: Frame, previous: Warp | None) -> Warp:  # noqa: ARG002  (each frame stands alone)
        """Find the shift; see `WarpMethod.estimate`."""
        plane = self._plane(frame.data, "frame")
        spectrum = self._spectrum(plane)
        # The error that comes with it is of the amplitudes, which phase correlation has set aside.
        shift, _, _ = phase_cross_correlation(
            self._reference, spectrum, space="fourier", upsample_factor=self._upsample_factor
        )
        if not np.isfinite(shift).all():
            raise WarpError("phase correlation found no translation")
        # It comes as float32, and means a multiple of the step. scikit-image names the shift that the frame would have
        # to make; a pixel is fetched from the other side.
        dy, dx = (-float(value) / self._upsample_factor for value in np.rint(shift * self._upsample_factor))
        peak = _phase_peak(self._reference, spectrum, (dx, dy))
        # The largest of N values of unrelated pictures is about sqrt(ln N / N).
        significant = peak**2 >= _SIGNIFICANT * math.log(spectrum.size) / spectrum.size
        found = self._confirmed(self._overlap.with_frame(plane), dx, dy, significant)
        if (found.dx - dx) % self._view.shape[1] or (found.dy - dy) % self._view.shape[0]:
            peak = _phase_peak(self._reference, spectrum, (found.dx, found.dy))
        matrix = np.eye(3)
        matrix[:2, 2] = found.dx, found.dy
        matrix = self._view.to_full_size(matrix)
        report = {
            "dx": float(matrix[0, 2]),
            "dy": float(matrix[1, 2]),
            "phase_correlation_error": math.sqrt(max(0.0, 1.0 - min(1.0, peak) ** 2)),
            "overlap_correlation": found.correlation,
        }
        return Warp(matrix=matrix, report=report)

    def _confirmed(self, pair: OverlapPair, dx: float, dy: float, significant: bool) -> Shift:
        """Compare the shift that the phases name with others by how well the overlap agrees; return the right one.

        Raises
        ------
        WarpError
            When there is none.
        """
        height, width = self._view.shape
        # Phases do not tell a shift from one that is a whole picture longer.
        named = max(
            (pair.at(x, y) for x in _complements(dx, width) for y in _complements(dy, height)),
            key=lambda shift: shift.score,
        )
        best = self._better(named, pair.climb(named, 1))
        if not (significant and best is named and named.score >= _TRUSTED):
            for shift in pair.search(_N_SHIFTS):
                best = self._better(best, shift)
        least = _LEAST if significant and best is named else _TRUSTED
        agrees = best.score >= least or best.doubt <= _NO_DOUBT
        if not (agrees and pair.is_peak(best)):
            raise WarpError(
                "phase correlation found no translation: frame and reference have too little in common (at best a "
                f"correlation of {best.correlation:.2f} on {best.share:.0%} of the picture)"
            )
        return best

    @staticmethod
    def _better(one: Shift, other: Shift) -> Shift:
        """Return the first shift unless the second is another one and leaves much less unexplained."""
        near = abs(one.dx - other.dx) <= _SAME and abs(one.dy - other.dy) <= _SAME
        return one if near or other.doubt > _MUCH_LESS * one.doubt else other

    def _plane(self, picture: Picture, name: str) -> Plane:
        # Without its mean the picture's edges are smaller steps, and a picture without texture is all zero.
        gray = self._view.gray(picture)
        require_texture(gray, name)
        centred: Plane = gray - gray.mean(dtype=np.float64).astype(np.float32)
        # A power of two changes no bit of what follows, but products of spectra stay within float32 in any unit.
        _, exponent = np.frexp(np.abs(centred).max())
        scaled: Plane = np.ldexp(centred, -exponent)
        return scaled

    def _spectrum(self, plane: Plane) -> Spectrum:
        spectrum: Spectrum = fft.fft2(
            plane if self._window is None else plane * self._window, workers=self._view.threads
        )
        return spectrum


def _complements(shift: float, size: int) -> tuple[float, float]:
    return shift, shift - math.copysign(size, shift)


def _phase_peak(reference: Spectrum, frame: Spectrum, shift: tuple[float, float]) -> float:
    """Return the phase correlation at the shift (dx, dy): 1 for equal, nearly 0 for unrelated pictures."""
    product = reference * frame.conj()
    magnitude = np.abs(product)
    phases = np.divide(product, magnitude, out=np.zeros_like(product), where=magnitude > 0)
    across, down = (
        np.exp(-2j * np.pi * distance * fft.fftfreq(size)).astype(phases.dtype)
        for distance, size in zip(shift, reversed(phases.shape), strict=True)
    )
    return float(np.abs(down @ phases @ across)) / max(1, int(np.count_nonzero(magnitude)))
