"""When ffmpeg itself is to blame, as it is too old, none, broken, or lacks a part: the input is not blamed."""

import shlex
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import media
import numpy as np
import pytest

from framencc.errors import FramenccError
from framencc.sinks.base import MapFormat
from framencc.sinks.video import VideoSink
from framencc.sources import probe_source

REAL = imageio_ffmpeg.get_ffmpeg_exe()
OLD_OPTION = (
    "echo \"[error] Unrecognized option 'fps_mode'.\" >&2; echo '[fatal] Error splitting the argument list' >&2"
)
BLAMED = ("cannot be read as a video", "no frame that can be decoded")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.write_clip(tmp_path_factory.mktemp("clip") / "clip.mkv", media.random_frames(2))


@pytest.fixture
def problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: Path):  # type: ignore[no-untyped-def]
    """Probe a good clip with a shell script in place of ffmpeg, and return what is said of it."""

    def probe(text: str, content: bytes | None = None, input_file: Path = clip) -> str:
        program = tmp_path / "some-ffmpeg"
        program.write_bytes(f"#!/bin/sh\n{text}\n".encode() if content is None else content)
        program.chmod(0o755)
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
        with pytest.raises(FramenccError) as raised:
            probe_source(input_file)
        message = str(raised.value)
        assert "\n" not in message
        assert "some-ffmpeg" in message
        assert "IMAGEIO_FFMPEG_EXE" in message
        assert not any(words in message for words in BLAMED), message
        return message

    return probe


def version(first_line: str, *, codec_library: str = "58. 54.100") -> str:
    """Write the part of a script that says a version."""
    said = f"{first_line}\nbuilt with gcc\nlibavcodec     {codec_library} / {codec_library}"
    return f'case "$*" in *-version*) printf "%s\\n" {shlex.quote(said)}; exit 0;; esac'


@pytest.mark.parametrize("number", ["4.2.2", "n5.1.4", "6.0.1-static", "6.0"])
def test_an_old_version_is_named_with_the_one_that_is_needed(problem, number: str) -> None:  # type: ignore[no-untyped-def]
    message = problem(f"{version(f'ffmpeg version {number} Copyright')}\n{OLD_OPTION}; exit 1")
    assert f"is version {number}, which is too old: framencc needs 6.1 or newer" in message


def test_an_old_version_that_takes_the_options_but_says_nothing_of_frames(problem) -> None:  # type: ignore[no-untyped-def]
    assert "too old" in problem(f"{version('ffmpeg version 5.1.9-0+deb12u1 Copyright')}\nexit 0")


def test_an_old_build_of_the_repository_is_known_by_its_library(problem) -> None:  # type: ignore[no-untyped-def]
    message = problem(f"{version('ffmpeg version N-93083-g8522d219ce Copyright')}\n{OLD_OPTION}; exit 1")
    assert "is version N-93083-g8522d219ce, which is too old" in message


def test_a_new_build_that_fails_is_not_called_old(problem) -> None:  # type: ignore[no-untyped-def]
    said = version("ffmpeg version N-120000-gabcdef Copyright", codec_library="62. 11.100")
    message = problem(f"{said}\necho '[fatal] Requested filter is not built in' >&2; exit 1")
    assert "cannot do what framencc needs: Requested filter is not built in (exit status 1)" in message


def test_a_build_of_any_version_that_works_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\n{version("ffmpeg version git-2019-11-01-odd")}\nexec {REAL} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    assert probe_source(clip).width == 52


def test_another_program_is_not_taken_for_ffmpeg(problem) -> None:  # type: ignore[no-untyped-def]
    assert "is not a working ffmpeg: hello (exit status 0)" in problem("echo hello")
    assert "is not a working ffmpeg" in problem("exit 3")


def test_a_program_that_crashes_is_named(problem) -> None:  # type: ignore[no-untyped-def]
    assert "crashes (signal 11, segmentation fault)" in problem("kill -SEGV $$")


def test_a_file_that_is_no_program_is_named(problem) -> None:  # type: ignore[no-untyped-def]
    assert "cannot be started: Exec format error" in problem("", content=b"\x7fELF but not really")


def test_a_missing_demuxer_is_named(problem, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    broken = tmp_path / "broken.bin"
    broken.write_bytes(b"\0" * 1000)
    listed = "case \"$*\" in *-demuxers*) printf ' D  %s  x\\n' mov,mp4 avi mpegts mpeg mxf; exit 0;; esac"
    message = problem(f'{listed}\nexec {REAL} "$@"', input_file=broken)
    assert "has no demuxer for matroska" in message


def test_a_missing_decoder_is_named(problem) -> None:  # type: ignore[no-untyped-def]
    lack = "echo '[vist#0:0/ffv1 @ 0x1] [error] Decoding requested, but no decoder found for: ffv1' >&2; exit 234"
    message = problem(f'case "$*" in *clip.mkv*) {lack};; esac\nexec {REAL} "$@"')
    assert "has no decoder for ffv1" in message


def write_two(sink: VideoSink) -> None:
    for place in range(2):
        sink.write(np.zeros((36, 52), np.uint8), place, place / 25)
    sink.commit()


def test_a_missing_muxer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lack = "echo \"[fatal] Requested output format 'matroska' is not known.\" >&2; exit 8"
    program = tmp_path / "some-ffmpeg"
    program.write_text(f'#!/bin/sh\ncase "$*" in *ffv1*) {lack};; esac\nexec {REAL} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    maps = MapFormat(36, 52, np.dtype(np.uint8), Fraction(25), None, {})
    with VideoSink(tmp_path / "o.mkv", maps, codec="ffv1") as sink, pytest.raises(FramenccError, match="no muxer matr"):
        write_two(sink)


def test_a_bad_file_is_still_blamed_itself(tmp_path: Path) -> None:
    broken = tmp_path / "broken.bin"
    broken.write_bytes(b"\0" * 1000)
    with pytest.raises(FramenccError, match=r"broken.bin' cannot be read as a video: Error opening input: Inv"):
        probe_source(broken)
