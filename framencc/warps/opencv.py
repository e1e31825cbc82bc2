"""The one door to OpenCV, which is an optional extra."""

from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.errors import MissingExtraError

Gray = npt.NDArray[np.float32]

# Where a view holds less contrast than this share of full scale, it is not stretched any further.
_LEAST_CONTRAST = 0.015
_GAIN, _MIDDLE = 40.0, 128.0


def import_cv2(method: str) -> Any:
    """Import OpenCV.

    Raises
    ------
    MissingExtraError
        With the command that installs it.
    """
    try:
        import cv2  # noqa: PLC0415  (an optional extra)
    except ImportError:
        raise MissingExtraError(
            f'warp.method = {method} needs OpenCV; install it with: pip install "framencc[opencv]"'
        ) from None
    return cv2


def to_eight_bits(cv2: Any, gray: Gray, sigma: float, full_scale: float) -> npt.NDArray[np.uint8]:
    """Turn a view into the 8-bit picture that OpenCV's estimators take.

    Parameters
    ----------
    cv2
        OpenCV.
    gray
        (H, W) float32.
    sigma
        Standard deviation in pixels of the Gaussian of the local normalisation
        128 + 40 (I - mean) / sqrt(variance + c^2), c = 1.5 % of full scale, mean and variance weighted by the Gaussian;
        it takes away gain and offset that differ between the pictures, also where they change slowly across them.
        0: none, only the range becomes 0 to 255.
    full_scale
        The value that stands for white.
    """
    unit = gray * np.float32(255.0 / full_scale)
    if sigma > 0:
        centred = unit - cv2.GaussianBlur(unit, (0, 0), sigma)
        variance = cv2.GaussianBlur(centred * centred, (0, 0), sigma)
        unit = _MIDDLE + _GAIN * centred / np.sqrt(variance + np.float32((255 * _LEAST_CONTRAST) ** 2))
    eight_bits: npt.NDArray[np.uint8] = np.clip(np.rint(unit), 0, 255).astype(np.uint8)
    return eight_bits
