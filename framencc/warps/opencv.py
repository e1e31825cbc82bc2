"""The one door to OpenCV, which is an optional extra."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.errors import MissingExtraError
from framencc.frames import Use, frozen
from framencc.kernels.launch import count_bands, launch
from framencc.kernels.normalisation import MIDDLE, normalise
from framencc.sampling import area_mean

Gray = npt.NDArray[Any]  # uint8, uint16 or float32
Levels = tuple[float, float]

# Where a view holds less contrast than this share of full scale, it is not stretched any further.
_LEAST_CONTRAST = 0.015
_GAIN = np.float32(40.0)
_SMALL_SIGMA = 4.0


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


@contextlib.contextmanager
def opencv_threads(cv2: Any, threads: int | None) -> Iterator[None]:
    """Let OpenCV use so many threads for a while; None leaves its setting, which is the process's own, alone."""
    if threads is None:
        yield
        return
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def common_codes(gray: Gray, levels: Levels | None) -> Gray:
    """Bring a view to 0 ... 255, black to white.

    Floats can have any unit and any zero. Of them the darkest hundredth is black and the brightest white, so that a
    constant that is added to all pixels, or a factor, changes nothing.
    """
    if levels is None:
        black, white = (float(value) for value in np.percentile(gray[::4, ::4], (1, 99)))
        if not white > black:
            black, white = float(gray.min()), float(gray.max())
    else:
        black, white = levels
    codes: Gray = (gray - np.float32(black)) * np.float32(255.0 / ((white - black) or 1.0))
    return codes


def to_eight_bits(
    cv2: Any, gray: Gray, sigma: float, levels: Levels | None, threads: int, use: Use | None = None
) -> npt.NDArray[np.uint8]:
    """Turn a view into the 8-bit picture that OpenCV's estimators take.

    Parameters
    ----------
    cv2
        OpenCV.
    gray
        (H, W) uint8, uint16 or float32.
    sigma
        Standard deviation in pixels of the Gaussian of the local normalisation
        128 + 40 (I - mean) / sqrt(variance + c^2), c = 1.5 % of full scale, mean and variance weighted by the Gaussian;
        it takes away gain and offset that differ between the pictures, also where they change slowly across them.
        0: none, only black and white become 0 and 255.
    levels
        The values of black and white, whose distance is full scale; None for floats: see `common_codes`.
    threads
        Threads to use.
    use
        (H, W) bool, the pixels that count for mean and variance; None: all.
    """
    if levels is None:
        gray, levels = common_codes(gray, None), (0.0, 255.0)
    black, white = levels
    unit = np.float32(255.0 / (white - black))
    eight_bits: npt.NDArray[np.uint8] = np.empty(gray.shape, np.uint8)
    if sigma == 0:
        mean, gain = (np.full((1, gray.shape[1]), value, np.float32) for value in (MIDDLE + unit * black, 1))
    else:
        mean, gain = _local_statistics(cv2, gray, unit, sigma, threads, use)
    n_bands = count_bands(len(gray), threads)
    launch(normalise, threads, frozen(gray), unit, frozen(mean), frozen(gain), n_bands, eight_bits)
    return eight_bits


def _local_statistics(
    cv2: Any, gray: Gray, unit: np.float32, sigma: float, threads: int, use: Use | None
) -> tuple[Gray, Gray]:
    """Return the local mean, and 40 over the local contrast: of all columns, but of fewer rows."""
    height, width = gray.shape
    # Both are smooth, so they are found on a picture in which sigma is a few pixels: at full size a Gaussian of 40
    # pixels takes ten times as long as the flow itself. For the same reason their rows suffice for those between.
    factor = max(1.0, sigma / _SMALL_SIGMA)
    shape = (math.ceil(height / factor), math.ceil(width / factor))
    moments: tuple[Gray, Gray] = (np.empty(shape, np.float32), np.empty(shape, np.float32))
    given = gray if use is None else np.where(use, gray, np.float32(0))
    area_mean(given[np.newaxis], moments[0], threads, squares=moments[1])
    small, squares = (cv2.GaussianBlur(picture, (0, 0), sigma / factor) for picture in moments)
    if use is not None:
        used = np.empty(shape, np.float32)
        area_mean(use.view(np.uint8)[np.newaxis], used, threads)
        share = np.maximum(cv2.GaussianBlur(used, (0, 0), sigma / factor), np.float32(1e-6))
        small, squares = small / share, squares / share
    small *= unit
    variance = np.maximum(unit * unit * squares - small * small, np.float32(0))
    steepness = _GAIN / np.sqrt(variance + np.float32((255 * _LEAST_CONTRAST) ** 2))
    mean, gain = (
        cv2.resize(picture, (width, shape[0]), interpolation=cv2.INTER_LINEAR) for picture in (small, steepness)
    )
    return mean, gain
