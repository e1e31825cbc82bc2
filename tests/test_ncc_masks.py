"""Masks, non-finite samples, the share of valid pixels, and the order of the validity codes."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from oracle import FLAT_FRAME, FLAT_REFERENCE, MASKED, NOT_FINITE, OUTSIDE, TOO_FEW, VALID, oracle
from scipy import ndimage
from strategies import (
    BORDERS,
    DTYPES,
    LARGEST_HOLEY_RADIUS,
    LAYOUTS,
    float_pictures,
    integer_picture,
    masks,
    pairs,
    pocked,
    with_layout,
)
from tolerances import FLOAT, assert_maps_close, assert_same_bits, assert_twins_close, promised

from framencc import Reference, local_ncc

RADII = st.integers(1, 6)
FRACTIONS = st.sampled_from([1e-6, 0.1, 1 / 3, 0.5, 5 / 9, 0.7, 1.0])
borders = st.sampled_from(BORDERS)


def make_pair(dtype: type, shape: tuple[int, int] = (20, 24)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    if dtype == np.float32:
        return float_pictures("grid blocks", shape, rng)
    return integer_picture("blocks", dtype, shape, rng), integer_picture("random", dtype, shape, rng)


def make_mask(shape: tuple[int, int] = (20, 24)) -> np.ndarray:
    return np.random.default_rng(6).random(shape) < 0.7


# ---- masks


@settings(max_examples=100)
@given(st.data(), pairs(max_side=16, holey=True), RADII, borders, FRACTIONS)
def test_masked_maps_agree_with_the_oracle(data, pair, radius, border, fraction):
    mask = data.draw(masks(pair[0].shape))
    noise_sigma = data.draw(st.sampled_from([0.0, 2.0]))
    options = {"border": border, "mask": mask, "min_valid_fraction": fraction, "flat": 0.5, "noise_sigma": noise_sigma}
    expected, codes = oracle(*pair, radius, fill=-3.0, **options)
    rho, validity = local_ncc(*pair, radius, fill=-3.0, return_validity=True, **options)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


@given(st.data(), pairs(max_side=16, holey=True), RADII, borders)
def test_the_jobs_and_the_frames_mask_work_together(data, pair, radius, border):
    job, frame = (data.draw(masks(pair[0].shape)) for _ in range(2))
    expected, codes = oracle(*pair, radius, border=border, mask=job, frame_mask=frame)
    prepared = Reference(pair[0], radius, border=border, mask=job)
    rho, validity = prepared.ncc(pair[1], mask=frame, return_validity=True)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


@pytest.mark.parametrize("radius", [LARGEST_HOLEY_RADIUS, 31])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_large_masked_windows_agree_with_the_oracle(dtype: type, radius: int):
    pair = make_pair(dtype, (24, 40))
    mask = make_mask((24, 40))
    expected, codes = oracle(*pair, radius, mask=mask)
    rho, validity = local_ncc(*pair, radius, mask=mask, return_validity=True)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


@pytest.mark.parametrize("radius", [1, 3, 31])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_large_masked_picture_agrees_everywhere_with_the_uniform_filter_recipe(dtype: type, radius: int):
    shape = (331, 803)
    pair = [integer_picture("random", np.uint8, shape, np.random.default_rng(i)).astype(dtype) for i in (2, 3)]
    mask = make_mask(shape)
    mask[100:200, 250:600] = False
    reference, frame = (picture.astype(np.float64) for picture in pair)

    def total(values: np.ndarray) -> np.ndarray:
        side = 2 * radius + 1
        return side**2 * ndimage.uniform_filter(np.asarray(values, np.float64), side, mode="constant")

    n = np.maximum(np.rint(total(mask)), 1)
    in_image = np.rint(total(np.ones(shape)))
    sum_r, sum_f = total(mask * reference), total(mask * frame)
    variances = (total(mask * reference**2) - sum_r**2 / n) * (total(mask * frame**2) - sum_f**2 / n)
    measured = mask & (n / in_image >= 0.5)
    expected = (total(mask * reference * frame) - sum_r * sum_f / n) / np.sqrt(np.where(measured, variances, 1))
    rho, validity = local_ncc(*pair, radius, mask=mask, return_validity=True)
    assert_same_bits(validity, np.select([~mask, ~measured], [MASKED, TOO_FEW], VALID).astype(np.uint8))
    assert_maps_close(rho, np.where(measured, expected, 0), promised(*pair))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [0, 255, 1e30, math.nan])
def test_what_lies_under_the_mask_does_not_matter(dtype: type, hidden: float):
    if dtype != np.float32:
        hidden = min(np.nan_to_num(hidden), np.iinfo(dtype).max)
    pair, mask = make_pair(dtype), make_mask()
    covered = [np.where(mask, picture, dtype(hidden)) for picture in pair]
    rho, validity = local_ncc(*pair, 2, mask=mask, return_validity=True)
    same, same_validity = local_ncc(*covered, 2, mask=mask, return_validity=True)
    assert_twins_close(rho, same, promised(*pair))
    assert_same_bits(validity, same_validity)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("border", BORDERS)
def test_a_mask_that_uses_all_equals_no_mask(dtype: type, border: str):
    pair = make_pair(dtype)
    rho, validity = local_ncc(*pair, 2, border=border, return_validity=True)
    mask = np.ones(rho.shape, np.uint8)
    for fraction in (0.5, 1.0):
        options = {"mask": mask, "min_valid_fraction": fraction, "return_validity": True}
        same, same_validity = local_ncc(*pair, 2, border=border, **options)
        assert_twins_close(rho, same, promised(*pair))
        assert_same_bits(validity, same_validity)


@pytest.mark.parametrize("border", BORDERS)
def test_a_mask_that_uses_nothing_leaves_only_masked_pixels_at_fill(border: str):
    pair = make_pair(np.uint8)
    options = {"border": border, "mask": np.zeros((20, 24), bool), "fill": math.nan}
    rho, validity = local_ncc(*pair, 2, return_validity=True, **options)
    assert np.isnan(rho).all()
    assert (validity == MASKED).all()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int64", "float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mask_of_any_type_and_layout_uses_what_is_above_zero(dtype: str, layout: str):
    pair, use = make_pair(np.uint16), make_mask()
    numbers = np.where(use, 0.25 if dtype.startswith("float") else 1, 0).astype(dtype)
    if dtype.startswith("float"):
        numbers[~use] = np.resize(np.array([np.nan, -1, 0], dtype), np.count_nonzero(~use))
    mask = with_layout(numbers, layout) if dtype != "bool" else with_layout(numbers.view(np.uint8), layout).view(bool)
    before = mask.copy()
    expected, validity = local_ncc(*pair, 2, mask=use, return_validity=True)
    rho, same_validity = local_ncc(*pair, 2, mask=mask, return_validity=True)
    assert_same_bits(rho, expected)
    assert_same_bits(same_validity, validity)
    np.testing.assert_array_equal(mask, before)


def test_a_frames_mask_is_forgotten_with_the_frame():
    pair, mask = make_pair(np.uint8), make_mask()
    prepared = Reference(pair[0], 2, mask=mask)
    expected = prepared.ncc(pair[1], return_validity=True)
    prepared.ncc(pair[1], mask=np.roll(mask, 3, axis=1))
    again = prepared.ncc(pair[1], return_validity=True)
    assert_same_bits(again[0], expected[0])
    assert_same_bits(again[1], expected[1])


def test_a_reference_does_not_follow_later_changes_of_its_mask():
    pair, mask = make_pair(np.uint8), make_mask()
    expected = local_ncc(*pair, 2, mask=mask)
    prepared = Reference(pair[0], 2, mask=mask)
    mask[...] = True
    assert_same_bits(prepared.ncc(pair[1]), expected)


def test_a_mask_that_hides_all_texture_makes_the_window_flat():
    reference, frame = np.full((5, 5), 40, np.uint8), np.arange(25, dtype=np.uint8).reshape(5, 5)
    reference[2, 2], mask = 41, np.ones((5, 5), np.uint8)
    mask[2, 2] = 0
    _, validity = local_ncc(reference, frame, 2, return_validity=True)
    assert (validity == VALID).all()
    _, validity = local_ncc(reference, frame, 2, mask=mask, return_validity=True)
    assert (validity[mask > 0] == FLAT_REFERENCE).all()
    _, validity = local_ncc(frame, reference, 2, mask=mask, return_validity=True)
    assert (validity[mask > 0] == FLAT_FRAME).all()


# ---- non-finite samples


@settings(max_examples=100)
@given(st.data(), pairs(max_side=16, dtypes=DTYPES[2:], holey=True), RADII, borders, FRACTIONS)
def test_maps_of_pictures_with_nan_and_infinity_agree_with_the_oracle(data, pair, radius, border, fraction):
    pair = [data.draw(pocked(p)) if data.draw(st.booleans()) else p for p in pair]
    options = {"border": border, "min_valid_fraction": fraction, "fill": math.nan}
    expected, codes = oracle(*pair, radius, **options)
    rho, validity = local_ncc(*pair, radius, return_validity=True, **options)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, FLOAT)


@given(st.data(), pairs(max_side=30, dtypes=DTYPES[2:], holey=True), RADII)
def test_a_pixel_that_is_not_finite_acts_like_a_masked_one(data, pair, radius):
    reference, frame = data.draw(pocked(pair[0])), data.draw(pocked(pair[1]))
    finite = np.isfinite(reference) & np.isfinite(frame)
    rho, validity = local_ncc(reference, frame, radius, return_validity=True)
    masked, masked_validity = local_ncc(*pair, radius, mask=finite, return_validity=True)
    assert_twins_close(rho, masked, FLOAT)
    np.testing.assert_array_equal(validity, np.where(finite, masked_validity, NOT_FINITE))
    assert (masked_validity[~finite] == MASKED).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_sample_in_either_picture_costs_only_its_own_pixel(bad: float):
    for which in (0, 1):
        pair = [picture.copy() for picture in make_pair(np.float32)]
        pair[which][7, 9] = bad
        _, validity = local_ncc(*pair, 2, noise_sigma=0.1, return_validity=True)
        assert validity[7, 9] == NOT_FINITE
        assert np.count_nonzero(validity) == 1


def test_integers_and_floats_mix_with_nan_in_the_floats():
    reference, frame = make_pair(np.uint8)[0], make_pair(np.float32)[1].copy()
    frame[::3, ::4] = np.nan
    expected, codes = oracle(reference, frame, 2)
    rho, validity = local_ncc(reference, frame, 2, return_validity=True)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, FLOAT)


@pytest.mark.parametrize("dtype", DTYPES)
def test_frames_full_of_nan_leave_nothing_behind(dtype: type):
    reference, frame = make_pair(dtype)
    expected = local_ncc(reference, frame, 3, return_validity=True)
    prepared = Reference(reference, 3)
    for earlier in (np.full(frame.shape, np.nan, np.float32), np.full(frame.shape, np.inf, np.float32)):
        _, validity = prepared.ncc(earlier, return_validity=True)
        assert (validity == NOT_FINITE).all()
        rho, validity = prepared.ncc(frame, return_validity=True)
        assert_same_bits(rho, expected[0])
        assert_same_bits(validity, expected[1])


# ---- codes


def test_the_validity_codes_come_in_their_order():
    reference, frame = (picture.copy() for picture in float_pictures("grid", (3, 9), np.random.default_rng(1)))
    mask = np.ones((3, 9), np.uint8)
    mask[1, 0] = mask[1, 1] = 0
    frame[1, 1], reference[1, 2] = np.nan, np.inf
    options = {"border": "valid", "mask": mask, "min_valid_fraction": 1.0}
    _, validity = local_ncc(reference, frame, 1, return_validity=True, **options)
    assert validity[0].tolist() == [OUTSIDE] * 9
    assert validity[1].tolist() == [MASKED, MASKED, NOT_FINITE, TOO_FEW, VALID, VALID, VALID, VALID, OUTSIDE]


@pytest.mark.parametrize(("border", "share"), [("shrink", 2 / 4), ("reflect", 6 / 9)])
def test_min_valid_fraction_is_reached_by_the_exact_share(border: str, share: float):
    pair = [picture[:4, :4] for picture in make_pair(np.uint8)]
    mask = np.ones((4, 4), np.uint8)
    mask[:, 1] = 0
    for fraction, enough in ((share, True), (np.nextafter(share, 1), False)):
        options = {"border": border, "mask": mask, "min_valid_fraction": fraction}
        _, validity = local_ncc(*pair, 1, return_validity=True, **options)
        assert (validity[0, 0] != TOO_FEW) == enough


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_changes_no_bit_of_a_masked_map(dtype: type):
    pair, mask = make_pair(dtype, (301, 407)), make_mask((301, 407))
    one, two, four = (local_ncc(*pair, 3, mask=mask, return_validity=True, threads=n) for n in (1, 2, 4))
    for rho, validity in (two, four):
        assert_same_bits(rho, one[0])
        assert_same_bits(validity, one[1])


# ---- what is refused


@pytest.mark.parametrize("shape", [(24, 20), (20, 23), (1, 24), (20, 24, 3), ()])
def test_a_mask_of_another_shape_is_refused_by_naming_both(shape: tuple[int, ...]):
    pair, mask = make_pair(np.uint8), np.ones(shape, np.uint8)
    for refuse in (
        lambda: local_ncc(*pair, mask=mask),
        lambda: Reference(pair[0], mask=mask),
        lambda: Reference(pair[0]).ncc(pair[1], mask=mask),
    ):
        with pytest.raises(ValueError, match="mask") as refusal:
            refuse()
        assert str(shape) in str(refusal.value)
        assert "(20, 24)" in str(refusal.value)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, math.nan, math.inf])
def test_a_wrong_min_valid_fraction_is_refused_by_name(fraction: float):
    picture = np.zeros((5, 5), np.uint8)
    with pytest.raises(ValueError, match="min_valid_fraction"):
        local_ncc(picture, picture, min_valid_fraction=fraction)
