"""The same bits for any number of threads, and however the frames are shared out.

Two orders of a float sum seldom differ after rounding to float32, unless there is next to no contrast. So the float
frames here are a million plus noise of a few units in the last place, far below the promise of accuracy, and the
references hold spikes: then any other order of sums shows in many pixels.
"""

import threading

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from oracle import MASKED, NOT_FINITE
from strategies import BORDERS, DTYPES, masks
from tolerances import assert_same_bits

from framencc import Reference, local_ncc

TALL = (203, 300)  # several pieces of rows for four threads, and of columns where many sums are kept
SMALL = (70, 40)

MapAndCodes = tuple[np.ndarray, np.ndarray]


def make_pictures(dtype: type, shape: tuple[int, ...], n_pictures: int, seed: int = 31) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    scene = rng.normal(size=shape)
    pictures = [scene + rng.normal(size=shape) for _ in range(n_pictures)]
    if dtype == np.float32:
        pictures = [(1e6 + 0.3 * picture).astype(dtype) for picture in pictures]
        pictures[0][rng.random(shape) < 0.01] = 3e20
        return pictures
    largest = np.iinfo(dtype).max
    return [np.clip(np.rint(largest - 4 + picture), 0, largest).astype(dtype) for picture in pictures]


def sprinkled(picture: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(32)
    bad = rng.choice(np.float32([np.nan, np.inf, -np.inf]), picture.shape)
    return np.where(rng.random(picture.shape) < 0.05, bad, picture.astype(np.float32))


def assert_same(results: MapAndCodes, expected: MapAndCodes) -> None:
    assert_same_bits(results[0], expected[0])
    assert_same_bits(results[1], expected[1])


@st.composite
def options(draw: st.DrawFn, shape: tuple[int, int]) -> dict:
    """Everything that `Reference` takes beside the picture."""
    noise_sigma = draw(st.sampled_from([0.0, 0.0, 0.5]))
    radius = draw(st.sampled_from([1, 3, 20, [2, 1], [1, 9, 3], [8, 20]]))
    return {
        "radius": radius,
        "border": draw(st.sampled_from(BORDERS)),
        "channel": draw(st.sampled_from(["luma", "joint"])),
        "combine": draw(st.sampled_from(["mean", "min", "max"])) if isinstance(radius, list) else "mean",
        "fill": draw(st.sampled_from([0.0, np.nan])),
        "flat": draw(st.sampled_from([0.0, 1.0] + ([] if noise_sigma else [np.nan]))),
        "min_valid_fraction": draw(st.sampled_from([0.1, 0.5])),
        "noise_sigma": noise_sigma,
        "smooth_sigma": draw(st.sampled_from([0.0, 1.2])),
        "mask": draw(st.none() | masks(shape)),
    }


@pytest.mark.parametrize("radius", [3, 9, 20])
def test_these_floats_tell_one_order_of_sums_from_another(radius: int):
    pair = make_pictures(np.float32, (403, 300), 2)
    whole = local_ncc(*pair, radius)[10 + radius : -radius]
    cut = local_ncc(pair[0][10:], pair[1][10:], radius)[radius:-radius]  # the same windows in other tiles
    assert np.count_nonzero(whole != cut) > 300


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=25)
@given(st.data(), options(TALL))
def test_the_number_of_threads_changes_no_bit_with_any_options(dtype, data, given_options):
    reference, frame = make_pictures(dtype, (*TALL, 3) if given_options["channel"] == "joint" else TALL, 2)
    if data.draw(st.booleans()):
        frame = sprinkled(frame)
    mask = data.draw(st.none() | masks(TALL))
    one, two, four = (
        Reference(reference, threads=threads, **given_options).ncc(frame, mask=mask, return_validity=True)
        for threads in (1, 2, 4)
    )
    assert_same(two, one)
    assert_same(four, one)


@pytest.mark.parametrize("radius", [9, [2, 12, 17]])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("threads", [2, 3, 4, 7])
def test_float_maps_of_a_large_picture_have_the_bits_of_one_thread(threads: int, masked: bool, radius: object):
    shape = (1031, 330)
    pair = make_pictures(np.float32, shape, 2)
    mask = np.random.default_rng(33).random(shape) < 0.8 if masked else None
    expected = local_ncc(*pair, radius, mask=mask, return_validity=True, threads=1)
    assert_same(local_ncc(*pair, radius, mask=mask, return_validity=True, threads=threads), expected)


def frames_of_all_kinds(dtype: type, shape: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Frames with the mask of each: plain ones, and between them every kind that might leave something behind."""
    plain = make_pictures(dtype, shape, 5, seed=34)[1:]
    size = shape[:2]
    holes = np.random.default_rng(35).random(size) < 0.7
    other = np.uint8 if dtype == np.uint16 else np.uint16
    return [
        (plain[0], None),
        (plain[1], holes),
        (plain[1], np.zeros(size, bool)),
        (sprinkled(plain[2]), None),
        (np.full(shape, np.nan, np.float32), None),
        (sprinkled(plain[3]), ~holes),
        (make_pictures(other, shape, 1)[0], None),
        (plain[2], None),
        (plain[3], np.ones(size, bool)),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=15)
@given(st.data(), options(SMALL))
def test_frames_have_the_same_bits_alone_in_any_order_and_in_any_shares(dtype, data, given_options):
    shape = (*SMALL, 3) if given_options["channel"] == "joint" else SMALL
    reference = make_pictures(dtype, shape, 1)[0]
    frames = frames_of_all_kinds(dtype, shape)

    def prepare(threads: int = 1) -> Reference:
        return Reference(reference, threads=threads, **given_options)

    def correlate(prepared: Reference, index: int) -> MapAndCodes:
        frame, mask = frames[index]
        return prepared.ncc(frame, mask=mask, return_validity=True)

    alone = [correlate(prepare(), index) for index in range(len(frames))]
    assert (alone[2][1] == MASKED).all()
    assert set(np.unique(alone[4][1])) <= {MASKED, NOT_FINITE}
    in_one_go, shares = prepare(), [prepare(threads=2), prepare()]
    for index in data.draw(st.permutations(range(len(frames)))):
        assert_same(correlate(in_one_go, index), alone[index])
        assert_same(correlate(data.draw(st.sampled_from(shares)), index), alone[index])


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_reference_serves_several_threads_at_once(dtype: type):
    reference, frames = make_pictures(dtype, TALL, 1)[0], make_pictures(dtype, TALL, 5, seed=36)[1:]
    mask = np.random.default_rng(37).random(TALL) < 0.8
    options = {"combine": "min", "smooth_sigma": 0.8, "threads": 2}

    def correlate(prepared: Reference, index: int) -> MapAndCodes:
        return prepared.ncc(frames[index], mask=mask if index % 2 else None, return_validity=True)

    alone = [correlate(Reference(reference, [2, 9], **options), index) for index in range(4)]
    together: list[list[MapAndCodes]] = [[] for _ in frames]
    prepared = Reference(reference, [2, 9], **options)
    workers = [
        threading.Thread(target=lambda i=i: together[i].extend(correlate(prepared, i) for _ in range(5)))
        for i in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for results, expected in zip(together, alone, strict=True):
        assert len(results) == 5
        for result in results:
            assert_same(result, expected)
