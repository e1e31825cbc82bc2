"""ArraySource: arrays in memory and mapped files."""

import tracemalloc
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest

from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.sources import ArraySource, open_source, probe_source, read_reference
from framencc.spec import RunSpec


def spec(path: Path, **options: object) -> RunSpec:
    return RunSpec.model_validate({"input": str(path), "output": "o.mkv", "reference": 0, **options})


def stack(source: ArraySource) -> np.ndarray:
    return np.stack([frame.data for frame in source.frames()])


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "f2", "f4", ">f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_types_and_layouts(tmp_path: Path, dtype: str, order: str) -> None:
    frames = np.asarray(media.random_frames(3).astype(dtype), order=order)
    np.save(tmp_path / "in.npy", frames)
    for given, expected in ((frames, frames), (frames[:, ::-1], frames[:, ::-1]), (tmp_path / "in.npy", frames)):
        source = ArraySource(given)
        read = stack(source)
        assert read.dtype == source.info.dtype == (np.float32 if "f" in dtype else np.dtype(dtype).type)
        assert read.dtype.isnative
        np.testing.assert_array_equal(read, expected)


def test_colour_is_reduced_to_luma() -> None:
    rgb = media.random_frames(3, bits=16, channels=3)
    np.testing.assert_array_equal(stack(ArraySource(rgb)), media.luma_of_rgb(rgb))


def test_not_finite_samples_pass() -> None:
    frames = np.array([[[np.nan, np.inf], [-np.inf, 1e300]]])
    with ArraySource(frames) as source:
        np.testing.assert_array_equal(stack(source), np.array([[[np.nan, np.inf], [-np.inf, np.inf]]], np.float32))


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((4, 6), np.uint8),
        np.zeros((3, 4, 6, 2), np.uint8),
        np.zeros((3, 4, 6), np.int16),
        np.zeros((3, 4, 6), bool),
        np.zeros((3, 4, 6), complex),
        np.array([[["a"]]]),
    ],
)
def test_arrays_that_are_no_frames(frames: np.ndarray) -> None:
    with pytest.raises(
        SourceError, match=r"must be \(N, H, W\) or \(N, H, W, 3 or 4\) of uint8, uint16, float32 or float64"
    ):
        ArraySource(frames)


@pytest.mark.parametrize("shape", [(0, 4, 6), (3, 0, 6), (3, 4, 0)])
def test_empty_arrays(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match="holds no pixel"):
        ArraySource(np.zeros(shape, np.uint8))


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "whole.npy", media.random_frames(3))
    media.cut(tmp_path / "whole.npy", tmp_path / "cut.npy", 0.9)
    np.save(tmp_path / "pickled.npy", np.array([[[{}]]], dtype=object))
    np.savez(tmp_path / "zipped.npz", media.random_frames(3))
    (tmp_path / "zipped.npz").rename(tmp_path / "zipped.npy")
    (tmp_path / "text.npy").write_text("not an array")
    (tmp_path / "empty.npy").write_bytes(b"")
    for name, reason in {
        "cut.npy": "is damaged: it ends early",
        "pickled.npy": "holds Python objects, which are never loaded",
        "zipped.npy": "is no .npy file",
        "text.npy": "is no .npy file",
        "empty.npy": "is empty",
    }.items():
        with pytest.raises(SourceError, match=rf"input '.*{name}' {reason}") as caught:
            open_source(spec(tmp_path / name))
        assert not isinstance(caught.value, DamagedInputError)
        assert "\n" not in str(caught.value)
    with pytest.raises(SpecError, match="does not exist"):
        ArraySource(tmp_path / "nothing.npy")


def test_a_file_is_not_loaded_whole(tmp_path: Path) -> None:
    mapped = np.lib.format.open_memmap(tmp_path / "in.npy", "w+", np.uint8, (100, 512, 512))
    mapped[7] = 7
    del mapped
    tracemalloc.start()
    with ArraySource(tmp_path / "in.npy") as source:
        buffer = np.empty((512, 512), np.uint8)
        assert [int(frame.data[0, 0]) for frame in source.frames(lambda *_: buffer)] == [0] * 7 + [7] + [0] * 92
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 512 * 512


def test_open_source(tmp_path: Path) -> None:
    frames = media.random_frames(9)
    np.save(tmp_path / "in.npy", frames)
    with open_source(spec(tmp_path / "in.npy", frames="1::4", frame_rate="12.5")) as source:
        assert isinstance(source, ArraySource)
        read = list(source.frames())
        assert source.info.frame_rate == Fraction(25, 2)
    assert [(frame.index, frame.pts_seconds) for frame in read] == [(1, 0.08), (5, 0.4)]
    with pytest.raises(SpecError, match=r"allow_gaps cannot apply to .*only a sequence of pictures can have gaps"):
        open_source(spec(tmp_path / "in.npy", allow_gaps=True))
    info = probe_source(tmp_path / "in.npy")
    assert (info.n_frames, info.height, info.width, info.bits) == (9, 36, 52, 8)
    assert info.details == {"kind": "array", "shape": "9 x 36 x 52", "dtype": "uint8"}


def test_reference_frame(tmp_path: Path) -> None:
    frames = media.random_frames(9, bits=16)
    np.save(tmp_path / "in.npy", frames)
    reference = read_reference(spec(tmp_path / "in.npy", reference=4, frames="0:1"))
    np.testing.assert_array_equal(reference.data, frames[4])
    assert reference.bits == 16
    with pytest.raises(SpecError, match=r"reference = 9: there is no frame 9, input .* has 9 frames"):
        read_reference(spec(tmp_path / "in.npy", reference=9))
