"""Masks, noise and smoothing beside what other libraries compute from the same pixels.

OpenCV and scikit-image correlate whole pictures with one template, and here one window with one template. So they are
asked pixel by pixel, for the window around it as the border option makes it.
"""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from oracle import FLAT_FRAME, FLAT_REFERENCE, MASKED, VALID
from scipy import ndimage
from strategies import DTYPES, INTEGER_KINDS, integer_picture, masks, shapes
from tolerances import INTEGER, OPENCV, assert_maps_close, promised

from framencc import Reference, local_ncc

ANY_SHARE = 1e-9  # min_valid_fraction: one pixel is enough


def make_pair(kind: str = "random", shape: tuple[int, ...] = (20, 24), seed: int = 3) -> list[np.ndarray]:
    """Two 8-bit pictures that agree in most pixels."""
    rng = np.random.default_rng(seed)
    reference, other = (integer_picture(kind, np.uint8, shape, rng) for _ in range(2))
    return [reference, np.where(rng.random(shape) < 0.7, reference, other)]


def window(picture: np.ndarray, y: int, x: int, radius: int, border: str) -> np.ndarray:
    """Cut out what surrounds a pixel, as the border option says."""
    if border == "reflect":
        around = [(radius, radius), (radius, radius)] + [(0, 0)] * (picture.ndim - 2)
        return np.pad(picture, around, mode="symmetric")[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
    return picture[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]


@pytest.mark.parametrize("border", ["shrink", "reflect"])
@pytest.mark.parametrize("radius", [1, 4, 9])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_opencv_match_template_agrees_at_single_masked_windows(dtype: type, radius: int, border: str):
    import cv2

    reference, frame = (picture.astype(dtype) for picture in make_pair())
    mask = np.random.default_rng(4).random(reference.shape) < 0.6
    options = {"border": border, "mask": mask, "min_valid_fraction": ANY_SHARE}
    rho, validity = local_ncc(reference, frame, radius, return_validity=True, **options)
    points = np.argwhere(validity == VALID)[::7]
    assert len(points) > 20
    for y, x in points:
        patches = [np.ascontiguousarray(window(picture, y, x, radius, border)) for picture in (frame, reference)]
        use = window(mask, y, x, radius, border).astype(dtype)
        found = cv2.matchTemplate(*patches, cv2.TM_CCOEFF_NORMED, mask=use)
        assert_maps_close(rho[y : y + 1, x : x + 1], found.astype(np.float64), OPENCV)


@given(
    st.data(),
    st.sampled_from(INTEGER_KINDS),
    shapes(16),
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.sampled_from(["shrink", "reflect"]),
)
def test_scikit_image_masked_correlation_agrees_at_single_windows(data, kind, shape, seed, radius, border):
    # There is no public way to it: phase_cross_correlation tells only where it is largest. 8 bits, because its sums
    # are rounded and not centred.
    from skimage.registration._masked_phase_cross_correlation import cross_correlate_masked

    pair = make_pair(kind, shape, seed)
    own = [data.draw(masks(shape)) > 0 for _ in pair]
    prepared = Reference(pair[0], radius, border=border, mask=own[0], min_valid_fraction=ANY_SHARE)
    rho, validity = prepared.ncc(pair[1], mask=own[1], return_validity=True)
    usable = np.argwhere(own[0] & own[1])
    assert np.count_nonzero(validity != MASKED) == len(usable)
    for y, x in usable[:: 1 + len(usable) // 8]:
        cut = [window(array, y, x, radius, border) for array in (*pair, *own)]
        both = cut[2] & cut[3]
        if validity[y, x] != VALID:
            flat = cut[0] if validity[y, x] == FLAT_REFERENCE else cut[1]
            assert validity[y, x] in (FLAT_REFERENCE, FLAT_FRAME)
            assert np.ptp(flat[both]) == 0
            continue
        arrays = [cut[0].astype(np.float64), cut[1].astype(np.float64), *cut[2:]]
        found = cross_correlate_masked(*arrays, mode="full", overlap_ratio=0.0)
        height, width = both.shape
        unshifted = found[height - 1 : height, width - 1 : width]
        assert_maps_close(rho[y : y + 1, x : x + 1], unshifted, INTEGER)


@pytest.mark.parametrize("flat", [0.0, 1.0, -0.3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_corrcoef_agrees_when_the_noise_is_given_to_it_as_pixels(dtype: type, channels: int, flat: float):
    # Four more samples, of mean 0 and energy C n s^2 in both pictures, that correlate like the prior.
    noise_sigma, radius = 20.0, 3
    pair = [picture.astype(dtype) for picture in make_pair("blocks", (14, 15, channels))]
    mask = np.random.default_rng(4).random((14, 15)) < 0.7
    options = {"noise_sigma": noise_sigma, "flat": flat, "mask": mask, "channel": "joint", "fill": math.nan}
    rho, validity = local_ncc(*pair, radius, min_valid_fraction=ANY_SHARE, return_validity=True, **options)
    one, other = np.array([1, -1, 1, -1]) / 2, np.array([1, 1, -1, -1]) / 2
    expected = np.full(mask.shape, np.nan)
    for y, x in np.argwhere(mask):
        use = window(mask, y, x, radius, "shrink")
        r, f = (window(picture, y, x, radius, "shrink")[use].astype(np.float64) for picture in pair)
        length = noise_sigma * math.sqrt(channels * len(r))
        more_r, more_f = length * one, length * (flat * one + math.sqrt(1 - flat**2) * other)
        samples = [np.append(p - p.mean(axis=0), more) for p, more in ((r, more_r), (f, more_f))]
        expected[y, x] = np.corrcoef(*samples)[0, 1]
    np.testing.assert_array_equal(validity == VALID, mask)
    assert_maps_close(rho, expected, promised(*pair))


@pytest.mark.parametrize("smooth_sigma", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("flat", [0.5, math.nan])
def test_scipy_gaussian_filter_agrees_with_smoothing(flat: float, smooth_sigma: float):
    shape = (150, 170)
    reference, frame = make_pair("blocks", shape)
    reference[40:70, 50:90] = 7
    mask = np.random.default_rng(4).random(shape) < 0.8
    options = {"border": "valid", "flat": flat, "fill": -9.0, "mask": mask, "return_validity": True}
    rough, validity = local_ncc(reference, frame, [2, 3], **options)
    smooth, same_validity = local_ncc(reference, frame, [2, 3], smooth_sigma=smooth_sigma, **options)
    part = validity <= (VALID if math.isnan(flat) else FLAT_FRAME)
    assert np.count_nonzero(validity == FLAT_REFERENCE) > 100
    assert np.count_nonzero(~part) > 1000

    def spread(values: np.ndarray) -> np.ndarray:
        taken = np.where(part, values, 0).astype(np.float64)
        return ndimage.gaussian_filter(taken, smooth_sigma, mode="constant", radius=math.ceil(3 * smooth_sigma))

    expected = np.where(part, spread(rough) / np.where(part, spread(np.ones(shape)), 1), rough)
    np.testing.assert_array_equal(same_validity, validity)
    assert_maps_close(smooth, expected, INTEGER)
