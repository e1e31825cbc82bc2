"""Recordings that begin in the middle, that were cut without decoding, or that follow each other in one file."""

from fractions import Fraction
from pathlib import Path

import damaged_streams as streams
import media
import numpy as np
import pytest
from cut_off_runs import cut_off

from framencc import run
from framencc.config import make_spec
from framencc.errors import DamagedInputError
from framencc.ffmpeg.messages import FrameStamp
from framencc.frames import Frame
from framencc.sidecar import read_sidecar
from framencc.sources import SeekPoint, Selection, VideoSource
from framencc.sources.clock import FrameClock
from framencc.sources.packets import list_packets
from framencc.sources.probe import input_arguments
from framencc.sources.tolerant import TolerantVideoSource

STEP = 1001 / 30000
BOTH = pytest.mark.parametrize("kind", [VideoSource, TolerantVideoSource])
CODECS = {
    "h264": (*streams.H264, "-bf", "2", "-g", "12"),
    "open": (*streams.H264, "-bf", "2", "-g", "12", "-x264-params", "open-gop=1:scenecut=0"),
    "hevc": streams.HEVC,
    "mpeg2": streams.MPEG2,
    "mpeg4": ("-c:v", "mpeg4", "-bf", "0", "-g", "12"),
}


def read(path: Path, kind: type[VideoSource] = VideoSource) -> tuple[list[Frame], tuple[str, ...]]:
    with kind(str(path)) as source:
        return list(source.frames()), source.warnings


def read_until_damage(path: Path) -> tuple[list[Frame], str]:
    frames: list[Frame] = []
    with VideoSource(str(path)) as source, pytest.raises(DamagedInputError) as caught:
        frames.extend(source.frames())
    return frames, str(caught.value)


def pictures(frames: list[Frame]) -> np.ndarray:
    return np.stack([frame.data for frame in frames])


def assert_in_order(frames: list[Frame], step: float | None = STEP) -> None:
    assert [frame.index for frame in frames] == list(range(len(frames)))
    gaps = np.diff([frame.pts_seconds for frame in frames])
    assert (gaps > 0).all()
    if step is not None:
        np.testing.assert_allclose(gaps, step, atol=0.002)


# ---------------------------------------------------------------------------------------------------- beginnings


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make recordings that are whole."""
    folder = tmp_path_factory.mktemp("whole")
    for codec, ending in [("h264", "ts"), ("open", "ts"), ("hevc", "ts"), ("mpeg2", "ts"), ("mpeg2", "mpg")]:
        streams.clip(folder / f"{codec}.{ending}", *CODECS[codec], n_frames=40)
    streams.clip(folder / "h264.mkv", *CODECS["h264"], n_frames=40)
    streams.clip(folder / "h264.mp4", *CODECS["h264"], n_frames=40)
    streams.clip(folder / "mpeg4.avi", *CODECS["mpeg4"], n_frames=40)
    return folder


@pytest.mark.parametrize(
    "name",
    ["h264.ts", "open.ts", "hevc.ts", "mpeg2.ts", "mpeg2.mpg", "h264.mkv", "mpeg4.avi", "raw.h264", "raw.hevc"],
)
def test_a_recording_that_begins_in_the_middle_is_read_from_its_first_key_frame(
    whole: Path, tmp_path: Path, name: str
) -> None:
    stem, ending = name.split(".")
    source = whole / (f"{ending}.ts" if stem == "raw" else name)
    path = streams.without_packets(source, tmp_path / f"part.{source.suffix[1:]}", "lt(n,7)")
    if stem == "raw":
        media.ffmpeg("-v", "fatal", "-i", path, "-c", "copy", "-copyinkf", tmp_path / name)
        path = tmp_path / name
    full = pictures(read(source)[0])
    found = {}
    for kind in (VideoSource, TolerantVideoSource):
        frames, warnings = read(path, kind)
        assert_in_order(frames)
        assert all(frame.damaged is None for frame in frames)
        assert 26 <= len(frames) <= 28
        np.testing.assert_array_equal(pictures(frames), full[-len(frames) :])
        assert len(warnings) == 1
        assert "frames cannot be decoded, as no intact key frame comes before, and are left out" in warnings[0]
        assert warnings[0].endswith(f"it is read from {frames[0].pts_seconds:.3f} s on")
        found[kind] = [(frame.pts_seconds, frame.digest()) for frame in frames]
    assert found[VideoSource] == found[TolerantVideoSource]


@BOTH
def test_frames_before_a_key_frame_that_need_the_one_before_are_left_out(
    whole: Path, tmp_path: Path, kind: type[VideoSource]
) -> None:
    for codec in ("open", "hevc"):
        path = streams.without_packets(whole / f"{codec}.ts", tmp_path / f"{codec}.ts", "lt(n,12)")
        media.ffmpeg("-v", "fatal", "-i", whole / f"{codec}.ts", "-f", "null", "-")
        frames, warnings = read(path, kind)
        np.testing.assert_array_equal(pictures(frames), pictures(read(whole / f"{codec}.ts")[0])[-len(frames) :])
        assert len(frames) >= 16
        assert "no intact key frame" in warnings[0]


LATE_KEY_FRAMES = {
    "h264": ("-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "keyint=70:min-keyint=70:scenecut=0"),
    "hevc": (
        *("-c:v", "libx265", "-preset", "ultrafast"),
        *("-x265-params", "log-level=none:keyint=70:min-keyint=70:scenecut=0"),
    ),
}


@pytest.mark.parametrize("codec", list(LATE_KEY_FRAMES))
def test_a_first_key_frame_later_than_ffmpeg_looks_ahead(tmp_path: Path, codec: str) -> None:
    source = ("-f", "lavfi", "-i", "testsrc2=s=96x80:r=5:d=18")
    media.ffmpeg(*source, *LATE_KEY_FRAMES[codec], tmp_path / "whole.ts")
    path = streams.without_packets(tmp_path / "whole.ts", tmp_path / "part.ts", "lt(n,3)")
    whole, _ = read(tmp_path / "whole.ts")
    for kind in (VideoSource, TolerantVideoSource):
        frames, warnings = read(path, kind)
        assert len(frames) >= 15
        assert all(frame.damaged is None for frame in frames)
        np.testing.assert_array_equal(pictures(frames), pictures(whole)[-len(frames) :])
        assert "no intact key frame" in warnings[0]
    with VideoSource(str(path)) as video:
        assert video.info.details is not None
        assert (video.info.details["container"], video.info.details["codec"]) == ("mpegts", codec)


def test_a_single_key_frame_at_the_beginning_is_enough_to_know_it(tmp_path: Path) -> None:
    codec = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "1000", "-sc_threshold", "0")
    media.ffmpeg("-f", "lavfi", "-i", "color=s=32x32:r=25:d=20", *codec, tmp_path / "in.mp4")
    arguments = input_arguments(str(tmp_path / "in.mp4"))
    assert len(list_packets(arguments)) == 500
    assert len(list_packets(arguments, beginning=True)) <= 300
    late = input_arguments(str(streams.without_packets(tmp_path / "in.mp4", tmp_path / "late.mkv", "eq(n,0)")))
    assert len(list_packets(late, beginning=True)) == 499


@BOTH
def test_a_packet_that_is_lost_before_the_first_key_frame_does_not_matter(
    whole: Path, tmp_path: Path, kind: type[VideoSource]
) -> None:
    path = streams.without_packets(whole / "open.ts", tmp_path / "part.ts", "lt(n,3)")
    content = path.read_bytes()
    units = [content[place : place + 188] for place in range(0, len(content), 188)]
    # Of the video's units those that begin no frame; its frames are some units each.
    later = [k for k, unit in enumerate(units) if unit[1:3] == b"\x01\x00"]
    (tmp_path / "lost.ts").write_bytes(b"".join(units[: later[1]] + units[later[1] + 1 :]))
    frames, warnings = read(tmp_path / "lost.ts", kind)
    assert all(frame.damaged is None for frame in frames)
    assert len(frames) >= 26
    np.testing.assert_array_equal(pictures(frames), pictures(read(whole / "open.ts")[0])[-len(frames) :])
    assert "no intact key frame" in warnings[0]


def test_damage_behind_a_beginning_in_the_middle_is_still_damage(whole: Path, tmp_path: Path) -> None:
    part = streams.without_packets(whole / "h264.mkv", tmp_path / "part.mkv", "lt(n,7)")
    path = media.corrupt(part, tmp_path / "in.mkv", 0.7, 600)
    frames, _ = read_until_damage(path)
    assert 0 < len(frames) < 28
    np.testing.assert_array_equal(pictures(frames), pictures(read(whole / "h264.mkv")[0])[12 : 12 + len(frames)])


def test_a_run_over_it_warns_and_counts_from_its_first_frame(whole: Path, tmp_path: Path) -> None:
    path = streams.without_packets(whole / "h264.ts", tmp_path / "part.ts", "lt(n,7)")
    report = run(make_spec({"input": str(path), "output": str(tmp_path / "o.mkv"), "reference": 0}))
    assert report.n_frames == 28
    assert "no intact key frame" in report.warnings[0]
    assert read_sidecar(tmp_path / "o.mkv.json")["frames"][0]["mean_confidence"] == pytest.approx(1)


def test_it_is_found_again_by_a_frame_that_is_known(whole: Path, tmp_path: Path) -> None:
    path = streams.without_packets(whole / "h264.mkv", tmp_path / "part.mkv", "lt(n,7)")
    frames = read(path)[0]
    point = SeekPoint(15, frames[15].pts_seconds, frames[15].digest())
    with VideoSource(str(path), selection=Selection(16), points=[point]) as source:
        rest = [(frame.index, frame.pts_seconds, frame.digest()) for frame in source.frames()]
    assert rest == [(frame.index, frame.pts_seconds, frame.digest()) for frame in frames[16:]]


# ---------------------------------------------------------------------------------------------------- cuts


@BOTH
@pytest.mark.parametrize("ending", ["mkv", "mp4", "mov", "ts"])
@pytest.mark.parametrize("seconds", ["0.95", "0.81"])
def test_parts_that_were_cut_without_decoding_never_go_back_in_time(
    whole: Path, tmp_path: Path, ending: str, seconds: str, kind: type[VideoSource]
) -> None:
    path = tmp_path / f"part.{ending}"
    media.ffmpeg("-ss", seconds, "-i", whole / "h264.mp4", "-c", "copy", "-avoid_negative_ts", "disabled", path)
    frames, _ = read(path, kind)
    assert_in_order(frames)
    assert frames[0].pts_seconds >= 0
    full = pictures(read(whole / "h264.mp4")[0])
    assert len(frames) in (16, 40 - 25, 40 - 29)
    np.testing.assert_array_equal(pictures(frames), full[-len(frames) :])


@pytest.mark.parametrize("name", ["o.npy", "o.mkv", "o.mp4"])
def test_every_kind_of_output_takes_their_times(whole: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "part.mkv"
    media.ffmpeg("-ss", "0.95", "-i", whole / "h264.mp4", "-c", "copy", "-avoid_negative_ts", "disabled", path)
    # The frames before the cut have no times that can be read, and those behind it have.
    raw = media.ffmpeg("-i", path, "-c", "copy", "-f", "framecrc", "-").decode()
    assert "-9223372036854775808" in raw
    report = run(make_spec({"input": str(path), "output": str(tmp_path / name), "reference": 0}))
    assert report.n_frames == 16
    times = [row["pts_seconds"] for row in read_sidecar(f"{tmp_path / name}.json")["frames"]]
    np.testing.assert_allclose(np.diff(times), STEP, atol=0.002)


@BOTH
def test_a_stored_time_that_goes_back_for_a_moment_is_mended_and_named(tmp_path: Path, kind: type[VideoSource]) -> None:
    media.write_clip(
        tmp_path / "in.nut",
        media.random_frames(12),
        *("-bsf:v", "setts=pts=if(eq(N\\,5)\\,PTS-3\\,PTS):dts=if(eq(N\\,5)\\,PTS-3\\,PTS)"),
        codec=("-c:v", "rawvideo"),
    )
    frames, warnings = read(tmp_path / "in.nut", kind)
    assert_in_order(frames, None)
    if warnings:
        assert [frame.pts_seconds for frame in frames] == pytest.approx([k / 25 for k in range(12)])
        assert "stored times go back" in warnings[0]


def test_a_resumed_run_still_warns_of_times_that_went_back_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media.write_clip(tmp_path / "in.mkv", media.random_frames(40))
    seconds = FrameClock.seconds

    def seconds_with_jump(clock: FrameClock, stamp: FrameStamp) -> float:
        if stamp.pts_seconds == Fraction(5, 25):
            clock.jump = (Fraction(6, 25), Fraction(5, 25))
        return seconds(clock, stamp)

    monkeypatch.setattr(FrameClock, "seconds", seconds_with_jump)
    values = {"input": str(tmp_path / "in.mkv"), "output": str(tmp_path / "out.npy"), "reference": 0}
    cut_off(make_spec({**values, "segment_frames": 8}), monkeypatch, 34)
    report = run(make_spec({**values, "segment_frames": 8, "resume": True}))
    assert report.n_resumed == 32
    (warning,) = report.warnings
    assert "stored times go back" in warning


# ---------------------------------------------------------------------------------------------------- joined


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make takes to put behind each other."""
    folder = tmp_path_factory.mktemp("takes")
    for codec, ending in [("h264", "ts"), ("hevc", "ts"), ("mpeg2", "ts"), ("mpeg2", "mpg"), ("mpeg2", "m2v")]:
        options = CODECS[codec]
        streams.clip(folder / f"a_{codec}.{ending}", *options)
        streams.clip(folder / f"b_{codec}.{ending}", *options, begin=2)
    streams.clip(folder / "s_h264.ts", *CODECS["h264"], begin=2, size="96:64")
    streams.clip(folder / "s_mpeg2.mpg", *CODECS["mpeg2"], begin=2, size="96:64")
    streams.clip(folder / "late_h264.ts", *CODECS["h264"], "-output_ts_offset", 500, begin=2)
    return folder


def assert_takes(path: Path, *parts: Path, n_damaged: int) -> None:
    """Check that all rows are there, in order, and that those not marked are right."""
    frames, warnings = read(path, TolerantVideoSource)
    whole = np.concatenate([pictures(read(part)[0]) for part in parts])
    assert len(frames) == len(whole)
    assert_in_order(frames, None)
    for frame, picture in zip(frames, whole, strict=True):
        if frame.damaged is None:
            np.testing.assert_array_equal(frame.data, picture)
    assert sum(frame.damaged is not None for frame in frames) <= n_damaged
    assert f"holds {len(parts)} recordings" in warnings[-1]


@pytest.mark.parametrize("codec", ["h264.ts", "hevc.ts", "mpeg2.ts", "mpeg2.mpg"])
def test_another_recording_in_the_same_file_ends_the_first(takes: Path, tmp_path: Path, codec: str) -> None:
    ending = codec.split(".")[1]
    first, second = takes / f"a_{codec}", takes / f"b_{codec}"
    path = streams.join(tmp_path / f"in.{ending}", first, second)
    frames, message = read_until_damage(path)
    assert 26 <= len(frames) <= 30
    np.testing.assert_array_equal(pictures(frames), pictures(read(first)[0])[: len(frames)])
    assert "another recording follows in the same file, and the clock goes from" in message
    assert "concat demuxer" in message
    assert_takes(path, first, second, n_damaged=4)


def test_three_recordings_whose_clocks_go_back(takes: Path, tmp_path: Path) -> None:
    parts = [takes / name for name in ("late_h264.ts", "a_h264.ts", "b_h264.ts")]
    assert_takes(streams.join(tmp_path / "in.ts", *parts), *parts, n_damaged=12)


@pytest.mark.parametrize(("first", "second"), [("a_h264.ts", "s_h264.ts"), ("a_mpeg2.mpg", "s_mpeg2.mpg")])
def test_a_recording_of_another_size_is_damaged_as_a_whole(
    takes: Path, tmp_path: Path, first: str, second: str
) -> None:
    path = streams.join(tmp_path / f"in{Path(first).suffix}", takes / first, takes / second, takes / first)
    frames, _ = read_until_damage(path)
    clean = pictures(read(takes / first)[0])
    assert 26 <= len(frames) <= 30
    np.testing.assert_array_equal(pictures(frames), clean[: len(frames)])
    tolerant = read(path, TolerantVideoSource)[0]
    assert_in_order(tolerant, None)
    assert len(tolerant) == 90
    assert all("changes to 96 x 64" in str(frame.damaged) for frame in tolerant[30:60])
    for frame in (*tolerant[:30], *tolerant[60:]):
        if frame.damaged is None:
            np.testing.assert_array_equal(frame.data, clean[frame.index % 30])
    assert sum(frame.damaged is None for frame in tolerant) >= 52


def test_a_later_recording_that_begins_in_the_middle(takes: Path, tmp_path: Path) -> None:
    middle = streams.without_packets(takes / "b_h264.ts", tmp_path / "middle.ts", "lt(n,5)")
    media.ffmpeg("-v", "fatal", "-i", middle, "-c", "copy", "-copyinkf", tmp_path / "second.ts")
    path = streams.join(tmp_path / "in.ts", takes / "a_h264.ts", tmp_path / "second.ts")
    frames, warnings = read(path, TolerantVideoSource)
    assert_in_order(frames)
    assert any("7 frames before the first key frame of a later recording" in warning for warning in warnings)
    expected = [*read(takes / "a_h264.ts")[0], *read(takes / "b_h264.ts")[0][-18:]]
    assert len(frames) == len(expected)
    for frame, other in zip(frames, expected, strict=True):
        if frame.damaged is None:
            np.testing.assert_array_equal(frame.data, other.data)
    assert sum(frame.damaged is None for frame in frames) >= 44


def test_a_recording_that_was_cut_keeps_the_next_one_whole(takes: Path, tmp_path: Path) -> None:
    content = (takes / "a_h264.ts").read_bytes()
    (tmp_path / "cut.ts").write_bytes(content[: len(content) * 8 // 10 // 188 * 188])
    path = streams.join(tmp_path / "in.ts", tmp_path / "cut.ts", takes / "b_h264.ts")
    frames, warnings = read(path, TolerantVideoSource)
    assert_in_order(frames)
    assert "holds 2 recordings" in warnings[-1]
    np.testing.assert_array_equal(pictures(frames[-30:]), pictures(read(takes / "b_h264.ts")[0]))
    assert all(frame.damaged is None for frame in frames[-30:])
    first = read(takes / "a_h264.ts")[0]
    for frame in frames[:-30]:
        if frame.damaged is None:
            np.testing.assert_array_equal(frame.data, first[frame.index].data)


def test_raw_streams_just_go_on(takes: Path, tmp_path: Path) -> None:
    path = streams.join(tmp_path / "in.m2v", takes / "a_mpeg2.m2v", takes / "b_mpeg2.m2v")
    frames, warnings = read(path)
    assert len(frames) == 60
    assert warnings == ()


def test_a_run_keeps_the_first_recording_and_says_what_follows(takes: Path, tmp_path: Path) -> None:
    path = streams.join(tmp_path / "in.ts", takes / "a_hevc.ts", takes / "b_hevc.ts")
    spec = {"input": str(path), "output": str(tmp_path / "o.npy"), "reference": 0}
    with pytest.raises(DamagedInputError, match="another recording follows"):
        run(make_spec(spec))
    assert 26 <= len(np.load(tmp_path / "o.partial.npy")) <= 30
    report = run(make_spec(spec | {"output": str(tmp_path / "t.npy"), "tolerant": True}))
    assert len(np.load(tmp_path / "t.npy")) == 60
    assert "holds 2 recordings" in report.warnings[-1]


def test_a_selection_of_the_first_recording_is_read_as_if_there_were_no_other(takes: Path, tmp_path: Path) -> None:
    path = streams.join(tmp_path / "in.ts", takes / "a_hevc.ts", takes / "b_hevc.ts")
    with VideoSource(str(path), selection=Selection(0, 20)) as source:
        assert len(list(source.frames())) == 20


def test_times_of_recordings_go_on_by_one_frame(takes: Path, tmp_path: Path) -> None:
    path = streams.join(tmp_path / "in.ts", takes / "a_h264.ts", takes / "b_h264.ts")
    frames = read(path, TolerantVideoSource)[0]
    between = Fraction(frames[30].pts_seconds) - Fraction(frames[29].pts_seconds)
    assert float(between) == pytest.approx(STEP, abs=1e-6)
