"""Contents and masks chosen to hurt, against the promises: where sums cancel, saturate or run out of pixels.

Integers have no excuse. Of floats the promise speaks where the standard deviation in the window, over its usable
pixels, is at least 1e-3 of their mean; below that a map is still finite and from -1 to 1, or flat.
"""

import math

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from oracle import FLAT_FRAME, FLAT_REFERENCE, MASKED, NOT_FINITE, OUTSIDE, TOO_FEW, VALID, oracle_at
from strategies import BORDERS, DTYPES, masks, shapes
from tolerances import SMALLEST_SIGMA, assert_maps_close, assert_same_bits, promised

from framencc import Reference, local_ncc

ANY_SHARE = 1e-9  # min_valid_fraction: one pixel is enough
SHAPE = (66, 70)
MASKS = ("one pixel kept", "one pixel dropped", "white fields", "every third row", "two pixels apart", "random")
CONTENTS = ("bright", "saturated regions", "checkerboards", "spikes")


def content(kind: str, dtype: type = np.uint16, shape: tuple[int, ...] = SHAPE) -> list[np.ndarray]:
    """Two integer pictures, related but not equal."""
    rng = np.random.default_rng(21)
    largest = int(np.iinfo(dtype).max)
    white = (np.indices(shape[:2]).sum(axis=0) % 2).reshape(shape[:2] + (1,) * (len(shape) - 2))
    if kind == "bright":  # of 16 bits: mean 65000 and sigma 1
        scene = rng.normal(size=shape)
        pair = [largest - largest // 122 + scene + rng.normal(size=shape) * noise for noise in (0, 0.5)]
    elif kind == "saturated regions":
        ramp = np.linspace(-1, 2, shape[1]).reshape(1, -1, *[1] * (len(shape) - 2))
        pair = [ramp * largest + rng.normal(size=shape) * largest / 60 for _ in range(2)]
    elif kind == "checkerboards":  # the full contrast against one code value
        pair = [white * largest + np.zeros(shape), largest - white + rng.integers(0, 2, shape) * (white == 0)]
    else:
        pair = [np.where(rng.random(shape) < 0.02, largest, rng.integers(0, 2, shape)) for _ in range(2)]
    return [np.clip(np.rint(picture), 0, largest).astype(dtype) for picture in pair]


def chosen_mask(kind: str, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    rows, columns = np.indices(shape)
    middle = (rows == shape[0] // 2) & (columns == shape[1] // 2)
    if kind == "two pixels apart":
        return middle | ((rows == shape[0] // 2 + 1) & (columns == shape[1] // 2 - 1))
    return {
        "one pixel kept": middle,
        "one pixel dropped": ~middle,
        "white fields": (rows + columns) % 2 == 0,
        "every third row": rows % 3 == 0,
        "random": np.random.default_rng(22).random(shape) < 0.5,
    }[kind]


def some_points(mask: np.ndarray, n_points: int) -> list[tuple[int, int]]:
    """Corners, the middle with its neighbours, and some pixels that the mask keeps."""
    height, width = mask.shape
    y, x = height // 2, width // 2
    points = [(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)]
    points += [(y, x), (y - 1, x), (y, x + 1), (y + 1, x - 1)]
    kept = np.argwhere(mask)
    chosen = kept[np.random.default_rng(23).integers(0, len(kept), n_points)]
    return points + [(int(i), int(j)) for i, j in chosen]


def assert_agrees_at(pair, points, radius, **options: object) -> np.ndarray:
    """Compare some points with the oracle; return their codes."""
    expected, codes = oracle_at(*pair, points, radius, **options)
    rho, validity = local_ncc(*pair, radius, return_validity=True, **options)
    rows, columns = np.transpose(points)
    assert_same_bits(validity[rows, columns], codes)
    assert_maps_close(rho[rows, columns], expected, promised(*pair))
    return codes


# ---- integers


@pytest.mark.parametrize("mask_kind", MASKS)
@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("radius", [1, 3, 31])
def test_hurtful_integers_under_hurtful_masks_agree_with_the_oracle(kind: str, mask_kind: str, radius: int):
    mask = chosen_mask(mask_kind)
    points = some_points(mask, 8 if radius < 31 else 2)
    for dtype, border in ((np.uint16, "shrink"), (np.uint8, "reflect")):
        pair = content(kind, dtype)
        options = {"border": border, "mask": mask, "min_valid_fraction": ANY_SHARE, "flat": 0.5, "fill": -2.0}
        assert_agrees_at(pair, points, radius, **options)


@pytest.mark.parametrize("radius", [8, 9, 10, 11])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_half_black_and_half_white_agrees_where_sums_might_need_more_bits(dtype: type, masked: bool, radius: int):
    # n S is largest here, n^2 / 4 times the square of the largest code; 32 bits hold it up to radius 9 at most.
    reference, frame = np.zeros(SHAPE, dtype), np.zeros(SHAPE, dtype)
    reference[:, 35:] = frame[:, 36:] = np.iinfo(dtype).max
    mask = chosen_mask("one pixel dropped") if masked else None
    points = [(y, x) for y in (33, 34) for x in (30, 34, 35, 36)]
    for pair in ((reference, frame), (reference, reference), (reference, ~reference)):
        assert_agrees_at(pair, points, radius, mask=mask)


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("options", [{"noise_sigma": 0.5, "flat": 1.0}, {"combine": "min", "border": "valid"}])
def test_hurtful_colours_of_several_radii_agree_with_the_oracle(kind: str, options: dict):
    pair, mask = content(kind, shape=(*SHAPE, 3)), chosen_mask("random")
    points = some_points(mask, 5)
    assert_agrees_at(pair, points, [10, 2], channel="joint", **options)
    assert_agrees_at(pair, points, [10, 2], channel="joint", mask=mask, **options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mask_that_keeps_one_pixel_leaves_one_window_of_one_pixel(dtype: type):
    pair = [picture.astype(dtype) for picture in content("bright", np.uint8)]
    kept = chosen_mask("one pixel kept")
    for fraction, code in ((ANY_SHARE, FLAT_REFERENCE), (1 / 25, FLAT_REFERENCE), (1 / 24, TOO_FEW)):
        rho, validity = local_ncc(*pair, 2, mask=kept, min_valid_fraction=fraction, flat=0.5, return_validity=True)
        assert_same_bits(validity, np.where(kept, np.uint8(code), np.uint8(MASKED)))
        assert_same_bits(rho, np.where(kept & (code == FLAT_REFERENCE), np.float32(0.5), np.float32(0)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_dropped_pixel_that_held_the_only_texture_is_missed_in_its_windows_alone(dtype: type):
    reference, frame = np.zeros(SHAPE, dtype), content("bright", np.uint8)[1].astype(dtype)
    reference[33, 35] = reference[33, 37] = 200
    mask = chosen_mask("one pixel dropped")
    _, validity = local_ncc(reference, frame, 2, mask=mask, return_validity=True)
    expected = np.full(SHAPE, FLAT_REFERENCE, np.uint8)
    expected[31:36, 35:40] = VALID  # around the spot that is left
    expected[33, 35] = MASKED
    assert_same_bits(validity, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("radius", [1, 4])
def test_white_fields_alone_are_flat_however_black_the_others(dtype: type, border: str, radius: int):
    # One black field in any of the windows, and it is no longer flat.
    rows, columns = np.indices(SHAPE)
    white = chosen_mask("white fields")
    board, texture = (200 * white).astype(dtype), ((23 * rows + 57 * columns) % 251).astype(dtype)
    for pair, code in (((board, texture), FLAT_REFERENCE), ((texture, board), FLAT_FRAME)):
        options = {"border": border, "mask": white, "min_valid_fraction": 0.4, "return_validity": True}
        _, validity = local_ncc(*pair, radius, **options)
        inside = np.s_[radius:-radius, radius:-radius] if border == "valid" else np.s_[:]
        expected = np.where(white, np.uint8(code), np.uint8(MASKED))
        np.testing.assert_array_equal(validity[inside], expected[inside])


# ---- the largest radius


@pytest.mark.parametrize(
    "options",
    [
        {"border": "valid"},
        {"border": "reflect", "masked": True},
        {"masked": True, "noise_sigma": 0.5, "flat": 1.0},
        {"masked": True, "combine": "max", "radius": [127, 126]},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_radius_agrees_with_the_oracle_with_every_option(dtype: type, options: dict):
    shape = (260, 258)
    pair = content("bright", np.uint16 if dtype == np.float32 else dtype, shape)
    if dtype == np.float32:
        pair = [(picture - np.float32(64500)).astype(dtype) for picture in pair]
    rest = {name: value for name, value in options.items() if name not in ("masked", "radius")}
    mask = chosen_mask("random", shape) if options.get("masked") else None
    points = [(0, 257), (130, 128)]
    if mask is not None:
        mask[tuple(np.transpose(points))] = True
    codes = assert_agrees_at(pair, points, options.get("radius", 127), mask=mask, min_valid_fraction=0.3, **rest)
    assert codes.tolist() == [OUTSIDE if options.get("border") == "valid" else VALID, VALID]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_radius_agrees_with_the_oracle_for_joint_channels(dtype: type):
    pair = content("saturated regions", np.uint8 if dtype == np.uint8 else np.uint16, (140, 150, 3))
    pair = [picture.astype(dtype) for picture in pair]
    assert_agrees_at(pair, [(70, 75)], 127, channel="joint", border="reflect")


# ---- floats far from zero


def float_content(offset: float, sigma: float, shape: tuple[int, ...] = SHAPE) -> list[np.ndarray]:
    rng = np.random.default_rng(24)
    scene = rng.normal(size=shape)
    pair = [offset + sigma * (0.8 * scene + 0.6 * rng.normal(size=shape)) for _ in range(2)]
    return [picture.astype(np.float32) for picture in pair]


def sprinkled(picture: np.ndarray, share: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(25)
    bad = rng.choice(np.float32([np.nan, np.inf, -np.inf]), picture.shape)
    return np.where(rng.random(picture.shape) < share, bad, picture)


def is_promised(pair: list[np.ndarray], use: np.ndarray, y: int, x: int, radius: int) -> bool:
    """Tell whether both pictures vary enough in the usable part of a window."""
    part = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
    windows = [picture[part][use[part]].astype(np.float64) for picture in pair]
    return all(w.std() >= SMALLEST_SIGMA * abs(w.mean()) for w in windows)


@pytest.mark.parametrize("trouble", ["none", "masked", "not finite"])
@pytest.mark.parametrize("radius", [1, 3, 31])
@pytest.mark.parametrize("offset", [1e6, -1e6])
def test_floats_a_million_from_zero_keep_the_promise_down_to_its_edge(offset: float, radius: int, trouble: str):
    pair = float_content(offset, 1.5 * SMALLEST_SIGMA * abs(offset))
    mask = chosen_mask("random") if trouble == "masked" else None
    if trouble == "not finite":
        pair = [sprinkled(pair[0]), sprinkled(pair[1][::-1])[::-1]]
    use = np.isfinite(pair[0]) & np.isfinite(pair[1]) & (True if mask is None else mask)
    points = some_points(use, 30 if radius < 31 else 4)
    kept = [(y, x) for y, x in points if use[y, x] and is_promised(pair, use, y, x, radius)]
    assert len(kept) >= (8 if radius < 31 else 4)
    codes = assert_agrees_at(pair, kept, radius, mask=mask, min_valid_fraction=0.1)
    assert (codes == VALID).all()


@pytest.mark.parametrize("sigma", [100.0, 1.0, 0.2, 0.03])
@pytest.mark.parametrize("trouble", ["none", "masked", "not finite"])
def test_floats_below_the_promise_stay_from_minus_one_to_one_or_are_flat(sigma: float, trouble: str):
    pair = float_content(1e6, sigma)
    mask = chosen_mask("random") if trouble == "masked" else None
    if trouble == "not finite":
        pair = [sprinkled(picture) for picture in pair]
    for more in ({}, {"noise_sigma": 1.0}, {"smooth_sigma": 1.0}, {"combine": "max"}, {"border": "reflect"}):
        radius = [1, 5] if "combine" in more else 2
        options = {"mask": mask, "flat": 0.25, "fill": 9.0, "return_validity": True} | more
        for frame in (pair[1], pair[0], 2e6 - pair[0]):
            rho, validity = local_ncc(pair[0], frame, radius, **options)
            holds = validity <= FLAT_FRAME
            assert np.abs(rho[holds]).max() <= 1
            assert (rho[~holds] == 9).all()
            assert set(np.unique(validity[~holds])) <= {MASKED, TOO_FEW, NOT_FINITE}
            if "smooth_sigma" not in more:
                assert (rho[(validity == FLAT_REFERENCE) | (validity == FLAT_FRAME)] == 0.25).all()


@pytest.mark.parametrize("masked", [False, True])
def test_rounding_lifts_no_perfect_match_of_floats_below_the_promise_above_one(masked: bool):
    # Sums of so many squares are rounded, and differently for the two pictures.
    reference = float_content(1e6, 0.5)[0]
    mask = chosen_mask("random") if masked else None
    for frame, sign in ((reference + np.float32(1000), 1), (np.float32(2e6) - reference, -1)):
        rho, validity = local_ncc(reference, frame, 25, mask=mask, min_valid_fraction=0.3, return_validity=True)
        assert np.count_nonzero(validity == VALID) > 1000
        assert np.count_nonzero(rho == sign) > 100  # clamped, for most of them are not exactly 1
        assert np.abs(rho).max() <= 1


@settings(max_examples=100)
@given(st.data(), shapes(10), st.sampled_from([None, 3]), st.sampled_from([0.0, 1e-3, 1e4]))
def test_any_floats_at_all_give_a_number_from_minus_one_to_one_or_fill(data, shape, channels, noise_sigma):
    shape = shape if channels is None else (*shape, channels)
    reference, frame = (data.draw(hnp.arrays(np.float32, shape, elements=st.floats(width=32))) for _ in range(2))
    options = {
        "border": data.draw(st.sampled_from(BORDERS)),
        "channel": data.draw(st.sampled_from(["luma", "joint"])),
        "mask": data.draw(st.none() | masks(shape[:2])),
        "min_valid_fraction": data.draw(st.sampled_from([ANY_SHARE, 0.5])),
        "smooth_sigma": data.draw(st.sampled_from([0.0, 1.0])),
        "noise_sigma": noise_sigma,
        "fill": 2.0,
    }
    radius = data.draw(st.sampled_from([1, [2, 5]]))
    if isinstance(radius, list):
        options["combine"] = data.draw(st.sampled_from(["mean", "min", "max"]))
    rho, validity = local_ncc(reference, frame, radius, return_validity=True, **options)
    holds = validity <= FLAT_FRAME
    assert (rho[~holds] == 2).all()
    assert ((rho[holds] >= -1) & (rho[holds] <= 1)).all()


def test_a_picture_without_a_single_usable_pixel_says_why_at_each():
    picture = float_content(100, 10)[0]
    nothing = sprinkled(picture, 1.1)
    mask = chosen_mask("white fields")
    for pair in ((picture, nothing), (nothing, picture), (nothing, nothing)):
        for options in ({}, {"noise_sigma": 1.0}, {"smooth_sigma": 1.0}, {"border": "valid"}):
            rho, validity = Reference(pair[0], [1, 2], fill=math.nan, **options).ncc(
                pair[1], mask=mask, return_validity=True
            )
            assert np.isnan(rho).all()
            assert_same_bits(validity, np.where(mask, np.uint8(NOT_FINITE), np.uint8(MASKED)))
