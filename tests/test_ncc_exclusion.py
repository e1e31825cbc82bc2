"""Masked pixels: a mask that is the reference's gives the bits of one that comes with the frame.

What a mask of the reference hides is prepared once, what a mask of a frame hides is summed with the frame, and segments
without a masked pixel are summed as if there were no mask. All must give a pixel the same bits.
"""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from oracle import VALID, oracle
from scipy import ndimage
from strategies import BORDERS, integer_picture
from tolerances import assert_maps_close, assert_same_bits, promised

from framencc import Reference, local_ncc

BLOCK = 2048
SHAPE = (45, BLOCK + 47)  # more than one segment of columns, however they are cut

PATTERNS = (
    "first pixel",
    "last pixel",
    "corners",
    "a pixel on either side of a block's edge",
    "first row",
    "last rows",
    "first columns",
    "last column",
    "the margins of a warp",
    "every second row",
    "scattered",
    "all but one",
    "everything",
    "nothing",
)


def pattern(name: str, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Return which pixels are used."""
    height, width = shape
    use = np.ones(shape, bool)
    hidden = {
        "first pixel": np.s_[0, 0],
        "last pixel": np.s_[-1, -1],
        "corners": np.ix_([0, -1], [0, -1]),
        "a pixel on either side of a block's edge": np.ix_([height // 2], [BLOCK - 1, BLOCK]),
        "first row": np.s_[0],
        "last rows": np.s_[-3:],
        "first columns": np.s_[:, :2],
        "last column": np.s_[:, -1],
        "every second row": np.s_[::2],
        "everything": np.s_[:],
        "nothing": np.s_[:0],
    }
    if name in hidden:
        use[hidden[name]] = False
    elif name == "the margins of a warp":
        use[:4] = use[:, :3] = False
        use[np.arange(height)[:, None] > height - 2 + np.sin(np.arange(width))] = False
    elif name == "scattered":
        use = np.random.default_rng(8).random(shape) >= 0.01
    else:
        use[:] = False
        use[height // 2, width // 2] = True
    return use


def make_pair(dtype: type, shape: tuple[int, int] = SHAPE, kind: str = "random") -> list[np.ndarray]:
    """Two pictures at the upper end of their range, where sums are largest, with flat parts."""
    pair = [integer_picture(kind, dtype, shape, np.random.default_rng(seed)) for seed in (1, 2)]
    pair[0][:12, :12] = pair[1][-12:, -12:] = np.iinfo(dtype).max
    return pair


def correlate(pair: list[np.ndarray], radius: int, mask: np.ndarray, of: str, **options: object) -> tuple:
    """Correlate with a mask of the reference, of the frame, or of both."""
    reference = Reference(pair[0], radius, mask=None if of == "frame" else mask, **options)
    return reference.ncc(pair[1], mask=None if of == "reference" else mask, return_validity=True)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("radius", [3, 10, 19])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_whose_mask_it_is_changes_no_bit(dtype: type, radius: int, border: str):
    pair = make_pair(dtype)
    for number, name in enumerate(PATTERNS):
        more = ({}, {"noise_sigma": 2.0, "flat": 0.5, "fill": np.nan, "min_valid_fraction": 0.9})[number % 2]
        one, *others = (
            correlate(pair, radius, pattern(name), of, border=border, **more) for of in ("reference", "frame", "both")
        )
        for other in others:
            assert_same_bits(other[1], one[1])
            assert_same_bits(other[0], one[0])


@pytest.mark.parametrize("of", ["reference", "frame"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@settings(max_examples=40)
@given(st.data())
def test_masked_windows_agree_with_the_oracle(dtype, of, data):
    shape = (data.draw(st.integers(1, 14)), data.draw(st.sampled_from([1, 5, 31, 32, 33, 64])))
    kind = data.draw(st.sampled_from(["random", "blocks"]))
    pair = make_pair(dtype, shape, kind)
    use = data.draw(st.sampled_from(PATTERNS).map(lambda name: pattern(name, (40, 2 * BLOCK))[: shape[0], -shape[1] :]))
    options = {
        "border": data.draw(st.sampled_from(BORDERS)),
        "min_valid_fraction": data.draw(st.sampled_from([1e-6, 0.5, 1.0])),
        "noise_sigma": data.draw(st.sampled_from([0.0, 3.0])),
    }
    radius = data.draw(st.integers(1, 6))
    expected, codes = oracle(*pair, radius, mask=use, **options)
    rho, validity = correlate(pair, radius, use, of, **options)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


@pytest.mark.parametrize("border", ["shrink", "reflect"])
@pytest.mark.parametrize("radius", [1, 3, 12])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_window_without_a_masked_pixel_has_the_bits_of_a_picture_without_a_mask(
    dtype: type, radius: int, border: str
):
    pair = make_pair(dtype)
    plain = local_ncc(*pair, radius, border=border, return_validity=True)
    for name in PATTERNS:
        use = pattern(name)
        untouched = ndimage.minimum_filter(use, 2 * radius + 1, mode="nearest")
        for of in ("reference", "frame"):
            rho, validity = correlate(pair, radius, use, of, border=border)
            assert_same_bits(rho[untouched], plain[0][untouched])
            assert_same_bits(validity[untouched], plain[1][untouched])
            assert (validity[~use] != VALID).all()


@pytest.mark.parametrize("radius", [3, [2, 10]])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pieces_of_a_picture_may_be_summed_in_different_ways(dtype: type, radius: object):
    shape = (700, 500)
    pair, use = make_pair(dtype, shape), pattern("the margins of a warp", shape)
    use[300:500] &= np.random.default_rng(9).random((200, 500)) < 0.5
    one, *others = (
        Reference(pair[0], radius, mask=use, threads=threads).ncc(pair[1], return_validity=True)
        for threads in (1, 2, 3, 7)
    )
    for other in others:
        assert_same_bits(other[0], one[0])
        assert_same_bits(other[1], one[1])
