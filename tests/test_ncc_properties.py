"""What must hold for any pictures at all."""

import math

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings
from oracle import FLAT_FRAME, FLAT_REFERENCE, OUTSIDE, VALID, oracle
from strategies import BORDERS, DTYPES, float_pictures, integer_picture, layouts, pairs, shapes, with_layout
from tolerances import FLOAT, INTEGER, assert_maps_close, assert_same_bits, assert_twins_close, promised

from framencc import local_ncc

RADII = st.integers(1, 8)
INTEGERS = DTYPES[:2]
borders = st.sampled_from(BORDERS)
flats = st.sampled_from([0.0, 1.0, -1.0, 0.3])
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=150)
@given(pairs(), RADII, borders, st.one_of(flats, st.just(math.nan)), st.sampled_from([0.0, -2.5, math.nan]))
def test_map_and_codes_agree_with_the_oracle(pair, radius, border, flat, fill):
    options = {"border": border, "flat": flat, "fill": fill}
    expected, codes = oracle(*pair, radius, **options)
    rho, validity = local_ncc(*pair, radius, return_validity=True, **options)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


@settings(max_examples=100)
@given(pairs(), RADII, borders, flats, st.sampled_from([0.01, 1.0, 3.0, 1000.0]))
def test_map_with_a_noise_model_agrees_with_the_oracle_and_has_no_flat_codes(pair, radius, border, flat, noise_sigma):
    options = {"border": border, "flat": flat, "noise_sigma": noise_sigma}
    expected, codes = oracle(*pair, radius, **options)
    rho, validity = local_ncc(*pair, radius, return_validity=True, **options)
    assert set(np.unique(validity)) <= {VALID, OUTSIDE}
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


@given(pairs(max_side=12), st.integers(9, 31))
def test_windows_larger_than_the_picture_agree_with_the_oracle(pair, radius):
    expected, codes = oracle(*pair, radius)
    rho, validity = local_ncc(*pair, radius, return_validity=True)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


@given(pairs(max_side=40), RADII, borders)
def test_swapping_the_pictures_swaps_only_the_flat_codes(pair, radius, border):
    reference, frame = pair
    rho, validity = local_ncc(reference, frame, radius, border=border, return_validity=True)
    swapped, swapped_validity = local_ncc(frame, reference, radius, border=border, return_validity=True)
    assert_twins_close(rho, swapped, promised(*pair))
    both_flat = (validity == FLAT_REFERENCE) & (swapped_validity == FLAT_REFERENCE)
    expected = np.choose(validity, [VALID, FLAT_FRAME, FLAT_REFERENCE, OUTSIDE])
    np.testing.assert_array_equal(swapped_validity, np.where(both_flat, FLAT_REFERENCE, expected))


@given(shapes(40), seeds, RADII, st.tuples(st.integers(1, 255), st.integers(0, 510)))
def test_integer_gain_and_offset_do_not_change_the_map(shape, seed, radius, line):
    rng = np.random.default_rng(seed)
    reference = integer_picture("blocks", np.uint8, shape, rng).astype(np.uint16)
    frame = integer_picture("random", np.uint8, shape, rng).astype(np.uint16)
    gain, offset = map(np.uint16, line)
    rho, validity = local_ncc(reference, frame, radius, return_validity=True)
    for changed in ((reference * gain + offset, frame), (reference, frame * gain + offset)):
        same, same_validity = local_ncc(*changed, radius, return_validity=True)
        assert_twins_close(rho, same, INTEGER)
        assert_same_bits(validity, same_validity)


@given(shapes(40), seeds, st.integers(1, 6), st.sampled_from([2.0**-30, 0.5, 64.0]), st.integers(-4, 4))
def test_float_gain_and_offset_do_not_change_the_map(shape, seed, radius, gain, offset):
    rng = np.random.default_rng(seed)
    reference, frame = (rng.integers(-40, 41, shape).astype(np.float32) / 8 for _ in range(2))
    changed = (np.float32(gain) * frame + np.float32(gain * offset)).astype(np.float32)  # exact: a few bits per sample
    rho, validity = local_ncc(reference, frame, radius, return_validity=True)
    same, same_validity = local_ncc(reference, changed, radius, return_validity=True)
    assert_twins_close(rho, same, promised(reference))
    assert_same_bits(validity, same_validity)


@given(pairs(max_side=40, mixed=False), RADII, st.sampled_from([0.5, 2.0]), flats)
def test_gain_on_pictures_and_noise_alike_does_not_change_the_map(pair, radius, noise_sigma, flat):
    pair = [(picture // 2 if picture.dtype.kind == "u" else picture) for picture in pair]
    doubled = [(picture * 2).astype(picture.dtype) for picture in pair]
    rho = local_ncc(*pair, radius, noise_sigma=noise_sigma, flat=flat)
    same = local_ncc(*doubled, radius, noise_sigma=2 * noise_sigma, flat=flat)
    assert_twins_close(rho, same, promised(*pair))


@given(pairs(max_side=40, dtypes=INTEGERS), RADII, borders)
def test_inverting_a_picture_changes_the_sign(pair, radius, border):
    reference, frame = pair
    inverted = np.iinfo(frame.dtype).max - frame
    rho = local_ncc(reference, frame, radius, border=border)
    assert_twins_close(local_ncc(reference, inverted, radius, border=border), -rho, INTEGER)


@given(pairs(max_side=40), RADII, borders)
def test_identical_pictures_give_one_except_where_flat(pair, radius, border):
    picture = pair[0]
    rho, validity = local_ncc(picture, picture, radius, border=border, flat=-0.5, fill=0.25, return_validity=True)
    expected = np.choose(validity, [1.0, -0.5, np.nan, 0.25])
    assert_maps_close(rho, expected, promised(picture))


@given(pairs(max_side=30, dtypes=INTEGERS), st.integers(1, 4), st.sampled_from([0.5, 3.0, 40.0]), flats)
def test_identical_pictures_under_noise_lack_one_by_the_share_of_noise(pair, radius, noise_sigma, flat):
    picture = pair[0]
    rho = local_ncc(picture, picture, radius, noise_sigma=noise_sigma, flat=flat)
    share = np.empty(picture.shape)  # s^2 / (variance + s^2)
    for y, x in np.ndindex(picture.shape):
        window = picture[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        share[y, x] = noise_sigma**2 / (window.astype(np.float64).var() + noise_sigma**2)
    assert_maps_close(rho, 1 - (1 - flat) * share, INTEGER)


@given(pairs(max_side=40, dtypes=(np.uint8,)), RADII, flats, st.just(1e6))
def test_noise_far_above_the_picture_gives_flat(pair, radius, flat, noise_sigma):
    rho = local_ncc(*pair, radius, flat=flat, noise_sigma=noise_sigma)
    assert_maps_close(rho, np.full(rho.shape, flat), INTEGER)


@given(pairs(max_side=40, dtypes=INTEGERS), RADII, flats, st.just(1e-6))
def test_noise_far_below_the_picture_counts_only_where_both_are_flat(pair, radius, flat, noise_sigma):
    reference, frame = pair
    plain, validity = local_ncc(reference, frame, radius, flat=0.0, return_validity=True)
    _, swapped_validity = local_ncc(frame, reference, radius, flat=0.0, return_validity=True)
    both_flat = (validity == FLAT_REFERENCE) & (swapped_validity == FLAT_REFERENCE)
    rho = local_ncc(reference, frame, radius, flat=flat, noise_sigma=noise_sigma)
    # Where one of them is flat, rho is at most about s / sigma of the other: 2e-6 for one code in nine.
    assert_twins_close(rho, np.where(both_flat, np.float32(flat), plain), FLOAT)


@settings(max_examples=150)
@given(st.data(), shapes(12), RADII, borders, st.sampled_from([0.0, 1e-3, 1e4]))
def test_any_finite_floats_give_a_number_from_minus_one_to_one(data, shape, radius, border, noise_sigma):
    floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
    reference, frame = (data.draw(hnp.arrays(np.float32, shape, elements=floats)) for _ in range(2))
    rho, validity = local_ncc(
        reference, frame, radius, border=border, noise_sigma=noise_sigma, fill=2.0, return_validity=True
    )
    outside = validity == OUTSIDE
    assert validity.max() <= OUTSIDE
    assert (rho[outside] == 2).all()
    assert ((rho[~outside] >= -1) & (rho[~outside] <= 1)).all()


@given(st.sampled_from(DTYPES), seeds, RADII, st.sampled_from([1, 3]))
def test_rounding_lifts_no_perfect_match_above_one(dtype, seed, radius, channels):
    rng = np.random.default_rng(seed)
    shape = (60, 80, channels)
    picture = (
        float_pictures("grid", shape, rng)[0] if dtype == np.float32 else integer_picture("random", dtype, shape, rng)
    )
    inverted = -picture if dtype == np.float32 else np.iinfo(dtype).max - picture
    assert local_ncc(picture, picture, radius, channel="joint").max() <= 1
    assert local_ncc(picture, inverted, radius, channel="joint").min() >= -1


@given(pairs(max_side=60), RADII, borders, layouts(), layouts())
def test_memory_layout_changes_no_bit_and_inputs_are_not_written(pair, radius, border, reference_layout, frame_layout):
    views = [with_layout(pair[0], reference_layout), with_layout(pair[1], frame_layout)]
    expected = local_ncc(pair[0].copy(), pair[1].copy(), radius, border=border)
    assert_same_bits(local_ncc(*views, radius, border=border), expected)
    for view, picture in zip(views, pair, strict=True):
        assert_same_bits(view, picture)


@given(pairs(max_side=40), RADII, borders, st.sampled_from(["transposed", "upside down", "mirrored"]))
def test_turning_both_pictures_turns_the_map(pair, radius, border, way):
    turn = {"transposed": np.transpose, "upside down": np.flipud, "mirrored": np.fliplr}[way]
    rho, validity = local_ncc(*pair, radius, border=border, return_validity=True)
    turned, turned_validity = local_ncc(*map(turn, pair), radius, border=border, return_validity=True)
    assert_twins_close(turned, turn(rho), promised(*pair))
    assert_same_bits(turned_validity, np.ascontiguousarray(turn(validity)))


@given(pairs(max_side=40), RADII)
def test_borders_matter_only_to_windows_that_leave_the_picture(pair, radius):
    inside = np.s_[radius : pair[0].shape[0] - radius, radius : pair[0].shape[1] - radius]
    shrink, valid, reflect = (local_ncc(*pair, radius, border=border) for border in BORDERS)
    assert_twins_close(shrink[inside], valid[inside], promised(*pair))
    assert_twins_close(shrink[inside], reflect[inside], promised(*pair))


@given(st.sampled_from(DTYPES), seeds, st.integers(1, 5), st.integers(0, 39), st.integers(0, 39))
def test_a_pixel_reaches_no_farther_than_the_radius(dtype, seed, radius, y, x):
    rng = np.random.default_rng(seed)
    if dtype == np.float32:
        reference, frame = float_pictures("steps", (40, 40), rng)
    else:
        reference, frame = (integer_picture("blocks", dtype, (40, 40), rng) for _ in range(2))
    changed = frame.copy()
    changed[y, x] = 0
    near = np.zeros((40, 40), bool)
    near[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = True
    rho, validity = local_ncc(reference, frame, radius, return_validity=True)
    other, other_validity = local_ncc(reference, changed, radius, return_validity=True)
    assert_twins_close(np.where(near, np.float32(0), other), np.where(near, np.float32(0), rho), promised(frame))
    np.testing.assert_array_equal(other_validity[~near], validity[~near])
