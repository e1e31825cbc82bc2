"""Method ``translation``: sub-pixel phase correlation, the reference's spectrum computed once.

Guizar-Sicairos, Thurman and Fienup, "Efficient subpixel image registration algorithms", Optics Letters 33, 2008, as
scikit-image's phase_cross_correlation has it. The spectrum's phase alone decides, so gain and offset of either picture
do not matter.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft
from skimage.registration import phase_cross_correlation

from framencc.errors import WarpError
from framencc.frames import Frame, Picture
from framencc.spec.warp import WarpSpec
from framencc.warps.base import Warp, WarpMethod
from framencc.warps.views import View, require_texture

_SIGNIFICANT = 4.0
Spectrum = npt.NDArray[np.complex64]


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
        self._window: npt.NDArray[np.float32] | None = None
        if spec.window == "hann":
            height, width = view.shape
            self._window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)
        self._reference = self._spectrum(view.gray(reference), "reference")

    def estimate(self, frame: Frame, previous: Warp | None) -> Warp:  # noqa: ARG002  (each frame stands alone)
        """Find the shift; see `WarpMethod.estimate`."""
        spectrum = self._spectrum(self._view.gray(frame.data), "frame")
        # The error that comes with it is of the amplitudes, which phase correlation has set aside.
        shift, _, _ = phase_cross_correlation(
            self._reference, spectrum, space="fourier", upsample_factor=self._upsample_factor
        )
        if not np.isfinite(shift).all():
            raise WarpError("phase correlation found no translation")
        # It comes as float32, and means a multiple of the step.
        shift = np.rint(shift * self._upsample_factor) / self._upsample_factor
        peak = _phase_peak(self._reference, spectrum, shift)
        # The largest of N values of unrelated pictures is about sqrt(ln N / N).
        if peak**2 < _SIGNIFICANT * math.log(spectrum.size) / spectrum.size:
            raise WarpError("phase correlation found no translation: frame and reference have too little in common")
        error = math.sqrt(max(0.0, 1.0 - min(1.0, peak) ** 2))
        # scikit-image names the shift that the frame would have to make; a pixel is fetched from the other side.
        matrix = np.eye(3)
        matrix[:2, 2] = -shift[1], -shift[0]
        matrix = self._view.to_full_size(matrix)
        report = {"dx": float(matrix[0, 2]), "dy": float(matrix[1, 2]), "phase_correlation_error": error}
        return Warp(matrix=matrix, report=report)

    def _spectrum(self, picture: npt.NDArray[np.float32], name: str) -> Spectrum:
        # Without its mean the picture's edges are smaller steps, and a picture without texture is all zero.
        require_texture(picture, name)
        centred = picture - picture.mean(dtype=np.float64).astype(np.float32)
        if self._window is not None:
            centred *= self._window
        spectrum: Spectrum = fft.fft2(centred, workers=self._view.threads)
        return spectrum


def _phase_peak(reference: Spectrum, frame: Spectrum, shift: npt.NDArray[Any]) -> float:
    """Return the phase correlation at the shift: 1 for equal, nearly 0 for unrelated pictures."""
    product = reference * frame.conj()
    magnitude = np.abs(product)
    phases = np.divide(product, magnitude, out=np.zeros_like(product), where=magnitude > 0)
    down, across = (
        np.exp(2j * np.pi * distance * fft.fftfreq(size)).astype(phases.dtype)
        for distance, size in zip(shift, phases.shape, strict=True)
    )
    return float(np.abs(down @ phases @ across)) / max(1, int(np.count_nonzero(magnitude)))
