"""Nothing is timed before it has been shown to compute the right map.

The judge is float64 sums by SciPy. Recipes cut windows off at the picture's edge in different ways, so the windows
compared are those inside it. A recipe that subtracts squares in float32 loses what a window's contrast is below its
brightness, so only windows with a standard deviation of 2 / 255 of white or more in both pictures count there.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.pictures import Picture, full_scale

EXACT_TOLERANCE = 1e-5
FLOAT32_TOLERANCE = 1e-2
CONTRAST = 2 / 255


@dataclass(frozen=True)
class Judge:
    """What the windows inside the picture hold, in float64."""

    radius: int
    rho: npt.NDArray[np.float64]
    similarity: npt.NDArray[np.float64]
    textured: npt.NDArray[np.bool_]

    def check(self, name: str, result: Picture, *, tolerance: float, is_similarity: bool = False) -> None:
        """Refuse a map that is further off than `tolerance` anywhere it counts."""
        expected = self.similarity if is_similarity else self.rho
        error = np.abs(inside(result, self.radius) - expected)
        counts = self.textured if tolerance > EXACT_TOLERANCE else np.ones_like(self.textured)
        if not counts.any():
            raise AssertionError(f"{name}, radius {self.radius}: no window has enough contrast for a comparison")
        worst = error[counts].max()
        # Written so that a NaN is refused too.
        if not worst <= tolerance:
            raise AssertionError(f"{name}, radius {self.radius}: off by {worst:.3g}, at most {tolerance:g} is expected")


def make_judge(
    reference: Picture, frame: Picture, radius: int, *, constants: tuple[float, float] = (0.0, 0.0)
) -> Judge:
    """Take the correlation and SSIM (Wang et al. 2004, equation 12; its constants K1 and K2 as given)."""
    from scipy.ndimage import uniform_filter

    x, y = reference.astype(np.float64), frame.astype(np.float64)

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return inside(uniform_filter(values, 2 * radius + 1), radius)

    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    rho = covariance / np.sqrt(variance_x * variance_y)
    white = full_scale(str(reference.dtype))
    c1, c2 = ((constant * white) ** 2 for constant in constants)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    least = (CONTRAST * white) ** 2
    return Judge(radius, rho, luminance * structure, (variance_x >= least) & (variance_y >= least))


def inside(values: Picture, radius: int) -> Picture:
    """The part of a map whose windows lie in the picture."""
    return values[radius:-radius, radius:-radius]
