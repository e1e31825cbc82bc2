"""Channels, several radii, smoothing, and all options at once."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from oracle import FLAT_REFERENCE, OUTSIDE, VALID, oracle
from strategies import BORDERS, DTYPES, LAYOUTS, float_pictures, integer_picture, masks, pairs, pocked, with_layout
from tolerances import INTEGER, assert_maps_close, assert_same_bits, assert_twins_close, promised

from framencc import Reference, SpecError, local_ncc

RADII = st.integers(1, 5)
RADIUS_LISTS = st.lists(RADII, min_size=1, max_size=3, unique=True)
COMBINE = {"mean": np.mean, "min": np.min, "max": np.max}
borders = st.sampled_from(BORDERS)
combines = st.sampled_from(list(COMBINE))
smooth_sigmas = st.sampled_from([0.2, 0.5, 1.0, 1.7])


def make_pair(dtype: type, shape: tuple[int, ...] = (20, 24)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    if dtype == np.float32:
        reference, other = float_pictures("grid blocks", shape, rng)
    else:
        reference, other = integer_picture("blocks", dtype, shape, rng), integer_picture("random", dtype, shape, rng)
    return reference, np.where(rng.random(shape) < 0.7, reference, other)


# ---- channels


@settings(max_examples=100)
@given(st.data(), st.integers(1, 4), RADII, borders, st.sampled_from([0.0, 2.0]))
def test_joint_maps_agree_with_the_oracle(data, channels, radius, border, noise_sigma):
    pair = data.draw(pairs(max_side=12, channels=channels, holey=True))
    options = {"channel": "joint", "border": border, "noise_sigma": noise_sigma, "flat": 0.5}
    expected, codes = oracle(*pair, radius, **options)
    rho, validity = local_ncc(*pair, radius, return_validity=True, **options)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


@settings(max_examples=100)
@given(st.data(), st.integers(1, 4), RADII)
def test_luma_maps_of_colour_pictures_agree_with_the_oracle(data, channels, radius):
    pair = data.draw(pairs(max_side=12, channels=channels, dtypes=DTYPES[:2]))
    expected, codes = oracle(*pair, radius)
    rho, validity = local_ncc(*pair, radius, return_validity=True)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, INTEGER)


@given(st.integers(0, 2**32 - 1), st.integers(3, 4), RADII, borders)
def test_luma_maps_of_float_colours_agree_with_the_oracle(seed, channels, radius, border):
    # The mean of channels that are "steps", with any weights, is "steps" again, and keeps the promise's condition.
    pair = float_pictures("steps", (11, 12, channels), np.random.default_rng(seed))
    expected, codes = oracle(*pair, radius, border=border)
    rho, validity = local_ncc(*pair, radius, border=border, return_validity=True)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_colour_is_its_plane(dtype: type, channels: int):
    reference, frame = make_pair(dtype, (20, 24, channels))
    for index, channel in enumerate(("red", "green", "blue")):
        expected = local_ncc(reference[:, :, index], frame[:, :, index], 2)
        assert_same_bits(local_ncc(reference, frame, 2, channel=channel), expected)


@pytest.mark.parametrize("channel", ["luma", "red", "green", "blue", "joint"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_alpha_takes_no_part(dtype: type, channel: str):
    reference, frame = make_pair(dtype, (20, 24, 4))
    expected = local_ncc(reference[:, :, :3], frame[:, :, :3], 2, channel=channel)
    frame[:, :, 3] = np.nan if dtype == np.float32 else 0
    assert_same_bits(local_ncc(reference, frame, 2, channel=channel), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_joint_of_gray_pictures_is_luma(dtype: type):
    pair = make_pair(dtype)
    expected = local_ncc(*pair, 2)
    for gray in (pair, [picture[:, :, np.newaxis] for picture in pair], [np.dstack([p, p[::-1]]) for p in pair]):
        assert_twins_close(local_ncc(*gray, 2, channel="joint"), expected, promised(*pair))
        assert_same_bits(local_ncc(*gray, 2), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("noise_sigma", [0.0, 3.0])
def test_joint_of_three_equal_channels_is_one_of_them(dtype: type, noise_sigma: float):
    pair = make_pair(dtype)
    rho, validity = local_ncc(*pair, 2, noise_sigma=noise_sigma, return_validity=True)
    triple = [np.dstack([picture] * 3) for picture in pair]
    same, same_validity = local_ncc(*triple, 2, noise_sigma=noise_sigma, channel="joint", return_validity=True)
    assert_twins_close(same, rho, promised(*pair))
    assert_same_bits(same_validity, validity)


def test_joint_is_flat_only_where_every_channel_is():
    reference, frame = np.zeros((5, 5, 3), np.uint8), np.random.default_rng(0).integers(0, 9, (5, 5, 3), np.uint8)
    reference[...] = [10, 20, 30]
    _, validity = local_ncc(reference, frame, 2, channel="joint", return_validity=True)
    assert (validity == FLAT_REFERENCE).all()
    reference[2, 2, 1] = 21
    _, validity = local_ncc(reference, frame, 2, channel="joint", return_validity=True)
    assert (validity == VALID).all()


def test_a_flat_channel_of_floats_adds_nothing_to_joint():
    reference, frame = (picture.copy() for picture in float_pictures("grid", (9, 9, 3), np.random.default_rng(0)))
    reference[:, :, 1] = 1e9
    reference[3:6, 3:6, 1] += 64  # one unit in the last place
    for noise_sigma in (0.0, 0.5):
        options = {"channel": "joint", "noise_sigma": noise_sigma}
        expected, codes = oracle(reference, frame, 2, **options)
        rho, validity = local_ncc(reference, frame, 2, return_validity=True, **options)
        assert_same_bits(validity, codes)
        assert_maps_close(rho, expected, promised(reference))


def test_joint_needs_every_channel_finite():
    pair = make_pair(np.float32, (20, 24, 3))
    pair[1][4, 5, 2] = np.nan
    expected, codes = oracle(*pair, 2, channel="joint")
    rho, validity = local_ncc(*pair, 2, channel="joint", return_validity=True)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channel", ["luma", "green", "joint"])
def test_every_memory_layout_of_colour_pictures_gives_the_same_bits(layout: str, channel: str):
    pair = make_pair(np.uint16, (20, 24, 3))
    views = [with_layout(picture, layout) for picture in pair]
    assert_same_bits(local_ncc(*views, 2, channel=channel), local_ncc(*pair, 2, channel=channel))
    assert_same_bits(views[0], pair[0])
    assert_same_bits(views[1], pair[1])


def test_joint_of_unlike_numbers_of_channels_is_refused():
    with pytest.raises(ValueError, match=r"\(5, 5, 3\)") as refusal:
        local_ncc(np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5), np.uint8), channel="joint")
    assert "(5, 5)" in str(refusal.value)


@pytest.mark.parametrize("channel", ["red", "green", "blue"])
def test_a_colour_of_a_gray_picture_is_refused(channel: str):
    for shape in ((5, 5), (5, 5, 1), (5, 5, 2)):
        picture = np.zeros(shape, np.uint8)
        with pytest.raises(ValueError, match=channel):
            local_ncc(picture, picture, channel=channel)


# ---- several radii


@settings(max_examples=100)
@given(st.data(), pairs(max_side=14, holey=True), RADIUS_LISTS, borders, combines)
def test_maps_of_several_radii_agree_with_the_oracle(data, pair, radii, border, combine):
    mask = data.draw(st.none() | masks(pair[0].shape))
    options = {"border": border, "combine": combine, "mask": mask, "flat": -0.5, "fill": 2.0}
    expected, codes = oracle(*pair, radii, **options)
    rho, validity = local_ncc(*pair, radii, return_validity=True, **options)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


@given(pairs(max_side=40, holey=True), RADIUS_LISTS, combines)
def test_several_radii_combine_the_maps_of_each(pair, radii, combine):
    singles = [local_ncc(*pair, r, return_validity=True) for r in radii]
    rho = local_ncc(*pair, radii, combine=combine)
    everywhere = np.all([validity == VALID for _, validity in singles], axis=0)
    expected = COMBINE[combine](np.float64([single for single, _ in singles]), axis=0).astype(np.float32)
    assert_twins_close(rho[everywhere], expected[everywhere], promised(*pair))


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_several_radii_of_a_large_picture_are_the_mean_of_each(dtype: type, border: str):
    # Large enough for many pieces and tiles; flat in places, so that not every radius measures every pixel.
    pair = make_pair(dtype, (331, 1003))
    pair[0][100:140, 300:360] = pair[1][210:240, 800:] = 7
    options = {"border": border, "flat": 0.25, "fill": -2.0, "return_validity": True}
    singles = [local_ncc(*pair, radius, **options) for radius in (2, 11, 17)]
    rho, validity = local_ncc(*pair, [2, 11, 17], **options)
    measured = np.array([codes == VALID for _, codes in singles])
    total = np.where(measured, np.float64([single for single, _ in singles]), 0.0).sum(axis=0)
    expected = np.where(measured.any(axis=0), total / np.maximum(1, measured.sum(axis=0)), singles[0][0])
    assert_twins_close(rho, expected.astype(np.float32), promised(*pair))
    assert_same_bits(validity, np.where(measured.any(axis=0), np.uint8(VALID), singles[0][1]))
    assert len(np.unique(measured.sum(axis=0))) > 2


@pytest.mark.parametrize("combine", COMBINE)
def test_the_order_of_radii_matters_only_where_none_measures(combine: str):
    pair = make_pair(np.uint8)
    pair[0][:9, :9] = 5
    options = {"border": "valid", "combine": combine, "fill": 3.0, "return_validity": True}
    rho, validity = local_ncc(*pair, [1, 3], **options)
    other, other_validity = local_ncc(*pair, [3, 1], **options)
    measured = validity == VALID
    np.testing.assert_array_equal(other_validity == VALID, measured)
    assert_twins_close(rho[measured], other[measured], INTEGER)
    assert (validity[2, 2], other_validity[2, 2]) == (FLAT_REFERENCE, OUTSIDE)
    assert (rho[2, 2], other[2, 2]) == (0.0, 3.0)


def test_a_reference_with_several_radii_gives_the_functions_bits():
    pair = make_pair(np.uint8)
    options = {"combine": "min", "noise_sigma": 2.0, "flat": 1.0, "smooth_sigma": 0.8}
    expected = local_ncc(*pair, [1, 2, 4], **options)
    prepared = Reference(pair[0], [1, 2, 4], **options)
    out = np.empty(expected.shape, np.float32)
    for _ in range(2):
        assert prepared.ncc(pair[1], out=out) is out
        assert_same_bits(out, expected)


@pytest.mark.parametrize("radii", [[2], (2,)])
def test_a_list_of_one_radius_is_that_radius(radii: object):
    pair = make_pair(np.uint8)
    assert_same_bits(local_ncc(*pair, radii), local_ncc(*pair, 2))


# ---- smoothing


@settings(max_examples=100)
@given(st.data(), pairs(max_side=14, holey=True), RADII, smooth_sigmas, st.sampled_from([0.0, 0.5, math.nan]))
def test_smooth_maps_agree_with_the_oracle(data, pair, radius, smooth_sigma, flat):
    mask = data.draw(st.none() | masks(pair[0].shape))
    options = {"smooth_sigma": smooth_sigma, "mask": mask, "flat": flat, "border": data.draw(borders), "fill": math.nan}
    expected, codes = oracle(*pair, radius, **options)
    rho, validity = local_ncc(*pair, radius, return_validity=True, **options)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


@given(pairs(max_side=30), RADII, borders, st.sampled_from([0.3, 1.0, 4.0]))
def test_smoothing_leaves_a_constant_map_and_all_codes_alone(pair, radius, border, smooth_sigma):
    options = {"border": border, "flat": 1.0, "fill": -9.0, "return_validity": True}
    rho, validity = local_ncc(pair[0], pair[0], radius, **options)
    smooth, same_validity = local_ncc(pair[0], pair[0], radius, smooth_sigma=smooth_sigma, **options)
    assert_same_bits(same_validity, validity)
    assert_twins_close(smooth, rho, promised(pair[0]))


@given(pairs(max_side=30), RADII, st.sampled_from([0.3, 1.0, 4.0]))
def test_a_smooth_map_stays_between_the_extremes_of_the_rough_one(pair, radius, smooth_sigma):
    rough = local_ncc(*pair, radius)
    smooth = local_ncc(*pair, radius, smooth_sigma=smooth_sigma)
    assert smooth.min() >= rough.min() - promised(*pair)
    assert smooth.max() <= rough.max() + promised(*pair)


# ---- all together


@settings(max_examples=150)
@given(st.data(), st.sampled_from(["gray", "luma", "joint", "green"]))
def test_all_options_at_once_agree_with_the_oracle(data, channel):
    # Luma of float colours is rounded to float32 and no longer on the grid: colours only where they are read as such.
    dtypes = DTYPES[:2] if channel == "luma" else DTYPES
    pair = data.draw(pairs(max_side=10, channels=None if channel == "gray" else 3, dtypes=dtypes, holey=True))
    pair = [data.draw(pocked(p)) if p.dtype == np.float32 and data.draw(st.booleans()) else p for p in pair]
    shape = pair[0].shape[:2]
    noise_sigma = data.draw(st.sampled_from([0.0, 1.5]))
    options = {
        "border": data.draw(borders),
        "channel": "luma" if channel == "gray" else channel,
        "combine": data.draw(combines),
        "fill": data.draw(st.sampled_from([0.0, -1.5, math.nan])),
        "flat": data.draw(st.sampled_from([0.0, 1.0, -1.0, 0.25] + ([] if noise_sigma else [math.nan]))),
        "min_valid_fraction": data.draw(st.sampled_from([0.1, 0.5, 1.0])),
        "noise_sigma": noise_sigma,
        "smooth_sigma": data.draw(st.just(0.0) | smooth_sigmas),
        "mask": data.draw(st.none() | masks(shape)),
    }
    radii = data.draw(RADIUS_LISTS)
    frame_mask = data.draw(st.none() | masks(shape))
    expected, codes = oracle(*pair, radii, frame_mask=frame_mask, **options)
    rho, validity = Reference(pair[0], radii, **options).ncc(pair[1], mask=frame_mask, return_validity=True)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


def test_the_defaults_are_those_of_the_definition():
    pair = make_pair(np.uint8)
    options = {"border": "shrink", "flat": 0.0, "noise_sigma": 0.0, "mask": None, "min_valid_fraction": 0.5}
    options |= {"channel": "luma", "combine": "mean", "smooth_sigma": 0.0, "fill": 0.0, "out": None}
    assert_same_bits(local_ncc(*pair), local_ncc(*pair, 3, **options))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_changes_no_bit(dtype: type):
    pair = make_pair(dtype, (203, 307, 3))
    options = {"channel": "joint", "noise_sigma": 0.5, "smooth_sigma": 1.2}
    one, two, four = (local_ncc(*pair, [1, 2, 5], threads=n, **options) for n in (1, 2, 4))
    assert_same_bits(two, one)
    assert_same_bits(four, one)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_changes_no_bit_of_several_radii(dtype: type):
    pair = make_pair(dtype, (403, 507))
    assert_same_bits(*(local_ncc(*pair, [1, 3, 10], threads=threads) for threads in (1, 3)))


@pytest.mark.parametrize(
    ("named", "value"),
    [
        ("channel", "yellow"),
        ("channel", None),
        ("combine", "median"),
        ("smooth_sigma", -0.5),
        ("smooth_sigma", math.inf),
        ("smooth_sigma", math.nan),
    ],
)
def test_wrong_options_are_refused_by_name(named: str, value: object):
    picture = np.zeros((5, 5), np.uint8)
    with pytest.raises(ValueError, match=named):
        local_ncc(picture, picture, **{named: value})
    with pytest.raises(ValueError, match=named):
        Reference(picture, **{named: value})


@pytest.mark.parametrize("call", [local_ncc, lambda image, frame, **options: Reference(image, **options).ncc(frame)])
def test_an_unknown_option_is_refused(call):
    picture = np.zeros((5, 5), np.uint8)
    with pytest.raises(TypeError, match="boarder"):
        call(picture, picture, boarder="valid")


@pytest.mark.parametrize("threads", [2, np.int64(2), np.uint8(1)])
def test_threads_may_be_any_integer(threads):
    reference, frame = make_pair(np.uint8)
    assert_same_bits(local_ncc(reference, frame, threads=threads), local_ncc(reference, frame))


@pytest.mark.parametrize("threads", [0, -1, np.int64(0), True, np.True_, 1.5, np.float64(2), "2"])
def test_other_threads_are_refused(threads):
    reference, frame = make_pair(np.uint8)
    with pytest.raises(SpecError, match=r"^threads must be at least 1, not "):
        local_ncc(reference, frame, threads=threads)
