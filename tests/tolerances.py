"""The one tolerance policy: what may differ, by how much, and why. Tests state no other numbers of their own.

Validity codes, fill values, inputs and anything promised bit for bit must be equal; only correlations and interpolated
samples have a tolerance.
"""

import numpy as np

# The promises of docs/definition.md against the float64 oracle. Rounding the result to float32 takes 6e-8 of them.
INTEGER = 1e-6
FLOAT = 1e-5
# FLOAT is promised where the standard deviation in the window is at least this share of its mean.
SMALLEST_SIGMA = 1e-3
# OpenCV's matchTemplate takes its sums partly in float32, so it, not framencc, sets this distance.
OPENCV = 1e-4
# Sampling, as shares of full scale. The first is the promise; float32 weights and sums take a thousandth of it.
SAMPLING = 1e-4
SAMPLING_ROUNDING = 1e-6
# OpenCV up to 4 takes positions to 1/32 px, half of that being the error, along both axes; 5 is exact. And its results
# are rounded to the codes of the input.
OPENCV_POSITIONS = 2 / 64


def promised(*pictures: np.ndarray) -> float:
    """Tell how near the oracle the map of these pictures must be."""
    return INTEGER if all(picture.dtype.kind == "u" for picture in pictures) else FLOAT


def assert_maps_close(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Check a float32 map: same shape, nan at the same places, and everywhere else within the tolerance."""
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected), err_msg="nan at different places")
    error = np.abs(actual.astype(np.float64) - expected)
    error[np.isnan(expected)] = 0
    worst = error.max(initial=0)
    place = tuple(int(i[0]) for i in np.nonzero(error == worst)) if worst > 0 else None
    assert worst <= tolerance, (
        f"off by {worst:.3g} at {place}: {actual[place]!r}, expected {expected[place]!r}; "
        f"{np.count_nonzero(error > tolerance)} of {error.size} pixels are off by more than {tolerance:g}"
    )


def assert_twins_close(first: np.ndarray, second: np.ndarray, tolerance: float) -> None:
    """Check two maps of ours that equal one and the same true map: each may be off by the tolerance."""
    assert_maps_close(first, second.astype(np.float64), 2 * tolerance)


def assert_same_bits(first: np.ndarray, second: np.ndarray) -> None:
    """Check that two arrays are equal bit for bit, nan and the sign of zero included."""
    assert first.dtype == second.dtype
    assert first.shape == second.shape
    assert first.tobytes() == second.tobytes(), f"{np.count_nonzero(first != second)} values differ"


def assert_samples_close(actual: np.ndarray, expected: np.ndarray, full_scale: float, tolerance: float) -> None:
    """Check samples in the codes of their picture, `tolerance` being a share of full scale."""
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected), err_msg="nan at different places")
    error = np.abs(actual - expected)
    worst = np.max(error[~np.isnan(expected)], initial=0)
    assert worst <= tolerance * full_scale, f"off by {worst / full_scale:.3g} of full scale, not {tolerance:g}"
