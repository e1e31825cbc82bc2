"""The definition against the naive script it grew from, on real pictures."""

from collections.abc import Callable

import numpy as np
import pytest
from oracle import FLAT_FRAME, FLAT_REFERENCE, OUTSIDE, VALID, seed
from skimage import data
from tolerances import INTEGER, assert_maps_close

from framencc import Reference, local_ncc

Pair = tuple[np.ndarray, np.ndarray]


def gray(colours: np.ndarray) -> np.ndarray:
    return np.rint(colours @ [0.299, 0.587, 0.114]).astype(np.uint8)


def shifted_face() -> Pair:
    """A face, and the same face one pixel further, a little darker and noisy."""
    face = gray(data.astronaut())
    noise = np.random.default_rng(0).normal(scale=2, size=(90, 100))
    frame = np.clip(np.rint(0.9 * face[61:151, 173:273] + noise), 0, 255).astype(np.uint8)
    return face[60:150, 172:272], frame


def cropped_cameraman() -> Pair:
    """A 16-bit picture against an unlike part of itself, with blown highlights: windows without texture."""
    camera = data.camera().astype(np.uint16) * 257
    return np.minimum(camera[100:180, 200:300], 50000), np.minimum(camera[20:100, 180:280], 50000)


def two_views_of_a_motorcycle() -> Pair:
    left, right, _ = data.stereo_motorcycle()
    return gray(left[200:290, 300:400]), gray(right[200:290, 270:370])


PAIRS = [shifted_face, cropped_cameraman, two_views_of_a_motorcycle]


@pytest.mark.parametrize("radius", [1, 2, 3])
@pytest.mark.parametrize("make_pair", PAIRS)
def test_the_interior_equals_the_seed(make_pair: Callable[[], Pair], radius: int):
    reference, frame = make_pair()
    expected = seed(reference, frame, radius)
    rho, validity = local_ncc(reference, frame, radius, border="valid", return_validity=True)
    assert_maps_close(rho, expected, INTEGER)
    inside = np.s_[radius:-radius, radius:-radius]
    assert (validity[inside] != OUTSIDE).all()
    assert np.count_nonzero(validity == OUTSIDE) == validity.size - validity[inside].size
    for border in ("shrink", "reflect"):
        rho = Reference(reference, radius, border=border).ncc(frame)
        assert_maps_close(rho[inside], expected[inside], INTEGER)


@pytest.mark.parametrize("radius", [1, 2])
def test_where_the_seed_finds_no_variance_the_validity_says_so(radius: int):
    reference, frame = cropped_cameraman()
    expected = seed(reference, frame, radius)
    _, validity = local_ncc(reference, frame, radius, border="valid", return_validity=True)
    flat = (validity == FLAT_REFERENCE) | (validity == FLAT_FRAME)
    assert flat.any()
    assert (expected[flat] == 0).all()
    assert (expected[validity == VALID] != 0).mean() > 0.99


def test_the_defaults_are_the_seeds_rules():
    reference, frame = cropped_cameraman()
    by_default = local_ncc(reference, frame)
    inside = np.s_[3:-3, 3:-3]
    assert_maps_close(by_default[inside], seed(reference, frame, 3)[inside], INTEGER)
