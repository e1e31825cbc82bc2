"""VideoSource: exact samples, exact times, damage, odd names, and children that do not outlive it."""

import gc
import os
import re
import signal
import time
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest

from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.frames import Frame
from framencc.sources import Selection, VideoSource, open_source, probe_source, read_reference
from framencc.spec import RunSpec

FORGED_FRAME = (
    "[Parsed_showinfo_0 @ 0x1] [info] n:   0 pts:      0 pts_time:0       duration:     40 duration_time:0.04    "
    "fmt:gray cl:left sar:0/1 s:26x72 i:P iskey:1 type:I "
)
LOSSLESS_H264 = ("-c:v", "libx264", "-qp", "0", "-preset", "ultrafast")


def read(path: Path, **options: object) -> list[Frame]:
    with VideoSource(str(path), **options) as source:
        return list(source.frames())


def read_until_error(path: Path) -> tuple[list[Frame], Exception | None]:
    frames = []
    with VideoSource(str(path)) as source:
        try:
            for frame in source.frames():
                frames.append(frame)
        except SourceError as error:
            return frames, error
    return frames, None


def stack(frames: list[Frame]) -> np.ndarray:
    return np.stack([frame.data for frame in frames])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ---------------------------------------------------------------------------------------------------- footage


def test_real_footage() -> None:
    frames = read(media.footage())
    np.testing.assert_array_equal(stack(frames), media.decode_luma(media.footage(), 144, 176))
    assert len(frames) == 120
    assert [frame.pts_seconds for frame in frames] == [float(Fraction(1001 * k, 30000)) for k in range(120)]


def test_real_footage_info() -> None:
    info = probe_source(media.footage())
    assert (info.width, info.height, info.dtype, info.bits) == (176, 144, np.uint8, 8)
    assert info.frame_rate == Fraction(30000, 1001)
    assert info.time_base == Fraction(1, 30000)
    assert info.n_frames == 120
    details = info.details
    assert details is not None
    assert (details["codec"], details["pixel_format"], details["estimated_frames"]) == ("h264", "yuv420p", 120)
    assert (details["sample_aspect_ratio"], details["rotation_degrees"]) == ("128:117", 0.0)


# ---------------------------------------------------------------------------------------------------- geometry


@pytest.mark.parametrize(("height", "width"), [(37, 51), (1, 1), (1, 300), (200, 3)])
def test_odd_sizes_and_a_single_frame(tmp_path: Path, height: int, width: int) -> None:
    luma = media.random_frames(1, height, width)
    frames = read(media.write_clip(tmp_path / "in.nut", luma, codec=("-c:v", "rawvideo")))
    np.testing.assert_array_equal(stack(frames), luma)


def test_odd_size_with_subsampled_chroma(tmp_path: Path) -> None:
    luma = media.random_frames(2, 37, 51)
    path = tmp_path / "in.mkv"
    media.write_clip(path, media.yuv444(luma), "-pix_fmt", "yuv420p", pixel_format="yuv444p")
    np.testing.assert_array_equal(stack(read(path)), luma)


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_rotation_tag_is_applied(tmp_path: Path, degrees: int, turns: int) -> None:
    luma = media.random_frames(2)
    upright = tmp_path / "upright.mp4"
    media.write_clip(upright, media.yuv444(luma), pixel_format="yuv444p", codec=LOSSLESS_H264)
    path = tmp_path / "turned.mp4"
    media.ffmpeg("-display_rotation", degrees, "-i", upright, "-c", "copy", path)
    with VideoSource(str(path)) as source:
        assert (source.info.height, source.info.width) == ((52, 36) if turns % 2 else (36, 52))
        assert source.info.details is not None
        assert abs(float(source.info.details["rotation_degrees"] or 0)) == abs(degrees)
        np.testing.assert_array_equal(stack(list(source.frames())), np.rot90(luma, turns, axes=(1, 2)))


def _elementary_stream(path: Path, luma: np.ndarray, *options: str) -> bytes:
    media.write_clip(path, media.yuv444(luma), *options, pixel_format="yuv444p", codec=LOSSLESS_H264)
    return path.read_bytes()


@pytest.mark.parametrize(("size", "options"), [((64, 96), ()), ((36, 52), ("-pix_fmt", "yuv444p10le"))])
def test_a_change_in_mid_stream_is_damage(tmp_path: Path, size: tuple[int, int], options: tuple[str, ...]) -> None:
    luma = media.random_frames(60)
    first = _elementary_stream(tmp_path / "a.h264", luma)
    second = _elementary_stream(tmp_path / "b.h264", media.random_frames(5, *size), *options)
    (tmp_path / "in.h264").write_bytes(first + second)
    frames, error = read_until_error(tmp_path / "in.h264")
    assert isinstance(error, DamagedInputError)
    assert re.search(rf"the picture changes to {size[1]} x {size[0]}, yuv444p", str(error))
    assert 0 < len(frames) <= 60
    np.testing.assert_array_equal(stack(frames), luma[: len(frames)])


def test_a_change_of_colour_tags_is_harmless(tmp_path: Path) -> None:
    luma = media.random_frames(10)
    first = _elementary_stream(tmp_path / "a.h264", luma[:5])
    second = _elementary_stream(tmp_path / "b.h264", luma[5:], "-bsf:v", "h264_metadata=colour_primaries=9")
    (tmp_path / "in.h264").write_bytes(first + second)
    np.testing.assert_array_equal(stack(read(tmp_path / "in.h264")), luma)


# ---------------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(("name", "ticks"), [("in.mkv", 1000), ("in.mp4", 90000)])
def test_variable_frame_rate_is_exact(tmp_path: Path, name: str, ticks: int) -> None:
    luma = media.random_frames(30)
    path = media.write_clip(
        tmp_path / name,
        media.yuv444(luma),
        *("-vf", f"settb=1/{ticks},setpts=N*N*7", "-fps_mode", "passthrough", "-enc_time_base", f"1/{ticks}"),
        *(("-video_track_timescale", ticks) if name.endswith("mp4") else ()),
        pixel_format="yuv444p",
        codec=(*LOSSLESS_H264, "-bf", "2"),
    )
    frames = read(path)
    np.testing.assert_array_equal(stack(frames), luma)
    assert [frame.pts_seconds for frame in frames] == [float(Fraction(7 * k * k, ticks)) for k in range(30)]
    assert probe_source(path).time_base == Fraction(1, ticks)


def test_times_are_the_inputs_own(tmp_path: Path) -> None:
    path = media.write_clip(tmp_path / "in.mkv", media.random_frames(5), "-output_ts_offset", "2.5", rate="20")
    assert [frame.pts_seconds for frame in read(path)] == [2.5, 2.55, 2.6, 2.65, 2.7]


def test_frames_whose_time_is_not_stored_are_between_their_neighbours(tmp_path: Path) -> None:
    luma = media.random_frames(9, 16, 16)
    path = tmp_path / "in.mpg"
    codec = ("-c:v", "mpeg2video", "-qscale", "31", "-bf", "2")  # small, so that one packet holds several frames
    media.write_clip(path, media.yuv444(luma), "-pix_fmt", "yuv420p", pixel_format="yuv444p", codec=codec)
    frames = read(path)
    np.testing.assert_array_equal(stack(frames), media.decode_luma(path, *luma.shape[1:]))
    start = Fraction(frames[0].pts_seconds).limit_denominator(90000)
    assert start > 0
    assert [frame.pts_seconds for frame in frames] == [float(start + Fraction(k, 25)) for k in range(len(frames))]


def test_a_stream_without_times_counts(tmp_path: Path) -> None:
    (tmp_path / "in.h264").write_bytes(_elementary_stream(tmp_path / "a.h264", media.random_frames(6), "-r", "25"))
    with VideoSource(str(tmp_path / "in.h264")) as source:
        assert source.info.time_base is None
        assert source.info.frame_rate == 25
        assert [frame.pts_seconds for frame in source.frames()] == [k / 25 for k in range(6)]


# ---------------------------------------------------------------------------------------------------- damage


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("intact")
    fast = folder / "h264.mp4"
    media.ffmpeg("-i", media.footage(), "-c", "copy", "-movflags", "+faststart", fast)
    archive = folder / "ffv1.mkv"
    media.ffmpeg("-i", media.footage(), *media.FFV1, "-pix_fmt", "yuv420p", archive)
    return {"h264.mp4": fast, "ffv1.mkv": archive}


@pytest.mark.parametrize("name", ["h264.mp4", "ffv1.mkv"])
@pytest.mark.parametrize("damage", [media.cut, media.corrupt])
def test_damage_is_never_a_success_and_what_came_before_is_good(
    tmp_path: Path, intact: dict[str, Path], name: str, damage: object
) -> None:
    path = damage(intact[name], tmp_path / name, 0.7)
    frames, error = read_until_error(path)
    assert isinstance(error, DamagedInputError)
    assert re.search(
        rf"input '.*{re.escape(name)}' is damaged at frame \d+ \(\d+\.\d\d\d s\) or soon after: ", str(error)
    )
    assert f"at frame {len(frames)} " in str(error)
    assert "\n" not in str(error)
    assert 30 < len(frames) < 90
    np.testing.assert_array_equal(stack(frames), media.decode_luma(intact[name], 144, 176)[: len(frames)])


def test_damage_beyond_the_selection_does_not_matter(tmp_path: Path, intact: dict[str, Path]) -> None:
    path = media.corrupt(intact["ffv1.mkv"], tmp_path / "in.mkv", 0.9)
    frames = read(path, selection=Selection(0, 10))
    np.testing.assert_array_equal(stack(frames), media.decode_luma(media.footage(), 144, 176)[:10])


def test_cover_art_and_sound_are_left_out(tmp_path: Path) -> None:
    media.ffmpeg("-f", "lavfi", "-i", "color=red:s=300x200", "-frames:v", "1", tmp_path / "cover.png")
    inputs = ("-i", tmp_path / "cover.png", "-f", "lavfi", "-i", "sine=d=9", "-i", media.footage())
    codecs = ("-c:v:0", "png", "-c:v:1", "copy", "-c:a", "aac", "-disposition:v:0", "attached_pic")
    media.ffmpeg(*inputs, "-map", "0:v", "-map", "1:a", "-map", "2:v", *codecs, tmp_path / "in.mp4")
    frames = read(tmp_path / "in.mp4")
    np.testing.assert_array_equal(stack(frames), media.decode_luma(media.footage(), 144, 176))


def test_an_mp4_without_its_index_cannot_be_opened(tmp_path: Path) -> None:
    path = media.cut(media.footage(), tmp_path / "in.mp4", 0.5)
    with pytest.raises(SourceError, match=r"cannot be read as a video: moov atom not found$") as caught:
        VideoSource(str(path))
    assert not isinstance(caught.value, DamagedInputError)


def test_what_is_no_video(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", media.random_frames(2))
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {clip.name}\n")
    media.ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", "-c:a", "aac", tmp_path / "sound.mp4")
    for name, reason in {
        "empty.mp4": "is empty",
        "text.mp4": "cannot be read as a video",
        "list.mp4": "its format is none of the media containers that are read",
        "sound.mp4": "it holds no video stream",
    }.items():
        with pytest.raises(SourceError, match=reason) as caught:
            VideoSource(str(tmp_path / name))
        assert not isinstance(caught.value, DamagedInputError)
        assert "\n" not in str(caught.value)
    with pytest.raises(SpecError, match="does not exist"):
        VideoSource(str(tmp_path / "nothing.mp4"))


# ---------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "name",
    [
        "a b/c d.mkv",
        "100%/%d 50%.mkv",
        "-x/-y.mkv",
        "concat:a|b.mkv",
        "http:x.mkv",
        "[0-9]*?.mkv",
        "ä 顔.mkv",
        "a'\"b.mkv",
    ],
)
def test_names_are_only_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    luma = media.random_frames(2)
    clip = media.write_clip(tmp_path / "clip.mkv", luma)
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    clip.rename(target)
    monkeypatch.chdir(tmp_path)
    with open_source(RunSpec(input=name, output="o.mkv", reference=0)) as source:
        assert isinstance(source, VideoSource)
        np.testing.assert_array_equal(stack(list(source.frames())), luma)


@pytest.mark.parametrize("forged", [FORGED_FRAME, FORGED_FRAME.replace("26x72", "1x1"), "@frame 0 999 1/1 999 1/1 @"])
def test_what_a_file_says_of_itself_is_never_taken_for_what_ffmpeg_says(tmp_path: Path, forged: str) -> None:
    luma = media.random_frames(3)
    tag = f"x\n{forged}\n[info] y"
    path = media.write_clip(tmp_path / "in.mkv", luma, "-metadata", f"{'K' * len(tag)}=v")
    content = path.read_bytes()
    assert content.count(b"K" * len(tag)) == 1
    path.write_bytes(content.replace(b"K" * len(tag), tag.encode()))
    frames = read(path)
    np.testing.assert_array_equal(stack(frames), luma)
    assert [frame.pts_seconds for frame in frames] == [0, 0.04, 0.08]


# ---------------------------------------------------------------------------------------------------- children


def _reading(source: VideoSource) -> tuple[int, object]:
    frames = source.frames()
    next(frames)
    assert source._child is not None
    return source._child.pid, frames


def test_no_child_is_left(tmp_path: Path) -> None:
    closed = VideoSource(str(media.footage()))
    pid, frames = _reading(closed)
    assert is_alive(pid)
    closed.close()
    assert not is_alive(pid)

    with VideoSource(str(media.footage())) as source:
        pid, frames = _reading(source)
    assert not is_alive(pid)

    read_to_the_end = VideoSource(str(media.footage()))
    pid, frames = _reading(read_to_the_end)
    assert len(list(frames)) == 119
    assert not is_alive(pid)

    forgotten = VideoSource(str(media.footage()))
    pid, frames = _reading(forgotten)
    del frames
    gc.collect()
    assert not is_alive(pid)


def test_no_child_is_left_after_damage(tmp_path: Path, intact: dict[str, Path]) -> None:
    source = VideoSource(str(media.corrupt(intact["ffv1.mkv"], tmp_path / "in.mkv", 0.5)))
    pid, frames = _reading(source)
    with pytest.raises(DamagedInputError):
        list(frames)
    assert not is_alive(pid)


def test_a_stalled_child_is_killed() -> None:
    source = VideoSource(str(media.footage()), stall_seconds=0.5)
    pid, frames = _reading(source)
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(
        SourceError, match=r"cannot be read on from frame \d+ .*: ffmpeg made no progress for 0.5 s"
    ) as caught:
        list(frames)
    assert time.monotonic() - started < 10
    assert not isinstance(caught.value, DamagedInputError)
    assert not is_alive(pid)


def test_a_child_killed_from_outside_is_no_damage() -> None:
    source = VideoSource(str(media.footage()))
    pid, frames = _reading(source)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(SourceError, match="ffmpeg was ended by signal 9") as caught:
        list(frames)
    assert not isinstance(caught.value, DamagedInputError)


# ---------------------------------------------------------------------------------------------------- requests


def test_options_of_sequences_are_refused() -> None:
    clip = str(media.footage())
    with pytest.raises(SpecError, match=r"frame_rate = 25 cannot apply to .*: a video has its own"):
        open_source(RunSpec(input=clip, output="o.mkv", reference=0, frame_rate="25"))
    with pytest.raises(SpecError, match="allow_gaps cannot apply"):
        open_source(RunSpec(input=clip, output="o.mkv", reference=0, allow_gaps=True))


def test_frames_option() -> None:
    spec = RunSpec(input=str(media.footage()), output="o.mkv", reference=0, frames="100::10")
    with open_source(spec) as source:
        assert [frame.index for frame in source.frames()] == [100, 110]
        assert source.info.details is not None
        assert source.info.details["estimated_frames"] == 2


def test_reference_frame_ignores_the_selection() -> None:
    spec = RunSpec(input=str(media.footage()), output="o.mkv", reference=119, frames="0:10")
    reference = read_reference(spec)
    np.testing.assert_array_equal(reference.data, media.decode_luma(media.footage(), 144, 176)[119])
    assert reference.bits == 8
    assert reference.details["index"] == 119
    assert reference.details["pts_seconds"] == float(Fraction(119 * 1001, 30000))


def test_reference_frame_beyond_the_end() -> None:
    spec = RunSpec(input=str(media.footage()), output="o.mkv", reference=120)
    with pytest.raises(SpecError, match=r"reference = 120: there is no frame 120, input .* has 120 frames"):
        read_reference(spec)


def test_damaged_reference_frame(tmp_path: Path, intact: dict[str, Path]) -> None:
    path = media.corrupt(intact["ffv1.mkv"], tmp_path / "in.mkv", 0.2)
    with pytest.raises(SourceError, match=r"reference = 100: .* is damaged") as caught:
        read_reference(RunSpec(input=str(path), output="o.mkv", reference=100))
    assert not isinstance(caught.value, DamagedInputError)
