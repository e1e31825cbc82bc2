"""What is asked of displacement fields: files that are none, damage, and sequences of them."""

from pathlib import Path

import numpy as np
import pytest

from framencc.errors import DamagedInputError, FramenccError, SinkError, SourceError, SpecError
from framencc.fields.files import list_fields, read_field, write_field

OpenEXR = pytest.importorskip("OpenEXR", reason="the extra exr is not installed")

from field_files import H, W, kitti_codes, png_bytes, ramp, write_exr  # noqa: E402  (needs OpenEXR)

# Requests and damage


def test_requests(tmp_path) -> None:
    with pytest.raises(SpecError, match="does not exist"):
        read_field(tmp_path / "none.flo", (H, W))
    with pytest.raises(SourceError, match="cannot be read"):
        read_field(tmp_path, (H, W))
    (tmp_path / "f.flo").write_bytes(b"")
    with pytest.raises(DamagedInputError, match="is empty"):
        read_field(tmp_path / "f.flo", (H, W))
    (tmp_path / "f.flo").write_text("GIF89a, renamed")
    with pytest.raises(SourceError, match=r"is no .npy, .flo, PNG or EXR file"):
        read_field(tmp_path / "f.flo", (H, W))
    write_field(tmp_path / "f.flo", ramp())
    with pytest.raises(SpecError, match="convention must be one of displacement, stmap, not 'uv'"):
        read_field(tmp_path / "f.flo", (H, W), convention="uv")
    for size in ((0, 5), (1 << 20, 1 << 20)):
        with pytest.raises(SpecError, match=r"size \(height, width\) must be of 1 to"):
            read_field(tmp_path / "f.flo", size)
    with pytest.raises(SourceError, match="holds one field"):
        read_field(tmp_path / "f.flo", (H, W), index=0)
    with pytest.raises(SpecError, match=r"must end in .npy, .flo or .exr"):
        write_field(tmp_path / "f.tif", ramp())
    for field in (ramp()[..., :1], ramp().astype(np.int32), ramp()[:0]):
        with pytest.raises(SpecError, match=r"a field is \(H, W, 2\) of floats"):
            write_field(tmp_path / "f.npy", field)
    for suffix in (".npy", ".flo", ".exr"):
        with pytest.raises(SinkError, match="cannot be written"):
            write_field(tmp_path / "no folder" / f"f{suffix}", ramp())


def small_files(folder: Path) -> dict[str, bytes]:
    paths = [folder / f"f{suffix}" for suffix in (".npy", ".flo", ".exr")]
    for path in paths:
        write_field(path, ramp())
    planes = {"u": ramp(40, 40)[..., 0], "v": ramp(40, 40)[..., 1]}
    tiled = write_exr(folder / "tiled.exr", planes, tiles=OpenEXR.TileDescription())
    files = {path.name: path.read_bytes() for path in (*paths, tiled)}
    return files | {"f.png": png_bytes(kitti_codes())}


@pytest.mark.parametrize("name", ["f.npy", "f.flo", "f.exr", "tiled.exr", "f.png"])
def test_every_prefix(tmp_path, capfd, name) -> None:
    content = small_files(tmp_path)[name]
    path = tmp_path / "cut"
    size = (40, 40) if name == "tiled.exr" else (H, W)
    path.write_bytes(content)
    read_field(path, size)
    step = 7 if name == "tiled.exr" else 1
    for length in {*range(0, len(content), step), len(content) - 1}:
        path.write_bytes(content[:length])
        with pytest.raises(SourceError) as caught:
            read_field(path, size)
        assert "\n" not in str(caught.value)
        assert "cut'" in str(caught.value)
        if length == 0 or length >= 8:
            assert isinstance(caught.value, DamagedInputError)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["f.npy", "f.flo", "f.exr", "f.png"])
def test_every_flipped_byte(tmp_path, capfd, name) -> None:
    """A field or a clear error, and nothing on stdout; checksums find every flip in a PNG."""
    content = small_files(tmp_path)[name]
    path = tmp_path / "flipped"
    for place in range(0, len(content), 3):
        for flip in (0xFF, 0x01):
            path.write_bytes(content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :])
            try:
                field = read_field(path, (H, W))
            except FramenccError as error:
                assert "\n" not in str(error)  # noqa: PT017
            else:
                assert field.shape == (H, W, 2)
                assert name != "f.png"
    assert capfd.readouterr().out == ""


# Sequences


def write_numbered(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        write_field(folder / name, np.full((H, W, 2), place, np.float32))


@pytest.mark.parametrize("suffix", [".npy", ".flo", ".exr"])
def test_a_directory_a_glob_and_a_pattern(tmp_path, suffix) -> None:
    write_numbered(tmp_path / "w", [f"shot2_{number}{suffix}" for number in range(9, 13)])
    (tmp_path / "w" / "notes.txt").write_text("no field")
    for path in (tmp_path / "w", f"{tmp_path}/w/*{suffix}", f"{tmp_path}/w/shot2_%d{suffix}"):
        sequence = list_fields(path, 4)
        assert len(sequence) == 4
        assert [file.name for file in sequence.files] == [f"shot2_{number}{suffix}" for number in range(9, 13)]
        assert [sequence.read(index, (H, W))[0, 0, 0] for index in range(4)] == [0, 1, 2, 3]
    assert len(list_fields(tmp_path / "w", None)) == 4


def test_one_array_of_all(tmp_path) -> None:
    stack = np.stack([ramp(), -ramp()])
    for order in "CF":
        np.save(tmp_path / "all.npy", np.asarray(stack, order=order))
        sequence = list_fields(tmp_path / "all.npy", 2)
        assert repr(sequence).endswith("all.npy', n_fields=2)")
        np.testing.assert_array_equal(sequence.read(1, (H, W)), -ramp())
    with pytest.raises(SourceError, match=r"are 2, of the frames 0 to 1: there is none for frame 2"):
        sequence.read(2, (H, W))
    with pytest.raises(SpecError, match=r"are 2, the input's frames 3; .*: there is none for frame 2"):
        list_fields(tmp_path / "all.npy", 3)
    with pytest.raises(SpecError, match="there are too many"):
        list_fields(tmp_path / "all.npy", 1)
    np.save(tmp_path / "all.npy", stack[:0])
    with pytest.raises(SpecError, match="is an array of none"):
        list_fields(tmp_path / "all.npy", None)
    np.save(tmp_path / "all.npy", stack[..., :1])
    with pytest.raises(SourceError, match=r"must be \(H, W, 2\) or \(N, H, W, 2\), not \(2, 5, 7, 1\)$"):
        list_fields(tmp_path / "all.npy", 2)
    (tmp_path / "all.npy").write_bytes(b"\x93NUMPY\1\0\xff\xff")
    with pytest.raises(DamagedInputError):
        list_fields(tmp_path / "all.npy", 2)


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((2, H, W), True),
        ((4, 2, H, W), True),
        ((1, 2, H, W), True),
        ((H, W), False),
        ((H, W, 3), False),
        ((H, W, 1), False),
        ((4, H, W), False),
        ((4, H, W, 3), False),
        ((1, 4, H, W, 2), False),
        ((2,), False),
        ((), False),
    ],
)
@pytest.mark.parametrize("n_frames", [1, 4, None])
def test_an_array_that_holds_no_field_is_told_by_its_shape_before_anything_is_counted(
    tmp_path, shape, advice, n_frames
) -> None:
    np.save(tmp_path / "f.npy", np.zeros(shape, np.float32))
    with pytest.raises(SourceError) as caught:
        list_fields(tmp_path / "f.npy", n_frames)
    assert f"must be (H, W, 2) or (N, H, W, 2), not {shape}" in str(caught.value)
    assert ("its channels come first: numpy.moveaxis(fields, -3, -1)" in str(caught.value)) is advice


def test_arrays_of_a_sequence_are_told_by_their_shape_before_they_are_counted(tmp_path) -> None:
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.zeros((2, H, W), np.float32))
    with pytest.raises(SourceError, match=r"0\.npy' must be .*, not \(2, 5, 7\); its channels come first"):
        list_fields(tmp_path, 4)
    with pytest.raises(SourceError, match=r"1\.npy' must be \(H, W, 2\), not \(2, 5, 7\); its channels .* \(frame 1\)"):
        list_fields(tmp_path, 3).read(1, (H, W))


def test_fields_of_another_size_are_told_by_both_sizes(tmp_path) -> None:
    np.save(tmp_path / "f.npy", np.zeros((3, W, H, 2), np.float32))
    with pytest.raises(SourceError, match=r"is 5 x 7, but the reference is 7 x 5"):
        list_fields(tmp_path / "f.npy", 3).read(0, (H, W))


def test_one_file_is_a_clip_of_one_frame(tmp_path) -> None:
    write_field(tmp_path / "f.flo", ramp())
    np.testing.assert_array_equal(list_fields(tmp_path / "f.flo", 1).read(0, (H, W)), ramp())
    with pytest.raises(SpecError, match=r"are 1, the input's frames 5; .* none follows 'f.flo' for frame 1"):
        list_fields(tmp_path / "f.flo", 5)


def test_sequences_that_are_refused(tmp_path) -> None:
    write_numbered(tmp_path / "gap", ["f_1.flo", "f_2.flo", "f_4.flo"])
    with pytest.raises(SpecError, match=r"lack number 3, between 'f_2.flo' and 'f_4.flo'; each frame needs its own"):
        list_fields(tmp_path / "gap", 3)
    write_numbered(tmp_path / "short", ["f_1.flo", "f_2.flo"])
    with pytest.raises(SpecError, match=r"are 2, the input's frames 3; .*: none follows 'f_2.flo' for frame 2"):
        list_fields(tmp_path / "short", 3)
    with pytest.raises(SpecError, match=r"are 2, the input's frames 1; .*: 'f_2.flo' has no frame"):
        list_fields(tmp_path / "short", 1)
    write_numbered(tmp_path / "mixed", ["f_1.flo", "f_2.exr"])
    with pytest.raises(SpecError, match=r"fields .* mixes 'f_1.flo' and 'f_2.exr'; name one kind"):
        list_fields(tmp_path / "mixed", 2)
    write_numbered(tmp_path / "two", ["a_1.flo", "a_2.flo", "b_1.flo"])
    with pytest.raises(SpecError, match=r"fields .* holds more than one sequence .* such as frame_%04d.flo"):
        list_fields(tmp_path / "two", 3)
    write_numbered(tmp_path / "twice", ["f_1.flo", "f_01.flo"])
    with pytest.raises(SpecError, match=r"fields .* has one number twice"):
        list_fields(tmp_path / "twice", 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match=r"fields directory .* holds no displacement field \(.npy, .flo, .png, .exr\)"):
        list_fields(tmp_path / "empty", 2)
    with pytest.raises(SpecError, match="matches no file"):
        list_fields(tmp_path / "none_%d.flo", 2)


def test_damage_names_the_frame(tmp_path) -> None:
    write_numbered(tmp_path, ["f_1.flo", "f_2.flo", "f_3.flo"])
    sequence = list_fields(tmp_path, 3)
    (tmp_path / "f_2.flo").write_bytes((tmp_path / "f_2.flo").read_bytes()[:-1])
    with pytest.raises(DamagedInputError, match=r"f_2.flo' is damaged: it ends early \(frame 1\)"):
        sequence.read(1, (H, W))
    with pytest.raises(SourceError, match=r"is 7 x 5, but the reference is 7 x 6; .* \(frame 0\)"):
        sequence.read(0, (6, W))
    (tmp_path / "f_3.flo").unlink()
    with pytest.raises(SourceError, match=r"f_3.flo' \(frame 2\) is gone since the run began"):
        sequence.read(2, (H, W))
