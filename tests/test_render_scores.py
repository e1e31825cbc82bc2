"""Maps as codes and maps as numbers, against the definition and against NumPy."""

import math

import numpy as np
import oracle
import pytest
from tolerances import assert_same_bits

from framencc.render import encode, maximum_code
from framencc.scores import score

EDGES = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, math.nan, -math.nan, math.inf, -math.inf, 7.0, -7.0, 1e30, -1e30,
    *(np.nextafter(np.float32(value), np.float32(toward)) for value in (0, 1, -1) for toward in (-2, 2)),
    np.float32(1e-45), np.float32(-1e-45), np.finfo(np.float32).tiny,
]  # fmt: skip


def around_the_halves(encoding, bits):
    """Every float32 next to a place where the code changes."""
    largest = maximum_code(bits)
    steps = (np.arange(largest) + 0.5) / largest
    steps = (steps if encoding == "clip" else 2 * steps - 1).astype(np.float32)
    near = [steps, np.nextafter(steps, np.float32(2)), np.nextafter(steps, np.float32(-2))]
    return np.concatenate([*near, np.array(EDGES, np.float32)])


@pytest.mark.parametrize("encoding", ["clip", "signed"])
@pytest.mark.parametrize("bits", [8, 16])
def test_codes_are_those_of_the_definition(encoding, bits):
    values = around_the_halves(encoding, bits)
    rho = np.resize(values, (-(-len(values) // 64), 64))
    codes = encode(rho, encoding, bits)
    assert_same_bits(codes, oracle.encode(rho, encoding, bits))
    assert {0, maximum_code(bits)} < set(codes.ravel().tolist())


@pytest.mark.parametrize("encoding", ["clip", "signed"])
@pytest.mark.parametrize("bits", [8, 16])
def test_codes_of_random_maps_are_the_nearest(encoding, bits):
    rho = np.random.default_rng(2).uniform(-1, 1, (97, 203)).astype(np.float32)
    codes = encode(rho, encoding, bits)
    assert_same_bits(codes, oracle.encode(rho, encoding, bits))
    exact = maximum_code(bits) * (np.maximum(rho, 0.0) if encoding == "clip" else (rho.astype(np.float64) + 1) / 2)
    assert np.abs(codes - exact).max() <= 0.5


def test_black_is_no_confidence_and_white_is_full():
    rho = np.array([[-1, -0.3, 0, 1, math.nan]], np.float32)
    assert encode(rho, "clip").tolist() == [[0, 0, 0, 255, 0]]
    assert encode(rho, "signed").tolist() == [[0, 89, 128, 255, 0]]
    assert encode(rho, "signed", 16).tolist() == [[0, 22937, 32768, 65535, 0]]


@pytest.mark.parametrize("fill", [1.5, 255.0, -1.5, -300.0])
def test_a_fill_value_out_of_range_is_the_nearest_code(fill):
    rho = np.full((2, 3), fill, np.float32)
    for encoding in ("clip", "signed"):
        for bits in (8, 16):
            assert (encode(rho, encoding, bits) == (maximum_code(bits) if fill > 0 else 0)).all()


def test_float_is_the_map_itself():
    rho = np.array([[0.5, math.nan]], np.float32)
    assert encode(rho, "float") is rho


@pytest.mark.parametrize("height", [1, 63, 64, 65, 300])
def test_threads_change_nothing(height):
    rho = np.random.default_rng(height).uniform(-1, 1, (height, 50)).astype(np.float32)
    validity = np.random.default_rng(height).integers(0, 3, rho.shape, dtype=np.uint8)
    results = [
        (encode(rho, "signed", 16, threads=n).tobytes(), score(rho, validity, threads=n)) for n in (1, 2, 5, None)
    ]
    assert len(set(results)) == 1


def test_codes_go_into_the_array_that_is_given():
    rho = np.random.default_rng(0).uniform(-1, 1, (70, 9)).astype(np.float32)
    before = rho.copy()
    out = np.full(rho.shape, 99, np.uint16)
    assert encode(rho, "clip", 16, out=out) is out
    assert_same_bits(out, oracle.encode(rho, "clip", 16))
    assert_same_bits(rho, before)


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (64, 64), (65, 300), (300, 2)])
def test_scores_are_those_of_numpy(shape):
    rng = np.random.default_rng(shape[0])
    rho = rng.uniform(-1, 1, shape).astype(np.float32)
    validity = rng.choice([0, 0, 0, 1, 2, 3], shape).astype(np.uint8)
    validity[0, 0] = 0
    scores = score(rho, validity)
    measured = validity == 0
    assert scores.mean_confidence == pytest.approx(rho[measured].mean(dtype=np.float64), abs=1e-9)
    assert scores.valid_share == measured.mean()


@pytest.mark.parametrize("value", [1.0, -1.0, 0.0, 0.1])
def test_the_mean_of_equal_values_is_that_value(value):
    rho = np.full((200, 300), value, np.float32)
    assert score(rho, np.zeros(rho.shape, np.uint8)).mean_confidence == pytest.approx(
        float(np.float32(value)), abs=1e-9
    )


@pytest.mark.parametrize("unmeasured", [math.nan, math.inf, 1e30, -1.0])
def test_what_was_not_measured_does_not_count(unmeasured):
    rho = np.full((70, 11), unmeasured, np.float32)
    validity = np.full(rho.shape, 3, np.uint8)
    rho[2:4, 5], validity[2:4, 5] = 0.25, 0
    scores = score(rho, validity)
    assert scores.mean_confidence == 0.25
    assert scores.valid_share == 2 / rho.size


def test_where_nothing_was_measured_there_is_no_mean():
    scores = score(np.zeros((4, 4), np.float32), np.full((4, 4), 1, np.uint8))
    assert (scores.mean_confidence, scores.valid_share) == (None, 0.0)
