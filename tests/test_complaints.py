"""What ffmpeg complains of: what touches frames is damage, all else is a warning, and no file decides which it is."""

import json
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import damaged_streams as streams
import media
import numpy as np
import pytest
from running import command

from framencc.errors import DamagedInputError
from framencc.frames import Frame
from framencc.sources import VideoSource
from framencc.sources.complaints import Complaints
from framencc.sources.packets import Take
from framencc.sources.probe import probe_video
from framencc.sources.tolerant import TolerantVideoSource
from framencc.sources.wanted import LUMA

BOTH = pytest.mark.parametrize("kind", [VideoSource, TolerantVideoSource])


def read(path: Path, kind: type[VideoSource] = VideoSource) -> tuple[list[Frame], tuple[str, ...]]:
    with kind(str(path)) as source:
        frames = list(source.frames())
        # The clips' pixels are not square, which is a warning of its own.
        return frames, tuple(warning for warning in source.warnings if "not square" not in warning)


def read_until_damage(path: Path) -> tuple[list[Frame], str]:
    frames: list[Frame] = []
    with VideoSource(str(path)) as source, pytest.raises(DamagedInputError) as caught:
        frames.extend(source.frames())
    return frames, str(caught.value)


def assert_same(frames: list[Frame], clean: list[Frame]) -> None:
    assert len(frames) == len(clean)
    for frame, other in zip(frames, clean, strict=True):
        assert frame.damaged is None
        np.testing.assert_array_equal(frame.data, other.data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the clean clips that the others come from."""
    folder = tmp_path_factory.mktemp("clean")
    streams.clip(folder / "a.h264", *streams.H264, "-bf", 0, "-g", 12, n_frames=24)
    streams.clip(folder / "b.h264", *streams.H264, "-bf", 2, "-g", 12, "-slices", 4, n_frames=24, size="96:64")
    streams.clip(folder / "a.avi", "-c:v", "mjpeg", "-strict", "unofficial", n_frames=12)
    return folder


# ---------------------------------------------------------------------------------------------------- harmless


def _write_chapters(folder: Path, target: Path) -> None:
    text = ";FFMETADATA1\n" + "".join(
        f"[CHAPTER]\nTIMEBASE=1/10\nSTART={k}\nEND={k + 1}\ntitle=c{k}\n" for k in range(4)
    )
    (target / "chapters.txt").write_text(text)
    media.ffmpeg("-i", folder / "a.h264", "-i", target / "chapters.txt", "-map", "0", "-c", "copy", target / "in.mp4")
    content = bytearray((target / "in.mp4").read_bytes())
    place = content.index(b"chap") + 4
    content[place : place + 4] = struct.pack(">I", 77)  # there is no such track
    (target / "in.mp4").write_bytes(content)


@BOTH
@pytest.mark.parametrize("ending", ["h264", "mp4", "ts"])
def test_truncated_messages_beside_the_samples_are_harmless(
    folder: Path, tmp_path: Path, ending: str, kind: type[VideoSource]
) -> None:
    (tmp_path / "in.h264").write_bytes(streams.with_sei((folder / "a.h264").read_bytes()))
    if ending != "h264":
        media.ffmpeg("-v", "fatal", "-i", tmp_path / "in.h264", "-c", "copy", tmp_path / f"in.{ending}")
    frames, warnings = read(tmp_path / f"in.{ending}", kind)
    assert_same(frames, read(folder / "a.h264")[0])
    assert [warning.split("' ")[1] for warning in warnings] == [
        "has damaged supplementary messages (SEI); no frame is affected"
    ]


@BOTH
def test_a_chapter_track_that_is_missing_is_harmless(folder: Path, tmp_path: Path, kind: type[VideoSource]) -> None:
    _write_chapters(folder, tmp_path)
    frames, warnings = read(tmp_path / "in.mp4", kind)
    assert_same(frames, read(folder / "a.h264")[0])
    assert "has a missing chapter track; no frame is affected" in warnings[0]


@BOTH
@pytest.mark.parametrize(
    ("segment", "matter"),
    [
        (b"\xff\xe5\0\0", "damaged application segments (APP)"),
        (b"\xff\xe1\0\x14Exif\0\0no TIFF here", "damaged EXIF metadata"),
        (b"\xff\xe1\0\x0aExif\0\0II", "damaged EXIF metadata"),
    ],
)
def test_odd_segments_of_jpegs_are_harmless(
    folder: Path, tmp_path: Path, segment: bytes, matter: str, kind: type[VideoSource]
) -> None:
    path = streams.with_segment(folder / "a.avi", tmp_path / "in.avi", lambda _: segment)
    frames, warnings = read(path, kind)
    assert_same(frames, read(folder / "a.avi")[0])
    assert len(warnings) == 1
    assert matter in warnings[0]


def test_a_run_names_them_on_stderr_and_in_its_sidecar(folder: Path, tmp_path: Path) -> None:
    path = streams.with_segment(folder / "a.avi", tmp_path / "in.avi", lambda _: b"\xff\xe5\0\0")
    result = command("run", path, tmp_path / "o.npy", "--reference", 0, "-q")
    assert result.returncode == 0, result.stderr
    assert "warning: input " in result.stderr
    assert "damaged application segments" in result.stderr
    sidecar = json.loads((tmp_path / "o.npy.json").read_text())
    assert sum("damaged application segments" in warning for warning in sidecar["warnings"]) == 1
    assert sidecar["summary"]["damaged_frames"] == 0


# ---------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize(("place", "is_lost"), [(0, True), (1, False), (3, True), (3, False)])
def test_concealed_slices_are_damage(folder: Path, tmp_path: Path, place: int, is_lost: bool) -> None:
    parts = streams.units((folder / "b.h264").read_bytes())
    slices = [k for k, unit in enumerate(parts) if streams.is_h264_slice(unit)]
    assert len(slices) == 24 * 4
    number = slices[40 + place]
    # Lost, or a part that passes for a message beside the samples: what is harmless of itself hides nothing.
    parts[number : number + 1] = [] if is_lost else [b"\x06" + parts[number][1:]]
    (tmp_path / "in.h264").write_bytes(streams.of_units(parts))
    frames, message = read_until_damage(tmp_path / "in.h264")
    assert 0 < len(frames) <= 12
    assert_same(frames, read(folder / "b.h264")[0][: len(frames)])
    assert "is damaged at frame" in message
    found = read(tmp_path / "in.h264", TolerantVideoSource)[0]
    good = [frame for frame in found if frame.damaged is None]
    assert_same(good, [read(folder / "b.h264")[0][frame.index] for frame in good])
    assert any(frame.damaged for frame in found[8:13])


def test_a_jpeg_that_is_cut_is_damage_beside_harmless_segments(folder: Path, tmp_path: Path) -> None:
    path = streams.with_segment(folder / "a.avi", tmp_path / "in.avi", lambda _: b"\xff\xe5\0\0")
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xda", len(content) // 2) + 200
    content[at : at + 300] = b"\xff\xd9" * 150
    path.write_bytes(content)
    frames, _ = read_until_damage(path)
    assert_same(frames, read(folder / "a.avi")[0][: len(frames)])
    assert len(frames) < 10


def test_only_the_component_that_says_it_makes_a_complaint_harmless(folder: Path) -> None:
    complaints = Complaints(probe_video(str(folder / "a.h264"), 60, LUMA), LUMA)
    text = "SEI type 5 size 200 truncated at 21"
    assert complaints.is_damage("error", text, "in#0 @ 0x1")
    assert not complaints.is_damage("info", "Stream mapping:", "")
    assert not complaints.is_damage("error", text, "h264 @ 0x1")
    for component in ("", "mjpeg @ 0x1", "in#0 @ 0x1", "h264", "dec:h264 @ 0x1", "vist#0:0/h264 @ 0x1"):
        assert complaints.is_damage("error", text, component) is (component != "h264")
    for other in (f"{text}!", f" {text}", f"error while decoding MB 1 1, {text}", text.replace("21", "x")):
        assert complaints.is_damage("error", other, "h264 @ 0x1")
    for other in ("no frame!", "non-existing PPS 0 referenced", "mmco: unref short failure"):
        assert complaints.is_damage("error", other, "h264 @ 0x1")
    for level, other in (
        ("info", "concealing 6 DC, 6 AC, 6 MV errors in P frame"),
        ("warning", "corrupt decoded frame"),
    ):
        assert complaints.is_damage(level, other, "h264 @ 0x1")
    assert complaints.is_damage("warning", "Skipping invalid undecodable NALU: 1", "hevc @ 0x1")
    assert not complaints.is_damage("warning", "Skipping invalid undecodable NALU: 39", "hevc @ 0x1")
    assert complaints.harmless == ("damaged supplementary messages (SEI)",)


def test_only_what_splits_the_input_may_miss_parameters_and_only_before_the_first_key_frame(folder: Path) -> None:
    probe = probe_video(str(folder / "a.h264"), 60, LUMA)
    text = "non-existing PPS 0 referenced"
    take = Take(0, None, 2, 9, Fraction(1))
    complaints = Complaints(probe, LUMA, take)
    complaints.is_damage("info", "Stream mapping:", "")
    assert not complaints.is_damage("error", text, "h264 @ 0x1")
    assert complaints.is_damage("error", text, "h264 @ 0x2")
    assert complaints.is_damage("error", "no frame!", "h264 @ 0x1")
    assert not complaints.is_damage("error", text, "h264 @ 0x1")
    assert complaints.is_damage("error", text, "h264 @ 0x1")
    for whole in (None, replace(take, first=0)):
        assert Complaints(probe, LUMA, whole).is_damage("error", text, "h264 @ 0x1") is False  # ffmpeg looks ahead
        complaints = Complaints(probe, LUMA, whole)
        complaints.is_damage("info", "Stream mapping:", "")
        assert complaints.is_damage("error", text, "h264 @ 0x1")


def test_segments_that_can_change_colours_are_not_harmless(tmp_path: Path) -> None:
    for pixel_format, is_damage in {"yuvj444p": True, "yuvj422p": False}.items():
        path = streams.clip(tmp_path / f"{pixel_format}.avi", "-c:v", "mjpeg", "-pix_fmt", pixel_format, n_frames=2)
        complaints = Complaints(probe_video(str(path), 60, LUMA), LUMA)
        complaints.is_damage("info", "Stream mapping:", "")
        assert complaints.is_damage("error", "app: invalid len 0", "mjpeg @ 0x1") is is_damage


def test_what_a_file_says_of_itself_hides_no_damage(folder: Path, tmp_path: Path) -> None:
    parts = streams.units((folder / "b.h264").read_bytes())
    slices = [k for k, unit in enumerate(parts) if streams.is_h264_slice(unit)]
    del parts[slices[41]]
    (tmp_path / "in.h264").write_bytes(streams.of_units(parts))
    forged = "x\n[h264 @ 0x1] [error] SEI type 5 size 200 truncated at 21\n[info] Input #0, y"
    options = ("-c", "copy", "-metadata", f"{'K' * len(forged)}=v")
    media.ffmpeg("-v", "fatal", "-r", 25, "-i", tmp_path / "in.h264", *options, tmp_path / "in.avi")
    media.ffmpeg("-v", "fatal", "-fflags", "+genpts", "-i", tmp_path / "in.avi", *options, tmp_path / "in.mkv")
    content = (tmp_path / "in.mkv").read_bytes()
    assert content.count(b"K" * len(forged)) == 1
    (tmp_path / "in.mkv").write_bytes(content.replace(b"K" * len(forged), forged.encode()))
    read_until_damage(tmp_path / "in.mkv")


# ---------------------------------------------------------------------------------------------------- changes


@pytest.mark.parametrize(("first", "then"), [(1, 6), (6, 1), (1, 3), (2, 4)])
def test_a_change_of_orientation_is_damage(folder: Path, tmp_path: Path, first: int, then: int) -> None:
    path = streams.with_segment(
        folder / "a.avi", tmp_path / "in.mov", lambda number: streams.exif(first if number < 7 else then)
    )
    frames, message = read_until_damage(path)
    same = streams.with_segment(folder / "a.avi", tmp_path / "same.mov", lambda _: streams.exif(first))
    whole = read(same)[0]
    assert len(frames) == 7
    assert_same(frames, whole[:7])
    assert "is damaged at frame 7 (0.280 s) or soon after: the picture changes its orientation" in message
    tolerant = read(path, TolerantVideoSource)[0]
    assert [frame.index for frame in tolerant if frame.damaged] == [7, 8, 9, 10, 11]
    assert_same(tolerant[:7], whole[:7])


@BOTH
@pytest.mark.parametrize("which", ["some", "broken"])
def test_another_word_for_the_same_orientation_is_none(
    folder: Path, tmp_path: Path, which: str, kind: type[VideoSource]
) -> None:
    broken = b"\xff\xe1\0\x14Exif\0\0no TIFF here"
    given = {
        "some": lambda number: streams.exif(1) if number % 3 == 0 else b"",
        "broken": lambda number: broken if number == 5 else streams.exif(6),
    }[which]
    path = streams.with_segment(folder / "a.avi", tmp_path / "in.mov", given)
    clean = streams.with_segment(
        folder / "a.avi", tmp_path / "clean.mov", lambda _: streams.exif(6 if which == "broken" else 1)
    )
    assert_same(read(path, kind)[0], read(clean)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("display_orientation=insert:rotate=90", "changes its orientation"),
        ("display_orientation=insert:flip=horizontal", "changes its orientation"),
        ("video_full_range_flag=1", r"changes to 64 x 48, yuv420p (pc, unknown)"),
        ("matrix_coefficients=1", None),
        ("display_orientation=insert", None),
    ],
)
def test_what_a_stream_says_from_its_middle_on(folder: Path, tmp_path: Path, change: str, message: str | None) -> None:
    media.ffmpeg("-i", folder / "a.h264", "-c", "copy", "-bsf:v", f"h264_metadata={change}", tmp_path / "b.h264")
    path = streams.join(tmp_path / "in.h264", folder / "a.h264", tmp_path / "b.h264")
    clean = read(folder / "a.h264")[0]
    if message is None:
        assert_same(read(path)[0], clean * 2)
        return
    frames, found = read_until_damage(path)
    assert 12 < len(frames) <= 24
    assert_same(frames, clean[: len(frames)])
    assert message in found
    tolerant = read(path, TolerantVideoSource)[0]
    assert len(tolerant) == 48
    assert all(frame.damaged for frame in tolerant[24:])
    assert_same([frame for frame in tolerant[:24] if not frame.damaged][:12], clean[:12])
