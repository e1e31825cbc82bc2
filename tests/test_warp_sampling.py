"""Sampling frames where a warp says: values, codes, bits, and what is refused."""

import hypothesis.strategies as st
import numpy as np
import pytest
import warp_oracle
from hypothesis import given
from scipy.ndimage import map_coordinates
from strategies import DTYPES, shapes
from tolerances import (
    OPENCV_POSITIONS,
    SAMPLING,
    SAMPLING_ROUNDING,
    assert_same_bits,
    assert_samples_close,
)

from framencc.errors import SpecError
from framencc.sampling import INTERPOLATIONS, Sampler, fixed_point_gain

MEASURED, OUTSIDE, MASKED = 0, 3, 4
# Each is a kernel of its own that takes a second to compile; the parts it is made of are the same for all.
MATRIX_KINDS = (("linear", np.uint8), ("linear", np.float32), ("nearest", np.uint16), ("cubic", np.float32))


def picture(shape, dtype, seed=0):
    """Noise over the whole range of an integer, or from 0 to 1."""
    rng = np.random.default_rng(seed)
    if dtype == np.float32:
        return rng.random(shape, np.float32)
    return rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def full_scale(planes):
    return 1.0 if planes.dtype == np.float32 else float(np.iinfo(planes.dtype).max)


def smooth_field(height, width, scale=1.0):
    """A field that bends, in and a little out of the picture."""
    y, x = np.mgrid[:height, :width]
    dx = 3.3 * np.sin(y / 17) + 2.1 * np.cos(x / 13)
    return np.stack([dx, 2.7 * np.cos(y / 7 + x / 20)], axis=-1).astype(np.float32) * np.float32(scale)


def constant_field(height, width, dx, dy):
    return np.broadcast_to(np.float32([dx, dy]), (height, width, 2)).copy()


def in_codes(warped, planes, bits=None):
    """Results in the codes of their picture."""
    gain = fixed_point_gain(planes.dtype, bits) if warped.dtype == np.uint16 else 1
    return warped.astype(np.float64) / gain


def half_a_unit(planes, bits=None):
    """What rounding to 16 bits takes, as a share of full scale."""
    if planes.dtype == np.float32:
        return 0
    gain = fixed_point_gain(planes.dtype, bits)
    return 0.5 / gain / (65536 // gain - 1)


@st.composite
def fields(draw, size, frame_size):
    """Eighths of a pixel, anything, or whole pixels, some of them far away or not finite."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    reach = max(frame_size) / draw(st.sampled_from([1, 4, 16]))
    field = rng.uniform(-reach, reach, (*size, 2)).astype(np.float32)
    kind = draw(st.sampled_from(["eighths", "any", "whole"]))
    if kind != "any":
        field = np.round(field * 8) / 8 if kind == "eighths" else np.round(field)
    if draw(st.booleans()):
        wild = rng.choice(np.float32([np.nan, np.inf, -np.inf, 3e38, -3e38, 2.0**31, -(2.0**24)]), field.shape)
        field = np.where(rng.random(field.shape) < 0.05, wild, field)
    return field.astype(np.float32)


@given(data=st.data())
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_values_and_codes_are_those_of_the_oracle(interpolation, data):
    frame_size = data.draw(shapes(9))
    size = frame_size if data.draw(st.booleans()) else data.draw(shapes(9))
    dtype = data.draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    planes = picture((data.draw(st.sampled_from([1, 1, 3])), *frame_size), dtype, rng.integers(2**32))
    if dtype == np.float32 and data.draw(st.booleans()):
        bad = rng.choice(np.float32([np.nan, np.inf, -np.inf]), planes.shape)
        planes = np.where(rng.random(planes.shape) < 0.1, bad, planes)
    use = rng.random(frame_size) < 0.9 if data.draw(st.booleans()) else None
    field = data.draw(fields(size, frame_size))
    bits = data.draw(st.sampled_from([None, 10, 12])) if dtype == np.uint16 else None
    if bits is not None:
        planes >>= 16 - bits
    fixed_point = (interpolation, dtype) != ("linear", np.uint8) or data.draw(st.booleans())

    sampler = Sampler(interpolation, fixed_point=fixed_point, bits=bits)
    warped, validity = sampler.sample(planes, field, use=use)

    maximum = None if dtype == np.float32 else (1 << (bits or 8 * planes.itemsize)) - 1
    expected, codes = warp_oracle.sample(planes, warp_oracle.of_field(field), size, interpolation, use, maximum)
    np.testing.assert_array_equal(validity, codes)
    assert warped.dtype == (np.uint16 if fixed_point and dtype != np.float32 else np.float32)
    scale = maximum or 1.0
    tolerance = SAMPLING_ROUNDING + (half_a_unit(planes, bits) if warped.dtype == np.uint16 else 0)
    assert_samples_close(in_codes(warped, planes, bits), expected, scale, tolerance)
    assert not warped[:, validity != MEASURED].any()


@given(data=st.data())
def test_a_matrix_gives_what_the_oracle_says(data):
    height, width = data.draw(shapes(9))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    interpolation, dtype = data.draw(st.sampled_from(MATRIX_KINDS))
    planes = picture((1, height, width), dtype, rng.integers(2**32))
    # Dyadic numbers, so that no position depends on the order of the operations; the last row may turn to 0 and below.
    matrix = np.eye(3) + np.round(rng.uniform(-0.5, 0.5, (3, 3)) * 64) / 64
    matrix[:2, 2] = np.round(rng.uniform(-2, 2, 2) * 64) / 64
    if data.draw(st.booleans()):
        matrix[2] = (0, 0, 1)
    size = data.draw(st.sampled_from([(height, width), (5, 7), (1, 300)]))
    warped, validity = Sampler(interpolation).sample(planes, matrix, size=size)
    maximum = None if planes.dtype == np.float32 else np.iinfo(planes.dtype).max
    expected, codes = warp_oracle.sample(planes, warp_oracle.of_matrix(matrix), size, interpolation, None, maximum)
    np.testing.assert_array_equal(validity, codes)
    # A matrix means displacements, which are rounded to float32 as those of a field are: half a unit along each axis.
    position = float(np.spacing(np.float32(max(*size, height, width))))
    tolerance = SAMPLING_ROUNDING + half_a_unit(planes) + position
    assert_samples_close(in_codes(warped, planes), expected, full_scale(planes), tolerance)


@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (64, 8192)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_agrees_with_scipy(height, width, dtype):
    planes, field = picture((1, height, width), dtype), smooth_field(height, width)
    sampler = Sampler(threads=2)
    warped, validity = sampler.sample(planes, field)
    y, x = np.mgrid[:height, :width]
    places = [y + field[..., 1].astype(np.float64), x + field[..., 0].astype(np.float64)]
    expected = map_coordinates(planes[0].astype(np.float64), places, order=1)
    inside = (places[0] >= 0) & (places[0] <= height - 1) & (places[1] >= 0) & (places[1] <= width - 1)
    np.testing.assert_array_equal(validity, np.where(inside, MEASURED, OUTSIDE))
    actual = in_codes(warped, planes)[0][inside]
    assert_samples_close(actual, expected[inside], full_scale(planes), SAMPLING)
    assert_samples_close(actual, expected[inside], full_scale(planes), SAMPLING_ROUNDING + half_a_unit(planes))


def test_nearest_agrees_with_scipy():
    planes, field = picture((1, 90, 120), np.uint8), smooth_field(90, 120)
    warped, validity = Sampler("nearest").sample(planes, field)
    y, x = np.mgrid[:90, :120]
    expected = map_coordinates(planes[0], [y + field[..., 1].astype(float), x + field[..., 0].astype(float)], order=0)
    np.testing.assert_array_equal(in_codes(warped, planes)[0][validity == 0], expected[validity == 0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_agrees_with_opencv(dtype):
    cv2 = pytest.importorskip("cv2")
    planes, field = picture((1, 90, 120), dtype), smooth_field(90, 120)
    warped, validity = Sampler().sample(planes, field)
    y, x = np.mgrid[:90, :120].astype(np.float32)
    expected = cv2.remap(planes[0], x + field[..., 0], y + field[..., 1], cv2.INTER_LINEAR)
    inside = validity == MEASURED
    rounding = 0 if dtype == np.float32 else 1 / full_scale(planes)
    actual = in_codes(warped, planes)[0]
    tolerance = OPENCV_POSITIONS + rounding
    assert_samples_close(actual[inside], expected[inside].astype(np.float64), full_scale(planes), tolerance)


def test_a_homography_agrees_with_opencv():
    cv2 = pytest.importorskip("cv2")
    planes = picture((1, 90, 120), np.uint8)
    matrix = np.array([[1.02, 0.05, -3.2], [-0.04, 0.97, 4.1], [1e-4, -2e-4, 1]])
    warped, validity = Sampler().sample(planes, matrix)
    expected = cv2.warpPerspective(planes[0], matrix, (120, 90), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    inside = validity == MEASURED
    assert 0.8 < inside.mean() < 1
    tolerance = OPENCV_POSITIONS + 1 / 255
    assert_samples_close(in_codes(warped, planes)[0][inside], expected[inside].astype(np.float64), 255, tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-5, 4), (299, 0), (0, -39), (1e-9, -1e-9)])
def test_whole_pixels_give_the_codes_themselves(interpolation, dtype, shift):
    height, width = 40, 300
    planes = picture((2, height, width), dtype)
    dx, dy = shift
    warps = [constant_field(height, width, dx, dy), np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]], np.float64)]
    for warp in warps[: 2 if (interpolation, dtype) in MATRIX_KINDS else 1]:
        warped, validity = Sampler(interpolation).sample(planes, warp)
        y, x = np.mgrid[:height, :width]
        column, row = x + np.float64(dx), y + np.float64(dy)
        inside = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
        near = np.rint(row[inside]).astype(int), np.rint(column[inside]).astype(int)
        if dx == round(dx) or interpolation == "nearest":
            np.testing.assert_array_equal(validity == MEASURED, inside)
            np.testing.assert_array_equal(in_codes(warped, planes)[:, inside], planes[:, near[0], near[1]])
        else:
            both = validity == MEASURED
            assert both[1:-1, 1:-1].all()
            actual, expected = in_codes(warped, planes)[:, both], planes[:, both].astype(np.float64)
            assert_samples_close(actual, expected, full_scale(planes), SAMPLING_ROUNDING)


def test_a_translation_matrix_equals_a_constant_field():
    for interpolation, dtype in MATRIX_KINDS:
        planes = picture((1, 33, 270), dtype)
        sampler = Sampler(interpolation)
        by_field = sampler.sample(planes, constant_field(33, 270, 2.375, -1.625))
        by_matrix = sampler.sample(planes, np.array([[1, 0, 2.375], [0, 1, -1.625], [0, 0, 1]]))
        for one, other in zip(by_field, by_matrix, strict=True):
            assert_same_bits(one, other)


def test_masked_taps_count_only_where_they_weigh_something():
    planes, use = picture((1, 5, 5), np.uint8), np.ones((5, 5), bool)
    use[2, 2] = False
    for interpolation, reach in (("nearest", 0), ("linear", 1), ("cubic", 2)):
        sampler = Sampler(interpolation)
        _, validity = sampler.sample(planes, constant_field(5, 5, 0, 0), use=use)
        np.testing.assert_array_equal(validity == MASKED, ~use)
        _, validity = sampler.sample(planes, constant_field(4, 4, 0.25, 0), use=use)
        expected = np.zeros((4, 4), bool)
        expected[2, 2 - reach : 3 + max(0, reach - 1)] = True
        np.testing.assert_array_equal(validity == MASKED, expected)


def test_nan_spoils_only_what_it_weighs_in():
    planes = picture((1, 5, 5), np.float32)
    planes[0, 2, 2] = np.nan
    planes[0, 4, 4] = np.inf
    for interpolation in INTERPOLATIONS:
        warped, validity = Sampler(interpolation).sample(planes, constant_field(5, 5, 0, 0))
        assert not validity.any()
        np.testing.assert_array_equal(warped, np.where(np.isinf(planes), np.nan, planes))


def test_positions_beyond_the_outer_centres_are_outside():
    planes = picture((1, 4, 6), np.uint8)
    nowhere = np.float32([np.nan, np.inf, -np.inf, 3e38, -3e38, 6, -1, 5.0001, -0.0001])
    field = np.zeros((1, nowhere.size, 2), np.float32)
    field[0, :, 0] = nowhere
    field[0, :7, 0] = nowhere[:7] - np.arange(7, dtype=np.float32)
    field[0, 7:, 0] = nowhere[7:] - np.arange(7, 9, dtype=np.float32)
    for interpolation in INTERPOLATIONS:
        warped, validity = Sampler(interpolation).sample(planes, field)
        assert (validity == OUTSIDE).all()
        assert not warped.any()
    behind = np.array([[1, 0, 0], [0, 1, 0], [0, 0, -1.0]])
    for matrix in (behind, np.zeros((3, 3)), np.full((3, 3), np.nan), np.full((3, 3), np.inf)):
        assert (Sampler().sample(planes, matrix)[1] == OUTSIDE).all()


def test_bits_do_not_depend_on_threads_or_on_what_was_sampled_before():
    use = np.random.default_rng(1).random((200, 310)) < 0.99
    field = smooth_field(200, 310)
    matrix = np.array([[1.01, 0.03, -2], [-0.02, 0.99, 3], [1e-5, 2e-5, 1]])
    kinds = [(interpolation, dtype, field) for interpolation in INTERPOLATIONS for dtype in DTYPES]
    for interpolation, dtype, warp in kinds + [(*kind, matrix) for kind in MATRIX_KINDS]:
        planes = picture((3, 200, 310), dtype)
        expected = Sampler(interpolation).sample(planes, warp, use=use)
        sampler = Sampler(interpolation, threads=3)
        sampler.sample(planes[:, ::-1, :100], warp[:, :100] if warp is field else warp)
        for one, other in zip(sampler.sample(planes, warp, use=use), expected, strict=True):
            assert_same_bits(one, other)


def test_inputs_are_not_written_and_outputs_are():
    planes, field, use = picture((1, 20, 30), np.uint8), smooth_field(20, 30), np.ones((20, 30), bool)
    use[5:9, 3:20] = False
    copies = [array.copy() for array in (planes, field, use)]
    for array in (planes, field, use):
        array.flags.writeable = False
    out, validity = np.empty((1, 20, 30), np.uint16), np.empty((20, 30), np.uint8)
    sampler = Sampler()
    results = sampler.sample(planes, field, use=use, out=out, validity=validity)
    assert results[0] is out
    assert results[1] is validity
    assert set(np.unique(validity)) == {MEASURED, OUTSIDE, MASKED}
    for array, copy in zip((planes, field, use), copies, strict=True):
        assert_same_bits(array, copy)
    strided = sampler.sample(np.asfortranarray(planes), np.asfortranarray(field), use=np.asfortranarray(use))
    for one, other in zip(strided, results, strict=True):
        assert_same_bits(one, other)


def test_cubic_is_cut_to_the_range_of_the_codes():
    planes = np.full((1, 8, 40), 1023, np.uint16)
    planes[:, :, ::4] = 0
    field = constant_field(8, 40, 0.5, 0)
    fixed, _ = Sampler("cubic", bits=10).sample(planes, field)
    floats, _ = Sampler("cubic", bits=10, fixed_point=False).sample(planes, field)
    assert fixed.max() == 1023 * 64
    assert floats.max() == 1023
    assert Sampler("cubic", fixed_point=False).sample(planes, field)[0].max() > 1023


PLANES = np.zeros((1, 4, 6), np.uint8)
FIELD = np.zeros((4, 6, 2), np.float32)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"planes": PLANES[0]}, ["(4, 6)", "(C, H, W)"]),
        ({"planes": PLANES[:, :0]}, ["(1, 0, 6)"]),
        ({"planes": PLANES.astype(np.float64)}, ["float64", "float32"]),
        ({"warp": FIELD[..., 0]}, ["(4, 6)", "(1, 4, 6)", "(h, w, 2)", "(3, 3)"]),
        ({"warp": FIELD.astype(np.float64)}, ["(4, 6, 2)", "float64", "(1, 4, 6)"]),
        ({"warp": np.eye(3, dtype=np.float32)}, ["(3, 3)", "float32"]),
        ({"warp": FIELD[:0]}, ["(0, 6)"]),
        ({"size": (4, 5)}, ["(4, 6, 2)", "(4, 5)"]),
        ({"use": np.ones((6, 4), bool)}, ["(6, 4)", "(1, 4, 6)"]),
        ({"use": np.ones((4, 6), np.uint8)}, ["uint8", "bool"]),
        ({"out": np.empty((1, 4, 6), np.uint8)}, ["uint8", "uint16"]),
        ({"out": np.empty((1, 6, 4), np.uint16)}, ["(1, 6, 4)", "(1, 4, 6)"]),
        ({"validity": np.empty((1, 4, 6), np.uint8)}, ["(1, 4, 6)", "(4, 6)"]),
        ({"validity": PLANES[0]}, ["share memory"]),
    ],
)
def test_what_does_not_fit_is_refused(changes, words):
    arguments = {"planes": PLANES, "warp": FIELD} | changes
    planes, warp = arguments.pop("planes"), arguments.pop("warp")
    with pytest.raises(SpecError) as caught:
        Sampler().sample(planes, warp, **arguments)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("options", [{"interpolation": "lanczos"}, {"bits": 0}, {"bits": 17}, {"threads": 0}])
def test_an_option_out_of_range_is_refused(options):
    with pytest.raises(SpecError):
        Sampler(**options)


def test_more_bits_than_the_dtype_holds_are_refused():
    with pytest.raises(SpecError, match="bits = 10"):
        Sampler(bits=10).sample(PLANES, FIELD)
    assert [fixed_point_gain(np.uint8), fixed_point_gain(np.uint16), fixed_point_gain(np.uint16, 12)] == [256, 1, 16]
