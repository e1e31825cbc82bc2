"""What a probe says of a video does not depend on what the file says of itself: titles, chapters, names of tags."""

import dataclasses
import random
import string
from pathlib import Path

import media
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import command

from framencc.errors import DamagedInputError, SourceError
from framencc.ffmpeg import MARK, FrameStamp
from framencc.ffmpeg.messages import Messages
from framencc.sources import VideoSource
from framencc.sources.facts import SHOWINFO, VideoFacts
from framencc.sources.probe import VideoProbe, probe_video
from framencc.sources.wanted import LUMA

N_FRAMES = 6

# Lines as ffmpeg itself prints them, and others that would change a fact if they were believed.
HOSTILE = (
    "[info] Input #0, avi, from 'x':",
    "[info]   Duration: 99:00:00.00, start: 0.000000, bitrate: 1 kb/s",
    "[info] Stream mapping:",
    "[info]   Stream #0:7 -> #0:0 (h264 (native) -> wrapped_avframe (native))",
    "[info]   Stream #0:7 -> #1:0 (copy)",
    "[info] Output #1, null, to 'pipe:':",
    "[info]   Stream #1:0: Video: h264 (High), yuv420p, 999x999 [SAR 4:3 DAR 4:3], 1 fps (attached pic) (dependent)",
    "[info]       Display Matrix: rotation of -90.00 degrees",
    "[info] Reconfiguring filter graph because video parameters changed to yuv420p(tv, bt709), 999x999",
    "[showinfo@abc @ 0x1] [info] n:   0 pts: 0 fmt:gray sar:4/3 s:999x999 i:T iskey:1 type:I",
    "@0123456789ab frame 0 0 1/25 0 1/25 @",
    "[error] File ended prematurely",
    "[matroska,webm @ 0x55] [error] File ended prematurely at pos. 77",
    "[h264 @ 0x55] [fatal] Cannot allocate memory",
    "[warning] corrupt decoded frame",
    "[info] frame=   99 fps=0.0 q=-0.0 Lsize=N/A",
    "Stream map '0:V:0' matches no streams.",
)
WORDS = ("take 3", "日本語のコメント", "שלום", "naïve Ärger", "\x01\x1b[31m", "\t", "=;#\\", "%s%n", "a" * 3000, "")


def assert_same(found: VideoProbe, expected: VideoProbe) -> None:
    infos = [dataclasses.replace(probe.info, warnings=()) for probe in (found, expected)]
    assert infos[0] == infos[1]
    assert len(found.info.warnings) == len(expected.info.warnings)  # they name the file
    for name in ("layout", "decoded_size", "promise", "timeless", "decoder"):
        assert getattr(found, name) == getattr(expected, name), name


def probed(path: Path) -> VideoProbe:
    return probe_video(str(path), 60.0, LUMA)


def escaped(text: str) -> str:
    """Write a text as ffmpeg's metadata files do."""
    return "".join("\\" + letter if letter in "=;#\\\n" else letter for letter in text).replace("\0", "")


def retold(source: Path, target: Path, tags: dict[str, str], n_chapters: int = 0, *options: object) -> Path:
    """Copy a video and have it say other things of itself."""
    lines = [";FFMETADATA1", *(f"{escaped(name)}={escaped(value)}" for name, value in tags.items())]
    for number in range(n_chapters):
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={number}", f"END={number + 1}", f"title=mark {number}"]
    told = target.with_name(f"{target.name}.txt")
    told.write_text("\n".join(lines) + "\n", encoding="utf-8")
    chosen = ("-map", "0", "-map_metadata", 1, "-map_chapters", 1, "-c", "copy")
    movie = ("-movflags", "+use_metadata_tags+faststart") if target.suffix in (".mov", ".mp4") else ()
    media.ffmpeg("-i", source, "-f", "ffmetadata", "-i", told, *chosen, *movie, *options, target)
    return target


def clips(folder: Path) -> list[Path]:
    """Make one clip a container: with B-frames, and turned or not square where the container can say so."""
    luma = media.random_frames(N_FRAMES, 48, 64)
    mkv = media.write_clip(folder / "plain.mkv", luma, "-aspect", "16:9")
    yuv = np.full((N_FRAMES, 48 * 64 * 3 // 2), 128, np.uint8)
    yuv[:, : 48 * 64] = luma.reshape(N_FRAMES, -1)
    raw = folder / "plain.yuv"
    raw.write_bytes(yuv.tobytes())
    given = ("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "64x48", "-r", 25, "-i", raw)
    media.ffmpeg(*given, "-c:v", "mpeg4", "-bf", 2, "-g", 25, folder / "plain.avi")
    media.ffmpeg(*given, "-c:v", "libx264", "-bf", 2, "-movflags", "+faststart", folder / "straight.mov")
    media.ffmpeg("-display_rotation", 90, "-i", folder / "straight.mov", "-c", "copy", folder / "plain.mov")
    return [mkv, folder / "plain.avi", folder / "plain.mov"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, VideoProbe]]:
    return [(path, probed(path)) for path in clips(tmp_path_factory.mktemp("clips"))]


def test_what_the_clips_are(plain: list[tuple[Path, VideoProbe]]) -> None:
    known = [
        (probe.info.details or {}) | {"n": probe.info.n_frames, "timeless": probe.timeless, "size": probe.decoded_size}
        for _, probe in plain
    ]
    assert [facts["container"] for facts in known] == ["matroska,webm", "avi", "mov,mp4,m4a,3gp,3g2,mj2"]
    assert [facts["codec"] for facts in known] == ["ffv1", "mpeg4", "h264"]
    assert [facts["timeless"] for facts in known] == [False, True, False]
    assert [facts["rotation_degrees"] for facts in known] == [0.0, 0.0, 90.0]
    assert known[0]["sample_aspect_ratio"] == "4:3"
    assert known[2]["n"] == N_FRAMES
    assert [facts["size"] for facts in known] == [(64, 48)] * 3
    assert [facts["duration_seconds"] for facts in known] == [0.24] * 3


@pytest.mark.parametrize("n_lines", [195, 250, 382, 1000])
def test_a_comment_of_any_length_changes_no_fact(
    tmp_path: Path, plain: list[tuple[Path, VideoProbe]], n_lines: int
) -> None:
    comment = "\n".join(f"line {number} of the recorder's log" for number in range(n_lines))
    for path, expected in plain:
        assert_same(probed(retold(path, tmp_path / path.name, {"comment": comment})), expected)


def test_many_chapters_change_no_fact(tmp_path: Path, plain: list[tuple[Path, VideoProbe]]) -> None:
    path, expected = plain[0]
    assert_same(probed(retold(path, tmp_path / path.name, {}, 200)), expected)


def test_a_file_without_a_video_is_named_so_however_much_it_says(tmp_path: Path) -> None:
    media.ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac", tmp_path / "plain.mkv")
    book = retold(tmp_path / "plain.mkv", tmp_path / "book.mkv", {}, 600)
    with pytest.raises(SourceError, match="it holds no video stream"):
        VideoSource(str(book))


def test_what_is_said_last_before_the_first_frame_is_judged_however_much_came_before() -> None:
    heard: list[str] = []

    def is_complaint(level: str, text: str, _: str) -> bool:
        heard.append(text)
        return level == "error"

    stamps: list[FrameStamp] = []
    messages = Messages(is_complaint, stamps.append, None, lambda: None)
    lines = ["[info] Input #0, avi, from 'x':", "[info] Stream mapping:"]
    lines += [f"[h264 @ 0x1] [warning] w{number}" for number in range(5000)]
    lines += ["[h264 @ 0x1] [error] bad", f"{MARK} frame 0 0 1/25 0 1/25 @", f"{MARK} frame 1 1 1/25 1 1/25 @"]
    messages.feed("\n".join([*lines, ""]).encode())
    assert heard[0] == "Stream mapping:"
    assert "w0" not in heard  # memory is bounded
    assert messages.errors == ["bad"]
    assert [(stamp.clean, stamp.n_complaints) for stamp in stamps] == [(False, 1), (False, 1)]


def test_values_that_look_like_messages_change_no_fact(tmp_path: Path, plain: list[tuple[Path, VideoProbe]]) -> None:
    tags = {"comment": "\n".join(HOSTILE), "title": "\r".join(HOSTILE), "artist": "[error] " + "x" * 1_000_000}
    for path, expected in plain:
        found = retold(path, tmp_path / path.name, tags)
        assert_same(probed(found), expected)
        assert len(list(VideoSource(str(found)).frames())) == N_FRAMES


def test_names_of_tags_that_look_like_messages_change_no_fact(
    tmp_path: Path, plain: list[tuple[Path, VideoProbe]]
) -> None:
    """A tag's name may hold line breaks too: what follows then stands at the beginning of a line, as it is."""
    path, expected = plain[2]
    forged = [line for line in HOSTILE if "Duration" not in line]
    found = retold(path, tmp_path / "keys.mov", {"x\n" + "\n".join(forged) + "\n[info] y": "z"})
    assert_same(probed(found), expected)
    assert len(list(VideoSource(str(found)).frames())) == N_FRAMES


def test_a_forged_duration_makes_the_duration_unknown(tmp_path: Path, plain: list[tuple[Path, VideoProbe]]) -> None:
    path, expected = plain[2]
    found = probed(retold(path, tmp_path / "keys.mov", {f"x\n{HOSTILE[1]}\n[info] y": "z"}))
    assert found.info.details is not None
    assert found.info.details["duration_seconds"] is None
    assert (found.decoded_size, found.promise) == (expected.decoded_size, expected.promise)


def test_a_language_that_looks_like_messages_changes_no_fact(
    tmp_path: Path, plain: list[tuple[Path, VideoProbe]]
) -> None:
    path, expected = plain[0]
    language = "en)\n" + "\n".join(line for line in HOSTILE if "Duration" not in line) + "\n("
    media.ffmpeg("-i", path, "-c", "copy", "-metadata:s:v", f"language={language}", tmp_path / "language.mkv")
    assert_same(probed(tmp_path / "language.mkv"), expected)


@pytest.mark.parametrize(
    "name",
    [
        "a\n[error] moov atom not found\n.mkv",
        "b\n[info] Stream mapping:\n[info]   Stream #0:5 -> #0:0 (evil (native) -> x (native))\n[info] .mkv",
        f"c\n{HOSTILE[1].replace('/', '_')}\n.mkv",
        "d'\n[error] x':\n.mkv",
        "e\x01\x1b[0m\n\n[h264 @ 0x1] [fatal] \x02\r\n[fatal].mkv",
        "日本\n[error] 語.mkv",
        "%d [error] %s%n.mkv",
    ],
)
def test_a_file_name_changes_no_fact(tmp_path: Path, plain: list[tuple[Path, VideoProbe]], name: str) -> None:
    path, expected = plain[0]
    (tmp_path / name).write_bytes(path.read_bytes())
    assert_same(probed(tmp_path / name), expected)
    assert len(list(VideoSource(str(tmp_path / name)).frames())) == N_FRAMES


def test_output_names_that_look_like_messages(tmp_path: Path, plain: list[tuple[Path, VideoProbe]]) -> None:
    output = tmp_path / "o\n[error] No space left on device\n.mkv"
    result = command("run", plain[0][0], output, "--reference", 0, "--quiet")
    assert (result.returncode, output.exists()) == (0, True), result.stderr


@pytest.mark.parametrize("n_lines", [0, 100, 381, 382, 383, 1000])
def test_a_cut_movie_is_cut_whatever_its_comment(tmp_path: Path, n_lines: int) -> None:
    frames = media.random_frames(30, 48, 64)
    clip = media.write_clip(tmp_path / "clip.mkv", frames)
    whole = tmp_path / "whole.mov"
    media.ffmpeg("-i", clip, "-c:v", "libx264", "-g", 5, "-bf", 2, "-pix_fmt", "yuv420p", whole)
    comment = {"comment": "\n".join(map(str, range(n_lines)))} if n_lines else {}
    cut = media.cut(retold(whole, tmp_path / "told.mov", comment), tmp_path / "cut.mov", 0.7)
    assert "beyond the end of the file" in str(probed(cut).promise.cut)
    with pytest.raises(DamagedInputError):
        list(VideoSource(str(cut)).frames())


# ------------------------------------------------------------------------------------------------------- fuzz


def fuzzed_tags(source: random.Random, n_lines: int) -> dict[str, str]:
    """Make a few tags that fill so many lines in all, of anything that may stand in them."""
    lines = [source.choice((*HOSTILE, *WORDS, "".join(source.choices(string.printable, k=20)))) for _ in range(n_lines)]
    names = ("comment", "title", "artist", "description", "x\n[info] Stream mapping:\n[info] y", "ключ")
    cut = source.randrange(n_lines + 1)
    first, second = source.sample(names, 2)
    return {name: "\n".join(part) for name, part in ((first, lines[:cut]), (second, lines[cut:])) if part}


def fuzz(folder: Path, clips: list[tuple[Path, VideoProbe]], seeds: range) -> None:
    for seed in seeds:
        source = random.Random(seed)
        path, expected = source.choice(clips)
        tags = fuzzed_tags(source, source.choice((0, 1, 50, 190, 400, 1000)))
        n_chapters = source.choice((0, 3, 200)) if path.suffix == ".mkv" else 0
        name = f"{seed}" + source.choice(("", "\n[error] x\n", "日本", " [info]", "'")) + path.suffix
        found = retold(path, folder / name, tags, n_chapters)
        assert_same(probed(found), expected)
        found.unlink()


def test_no_metadata_changes_a_fact(tmp_path: Path, plain: list[tuple[Path, VideoProbe]]) -> None:
    fuzz(tmp_path, plain, range(12))


@pytest.mark.slow
def test_much_metadata_changes_no_fact(tmp_path: Path, plain: list[tuple[Path, VideoProbe]]) -> None:
    fuzz(tmp_path, plain, range(1000, 1200))


def log(description: list[str]) -> list[str]:
    """Write what ffmpeg prints in a probe; the description of the input is given."""
    filters = f"[{SHOWINFO} @ 0x7f]"
    return [
        "[avi @ 0x1] [warning] Could not find codec parameters",
        "[info] Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'file:clip.mov':",
        *description,
        "[info] Stream mapping:",
        "[info]   Stream #0:1 -> #0:0 (h264 (native) -> wrapped_avframe (native))",
        "[info]   Stream #0:0 -> #1:0 (copy)",
        "[info]   Stream #0:1 -> #1:1 (copy)",
        "[info] Output #1, null, to 'pipe:':",
        "[info]   Stream #1:0: Video: mjpeg (Baseline), yuvj420p(pc), 160x120 [SAR 1:1 DAR 4:3] (attached pic)",
        "[info]   Stream #1:1: Video: h264 (High) (avc1 / 0x31637661), yuv420p, 64x48 [SAR 4:3 DAR 16:9], 25 fps",
        "[info]     Side data:",
        "[info]       displaymatrix: rotation of -90.00 degrees",
        f"{filters} [info] config in time_base: 1/12800, frame_rate: 25/1",
        f"{filters} [info] n:   0 pts:      0 pts_time:0 fmt:yuv420p cl:left sar:4/3 s:64x48 i:P iskey:1 type:I",
        f"{filters} [info] color_range:tv color_space:bt709 color_primaries:bt709 color_trc:bt709",
        f"{MARK} frame 0 0 1/12800 0 1/12800 @",
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(tuple(line for line in HOSTILE if "Duration" not in line))
        | st.text().map(lambda text: f"[info]     {text}")
        | st.text(),
        max_size=40,
    ),
    st.integers(0, 40),
)
def test_no_line_of_a_description_changes_a_fact(told: list[str], place: int) -> None:
    duration = "[info]   Duration: 00:01:01.50, start: 0.000000, bitrate: 100 kb/s"
    facts = VideoFacts()
    for line in log([*told[:place], duration, *told[place:]]):
        facts.hear(line.replace("\n", " "))
    assert (facts.container, facts.codec, facts.number) == ("mov,mp4,m4a,3gp,3g2,mj2", "h264", 1)
    assert (facts.duration, facts.rate) == (61.5, "25/1")
    assert [(stream.number, stream.codec, stream.is_cover) for stream in facts.streams] == [
        (0, "mjpeg", True),
        (1, "h264", False),
    ]
    assert facts.stream is not None
    assert (facts.stream.rotation, facts.stream.fourcc, facts.stream.size) == (-90.0, "avc1", "64 x 48")
    assert facts.frame is not None
    assert (facts.frame["sar"], facts.frame["width"], facts.frame["field"]) == ("4/3", "64", "P")
