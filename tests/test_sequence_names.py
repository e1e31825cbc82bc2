"""What the names of frames may look like: signs, time stamps, other programs' notations, and brackets in folders."""

from pathlib import Path

import imageio.v3 as iio
import media
import numpy as np
import pytest
from running import command

from framencc.config import load_config, make_spec
from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.fields import list_fields
from framencc.pipeline import run
from framencc.sources import ImageSequenceSource, open_mask, open_source, probe_source


def write(folder: Path, names: list[str]) -> Path:
    """Write one picture for each name, filled with its place, so that the order can be told."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        iio.imwrite(folder / name, np.full((4, 6), place, np.uint8))
    return folder


def order(path: Path | str, **options: object) -> list[int]:
    with ImageSequenceSource(str(path), **options) as source:
        return [int(frame.data[0, 0]) for frame in source.frames()]


@pytest.mark.parametrize("given", ["", "*.png", "f_%04d.png"])
def test_a_link_that_leads_nowhere_does_not_shorten_a_sequence(tmp_path: Path, given: str) -> None:
    write(tmp_path, ["f_0001.png", "f_0002.png"])
    (tmp_path / "f_0003.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "notes.txt").symlink_to(tmp_path / "gone.txt")
    with pytest.raises(SourceError, match=r"'f_0003\.png' is a link that leads nowhere"):
        ImageSequenceSource(str(tmp_path / given))


# --- signs


@pytest.mark.parametrize(
    "names",
    [
        ["f.-0004.png", "f.-0003.png", "f.-0002.png", "f.-0001.png"],
        ["f.-0002.png", "f.-0001.png", "f.0000.png", "f.0001.png", "f.0002.png"],
        ["f_-2.png", "f_-1.png", "f_0.png", "f_1.png"],
        ["f--02.png", "f--01.png", "f-00.png", "f-01.png"],
        ["-010.png", "-009.png", "-008.png"],
        ["v2.-11.png", "v2.-10.png", "v2.-9.png"],
    ],
)
def test_negative_numbers_come_first_and_count_up(tmp_path: Path, names: list[str]) -> None:
    assert order(write(tmp_path, names)) == list(range(len(names)))


@pytest.mark.parametrize("names", [["f-0001.png", "f-0002.png", "f-0003.png"], ["2-1.png", "2-2.png", "2-3.png"]])
def test_a_minus_behind_a_letter_or_digit_is_no_sign(tmp_path: Path, names: list[str]) -> None:
    assert order(write(tmp_path, names)) == [0, 1, 2]
    assert probe_source(tmp_path).warnings == ()


def test_gaps_are_seen_across_zero(tmp_path: Path) -> None:
    write(tmp_path, ["f.-0002.png", "f.-0001.png", "f.0001.png"])
    with pytest.raises(SpecError, match=r"lacks number 0, between 'f.-0001.png' and 'f.0001.png'"):
        ImageSequenceSource(str(tmp_path))
    assert order(tmp_path, allow_gaps=True) == [0, 1, 2]
    with ImageSequenceSource(str(tmp_path), tolerant=True) as source:
        assert [frame.damaged is None for frame in source.frames()] == [True, True, False, True]


@pytest.mark.parametrize("pattern", ["f.%05d.png", "f.%04d.png", "f.####.png", "f.@@@@@.png", "f.$F4.png", "f.#.png"])
def test_patterns_do_not_drop_negative_numbers(tmp_path: Path, pattern: str) -> None:
    width = 5 if pattern in ("f.%05d.png", "f.@@@@@.png") else 4
    write(tmp_path, ["f.-0002.png", "f.-0001.png", *(f"f.{number:0{width}d}.png" for number in range(3))])
    assert order(tmp_path / pattern) == [0, 1, 2, 3, 4]


def test_a_sign_that_printf_counts_as_a_digit_is_read(tmp_path: Path) -> None:
    write(tmp_path, [f"f{number:04d}.png" for number in (-2, -1, 0, 1)])
    assert order(tmp_path / "f%04d.png") == [0, 1, 2, 3]


def test_only_negative_numbers_are_said_to_be_read_as_such(tmp_path: Path) -> None:
    write(tmp_path, ["f.-0002.png", "f.-0001.png"])
    assert probe_source(tmp_path).warnings == (
        f"the frame numbers of input {str(tmp_path)!r} are read as negative: 'f.-0002.png' is the first frame",
    )


# --- time stamps


@pytest.mark.parametrize(
    "names",
    [
        ["1305031102.900000", "1305031102.950000", "1305031103.000000"],
        ["1305031102.900000", "1305031102.911111"],
        ["1305031102.5", "1305031102.51234", "1305031102.9", "1305031103.0", "1305031103.123457"],
        ["1305031102_900000000", "1305031103_000000000", "1305031103_100000000"],
        ["rgb_0.033333", "rgb_0.966667", "rgb_1.000000", "rgb_12.033333"],
        ["1403636579763555584", "1403636579813555456", "1403636580063555584"],
        ["1700000000999", "1700000001033"],
        ["2026-11-30_15-55-09", "2026-11-30_15-56-01", "2026-12-01_00-00-00"],
        ["IMG_20261130_155509", "IMG_20261130_155512", "IMG_20261201_000000"],
        ["PXL_20261130_155509900", "PXL_20261130_155510001"],
        ["2026-11-30T15:55:09.5", "2026-11-30T15:55:09.75", "2026-11-30T15:55:10.25"],
        ["cam0 2026-11-30 at 15.55.09", "cam0 2026-11-30 at 15.56.00"],
        ["00-00-59.966", "00-01-00.000", "00-01-00.033"],
        ["vlc-00h00m59s966", "vlc-00h01m00s000"],
        ["A001_01-00-00-23", "A001_01-00-00-24", "A001_01-00-01-00"],
    ],
)
def test_time_stamps_are_one_sequence_in_their_order(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path, [f"{name}.png" for name in names])
    assert order(tmp_path) == list(range(len(names)))
    assert order(tmp_path / "*.png") == list(range(len(names)))
    (warning,) = probe_source(tmp_path).warnings
    assert "are time stamps: a missing frame cannot be noticed, and times are counted at 25 frames a second" in warning


@pytest.mark.parametrize(
    "names",
    [
        ["2026-11-30_15-55-01", "2026-11-30_15-55-02", "2026-11-30_15-55-03"],
        ["1305031102.0001", "1305031102.0002", "1305031102.0003"],
        ["1000000001", "1000000002"],
    ],
)
def test_names_that_count_are_plain_numbers(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path, [f"{name}.png" for name in names])
    assert order(tmp_path) == list(range(len(names)))
    assert probe_source(tmp_path).warnings == ()


@pytest.mark.parametrize(
    "names",
    [
        ["f_0001_1305031102.9", "f_0002_1305031103.1", "f_0003_1305031103.2"],
        ["f_00_delay-0.04s", "f_01_delay-0.05s", "f_02_delay-0.04s"],
        ["A001_0008", "A001_0009", "A002_0010"],
    ],
)
def test_of_several_numbers_the_one_that_counts_is_the_frames(tmp_path: Path, names: list[str]) -> None:
    assert order(write(tmp_path, [f"{name}.png" for name in names])) == [0, 1, 2]


@pytest.mark.parametrize(
    "names",
    [
        ["1.001", "1.002", "2.001"],
        ["take1_0001", "take1_0002", "take2_0001"],
        ["2026-11-30_0001", "2026-11-30_0002", "2026-12-01_0001"],
        ["a_1305031102.9", "a_1305031102.95", "b_1305031103.0"],
        ["2026-02-30_15-55-09", "2026-02-30_15-55-10", "2026-03-01_15-55-09"],
    ],
)
def test_takes_are_still_told_apart(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path, [f"{name}.png" for name in names])
    with pytest.raises(SpecError, match="holds more than one sequence"):
        ImageSequenceSource(str(tmp_path))


@pytest.mark.parametrize(
    "names",
    [
        ["1700000000", "1700000001", "1700000003", "1700000004"],
        ["take_20261130_000000", "take_20261130_000001", "take_20261130_000003"],
        ["20261130_00000000", "20261130_00000001", "20261130_00000002", "20261130_00000004"],
        ["A001_01-00-00-21", "A001_01-00-00-22", "A001_01-00-00-24"],
        ["frame_0000_1700000000000", "frame_0001_1700000000033", "frame_0003_1700000000099"],
        ["0001_1305031102.911111", "0002_1305031102.944444", "0004_1305031103.011111"],
    ],
)
def test_frame_numbers_that_look_like_times_or_stand_beside_them_show_gaps(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path, [f"{name}.png" for name in names])
    with pytest.raises(SpecError, match=r"lacks number \d+, between .*; allow_gaps accepts that"):
        ImageSequenceSource(str(tmp_path))
    assert len(ImageSequenceSource(str(tmp_path), allow_gaps=True).files) == len(names)


def test_pictures_of_every_second_are_times_across_a_minute(tmp_path: Path) -> None:
    write(tmp_path, [f"20261130_{name}.png" for name in ("155957", "155958", "155959", "160000", "160001")])
    assert "are time stamps" in probe_source(tmp_path).warnings[0]


def test_one_time_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, ["1305031102.5.png", "1305031102.50.png", "1305031103.5.png"])
    with pytest.raises(SpecError, match=r"has one time twice: '1305031102.50?.png' and '1305031102.50?.png'"):
        ImageSequenceSource(str(tmp_path))


def test_masks_of_time_stamps_belong_to_the_frames_of_the_same_times(tmp_path: Path) -> None:
    names = ["1305031102.900000.png", "1305031102.950000.png", "1305031103.000000.png"]
    write(tmp_path / "rgb", names)
    for name in names:
        (tmp_path / "masks").mkdir(exist_ok=True)
        iio.imwrite(tmp_path / "masks" / name, np.ones((4, 6), np.uint8))
    options = {"input": str(tmp_path / "rgb"), "output": "o.npy", "reference": 0}
    spec = make_spec(options | {"ncc": {"mask": str(tmp_path / "masks")}})
    with open_mask(spec, open_source(spec))[0] as source:
        assert len(list(source.frames())) == 3
    (tmp_path / "masks" / names[1]).rename(tmp_path / "masks" / "1305031102.940000.png")
    with pytest.raises(SpecError, match=r"has '1305031102.940000.png' where the input has '1305031102.950000.png'"):
        open_mask(spec, open_source(spec))


# --- other programs' notations


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("f.####.png", "f.{:04d}.png"),
        ("f.@@@@.png", "f.{:04d}.png"),
        ("f.@.png", "f.{}.png"),
        ("f_##.png", "f_{:02d}.png"),
        ("f.#.png", "f.{:04d}.png"),
        ("f.#.png", "f.{}.png"),
        ("f.$F4.png", "f.{:04d}.png"),
        ("f.$F.png", "f.{}.png"),
        ("f.${F3}.png", "f.{:03d}.png"),
        ("f.<F4>.png", "f.{:04d}.png"),
        ("f.%04i.png", "f.{:04d}.png"),
        ("f.%u.png", "f.{}.png"),
        ("take [1]/f.####.png", "take [1]/f.{:04d}.png"),
    ],
)
def test_other_notations_are_read(tmp_path: Path, pattern: str, name: str) -> None:
    (tmp_path / "take [1]").mkdir()
    write(tmp_path, [name.format(number) for number in (8, 9, 10)])
    write(tmp_path / "other", ["f.0011.png"])
    with open_source(make_spec({"input": str(tmp_path / pattern), "output": "o.npy", "reference": 0})) as source:
        assert [int(frame.data[0, 0]) for frame in source.frames()] == [0, 1, 2]


def test_other_notations_serve_masks_and_fields(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", media.random_frames(3, 4, 6))
    for number in range(3):
        iio.imwrite(tmp_path / f"m.{number:04d}.png", np.ones((4, 6), np.uint8))
        np.save(tmp_path / f"d.{number:04d}.npy", np.zeros((4, 6, 2), np.float32))
    options = {"input": str(tmp_path / "in.npy"), "output": "o.npy", "reference": 0}
    spec = make_spec(options | {"ncc": {"mask": str(tmp_path / "m.####.png")}})
    with open_mask(spec, open_source(spec))[0] as source:
        assert len(list(source.frames())) == 3
    assert len(list_fields(tmp_path / "d.$F4.npy", 3)) == 3


def test_a_file_of_exactly_that_name_goes_before_a_notation(tmp_path: Path) -> None:
    write(tmp_path, ["f.####.png", "f.0001.png"])
    assert order(tmp_path / "f.####.png") == [0]


@pytest.mark.parametrize(
    ("option", "name", "better"),
    [
        ("output", "maps.####.npy", r"%04d: 'maps.%04d.npy'"),
        ("output", "maps.@@@.png", r"%03d: 'maps.%03d.png'"),
        ("output", "maps.$F4.tif", r"%04d: 'maps.%04d.tif'"),
        ("output", "maps.#.npy", r"%04d: 'maps.%04d.npy'"),
        ("output", "maps.####.mkv", r"but this output is a single file; leave #### out"),
        ("validity", "why.####.png", r"%04d: 'why.%04d.png'"),
        ("warped", "w.<F4>.npy", r"%04d: 'w.%04d.npy'"),
        ("fields", "d.####.exr", r"%04d: 'd.%04d.exr'"),
        ("preview", "p.####.mp4", r"leave #### out"),
        ("scores.path", "s.####.csv", r"leave #### out"),
        ("output", "maps.%V.%04d.npy", r"holds %V, which stands for a view in Nuke"),
    ],
)
def test_other_notations_in_an_output_are_refused_with_ours(option: str, name: str, better: str) -> None:
    options: dict[str, object] = {"input": "in.npy", "output": "o.npy", "reference": 0, "warp": {"method": "flow"}}
    target = {"scores": {"path": name}} if option == "scores.path" else {option: name}
    with pytest.raises(SpecError, match=better):
        make_spec(options | target)


@pytest.mark.parametrize("name", ["me@home.npy", "take#3.mkv", "a$Fb.npy", "100%V2.mkv", "no_12#.npy", "50%ideal.npy"])
def test_names_that_hold_such_signs_otherwise_are_names(name: str) -> None:
    assert make_spec({"input": "in.npy", "output": name, "reference": 0}).output == name


def test_a_view_is_said_not_to_be_read(tmp_path: Path) -> None:
    write(tmp_path, ["f.left.0001.png"])
    with pytest.raises(SpecError, match=r"matches no file; %V stands for a view in Nuke"):
        ImageSequenceSource(str(tmp_path / "f.%V.%04d.png"))


# --- brackets


@pytest.mark.parametrize("folder", ["take [1]", "a*b", "what?", "[x]/[y]"])
def test_a_folder_that_exists_is_no_glob(tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / folder, ["f_1.png", "f_2.png", "g.png"])
    for index in range(2):
        np.save(tmp_path / folder / f"d_{index}.npy", np.zeros((4, 6, 2), np.float32))
    assert order(tmp_path / folder / "f*.png") == [0, 1]
    assert len(list_fields(tmp_path / folder / "d*.npy", 2)) == 2
    monkeypatch.chdir(tmp_path)
    assert order(f"{folder}/f_?.png") == [0, 1]
    (tmp_path / "job.toml").write_text(f'input = "{folder}/f*.png"\noutput = "o.npy"\nreference = 0\n')
    with open_source(load_config(tmp_path / "job.toml")) as source:
        assert source.info.n_frames == 2


def test_brackets_in_a_files_name_are_a_glob_first_and_literal_where_that_matches_nothing(tmp_path: Path) -> None:
    write(tmp_path, ["take[1]_1.png", "take[1]_2.png"])
    assert order(tmp_path / "take[1]_*.png") == [0, 1]
    write(tmp_path, ["take1_1.png"])
    assert order(tmp_path / "take[1]_*.png") == [0]
    with pytest.raises(SpecError, match=r"matches no file; \[ \] are part of a glob: write \[\[\] for a bracket"):
        ImageSequenceSource(str(tmp_path / "[2]/*.png"))


def test_outputs_do_not_join_a_glob_below_a_folder_with_brackets(tmp_path: Path) -> None:
    folder = write(tmp_path / "take [1]", ["f_1.png", "f_2.png"])
    options = {"input": str(folder / "*.png"), "reference": 0}
    with pytest.raises(SpecError, match="would belong to the input"):
        run(make_spec(options | {"output": str(folder / "%04d.png")}))
    with pytest.raises(SpecError, match="is the input itself"):
        run(make_spec({"input": str(folder / "f_#.png"), "reference": 0, "output": str(folder / "f_%d.png")}))


@pytest.mark.parametrize("given", ["f_#.png", "f_%d.png"])
def test_outputs_do_not_join_a_pattern(tmp_path: Path, given: str) -> None:
    folder = write(tmp_path, ["f_1.png", "f_2.png"])
    spec = make_spec({"input": str(folder / given), "reference": 0, "output": str(folder / "f_%04d.png")})
    with pytest.raises(SpecError, match="would belong to the input"):
        run(spec)


def test_two_frame_numbers_are_one_line(tmp_path: Path) -> None:
    spec = make_spec({"input": str(tmp_path / "f_##_####.png"), "reference": 0, "output": str(tmp_path / "o.npy")})
    with pytest.raises(SpecError, match=r"must hold one frame number, such as frame_%04d.png"):
        run(spec)


# --- a sequence that changes


def changed(kind: str) -> np.ndarray:
    return {
        "size": np.zeros((4, 7), np.uint8),
        "depth": np.zeros((4, 6), np.uint16),
        "channels": np.zeros((4, 6, 3), np.uint8),
    }[kind]


@pytest.mark.parametrize("kind", ["size", "depth", "channels", "kind", "several"])
def test_a_sequence_that_changes_keeps_what_came_before(tmp_path: Path, kind: str) -> None:
    frames = media.random_frames(5, 4, 6)
    for index, frame in enumerate(frames):
        iio.imwrite(tmp_path / f"f_{index}.png", frame)
    odd = tmp_path / "f_3.png"
    if kind == "kind":
        odd.write_bytes(b"GIF89a" + bytes(50))
    elif kind == "several":
        iio.imwrite(odd.with_suffix(".tif"), frames, extension=".tif")
        odd.with_suffix(".tif").rename(odd)
    else:
        iio.imwrite(odd, changed(kind))
    options = {"input": str(tmp_path / "f_%d.png"), "output": str(tmp_path / "o.npy"), "reference": 0}
    if kind == "channels":
        options["ncc"] = {"channel": "red"}
        for index in (0, 1, 2, 4):
            iio.imwrite(tmp_path / f"f_{index}.png", np.dstack([frames[index]] * 3))
        iio.imwrite(odd, frames[3])
    with pytest.raises(DamagedInputError, match=r"f_3.png'.*\(frame 3, 0.120 s\)"):
        run(make_spec(options))
    assert len(np.load(tmp_path / "o.partial.npy")) == 3
    report = run(make_spec(options | {"output": str(tmp_path / "all.npy"), "tolerant": True}))
    assert (report.n_frames, np.load(tmp_path / "all.npy")[3].any()) == (5, False)


def test_a_mask_of_another_size_keeps_what_came_before(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", media.random_frames(4, 4, 6))
    for index in range(4):
        iio.imwrite(tmp_path / f"m_{index}.png", np.ones((4, 7 if index == 2 else 6), np.uint8))
    options = {"input": str(tmp_path / "in.npy"), "output": str(tmp_path / "o.npy"), "reference": 0}
    with pytest.raises(DamagedInputError, match=r"ncc.mask: .*m_2.png' \(frame 2, 0.080 s\) is 7 x 4 uint8"):
        run(make_spec(options | {"ncc": {"mask": str(tmp_path / "m_#.png")}}))
    assert len(np.load(tmp_path / "o.partial.npy")) == 2


def test_masks_and_fields_of_negative_numbers_belong_to_the_frames_in_order(tmp_path: Path) -> None:
    names = ["f.-0002", "f.-0001", "f.0000"]
    write(tmp_path / "in", [f"{name}.png" for name in names])
    for place, name in enumerate(names):
        for folder in ("masks", "fields"):
            (tmp_path / folder).mkdir(exist_ok=True)
        mask = np.ones((4, 6), np.uint8)
        mask[0, place] = 0
        iio.imwrite(tmp_path / "masks" / f"{name}.png", mask)
        np.save(tmp_path / "fields" / f"{name}.npy", np.full((4, 6, 2), place, np.float32))
    ncc = {"mask": str(tmp_path / "masks")}
    spec = make_spec({"input": str(tmp_path / "in"), "output": "o.npy", "reference": 0, "ncc": ncc})
    with open_mask(spec, open_source(spec))[0] as source:
        assert [int(np.argmin(frame.use[0])) for frame in source.frames()] == [0, 1, 2]
    fields = list_fields(tmp_path / "fields", 3)
    assert [fields.read(index, (4, 6))[0, 0, 0] for index in range(3)] == [0, 1, 2]


def test_the_command_ends_with_3_for_a_picture_of_another_size(tmp_path: Path) -> None:
    write(tmp_path / "in", ["f_1.png", "f_2.png"])
    iio.imwrite(tmp_path / "in" / "f_3.png", np.zeros((4, 7), np.uint8))
    result = command("run", tmp_path / "in", tmp_path / "o.npy", "--reference", 0)
    assert result.returncode == 3
    assert "f_3.png' (frame 2, 0.080 s) is 7 x 4 uint8, but the sequence is 6 x 4 uint8 as 'f_1.png'" in result.stderr
