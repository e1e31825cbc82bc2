"""Maps as codes, against the definition."""

import math

import numpy as np
import oracle
import pytest
from tolerances import assert_same_bits

from framencc.render import encode, weigh
from framencc.shades import maximum_code

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
    assert len({encode(rho, "signed", 16, threads=n).tobytes() for n in (1, 2, 5, None)}) == 1


def test_codes_go_into_the_array_that_is_given():
    rho = np.random.default_rng(0).uniform(-1, 1, (70, 9)).astype(np.float32)
    before = rho.copy()
    out = np.full(rho.shape, 99, np.uint16)
    assert encode(rho, "clip", 16, out=out) is out
    assert_same_bits(out, oracle.encode(rho, "clip", 16))
    assert_same_bits(rho, before)


@pytest.mark.parametrize("scale", [1e-30, 0.37, 1.0, 1e30])
def test_weights_are_within_one_unit_in_the_last_place(scale):
    ranges = [np.linspace(0, 2, 4001), np.geomspace(1e-45, 3e38, 4001), np.linspace(80, 110, 4001)]
    special = [0.0, -0.0, -1.0, math.nan, -math.nan, math.inf, -math.inf]
    with np.errstate(over="ignore"):
        distance = np.concatenate([*(values * factor for values in ranges for factor in (1, scale)), special])
        distance = np.tile(distance.astype(np.float32), (3, 1))
    rho = np.empty_like(distance)
    rho[:] = np.float32([[1], [0.3], [-0.5]])
    validity = np.zeros(rho.shape, np.uint8)
    weighted = rho.copy()
    weigh(weighted, validity, distance, scale, threads=2)
    with np.errstate(over="ignore", invalid="ignore"):
        factor = np.where(distance >= 0, np.exp(-distance.astype(np.float64) / scale), 0)
    exact = np.maximum(rho.astype(np.float64), 0) * factor
    assert (np.abs(weighted - exact) <= np.spacing(exact.astype(np.float32))).all()
    assert weighted[0, distance[0] == 0].tolist() == [1.0] * (distance[0] == 0).sum()


def test_only_pixels_that_hold_a_value_are_weighted():
    rho = np.float32([[0.5, math.nan, 0.5, 0.5, 0.5, math.nan, -7.0]])
    validity = np.uint8([[0, 1, 1, 2, 3, 4, 9]])
    weigh(rho, validity, np.full(rho.shape, np.inf, np.float32), 1.0)
    np.testing.assert_array_equal(rho, np.float32([[0, math.nan, 0, 0, 0.5, math.nan, -7]]))


def test_arrays_of_any_layout_are_encoded_and_weighted():
    rho = np.random.default_rng(0).random((60, 50), np.float32)
    expected = encode(rho.copy(), "clip")
    read_only, out = rho.view(), np.empty((50, 60), np.uint8).T
    read_only.flags.writeable = False
    assert encode(read_only, "clip", out=out) is out
    assert_same_bits(out, expected)
    distance, validity = rho[::-1], np.zeros((60, 100), np.uint8)[:, ::2]
    weighted, turned = rho.copy(), np.asfortranarray(rho)
    for one in (weighted, turned):
        weigh(one, validity, distance, 1.0)
    assert_same_bits(np.ascontiguousarray(turned), weighted)
