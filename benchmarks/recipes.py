"""What one would use instead: the same map from box filters, and scikit-image's SSIM map as a peer.

Each is given what favours it: a reference prepared once wherever it can be, float32 where that is quicker.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks.pictures import Picture, full_scale

Map = npt.NDArray[np.floating]
Recipe = Callable[[Picture], Map]


def opencv(reference: Picture, radius: int) -> Recipe:
    """ZNCC as it is usually written: five box filters a call, the rest in NumPy."""
    import cv2

    side = (2 * radius + 1, 2 * radius + 1)

    def mean(values: Picture) -> Picture:
        filtered: Picture = cv2.boxFilter(values, cv2.CV_32F, side, borderType=cv2.BORDER_REFLECT)
        return filtered

    def correlate(frame: Picture) -> Map:
        x, y = reference.astype(np.float32), frame.astype(np.float32)
        mean_x, mean_y = mean(x), mean(y)
        variance_x, variance_y = mean(x * x) - mean_x * mean_x, mean(y * y) - mean_y * mean_y
        covariance = mean(x * y) - mean_x * mean_y
        result: Map = covariance / np.sqrt(variance_x * variance_y)
        return result

    return correlate


def opencv_tuned(reference: Picture, radius: int) -> Recipe:
    """The same with the reference's share computed once, OpenCV's own arithmetic, and no allocation in a call."""
    import cv2

    side = (2 * radius + 1, 2 * radius + 1)
    x = reference.astype(np.float32)
    y, products, mean_y, variance, covariance = (np.empty_like(x) for _ in range(5))

    def mean(values: Picture, out: Picture) -> Picture:
        filtered: Picture = cv2.boxFilter(values, cv2.CV_32F, side, out, borderType=cv2.BORDER_REFLECT)
        return filtered

    mean_x = mean(x, np.empty_like(x))
    scale = 1 / np.sqrt(mean(x * x, np.empty_like(x)) - mean_x * mean_x)

    def correlate(frame: Picture) -> Map:
        np.copyto(y, frame)
        mean(y, mean_y)
        mean(cv2.multiply(y, y, products), variance)
        mean(cv2.multiply(x, y, products), covariance)
        cv2.subtract(variance, cv2.multiply(mean_y, mean_y, products), variance)
        cv2.subtract(covariance, cv2.multiply(mean_x, mean_y, products), covariance)
        cv2.multiply(covariance, scale, covariance)
        result: Map = cv2.divide(covariance, cv2.sqrt(variance, variance), covariance)
        return result

    return correlate


def scipy(reference: Picture, radius: int) -> Recipe:
    """uniform_filter, with the reference's share computed once."""
    from scipy.ndimage import uniform_filter

    side = 2 * radius + 1
    x = reference.astype(np.float32)
    mean_x = uniform_filter(x, side)
    scale = 1 / np.sqrt(uniform_filter(x * x, side) - mean_x * mean_x)

    def correlate(frame: Picture) -> Map:
        y = frame.astype(np.float32)
        mean_y = uniform_filter(y, side)
        variance = uniform_filter(y * y, side) - mean_y * mean_y
        result: Map = (uniform_filter(x * y, side) - mean_x * mean_y) * scale / np.sqrt(variance)
        return result

    return correlate


def scikit_image(reference: Picture, radius: int, **constants: float) -> Recipe:
    """The SSIM map: the same correlation times how well means and variances match. It has no way to prepare."""
    from skimage.metrics import structural_similarity

    white = full_scale(str(reference.dtype))

    def compare(frame: Picture) -> Map:
        _, similarity = structural_similarity(
            reference, frame, win_size=2 * radius + 1, data_range=white, full=True, **constants
        )
        result: Map = similarity
        return result

    return compare
