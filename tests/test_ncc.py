"""local_ncc and Reference on chosen pictures: accuracy, determinism, what is accepted and what is refused."""

import math
import re

import numpy as np
import pytest
from oracle import FLAT_FRAME, FLAT_REFERENCE, OUTSIDE, VALID, oracle, oracle_at
from scipy import ndimage
from skimage.feature import match_template
from strategies import BORDERS, DTYPES, LAYOUTS, float_pictures, integer_picture, with_layout
from tolerances import (
    FLOAT,
    INTEGER,
    OPENCV,
    assert_maps_close,
    assert_same_bits,
    promised,
)

from framencc import Reference, local_ncc

REFUSED = (TypeError, ValueError)


def make_pair(dtype: type, shape: tuple[int, int] = (20, 24), kind: str = "random") -> tuple[np.ndarray, np.ndarray]:
    """Two pictures that agree in most pixels."""
    rng = np.random.default_rng(11)
    if dtype == np.float32:
        reference, other = float_pictures("steps", shape, rng)
    else:
        reference, other = (integer_picture(kind, dtype, shape, rng) for _ in range(2))
    return reference, np.where(rng.random(shape) < 0.7, reference, other)


def assert_agrees_at(pair: tuple[np.ndarray, np.ndarray], radius: int, n_points: int, border: str = "shrink") -> None:
    """Check the corners and some points inside against the oracle."""
    height, width = pair[0].shape
    rng = np.random.default_rng(radius)
    points = [(int(y), int(x)) for y, x in rng.integers(0, (height, width), (n_points, 2))]
    points += [(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1), (height // 2, width // 2)]
    expected, codes = oracle_at(*pair, points, radius, border=border)
    rho, validity = local_ncc(*pair, radius, border=border, return_validity=True)
    rows, columns = np.transpose(points)
    assert_same_bits(validity[rows, columns], codes)
    assert_maps_close(rho[rows, columns], expected, promised(*pair))


# ---- accuracy


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("radius", [1, 2, 3, 5, 8, 15, 16, 17, 31])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_radius_agrees_with_the_oracle(dtype: type, radius: int, border: str):
    assert_agrees_at(make_pair(dtype, (70, 75)), radius, 12, border)


@pytest.mark.parametrize("kind", ["saturated", "bright", "checkerboard", "one outlier"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("radius", [1, 3, 31])
def test_extreme_integers_agree_with_the_oracle(dtype: type, kind: str, radius: int):
    assert_agrees_at(make_pair(dtype, (65, 80), kind), radius, 12)


@pytest.mark.parametrize("kind", ["bright", "random"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_radius_agrees_with_the_oracle(dtype: type, kind: str):
    # 255 x 255 samples near 65535 exceed what n * Sxy - Sx * Sy can hold in 64 bits.
    assert_agrees_at(make_pair(dtype, (260, 258), kind), 127, 2)


@pytest.mark.parametrize("border", ["shrink", "reflect"])
@pytest.mark.parametrize("radius", [1, 2, 3, 4, 7, 31])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_large_picture_agrees_everywhere_with_the_uniform_filter_recipe(dtype: type, radius: int, border: str):
    # scipy's "reflect" is numpy's "symmetric". Large enough for any tiling to show its seams.
    reference, frame = make_pair(dtype, (431, 1203))
    mode = {"shrink": "constant", "reflect": "reflect"}[border]
    inside = ndimage.uniform_filter(np.ones(frame.shape), 2 * radius + 1, mode=mode)

    def mean(values: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(values, 2 * radius + 1, mode=mode) / inside

    r, f = reference.astype(np.float64), frame.astype(np.float64)
    mean_r, mean_f = mean(r), mean(f)
    covariance = mean(r * f) - mean_r * mean_f
    expected = covariance / np.sqrt((mean(r * r) - mean_r**2) * (mean(f * f) - mean_f**2))
    assert_maps_close(local_ncc(reference, frame, radius, border=border), expected, promised(reference))


def test_scikit_image_match_template_agrees_at_single_windows():
    reference, frame = make_pair(np.uint8)
    rho = local_ncc(reference, frame, 4)
    for y, x in [(4, 4), (10, 12), (15, 19)]:
        window = np.s_[y - 4 : y + 5, x - 4 : x + 5]
        found = match_template(frame[window].astype(np.float64), reference[window].astype(np.float64))
        assert_maps_close(rho[y : y + 1, x : x + 1], found, INTEGER)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_opencv_match_template_agrees_at_single_windows(dtype: type):
    import cv2

    reference, frame = make_pair(np.uint8)
    rho = local_ncc(reference.astype(dtype), frame.astype(dtype), 4)
    for y, x in [(4, 4), (10, 12), (15, 19)]:
        patches = [np.ascontiguousarray(p[y - 4 : y + 5, x - 4 : x + 5], dtype) for p in (frame, reference)]
        found = cv2.matchTemplate(*patches, cv2.TM_CCOEFF_NORMED)
        assert_maps_close(rho[y : y + 1, x : x + 1], found.astype(np.float64), OPENCV)


@pytest.mark.parametrize("spike", [1e4, 1e12, -3e30])
def test_a_float_spike_does_not_harm_windows_that_do_not_hold_it(spike: float):
    # Sums that run across the picture would carry the spike's rounding error into every later window.
    reference, frame = make_pair(np.float32, (90, 100))
    reference[2, 3] = frame[2, 3] = reference[40, 50] = spike
    frame[60:80, 20:60] = 0.1
    expected, codes = oracle(reference, frame, 2)
    rho, validity = local_ncc(reference, frame, 2, return_validity=True)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, FLOAT)


# ---- flat windows and validity


@pytest.mark.parametrize("flat", [0.0, 1.0, -1.0, 0.3, math.nan])
@pytest.mark.parametrize("dtype", DTYPES)
def test_flat_windows_hold_flat_and_say_which_picture_is_flat(dtype: type, flat: float):
    textured = make_pair(dtype, (9, 9))[0]
    constant = np.full((9, 9), 0.1 if dtype == np.float32 else 77, dtype)
    for pair, code in (
        ((constant, textured), FLAT_REFERENCE),
        ((textured, constant), FLAT_FRAME),
        ((constant, constant), FLAT_REFERENCE),
    ):
        rho, validity = local_ncc(*pair, 2, flat=flat, return_validity=True)
        assert_same_bits(validity, np.full((9, 9), code, np.uint8))
        assert_same_bits(rho, np.full((9, 9), flat, np.float32))


def test_floats_are_flat_up_to_rounding_noise():
    textured, checkers = make_pair(np.float32, (7, 7))[0], np.indices((7, 7)).sum(axis=0) % 2
    for ulps, code in ((1, FLAT_FRAME), (26, VALID)):  # the bound lies at six units in the last place
        frame = (0.75 + ulps * 2.0**-24 * checkers).astype(np.float32)
        _, validity = local_ncc(textured, frame, 3, return_validity=True)
        assert validity[3, 3] == code


@pytest.mark.parametrize("level", [0.1, 1e4 / 3, -4e11])
def test_rounding_noise_of_constant_floats_does_not_count_against_the_noise_model(level: float):
    # The true sums are 0, so that the prior decides however small noise_sigma is; what rounding leaves must not.
    constant, textured = np.full((9, 9), level, np.float32), make_pair(np.float32, (9, 9))[0]
    for radius in (1, 2, 4):
        for border in BORDERS:
            options = {"border": border, "flat": 0.5, "fill": 0.5, "noise_sigma": max(1e-6, 1e-9 * abs(level))}
            rho = local_ncc(constant, constant, radius, **options)
            assert_maps_close(rho, np.full((9, 9), 0.5), FLOAT)
            for pair in ((constant, textured), (textured, constant)):
                expected, _ = oracle(*pair, radius, **options)
                assert_maps_close(local_ncc(*pair, radius, **options), expected, FLOAT)


@pytest.mark.parametrize("fill", [0.0, -2.5, 1e6, math.nan])
def test_valid_border_fills_what_is_outside(fill: float):
    rho, validity = local_ncc(*make_pair(np.uint8), 3, border="valid", fill=fill, return_validity=True)
    inside = np.zeros(rho.shape, bool)
    inside[3:-3, 3:-3] = True
    np.testing.assert_array_equal(validity, np.where(inside, VALID, OUTSIDE))
    np.testing.assert_array_equal(rho[~inside], np.float32(fill))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3)])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_pictures_smaller_than_the_window_agree_with_the_oracle(dtype: type, border: str, shape: tuple[int, int]):
    pair = make_pair(dtype, shape)
    expected, codes = oracle(*pair, 5, border=border)
    rho, validity = local_ncc(*pair, 5, border=border, return_validity=True)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


# ---- determinism and state


@pytest.mark.parametrize("noise_sigma", [0.0, 2.0])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_changes_no_bit(dtype: type, border: str, noise_sigma: float):
    pair = make_pair(dtype, (301, 407))
    one, two, four = (local_ncc(*pair, 3, border=border, noise_sigma=noise_sigma, threads=n) for n in (1, 2, 4))
    assert_same_bits(two, one)
    assert_same_bits(four, one)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_reference_gives_the_same_bits_as_the_function_whatever_came_before(dtype: type):
    image, frame = make_pair(dtype, (50, 60))
    prepared = Reference(image, 3)
    expected = local_ncc(image, frame, 3, return_validity=True)
    for earlier in (
        frame,
        make_pair(np.uint8, (50, 60))[0],
        np.full((50, 60), 1e9, np.float32),
        np.zeros_like(frame),
    ):
        prepared.ncc(earlier)
        rho, validity = prepared.ncc(frame, return_validity=True)
        assert_same_bits(rho, expected[0])
        assert_same_bits(validity, expected[1])


def test_earlier_results_survive_later_calls():
    image, frame = make_pair(np.uint8)
    prepared = Reference(image, 2)
    rho, validity = prepared.ncc(frame, return_validity=True)
    kept = rho.copy(), validity.copy()
    prepared.ncc(np.zeros_like(frame), return_validity=True)
    assert_same_bits(rho, kept[0])
    assert_same_bits(validity, kept[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_reference_does_not_follow_later_changes_of_its_picture(dtype: type):
    image, frame = make_pair(dtype)
    expected = local_ncc(image, frame, 2)
    reused = image.copy()
    prepared = Reference(reused, 2)
    reused[...] = 0
    assert_same_bits(prepared.ncc(frame), expected)


def test_out_is_filled_with_the_same_bits_and_returned():
    image, frame = make_pair(np.uint8)
    expected = local_ncc(image, frame, 2)
    for call in (lambda out: local_ncc(image, frame, 2, out=out), lambda out: Reference(image, 2).ncc(frame, out=out)):
        out = np.full(image.shape, np.nan, np.float32)
        assert call(out) is out
        assert_same_bits(out, expected)
    out = np.full(image.shape, np.nan, np.float32)
    rho, validity = local_ncc(image, frame, 2, out=out, return_validity=True)
    assert rho is out
    assert validity.dtype == np.uint8
    assert_same_bits(out, expected)


@pytest.mark.parametrize("which", [0, 1])
def test_out_that_is_an_input_is_refused_or_harmless(which: int):
    pair = make_pair(np.float32)
    expected = local_ncc(*pair, 2)
    own = [pair[0].copy(), pair[1].copy()]
    refusal = None
    try:
        rho = local_ncc(*own, 2, out=own[which])
    except ValueError as error:
        rho, refusal = expected, str(error)
    assert_same_bits(rho, expected)
    assert_same_bits(own[1 - which], pair[1 - which])
    if refusal is not None:
        assert "out" in refusal
        assert_same_bits(own[which], pair[which])


# ---- what is accepted


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_memory_layout_gives_the_same_bits(dtype: type, layout: str):
    pair = make_pair(dtype)
    views = [with_layout(picture, layout) for picture in pair]
    assert_same_bits(local_ncc(*views, 2), local_ncc(*pair, 2))
    assert_same_bits(Reference(views[0], 2).ncc(views[1]), local_ncc(*pair, 2))


def test_broadcast_views_are_accepted():
    row = make_pair(np.uint8)[0][:1]
    view = np.broadcast_to(row, (20, 24))
    assert_same_bits(local_ncc(view, view, 2), local_ncc(view.copy(), view.copy(), 2))


def test_float64_means_its_float32_rounding():
    reference, frame = (picture + np.pi for picture in make_pair(np.float32))
    assert reference.dtype == np.float32
    doubles = [reference.astype(np.float64) * (1 + 1e-9), frame.astype(np.float64) * (1 - 1e-9)]
    rounded = [picture.astype(np.float32) for picture in doubles]
    assert_same_bits(local_ncc(*doubles, 2), local_ncc(*rounded, 2))


@pytest.mark.parametrize(("first", "second"), [(a, b) for a in DTYPES for b in DTYPES if a != b])
def test_mixed_dtypes_take_the_samples_as_they_are(first: type, second: type):
    reference, frame = make_pair(first)[0], make_pair(second, kind="bright")[1]
    expected, codes = oracle(reference, frame, 2, noise_sigma=3.0)
    rho, validity = local_ncc(reference, frame, 2, noise_sigma=3.0, return_validity=True)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(reference, frame))


def test_mixed_dtypes_find_flat_windows_by_the_rule_of_each():
    floats, integers = np.full((70, 70), 0.1, np.float32), np.full((70, 70), 65535, np.uint16)
    integers[35, 35] -= 1  # far less than rounding noise would be, were it a float
    textured = make_pair(np.float32, (70, 70))[0]
    for pair, code in (((integers, textured), VALID), ((integers, floats), FLAT_FRAME), ((textured, integers), VALID)):
        _, validity = local_ncc(*pair, 35, return_validity=True)
        assert validity[35, 35] == code


@pytest.mark.parametrize("radius", [np.int64(2), np.uint8(2)])
def test_a_radius_may_be_a_numpy_integer(radius: object):
    pair = make_pair(np.uint8)
    assert_same_bits(local_ncc(*pair, radius), local_ncc(*pair, 2))


# ---- what is refused


def test_different_shapes_are_refused_by_naming_both():
    for refuse in (local_ncc, lambda image, frame: Reference(image).ncc(frame)):
        with pytest.raises(ValueError, match=r"\(4, 5\)") as refusal:
            refuse(np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8))
        assert "(5, 4)" in str(refusal.value)


@pytest.mark.parametrize("shape", [(), (5,), (2, 5, 5, 3), (5, 5, 5), (0, 5), (5, 0)])
def test_shapes_that_are_no_picture_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=re.escape(str(shape))):
        local_ncc(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=re.escape(str(shape))):
        Reference(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", ["int32", "int8", "uint32", "bool", "complex64", "float16"])
def test_other_dtypes_are_refused_by_name(dtype: str):
    good, bad = np.zeros((5, 5), np.uint8), np.zeros((5, 5), dtype)
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(REFUSED, match=dtype):
            local_ncc(*pair)


@pytest.mark.parametrize("radius", [0, -1, 128, True, 1.5, None, [], [1, 0], [2, 1.5], [True]])
def test_wrong_radii_are_refused(radius: object):
    picture = np.zeros((5, 5), np.uint8)
    with pytest.raises(REFUSED, match=r"radius|radii"):
        local_ncc(picture, picture, radius)
    with pytest.raises(REFUSED, match=r"radius|radii"):
        Reference(picture, radius)


@pytest.mark.parametrize(
    ("named", "options"),
    [
        ("border", {"border": "wrap"}),
        ("border", {"border": None}),
        ("flat", {"flat": 1.5}),
        ("flat", {"flat": -1.01}),
        ("flat", {"flat": math.inf}),
        ("flat", {"flat": math.nan, "noise_sigma": 1.0}),
        ("noise_sigma", {"noise_sigma": -1.0}),
        ("noise_sigma", {"noise_sigma": math.inf}),
        ("noise_sigma", {"noise_sigma": math.nan}),
        ("fill", {"fill": math.inf}),
    ],
)
def test_wrong_options_are_refused_by_name(named: str, options: dict):
    picture = np.zeros((5, 5), np.uint8)
    with pytest.raises(REFUSED, match=named):
        local_ncc(picture, picture, **options)
    with pytest.raises(REFUSED, match=named):
        Reference(picture, **options)


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((5, 6), np.float32),
        np.zeros((1, 5, 5), np.float32),
        np.zeros((5, 5), np.float64),
        np.zeros((5, 5), np.uint8),
        with_layout(np.zeros((5, 5), np.float32), "read-only"),
        np.zeros((5, 5), np.float32, order="F"),
        np.zeros((5, 10), np.float32)[:, ::2],
        [[0.0] * 5] * 5,
    ],
)
def test_an_out_that_is_no_contiguous_writable_float32_map_is_refused(out: np.ndarray):
    picture = np.arange(25, dtype=np.uint8).reshape(5, 5)
    with pytest.raises(REFUSED, match="out"):
        local_ncc(picture, picture, out=out)
