"""Hypothesis strategies for pictures, masks and options, with what they assume.

Contents are made by NumPy from a drawn seed, so that they shrink to a smaller picture of a plainer kind.

Integers may hold anything: the promise for them has no condition. Floats must obey the promise's condition, a window
sigma of at least 1e-3 of the window's mean, or be constant. They do by construction, in two ways:

- "steps": scale * (level + sign / 2 + u), the sign alternating like a checkerboard, u uniform in [-1/4, 1/4],
  |level| <= 150. Pixels of unlike sign differ by at least scale / 2. In a rectangle of at least two pixels, also one
  that is cut or mirrored at edges, each sign holds a fifth or more, so sigma >= sqrt(1/5 * 4/5) * scale / 2, which is
  0.2 scale, and 0.2 / (150 + 0.75) > 1e-3. Holes would break this: no masks, nothing non-finite.
- "grid": scale * k / 8 with integers |k| <= 40. Any n pixels are equal or have sigma >= scale / 8 * sqrt(n - 1) / n,
  and |mean| <= 5 scale, so the ratio is above 1e-3 up to n = 600: any subset of a window up to radius 11.

Scales are powers of two, exact in float32.
"""

import os
from collections.abc import Sequence

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings

settings.register_profile("framencc", deadline=None, max_examples=50, derandomize="CI" in os.environ)
settings.load_profile("framencc")

DTYPES = (np.uint8, np.uint16, np.float32)
BORDERS = ("shrink", "valid", "reflect")
LAYOUTS = ("contiguous", "fortran", "reversed", "every second", "read-only", "unaligned", "one channel of three")
INTEGER_KINDS = ("random", "constant", "one outlier", "saturated", "checkerboard", "bright", "ramp", "blocks")
FLOAT_KINDS = ("steps", "grid", "grid blocks", "constant")
RELATIONS = ("unrelated", "same", "correlated", "inverted")
LARGEST_HOLEY_RADIUS = 11


def shapes(max_side: int = 20) -> st.SearchStrategy[tuple[int, int]]:
    """Sizes from one pixel over single rows and columns to max_side x max_side."""
    sides = st.integers(1, max_side)
    thin = st.integers(1, 2 * max_side)
    return st.one_of(
        st.tuples(sides, sides),
        st.tuples(sides, sides),
        st.tuples(st.just(1), thin),
        st.tuples(thin, st.just(1)),
        st.tuples(st.integers(1, 4), st.integers(1, 4)),
    )


def integer_picture(kind: str, dtype: type, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Make an integer picture of one of INTEGER_KINDS."""
    largest = int(np.iinfo(dtype).max)
    base = int(rng.integers(1, largest))
    rows, columns = np.indices(shape[:2])
    picture = np.full(shape, base, np.int64)
    if kind == "random":
        picture = rng.integers(0, largest + 1, shape)
    elif kind == "one outlier":
        picture[tuple(rng.integers(0, shape))] += rng.choice([-1, 1])
    elif kind == "saturated":
        picture = rng.integers(-2 * largest, 3 * largest, shape)
    elif kind == "checkerboard":
        picture += np.where((rows + columns) % 2 == 0, 1, -1)[(...,) + (None,) * (len(shape) - 2)]
    elif kind == "bright":  # mean 65000 and sigma 1 for 16 bits, 254 and 1 for 8
        picture = np.rint(largest - largest // 122 + rng.normal(size=shape)).astype(np.int64)
    elif kind == "ramp":
        picture += (rows * int(rng.integers(-9, 10)) + columns)[(...,) + (None,) * (len(shape) - 2)]
    elif kind == "blocks":
        picture = _blocks(rng.integers(0, largest + 1, shape), rng)
    return np.clip(picture, 0, largest).astype(dtype)


def float_pictures(kind: str, shape: Sequence[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Make two unrelated float32 pictures of one of FLOAT_KINDS; any choice of pixels out of both obeys its rule."""
    scale = 2.0 ** rng.choice([0, 0, 0, -40, 40])
    if kind == "constant":
        level = np.float32(rng.uniform(-1, 1) * scale)
        return np.full(shape, level), np.full(shape, level)
    if kind == "steps":
        rows, columns = np.indices(shape[:2])
        sign = (1.0 - 2.0 * ((rows + columns) % 2))[(...,) + (None,) * (len(shape) - 2)]
        step = rng.choice([0, 1, -150, 150]) + sign / 2
        pictures = [scale * (step + rng.uniform(-0.25, 0.25, shape)) for _ in range(2)]
    else:
        pictures = [rng.integers(-40, 41, shape) * (scale / 8) for _ in range(2)]
        if kind == "grid blocks":
            pictures = [_blocks(picture, rng) for picture in pictures]
    return pictures[0].astype(np.float32), pictures[1].astype(np.float32)


def _blocks(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make a rectangle constant, so that a map has flat and textured windows side by side."""
    height, width = picture.shape[:2]
    top, left = rng.integers(0, height), rng.integers(0, width)
    result = picture.copy()
    result[top : top + 9, left : left + 9] = picture[top, left]
    return result


@st.composite
def pairs(
    draw: st.DrawFn,
    *,
    max_side: int = 20,
    dtypes: Sequence[type] = DTYPES,
    channels: int | None = None,
    holey: bool = False,
    mixed: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Reference and frame; `holey` for use with masks or non-finite pixels, `mixed` for two dtypes."""
    shape: tuple[int, ...] = draw(shapes(max_side))
    shape = shape if channels is None else (*shape, channels)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(dtypes))
    reference, other = _unrelated(draw, dtype, shape, rng, holey)
    if mixed and len(dtypes) > 1 and draw(st.integers(0, 3)) == 0:
        return reference, _unrelated(draw, draw(st.sampled_from(dtypes)), shape, rng, holey)[1]
    relation = draw(st.sampled_from(RELATIONS))
    if relation == "same":
        return reference, reference.copy()
    if relation == "correlated":
        return reference, np.where(rng.random(shape) < 0.7, reference, other)
    if relation == "inverted":
        return reference, (np.iinfo(dtype).max - reference) if dtype != np.float32 else -reference
    return reference, other


def _unrelated(
    draw: st.DrawFn, dtype: type, shape: tuple[int, ...], rng: np.random.Generator, holey: bool
) -> tuple[np.ndarray, np.ndarray]:
    if dtype == np.float32:
        return float_pictures(draw(st.sampled_from(FLOAT_KINDS[1:] if holey else FLOAT_KINDS)), shape, rng)
    kinds = st.sampled_from(INTEGER_KINDS)
    return integer_picture(draw(kinds), dtype, shape, rng), integer_picture(draw(kinds), dtype, shape, rng)


@st.composite
def masks(draw: st.DrawFn, shape: tuple[int, int]) -> np.ndarray:
    """All, none, one pixel, random or a hole; bool, uint8 or float32 (whose unused pixels are 0, below 0 or nan)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["random", "hole", "all", "none", "one pixel"]))
    use = np.full(shape, kind in ("all", "hole"))
    if kind == "random":
        use = rng.random(shape) < draw(st.sampled_from([0.2, 0.5, 0.9]))
    elif kind == "one pixel":
        use[tuple(rng.integers(0, shape))] = True
    elif kind == "hole":
        top, left = rng.integers(0, shape)
        use[top : top + 5, left : left + 5] = False
    dtype = draw(st.sampled_from([np.bool_, np.uint8, np.float32]))
    if dtype == np.float32:
        return np.where(use, rng.uniform(0.01, 2, shape), rng.choice([0, -1, np.nan], shape)).astype(dtype)
    return (use * rng.integers(1, 256, shape)).astype(dtype)


@st.composite
def pocked(draw: st.DrawFn, picture: np.ndarray) -> np.ndarray:
    """A float copy of a picture with nan and infinities in it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.02, 0.2, 0.7]))
    bad = rng.choice(np.float32([np.nan, np.inf, -np.inf]), picture.shape)
    return np.where(rng.random(picture.shape) < share, bad, picture.astype(np.float32))


def layouts() -> st.SearchStrategy[str]:
    """Names for `with_layout`."""
    return st.sampled_from(LAYOUTS)


def with_layout(picture: np.ndarray, layout: str) -> np.ndarray:
    """Put the same samples into memory in another way; the gaps of a view hold the dtype's largest value."""
    if layout == "fortran":
        return np.asfortranarray(picture)
    if layout == "reversed":
        return np.ascontiguousarray(picture[::-1, ::-1])[::-1, ::-1]
    if layout == "unaligned":
        buffer = np.empty(picture.nbytes + 1, np.uint8)
        view = buffer[1:].view(picture.dtype).reshape(picture.shape)
        view[...] = picture
        return view
    largest = np.finfo(picture.dtype).max if picture.dtype.kind == "f" else np.iinfo(picture.dtype).max
    if layout == "every second":
        gaps = np.full((2 * picture.shape[0], 2 * picture.shape[1], *picture.shape[2:]), largest, picture.dtype)
        gaps[::2, ::2] = picture
        return gaps[::2, ::2]
    if layout == "one channel of three":
        gaps = np.full((*picture.shape, 3), largest, picture.dtype)
        gaps[..., 1] = picture
        return gaps[..., 1]
    copy = np.array(picture, order="C")
    copy.flags.writeable = layout != "read-only"
    return copy
