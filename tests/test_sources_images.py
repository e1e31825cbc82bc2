"""ImageSequenceSource: order, numbering, requests, damage, and references."""

from fractions import Fraction
from pathlib import Path

import imageio.v3 as iio
import media
import numpy as np
import pytest

from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.sources import ImageSequenceSource, Selection, open_source, probe_source, read_reference
from framencc.spec import RunSpec


def write_sequence(folder: Path, names: list[str]) -> np.ndarray:
    """Write one picture for each name, filled with its place, so that the order can be told."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        iio.imwrite(folder / name, np.full((4, 6), place, np.uint8))
    return np.arange(len(names))


def order(path: Path | str, **options: object) -> list[int]:
    with ImageSequenceSource(str(path), **options) as source:
        return [int(frame.data[0, 0]) for frame in source.frames()]


def test_natural_order(tmp_path: Path) -> None:
    names = ["frame_2.png", "frame_9.png", "frame_10.png", "frame_11.png", "frame_100.png"]
    write_sequence(tmp_path, names)
    assert order(tmp_path, allow_gaps=True) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["a b", "100% %d", "-x", "[0-9]", "ä"])
def test_directory_names_are_only_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_sequence(tmp_path / name, ["f_1.png", "f_2.png"])
    monkeypatch.chdir(tmp_path)
    assert order(name) == [0, 1]
    with open_source(RunSpec(input=name, output="o.mkv", reference=0)) as source:
        assert source.info.n_frames == 2


def test_gaps(tmp_path: Path) -> None:
    write_sequence(tmp_path, ["f_0001.png", "f_0002.png", "f_0005.png"])
    with pytest.raises(
        SpecError, match=r"lacks number 3, between 'f_0002.png' and 'f_0005.png'; allow_gaps accepts that"
    ):
        ImageSequenceSource(str(tmp_path))
    with ImageSequenceSource(str(tmp_path), allow_gaps=True, frame_rate=Fraction(10)) as source:
        frames = list(source.frames())
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.pts_seconds for frame in frames] == [0.0, 0.1, 0.2]
    info = probe_source(tmp_path)
    assert info.details is not None
    assert (info.n_frames, info.details["missing_numbers"]) == (3, 2)


def test_a_number_twice(tmp_path: Path) -> None:
    write_sequence(tmp_path, ["f_1.png", "f_2.png", "f_02.png"])
    with pytest.raises(SpecError, match=r"has one number twice: 'f_0?2.png' and 'f_0?2.png'"):
        ImageSequenceSource(str(tmp_path), allow_gaps=True)
    (tmp_path / "f_1.png").unlink()
    with pytest.raises(SpecError, match="has one number twice"):
        ImageSequenceSource(str(tmp_path))


def test_the_frame_number_is_the_one_that_changes(tmp_path: Path) -> None:
    write_sequence(tmp_path, ["cam2_0007_v3.png", "cam2_0008_v3.png", "cam2_0009_v3.png"])
    assert order(tmp_path) == [0, 1, 2]


@pytest.mark.parametrize(
    "names",
    [
        ["take1_0001.png", "take1_0002.png", "take2_0001.png"],
        ["a_0001.png", "a_0002.png", "b_0001.png"],
        ["f_0001.png", "f_0002.png", "neutral.png"],
    ],
)
def test_two_sequences_in_one_directory(tmp_path: Path, names: list[str]) -> None:
    write_sequence(tmp_path, names)
    with pytest.raises(SpecError, match="holds more than one sequence"):
        ImageSequenceSource(str(tmp_path))
    assert order(tmp_path / f"{names[0].split('0')[0]}*1.png") == [0]
    assert order(tmp_path / names[0].replace("0001", "%04d")) == [0, 1]


def test_names_without_numbers(tmp_path: Path) -> None:
    write_sequence(tmp_path, ["anger.png", "joy.png", "surprise.png"])
    assert order(tmp_path) == [0, 1, 2]


def test_one_picture_is_a_sequence(tmp_path: Path) -> None:
    write_sequence(tmp_path, ["f_0003.png", "f_0004.png"])
    assert order(tmp_path / "f_0004.png") == [1]
    assert order(tmp_path, selection=Selection(1)) == [1]


def test_other_files_in_a_directory(tmp_path: Path) -> None:
    write_sequence(tmp_path, ["f_1.PNG", "f_2.png"])
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ".f_3.png").write_text("")
    (tmp_path / "f_4.png").mkdir()
    assert order(tmp_path) == [0, 1]
    with pytest.raises(SpecError, match=r"'notes.txt' is no .png, .jpg, .jpeg, .tif, .tiff, .npy file"):
        ImageSequenceSource(str(tmp_path / "*"))
    write_sequence(tmp_path, ["f_3.jpg"])
    with pytest.raises(SpecError, match=r"mixes 'f_1.PNG' and 'f_3.jpg'"):
        ImageSequenceSource(str(tmp_path))


def test_printf_pattern_means_what_printf_writes(tmp_path: Path) -> None:
    names = ["f_0008.png", "f_0009.png", "f_0010.png", "f_9.png", "f_00011.png", "f_0012.png.bak", "f_x.png"]
    for place, name in enumerate(names):
        (tmp_path / name).write_bytes(iio.imwrite("<bytes>", np.full((4, 6), place, np.uint8), extension=".png"))
    assert order(tmp_path / "f_%04d.png") == [0, 1, 2]
    assert order(tmp_path / "f_%d.png") == [3]
    write_sequence(tmp_path, ["f_10000.png"])
    assert order(tmp_path / "f_%04d.png", allow_gaps=True) == [0, 1, 2, 0]


@pytest.mark.parametrize("name", ["f_%04d.png", "*.png", "f_[0-9].png"])
def test_patterns_that_match_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match="matches no file"):
        open_source(RunSpec(input=str(tmp_path / name), output="o.mkv", reference=0))


def test_requests_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="holds no picture"):
        ImageSequenceSource(str(tmp_path))
    with pytest.raises(SpecError, match="must hold one frame number"):
        ImageSequenceSource(str(tmp_path / "%d_%d.png"))
    with pytest.raises(SpecError, match=r"input .*nothing.png' does not exist"):
        open_source(RunSpec(input=str(tmp_path / "nothing.png"), output="o.mkv", reference=0))
    with pytest.raises(SpecError, match="File name too long"):
        open_source(RunSpec(input="x" * 5000, output="o.mkv", reference=0))


def test_frame_rate_and_frames_options(tmp_path: Path) -> None:
    write_sequence(tmp_path, [f"f_{number}.png" for number in range(10)])
    spec = RunSpec(input=str(tmp_path), output="o.mkv", reference=3, frames="2:8:3", frame_rate="30000/1001")
    with open_source(spec) as source:
        assert source.info.frame_rate == Fraction(30000, 1001)
        frames = list(source.frames())
    assert [frame.index for frame in frames] == [2, 5]
    assert [frame.pts_seconds for frame in frames] == [float(Fraction(1001 * k, 30000)) for k in (2, 5)]
    assert read_reference(spec).data[0, 0] == 3
    with pytest.raises(SpecError, match="reference = 10: there is no frame 10"):
        read_reference(spec.model_copy(update={"reference": 10}))


def test_size_and_type_must_not_change(tmp_path: Path) -> None:
    write_sequence(tmp_path, ["f_1.png", "f_2.png"])
    iio.imwrite(tmp_path / "f_3.png", np.zeros((4, 7), np.uint8))
    with ImageSequenceSource(str(tmp_path)) as source, pytest.raises(SourceError) as caught:
        list(source.frames())
    says = "f_3.png' (frame 2, 0.080 s) is 7 x 4 uint8, but the sequence is 6 x 4 uint8 as 'f_1.png'"
    assert says in str(caught.value)
    assert isinstance(caught.value, DamagedInputError)
    iio.imwrite(tmp_path / "f_3.png", np.zeros((4, 6), np.uint16))
    with ImageSequenceSource(str(tmp_path)) as source, pytest.raises(SourceError, match="is 6 x 4 uint16, but"):
        list(source.frames())


def test_damage_in_a_sequence(tmp_path: Path) -> None:
    for number, picture in enumerate(media.random_frames(5)):
        iio.imwrite(tmp_path / f"f_{number}.png", picture)
    media.cut(tmp_path / "f_3.png", tmp_path / "f_3.png", 0.6)
    with ImageSequenceSource(str(tmp_path)) as source:
        frames = source.frames()
        assert [next(frames).index for _ in range(3)] == [0, 1, 2]
        with pytest.raises(DamagedInputError, match=r"f_3.png' is damaged: .* \(frame 3, 0.120 s\)"):
            next(frames)
    # With nothing good before it there is no partial result to speak of.
    with pytest.raises(SourceError, match="is damaged") as caught:
        ImageSequenceSource(str(tmp_path), selection=Selection(3))
    assert not isinstance(caught.value, DamagedInputError)


def test_a_file_that_goes_away(tmp_path: Path) -> None:
    write_sequence(tmp_path, ["f_1.png", "f_2.png"])
    with ImageSequenceSource(str(tmp_path)) as source:
        (tmp_path / "f_2.png").unlink()
        with pytest.raises(SourceError, match=r"f_2.png' \(frame 1\) is gone since the run began"):
            list(source.frames())


def test_reference_picture(tmp_path: Path) -> None:
    picture = media.random_frames(1, bits=16)[0]
    iio.imwrite(tmp_path / "neutral.png", picture)
    reference = read_reference(RunSpec(input="in.mkv", output="o.mkv", reference=str(tmp_path / "neutral.png")))
    np.testing.assert_array_equal(reference.data, picture)
    assert reference.bits == 16
    assert reference.details == {"kind": "picture", "path": str(tmp_path / "neutral.png")}
    assert "shape" not in repr(reference)
    assert len(repr(reference)) < 300


def test_references_that_cannot_be_read(tmp_path: Path) -> None:
    def read(name: str) -> None:
        read_reference(RunSpec(input="in.mkv", output="o.mkv", reference=str(tmp_path / name)))

    with pytest.raises(SpecError, match=r"reference '.*nothing.png' does not exist"):
        read("nothing.png")
    iio.imwrite(tmp_path / "cut.png", media.random_frames(1)[0])
    media.cut(tmp_path / "cut.png", tmp_path / "cut.png", 0.5)
    with pytest.raises(SourceError, match=r"reference '.*cut.png' is damaged") as caught:
        read("cut.png")
    assert not isinstance(caught.value, DamagedInputError)
    with pytest.raises(SourceError, match="cannot be read"):
        read("")
