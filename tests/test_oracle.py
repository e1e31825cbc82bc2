"""The oracle against numbers worked out by hand and against NumPy and SciPy."""

import math

import numpy as np
import pytest
from oracle import (
    FLAT_FRAME,
    FLAT_REFERENCE,
    MASKED,
    NOT_FINITE,
    OUTSIDE,
    TOO_FEW,
    VALID,
    encode,
    oracle,
    oracle_at,
    seed,
)
from scipy import ndimage

ROW_R = np.array([[0, 1, 2]], np.uint8)
ROW_F = np.array([[0, 2, 1]], np.uint8)


def random_pair(shape: tuple[int, ...], dtype: type = np.uint8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    reference = rng.integers(0, 256, shape)
    frame = np.where(rng.random(shape) < 0.5, reference, rng.integers(0, 256, shape))
    return reference.astype(dtype), frame.astype(dtype)


def test_three_pixels_worked_out_by_hand():
    rho, codes = oracle(ROW_R, ROW_F, 1)
    np.testing.assert_allclose(rho, [[1, 0.5, -1]], atol=1e-15)
    assert codes.tolist() == [[VALID] * 3]


@pytest.mark.parametrize(("flat", "middle"), [(0.0, 1 / 5), (1.0, 4 / 5), (-1.0, -2 / 5)])
def test_noise_term_worked_out_by_hand(flat: float, middle: float):
    rho, _ = oracle(ROW_R, ROW_F, 1, flat=flat, noise_sigma=1.0)
    assert rho[0, 1] == pytest.approx(middle, abs=1e-15)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_measured_pixels_equal_numpy_corrcoef(dtype: type):
    reference, frame = random_pair((9, 11), dtype)
    rho, _ = oracle(reference, frame, 2)
    for y, x in [(0, 0), (4, 5), (8, 3), (1, 10)]:
        window = np.s_[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
        expected = np.corrcoef(reference[window].ravel(), frame[window].ravel())[0, 1]
        assert rho[y, x] == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("radius", [1, 3, 13])
def test_reflect_equals_valid_on_a_symmetrically_padded_picture(radius: int):
    reference, frame = random_pair((4, 5))
    padded = [np.pad(picture, radius, mode="symmetric") for picture in (reference, frame)]
    inside = np.s_[radius:-radius, radius:-radius]
    rho, codes = oracle(*padded, radius, border="valid")
    reflected, reflected_codes = oracle(reference, frame, radius, border="reflect")
    np.testing.assert_array_equal(reflected, rho[inside])
    np.testing.assert_array_equal(reflected_codes, codes[inside])


def test_valid_leaves_a_frame_of_outside_pixels_at_fill():
    reference, frame = random_pair((6, 7))
    rho, codes = oracle(reference, frame, 2, border="valid", fill=-7.0)
    expected = np.full((6, 7), OUTSIDE)
    expected[2:4, 2:5] = VALID
    np.testing.assert_array_equal(codes, expected)
    assert (rho[codes == OUTSIDE] == -7.0).all()


def test_masked_pixels_are_left_out_of_every_window():
    reference, frame = random_pair((5, 5))
    mask = np.ones((5, 5), bool)
    frame_mask = np.ones((5, 5), np.float32)
    mask[0, 1], frame_mask[3, 3], frame_mask[4, 4] = False, np.nan, -1.0
    rho, codes = oracle(reference, frame, 4, mask=mask, frame_mask=frame_mask)
    keep = mask & (frame_mask > 0)
    assert rho[2, 2] == pytest.approx(np.corrcoef(reference[keep], frame[keep])[0, 1], abs=1e-13)
    np.testing.assert_array_equal(codes, np.where(keep, VALID, MASKED))


def test_the_validity_codes_come_in_their_order():
    reference, frame = random_pair((3, 9), np.float32)
    mask = np.ones((3, 9), np.uint8)
    mask[1, 0] = mask[1, 1] = 0
    frame[1, 1] = np.nan
    reference[1, 2] = np.inf
    _, codes = oracle(reference, frame, 1, border="valid", mask=mask, min_valid_fraction=1.0)
    assert codes[0].tolist() == [OUTSIDE] * 9
    assert codes[1].tolist() == [MASKED, MASKED, NOT_FINITE, TOO_FEW, VALID, VALID, VALID, VALID, OUTSIDE]


@pytest.mark.parametrize(("border", "positions", "usable"), [("shrink", 4, 2), ("reflect", 9, 6), ("valid", 0, 0)])
def test_min_valid_fraction_counts_the_positions_of_the_window(border: str, positions: int, usable: int):
    reference, frame = random_pair((4, 4))
    mask = np.ones((4, 4), np.uint8)
    mask[:, 1] = 0
    exact = usable / positions if positions else 0.5
    _, codes = oracle(reference, frame, 1, border=border, mask=mask, min_valid_fraction=exact)
    _, stricter = oracle(reference, frame, 1, border=border, mask=mask, min_valid_fraction=np.nextafter(exact, 1))
    assert (codes[0, 0], stricter[0, 0]) == ((OUTSIDE, OUTSIDE) if border == "valid" else (VALID, TOO_FEW))


def test_flat_codes_name_the_flat_picture_and_the_reference_first():
    flat_picture, textured = np.full((3, 3), 9, np.uint16), np.arange(9, dtype=np.uint16).reshape(3, 3)
    for pair, code in (
        ((flat_picture, textured), FLAT_REFERENCE),
        ((textured, flat_picture), FLAT_FRAME),
        ((flat_picture, flat_picture), FLAT_REFERENCE),
    ):
        rho, codes = oracle(*pair, 1, flat=0.25)
        assert (codes == code).all()
        assert (rho == 0.25).all()


@pytest.mark.parametrize(("ulps", "code"), [(0, FLAT_REFERENCE), (5, FLAT_REFERENCE), (7, VALID)])
def test_floats_are_flat_up_to_rounding_noise(ulps: int, code: int):
    # Half the pixels raised by u units of 2^-24 deviate by u / 2 of them; 2^-22 of 0.75 is three.
    reference = np.float32([[0.75, 0.75 + ulps * 2.0**-24]])
    _, codes = oracle(reference, np.float32([[0, 1]]), 1)
    assert codes.tolist() == [[code, code]]


def test_a_flat_channel_of_floats_adds_nothing():
    reference = np.float32([[[0, 1e9, 0], [1, 1e9, 2], [4, 1e9 + 64, 3]]])  # 64: one unit in the last place
    frame = np.float32([[[1, 5, 0], [1, 5, 1], [5, 6, 5]]])
    rho, codes = oracle(reference, frame, 2, channel="joint")
    assert (codes == VALID).all()
    np.testing.assert_allclose(rho, (28 + 21) / math.sqrt((26 + 14) * (32 + 2 + 42)), atol=1e-15)


def test_joint_pools_the_sums_of_channels_centred_by_their_own_means():
    reference = np.array([[[0, 7, 1], [2, 7, 5]]], np.uint8)
    frame = np.array([[[1, 0, 4], [3, 9, 0]]], np.uint8)
    rho, _ = oracle(reference, frame, 1, channel="joint")
    expected = (2 + 0 - 8) / math.sqrt((2 + 0 + 8) * (2 + 40.5 + 8))
    np.testing.assert_allclose(rho, expected, atol=1e-15)
    noisy, _ = oracle(reference, frame, 1, channel="joint", noise_sigma=2.0, flat=1.0)
    noise = 3 * 2 * 2.0**2
    np.testing.assert_allclose(noisy, (-6 + noise) / math.sqrt((10 + noise) * (50.5 + noise)), atol=1e-15)


def test_luma_is_rounded_for_integers_and_alpha_is_dropped():
    colours = np.array([[[10, 20, 30, 1], [1, 0, 0, 9]]], np.uint8)  # 18.15 and 0.299
    gray = np.array([[18, 0]], np.uint8)
    other = np.array([[3, 4]], np.uint8)
    for s in (0.0, 1.0):
        expected, _ = oracle(gray, other, 1, noise_sigma=s)
        rho, _ = oracle(colours, np.dstack([other, 255 - other]), 1, noise_sigma=s)
        np.testing.assert_array_equal(rho, expected)
    as_float, _ = oracle(colours.astype(np.float32), other, 1, noise_sigma=1.0)
    assert as_float[0, 0] == pytest.approx(oracle(np.float32([[18.15, 0.299]]), other, 1, noise_sigma=1.0)[0][0, 0])


@pytest.mark.parametrize(("combine", "function"), [("mean", np.mean), ("min", np.min), ("max", np.max)])
def test_several_radii_combine_those_that_measured(combine: str, function):
    reference, frame = random_pair((8, 8))
    reference[:3, :3] = 4
    singles = [oracle(reference, frame, r, flat=-0.5) for r in (1, 3, 2)]
    rho, codes = oracle(reference, frame, [1, 3, 2], flat=-0.5, combine=combine)
    assert {code for _, each in singles for code in each.ravel()} == {VALID, FLAT_REFERENCE}
    for index in np.ndindex(8, 8):
        measured = [values[index] for values, each in singles if each[index] == VALID]
        assert rho[index] == pytest.approx(function(measured), abs=1e-15)
    assert (codes == VALID).all()


def test_without_any_measuring_radius_the_first_of_the_list_speaks():
    constant = np.full((5, 5), 3, np.uint8)
    options = {"border": "valid", "flat": 0.5, "fill": 9.0}
    rho, codes = oracle(constant, constant, [1, 2], **options)
    assert (rho[1, 1], codes[1, 1]) == (0.5, FLAT_REFERENCE)
    rho, codes = oracle(constant, constant, [2, 1], **options)
    assert (rho[1, 1], codes[1, 1]) == (9.0, OUTSIDE)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.3])
@pytest.mark.parametrize("flat", [0.5, math.nan])
def test_smoothing_is_a_gaussian_filter_normalised_by_validity(sigma: float, flat: float):
    reference, frame = random_pair((12, 15))
    reference[4:9, 5:10] = 80
    mask = np.ones((12, 15), np.uint8)
    mask[10:, 2:5] = 0
    options = {"flat": flat, "mask": mask, "fill": 3.0}
    rough, codes = oracle(reference, frame, 1, **options)
    smooth, same_codes = oracle(reference, frame, 1, smooth_sigma=sigma, **options)
    part = (codes == VALID) | (np.isfinite(flat) & (codes == FLAT_REFERENCE))
    keywords = {"sigma": sigma, "mode": "constant", "radius": math.ceil(3 * sigma)}
    total = ndimage.gaussian_filter(np.where(part, rough, 0.0), **keywords)
    weights = ndimage.gaussian_filter(part.astype(float), **keywords)
    np.testing.assert_allclose(smooth[part], (total / weights)[part], atol=1e-13)
    np.testing.assert_array_equal(smooth[~part], rough[~part])
    np.testing.assert_array_equal(same_codes, codes)


def test_points_equal_the_whole_map():
    reference, frame = random_pair((6, 6))
    rho, codes = oracle(reference, frame, [1, 2], noise_sigma=3.0)
    values, point_codes = oracle_at(reference, frame, [(0, 5), (3, 3)], [1, 2], noise_sigma=3.0)
    np.testing.assert_array_equal(values, [rho[0, 5], rho[3, 3]])
    np.testing.assert_array_equal(point_codes, [codes[0, 5], codes[3, 3]])


def test_codes_of_files_worked_out_by_hand():
    rho = np.float32([[-1, -0.5, 0, 0.25], [0.5, 1, np.nan, 7]])
    assert encode(rho, "clip", 8).tolist() == [[0, 0, 0, 64], [128, 255, 0, 255]]
    assert encode(rho, "signed", 8).tolist() == [[0, 64, 128, 159], [191, 255, 0, 255]]
    assert encode(rho, "clip", 16).tolist() == [[0, 0, 0, 16384], [32768, 65535, 0, 65535]]
    assert encode(rho, "signed", 16).tolist() == [[0, 16384, 32768, 40959], [49151, 65535, 0, 65535]]
    assert encode(rho, "clip", 8).dtype == np.uint8
    assert encode(rho, "clip", 16).dtype == np.uint16


@pytest.mark.parametrize("d", [1, 2])
def test_the_seed_equals_the_definition_in_the_interior(d: int):
    reference, frame = random_pair((9, 9))
    frame[3:, 3:] = 200
    rho, codes = oracle(reference, frame, d, border="valid")
    assert FLAT_FRAME in codes
    np.testing.assert_allclose(seed(reference, frame, d), rho, atol=1e-14)
