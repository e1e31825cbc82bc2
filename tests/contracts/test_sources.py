"""What every source promises, checked on all of them."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import imageio.v3 as iio
import media
import numpy as np
import pytest
import tifffile

from framencc.errors import SourceError, SpecError
from framencc.sources import ArraySource, ImageSequenceSource, Selection, Source, VideoSource

N_FRAMES = 7


@dataclass(frozen=True)
class Case:
    """A source and what it holds."""

    open: Callable[..., Source]
    luma: np.ndarray
    rate: Fraction
    bits: int | None
    counts: bool


def _video(path: Path, bits: int) -> Case:
    luma = media.random_frames(N_FRAMES, bits=bits)
    media.write_clip(path / "in.mkv", luma, pixel_format="gray" if bits == 8 else f"gray{bits}le", rate="25")
    return Case(lambda **k: VideoSource(str(path / "in.mkv"), **k), luma, Fraction(25), bits, counts=False)


def _rgb_video(path: Path) -> Case:
    rgb = media.random_frames(N_FRAMES, channels=3)
    media.write_clip(path / "in.mkv", media.gbr_planes(rgb), "-pix_fmt", "gbrp", pixel_format="gbrp", rate="50")
    luma = media.luma_of_rgb(rgb)
    return Case(lambda **k: VideoSource(str(path / "in.mkv"), **k), luma, Fraction(50), 8, counts=False)


def _png_directory(path: Path) -> Case:
    luma = media.random_frames(N_FRAMES)
    for number, picture in enumerate(luma, start=7):
        iio.imwrite(path / f"f_{number}.png", picture)
    return Case(lambda **k: ImageSequenceSource(str(path), **k), luma, Fraction(25), 8, counts=True)


def _tiff_pattern(path: Path) -> Case:
    luma = media.random_frames(N_FRAMES, bits=16)
    for number, picture in enumerate(luma):
        tifffile.imwrite(path / f"f_{number:04d}.tif", picture)
    rate = Fraction(30000, 1001)
    name = str(path / "f_%04d.tif")
    return Case(lambda **k: ImageSequenceSource(name, frame_rate=rate, **k), luma, rate, 16, counts=True)


def _float_glob(path: Path) -> Case:
    luma = np.random.default_rng(0).normal(size=(N_FRAMES, 36, 52)).astype(np.float32)
    for number, picture in enumerate(luma):
        tifffile.imwrite(path / f"f_{number:04d}.tif", picture)
    return Case(lambda **k: ImageSequenceSource(str(path / "f_*.tif"), **k), luma, Fraction(25), None, counts=True)


def _npy_file(path: Path) -> Case:
    luma = media.random_frames(N_FRAMES, bits=16)
    np.save(path / "in.npy", luma)
    return Case(lambda **k: ArraySource(path / "in.npy", **k), luma, Fraction(25), 16, counts=True)


def _array(path: Path) -> Case:
    array = np.random.default_rng(0).normal(size=(N_FRAMES, 36, 52))
    array.flags.writeable = False
    return Case(
        lambda **k: ArraySource(array, frame_rate=Fraction(24), **k),
        array.astype(np.float32),
        Fraction(24),
        None,
        counts=True,
    )


MAKERS = {
    "video-8": lambda path: _video(path, 8),
    "video-10": lambda path: _video(path, 10),
    "video-rgb": _rgb_video,
    "png-directory": _png_directory,
    "tiff-pattern": _tiff_pattern,
    "float-glob": _float_glob,
    "npy-file": _npy_file,
    "array": _array,
}


@pytest.fixture(scope="module", params=list(MAKERS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return MAKERS[request.param](tmp_path_factory.mktemp("source"))


def test_reading_ahead_changes_nothing_and_leaves_nothing(case: Case) -> None:
    with case.open(selection=Selection.parse("1:6:2")) as source:
        source.read_ahead()
        source.read_ahead()
        frames = list(source.frames())
    assert [frame.index for frame in frames] == [1, 3, 5]
    for frame in frames:
        np.testing.assert_array_equal(frame.data, case.luma[frame.index])
    before = threading.active_count()
    unread = case.open()
    unread.read_ahead()
    unread.close()
    assert threading.active_count() == before
    with pytest.raises(SourceError, match="has been closed"):
        unread.frames()


def test_all_frames_in_order_exactly(case: Case) -> None:
    with case.open() as source:
        frames = list(source.frames())
    assert [frame.index for frame in frames] == list(range(N_FRAMES))
    assert [frame.pts_seconds for frame in frames] == [float(index / case.rate) for index in range(N_FRAMES)]
    # Compared after the last one was read: no frame may be changed once it has been yielded.
    for frame, luma in zip(frames, case.luma, strict=True):
        assert frame.data.dtype == case.luma.dtype
        np.testing.assert_array_equal(frame.data, luma)


def test_info(case: Case) -> None:
    with case.open() as source:
        info = source.info
    assert (info.height, info.width) == case.luma.shape[1:]
    assert info.dtype == case.luma.dtype
    assert info.bits == case.bits
    assert info.frame_rate == case.rate
    assert info.n_frames == (N_FRAMES if case.counts else None)
    assert json.loads(json.dumps(info.details)) == info.details
    if not case.counts:
        assert info.details is not None
        assert info.details["estimated_frames"] == N_FRAMES


def test_frames_lie_in_allocated_arrays(case: Case) -> None:
    given: list[np.ndarray] = []

    def allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        given.append(np.zeros(shape, dtype))
        return given[-1]

    with case.open(selection=Selection(1, None, 2)) as source:
        frames = list(source.frames(allocate))
    # One for each frame that was yielded, none for one that was skipped or that does not exist.
    assert len(given) == len(frames) == 3
    for frame, array in zip(frames, given, strict=True):
        assert array.shape == case.luma.shape[1:]
        assert array.dtype == case.luma.dtype
        assert np.shares_memory(frame.data, array)


def test_one_buffer_can_serve_all_frames(case: Case) -> None:
    buffer = np.empty(case.luma.shape[1:], case.luma.dtype)
    with case.open() as source:
        for frame, luma in zip(source.frames(lambda *_: buffer), case.luma, strict=True):
            np.testing.assert_array_equal(frame.data, luma)


@pytest.mark.parametrize("selection", [(0, 3), (2, None), (0, None, 3), (1, 6, 2), (1, 7, 4), (6, 7), (3, 100), (0, 1)])
def test_selection_is_python_slicing(case: Case, selection: tuple[int, int | None, int]) -> None:
    wanted = range(N_FRAMES)[slice(*selection)]
    with case.open(selection=Selection(*selection)) as source:
        frames = list(source.frames())
        assert source.info.n_frames == (len(wanted) if case.counts else None)
    assert [frame.index for frame in frames] == list(wanted)
    assert [frame.pts_seconds for frame in frames] == [float(index / case.rate) for index in wanted]
    for frame in frames:
        np.testing.assert_array_equal(frame.data, case.luma[frame.index])


def test_selecting_nothing_is_an_error(case: Case) -> None:
    def read() -> None:
        with case.open(selection=Selection.parse("7:9")) as source:
            list(source.frames())

    with pytest.raises(SpecError, match=r"frames = 7:9: there is no frame 7.* has 7 frames, counted from 0"):
        read()


def test_closing_twice_and_early(case: Case) -> None:
    source = case.open()
    source.close()
    source.close()
    with pytest.raises(SourceError, match="closed"):
        next(source.frames())


def test_closing_in_the_middle_ends_everything(case: Case) -> None:
    threads = set(threading.enumerate())
    source = case.open()
    frames = source.frames()
    next(frames)
    source.close()
    assert set(threading.enumerate()) == threads
    with pytest.raises(SourceError, match="closed"):
        next(frames)


def test_leaving_the_iterator_early_is_no_error(case: Case) -> None:
    threads = set(threading.enumerate())
    with case.open() as source:
        for frame in source.frames():
            assert frame.index == 0
            break
    assert set(threading.enumerate()) == threads


def test_it_is_read_once(case: Case) -> None:
    with case.open() as source:
        next(source.frames())
        with pytest.raises(SourceError, match="only once"):
            source.frames()


def test_closing_from_another_thread_while_reading(case: Case) -> None:
    source = case.open()
    outcome: list[object] = []

    def read() -> None:
        try:
            outcome.append([frame.index for frame in source.frames()])
        except SourceError as error:
            outcome.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    source.close()
    thread.join(20)
    assert not thread.is_alive()
    # Either it was quick enough to see all frames, or it says that it did not.
    assert outcome[0] == list(range(N_FRAMES)) or "closed" in str(outcome[0])
