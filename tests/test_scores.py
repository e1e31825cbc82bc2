"""The numbers of a frame against NumPy, for any content, mask, region and number of threads."""

import dataclasses
import math

import numpy as np
import pytest
import score_oracle
import strategies
from hypothesis import given
from hypothesis import strategies as st

from framencc.following import follow
from framencc.frames import Regions
from framencc.ncc import Reference
from framencc.scores import RegionScores, Scorer

TOLERANCE = 1e-6
PERCENTILE_TOLERANCE = 1 / 8000  # half a bin of 1 / 4096, and rounding
CONTENTS = ("random", "few values", "constant", "high", "edges", "tiny")


def make_map(content, shape, rng):
    rho = {
        "random": lambda: rng.uniform(-1, 1, shape),
        "few values": lambda: rng.choice([-1, -0.25, 0, 0.5, 1], shape),
        "constant": lambda: np.full(shape, rng.uniform(-1, 1)),
        "high": lambda: 1 - rng.exponential(1e-4, shape).clip(0, 2),
        "edges": lambda: rng.choice([-1, -0.0, 0.0, 1, np.nextafter(0.5, 0, dtype=np.float32), 0.5], shape),
        "tiny": lambda: rng.choice([-1e-38, 1e-45, 0, 1e-30, 1e-9], shape),
    }
    return rho[content]().astype(np.float32)


def make_planes(dtype, shape, rng):
    if dtype == np.float32:
        return rng.normal(0.5, 0.2, shape).astype(np.float32)
    return rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def assert_scores(found, expected):
    for name, value in expected.items():
        one = found.get(name, found.get("mean_confidence"))
        assert (one is None) == (value is None), name
        if value is not None:
            assert math.isfinite(one), name
            tolerance = PERCENTILE_TOLERANCE if name in ("median", "p05", "p95") else TOLERANCE
            assert one == pytest.approx(value, rel=TOLERANCE, abs=tolerance), name


@given(
    shape=strategies.shapes(40),
    content=st.sampled_from(CONTENTS),
    dtypes=st.tuples(*[st.sampled_from((np.uint8, np.uint16, np.float32))] * 2),
    n_channels=st.sampled_from([1, 3]),
    share_invalid=st.sampled_from([0, 0.1, 0.7, 0.98, 1]),
    n_labels=st.integers(1, 4),
    threshold=st.sampled_from([-1, 0, 0.5, 0.7, 1]),
    threads=st.sampled_from([1, 2, 5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_all_scores_are_those_of_numpy(
    shape, content, dtypes, n_channels, share_invalid, n_labels, threshold, threads, seed
):
    rng = np.random.default_rng(seed)
    rho = make_map(content, shape, rng)
    validity = (rng.random(shape) < share_invalid).astype(np.uint8) * rng.integers(1, 10, shape, dtype=np.uint8)
    rho[validity > 0] = rng.choice([0, np.nan, 77])
    planes, reference = (make_planes(dtype, (n_channels, *shape), rng) for dtype in dtypes)
    field = rng.normal(0, 5, (*shape, 2)).astype(np.float32)
    field[rng.random(shape) < 0.05] = np.nan
    labels = rng.integers(0, n_labels, shape).astype(np.uint16)
    names = {f"r{label}": label for label in range(n_labels + 1)}  # the last one has no pixel
    scorer = Scorer(shape, reference, scale=0.25, threshold=threshold, regions=Regions(labels, names), threads=threads)
    scores = scorer.score(rho, validity, planes, field)
    given = {"planes": planes, "reference": reference, "scale": 0.25, "field": field}
    assert_scores(dataclasses.asdict(scores), score_oracle.scores(rho, validity, threshold, **given))
    assert scores.code_shares == tuple((validity == code).mean() for code in range(10))
    for name, label in names.items():
        expected = score_oracle.scores(rho, validity, threshold, where=labels == label, **given)
        assert scores.regions[name].n_pixels == (labels == label).sum()
        assert_scores(dataclasses.asdict(scores.regions[name]), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("height", [1, 31, 33, 200])
def test_threads_and_regions_change_no_bit_of_the_whole(dtype, height):
    rng = np.random.default_rng(height)
    shape = (height, 71)
    rho, validity = make_map("random", shape, rng), rng.choice([0, 0, 0, 3], shape).astype(np.uint8)
    planes, reference = make_planes(dtype, (1, *shape), rng), make_planes(dtype, (1, *shape), rng)
    field = rng.normal(0, 5, (*shape, 2)).astype(np.float32)
    regions = Regions(np.broadcast_to(np.arange(71, dtype=np.uint16) // 20, shape), {"a": 1, "b": 3})
    found = [
        Scorer(shape, reference, regions=regions, threads=n).score(rho, validity, planes, field) for n in (1, 2, 3, 9)
    ]
    assert all(scores == found[0] for scores in found)
    alone = Scorer(shape, reference).score(rho, validity, planes, field)
    assert alone.regions is None
    whole = dataclasses.replace(found[0], regions=None)
    if dtype == np.uint8:  # sums of floats are taken part by part
        assert dataclasses.replace(whole, warp_magnitude=None) == dataclasses.replace(alone, warp_magnitude=None)
    for name in ("sharpness_ratio", "gain", "warp_magnitude"):
        assert getattr(whole, name) == pytest.approx(getattr(alone, name), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_one_scorer_serves_many_frames(dtype):
    rng = np.random.default_rng(0)
    shape = (150, 60)
    reference = make_planes(dtype, (2, *shape), rng)
    regions = Regions(rng.integers(0, 3, (150, 1), dtype=np.uint16) * np.ones(60, np.uint16), {"a": 1, "b": 2})
    scorer = Scorer(shape, reference, regions=regions)
    static = rng.choice([0, 4], shape).astype(np.uint8)
    some_rows = static.copy()
    some_rows[70:80] = 0
    damaged = np.zeros(shape, np.float32), np.full(shape, 8, np.uint8)
    assert scorer.score(*damaged).gain is None
    for index, validity in enumerate([static, static, some_rows, static, np.zeros_like(static), static]):
        rho, planes = make_map("random", shape, rng), make_planes(dtype, (2, *shape), rng)
        found = [
            scorer.score(rho, validity, planes),
            Scorer(shape, reference, regions=regions, threads=1 + index).score(rho, validity, planes),
        ]
        assert found[0] == found[1]
        if index % 2:  # a damaged frame lies between
            assert scorer.score(*damaged).gain is None


@pytest.mark.parametrize("bands", [1, 7])
def test_scores_taken_with_codes_and_weights_are_those_of_the_weighted_map(bands):
    rng = np.random.default_rng(bands)
    shape = (40, 33)
    rho, validity = make_map("random", shape, rng), rng.choice([0, 1, 4], shape).astype(np.uint8)
    distance, codes = rng.exponential(2, shape).astype(np.float32), np.empty(shape, np.uint16)
    scorer, weighted = Scorer(shape), rho.copy()
    options = {"distance": distance, "distance_scale": 3.0, "codes": codes, "encoding": "signed"}
    follow(weighted, validity, *scorer.begin(bands, **options), threads=2)
    expected = np.where(validity <= 2, np.maximum(rho, 0) * np.exp(-distance.astype(np.float64) / 3), rho)
    np.testing.assert_allclose(weighted, expected, rtol=2**-23, atol=0)
    np.testing.assert_array_equal(codes, np.floor(65535 / 2 * weighted.astype(np.float64) + 65535 / 2 + 0.5))
    assert scorer.finish() == Scorer(shape).score(weighted, validity)


def test_displacements_of_a_matrix_are_those_of_its_field():
    shape, angle = (60, 80), 0.1
    matrix = np.array([[np.cos(angle), -np.sin(angle), 3], [np.sin(angle), np.cos(angle), -2], [1e-4, -0.02, 1]])
    y, x = np.mgrid[:60, :80].astype(np.float64)
    across, down, divisor = np.tensordot(matrix, np.stack([x, y, np.ones(shape)]), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        field = np.where(divisor > 0, [across / divisor - x, down / divisor - y], np.nan)
    rho, validity = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    validity[:, :30] = 3
    lengths = np.hypot(*field)[:, 30:]
    assert 0 < np.isnan(lengths).sum() < lengths.size
    found = Scorer(shape).score(rho, validity, None, matrix).warp_magnitude
    assert found == pytest.approx(np.nanmean(lengths), rel=1e-12)


@pytest.mark.parametrize("content", ["random", "high", "few values"])
def test_percentiles_are_less_than_half_a_bin_off(content):
    rho = make_map(content, (50, 201), np.random.default_rng(0))
    scores = Scorer(rho.shape).score(rho, np.zeros(rho.shape, np.uint8))
    exact = np.percentile(rho.astype(np.float64), [5, 50, 95])
    np.testing.assert_allclose([scores.p05, scores.median, scores.p95], exact, rtol=0, atol=1.001 / 8192)


@pytest.mark.parametrize("value", [1.0, -1.0, 0.0, 0.1])
def test_all_numbers_of_equal_values_are_that_value(value):  # exactly, where a bin is centred there
    rho = np.full((200, 300), value, np.float32)
    scores = Scorer(rho.shape).score(rho, np.zeros(rho.shape, np.uint8))
    exact = float(np.float32(value))
    tolerance = 0 if value * 4096 % 1 == 0 else PERCENTILE_TOLERANCE
    assert (scores.p05, scores.median, scores.p95) == pytest.approx((exact,) * 3, rel=0, abs=tolerance)
    assert scores.mean_confidence == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("unmeasured", [math.nan, math.inf, 1e30, -1.0])
def test_what_was_not_measured_does_not_count(unmeasured):
    rho = np.full((70, 11), unmeasured, np.float32)
    validity = np.full(rho.shape, 3, np.uint8)
    rho[2:4, 5], validity[2:4, 5] = 0.25, 0
    scores = Scorer(rho.shape).score(rho, validity)
    assert (scores.mean_confidence, scores.p05, scores.median, scores.p95) == (0.25,) * 4
    assert scores.valid_share == 2 / rho.size


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.5, np.nextafter(np.float32(-1), np.float32(-2))])
def test_valid_pixels_beyond_the_range_of_a_map_are_refused(value):
    rho, validity = np.full((20, 30), 0.25, np.float32), np.zeros((20, 30), np.uint8)
    rho[19, 29] = value
    scorer = Scorer(rho.shape)
    with pytest.raises(ValueError, match="from -1 to 1; rho holds"):
        scorer.score(rho, validity)
    validity[19, 29] = 3
    assert scorer.score(rho, validity).mean_confidence == 0.25


def test_where_nothing_was_measured_there_is_no_number():
    planes = np.zeros((1, 4, 4), np.uint8)
    regions = Regions(np.ones((4, 4), np.uint16), {"all": 1, "none": 2})
    scores = Scorer((4, 4), planes, regions=regions).score(
        np.full((4, 4), np.nan, np.float32), np.full((4, 4), 8, np.uint8), planes, np.zeros((4, 4, 2), np.float32)
    )
    numbers = dataclasses.asdict(scores)
    assert {numbers.pop(name) for name in ("valid_share",)} == {0.0}
    assert numbers.pop("code_shares") == (0.0,) * 8 + (1.0, 0.0)
    del numbers["regions"]
    assert set(numbers.values()) == {None}
    nothing = dict.fromkeys(("mean", "median", "p05", "p95", "share_below", "sharpness_ratio", "gain"))
    assert scores.regions["all"] == RegionScores(n_pixels=16, valid_share=0.0, warp_magnitude=None, **nothing)
    assert scores.regions["none"] == RegionScores(n_pixels=0, valid_share=None, warp_magnitude=None, **nothing)


@pytest.fixture
def picture():
    from skimage import data

    return data.astronaut()[:200, 100:300, 1]


def compare(frame, reference, scale=1.0):
    shape = reference.shape
    rho, validity = np.full(shape, 0.5, np.float32), np.zeros(shape, np.uint8)
    return Scorer(shape, reference[np.newaxis], scale=scale).score(rho, validity, frame[np.newaxis])


def test_a_light_change_is_gain_and_not_blur(picture):
    darker = (picture * 0.6 + 30).astype(np.float32)
    scores = compare(darker, picture.astype(np.float32))
    assert scores.gain == pytest.approx(0.6, abs=1e-4)
    assert scores.sharpness_ratio == pytest.approx(1, abs=1e-4)


def test_blur_is_lack_of_sharpness_and_hardly_gain(picture):
    from scipy.ndimage import gaussian_filter

    ratios = []
    for sigma in (0.5, 1, 2, 4):
        scores = compare(gaussian_filter(picture.astype(np.float32), sigma), picture.astype(np.float32))
        assert 0.85 < scores.gain < 1
        ratios.append(scores.sharpness_ratio)
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] < 0.95
    assert ratios[-1] < 0.4


def test_codes_of_another_scale_are_brought_to_the_references(picture):
    scores = compare(picture.astype(np.uint16) * 256, picture, 1 / 256)
    assert scores.gain == pytest.approx(1)
    assert scores.sharpness_ratio == pytest.approx(1)
    assert compare(picture.astype(np.float32), picture, None).gain is None


@pytest.mark.parametrize("level", [0.0, 0.1, 1e30, 1e-30])
def test_a_flat_picture_has_no_contrast(level):
    flat, textured = np.full((40, 50), level, np.float32), np.random.default_rng(0).random((40, 50), np.float32)
    assert compare(textured, flat).gain is None
    scores = compare(flat, textured)
    assert (scores.gain, scores.sharpness_ratio) == (0.0, None)


def test_numbers_too_large_to_square_are_no_crash():
    huge = np.random.default_rng(0).choice([-3e38, 3e38], (40, 50)).astype(np.float32)
    scores = compare(huge, huge)
    assert scores.gain == pytest.approx(1)
    assert scores.sharpness_ratio == pytest.approx(1)


def test_a_frame_is_scored_without_its_validity_after_one_that_was_only_correlated():
    reference, frame = np.random.default_rng(5).integers(0, 256, (2, 40, 50), dtype=np.uint8)
    prepared, rho, unwanted = Reference(reference, 2), np.empty((40, 50), np.float32), np.empty((1, 0), np.uint8)
    expected = prepared.ncc(frame)
    scorer = Scorer((40, 50))
    prepared.correlate(frame[np.newaxis], rho, unwanted, begin=scorer.begin)
    scores = scorer.finish()
    np.testing.assert_array_equal(rho, expected)
    assert scores.valid_share == 1.0
    assert scores.mean_confidence == pytest.approx(expected.astype(np.float64).mean(), abs=1e-8)
