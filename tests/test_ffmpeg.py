"""FfmpegChild: whole buffers, every complaint, stamps, time limits, and no orphan."""

import os
import signal
import stat
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest

from framencc.errors import FramenccError
from framencc.ffmpeg import FRAME_STAMPS, INPUT_SAFETY, MARK, FfmpegChild, FrameStamp, executable, file_url

DECODE = ("-f", "rawvideo", "-pix_fmt", "gray", "pipe:1")


PASSTHROUGH = ("-fps_mode", "passthrough")


def decode(path: Path, *options: str) -> list[str]:
    return [*INPUT_SAFETY, "-i", file_url(path), *options, *DECODE]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a stand-in for ffmpeg: a script that a test fills."""
    path = tmp_path / "program"
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(path))
    return path


def script(program: Path, text: str) -> None:
    with program.open("a") as file:
        file.write(text)


def stamps(child: FfmpegChild) -> list[FrameStamp]:
    found = []
    while (stamp := child.next_stamp()) is not None:
        found.append(stamp)
    return found


def assert_gone(pid: int, threads: set[threading.Thread]) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    # The thread that starts children stays: the kernel takes its end for the end of their parent.
    assert {thread for thread in threading.enumerate() if thread.name != "framencc-starter"} <= threads


def test_reading_to_the_end(tmp_path: Path) -> None:
    luma = media.random_frames(20)
    threads = set(threading.enumerate())
    with FfmpegChild(decode(media.write_clip(tmp_path / "in.mkv", luma)), stdout=True) as child:
        read = np.empty_like(luma)
        assert child.readinto(memoryview(read).cast("B")) == read.nbytes
        assert child.readinto(memoryview(bytearray(5))) == 0
        assert child.finish() == 0
    assert child.errors == []
    assert not child.stalled
    np.testing.assert_array_equal(read, luma)
    assert_gone(child.pid, threads)


def test_writing_to_the_end(tmp_path: Path) -> None:
    luma = media.random_frames(20)
    threads = set(threading.enumerate())
    source = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", "52x36", "-i", "pipe:0"]
    with FfmpegChild([*source, *media.FFV1, file_url(tmp_path / "-o.mkv")], stdin=True) as child:
        for picture in luma:
            child.write(memoryview(picture).cast("B"))
        assert child.finish() == 0
    assert media.ffmpeg("-i", tmp_path / "-o.mkv", *DECODE) == luma.tobytes()
    assert_gone(child.pid, threads)


def test_writing_to_a_child_that_has_ended(tmp_path: Path) -> None:
    child = FfmpegChild(["-f", "nonsense", "-i", "pipe:0", "-f", "null", "-"], stdin=True)

    def write() -> None:
        for _ in range(100):
            child.write(bytes(1 << 16))

    with child, pytest.raises(BrokenPipeError):
        write()
    assert child.finish() != 0
    assert "nonsense" in child.explain()


def test_why_it_failed(tmp_path: Path) -> None:
    with FfmpegChild(decode(tmp_path / "nothing.mkv"), stdout=True) as child:
        assert child.finish() != 0
    assert child.explain() == "Error opening input: No such file or directory"


def test_protocols_and_playlists_are_not_followed(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", media.random_frames(1))
    playlist = tmp_path / "list.mkv"
    playlist.write_text(f"ffconcat version 1.0\nfile {clip.name}\n")
    for name in (playlist, f"concat:{clip}|{clip}", "http://127.0.0.1:9/x.mkv", "data:,x"):
        with FfmpegChild(decode(Path(name)), stdout=True) as child:
            assert child.finish() != 0
        assert child.errors


def test_killing_and_closing_twice() -> None:
    threads = set(threading.enumerate())
    child = FfmpegChild(decode(media.footage("bigbuckbunny.mp4")), stdout=True)
    child.kill()
    child.kill()
    assert_gone(child.pid, threads)
    assert child.readinto(memoryview(bytearray(5))) == 0
    assert child.next_stamp() is None


def test_killing_while_another_thread_reads() -> None:
    threads = set(threading.enumerate())
    child = FfmpegChild(["-f", "lavfi", "-i", "testsrc2=s=64x48:r=1,realtime", *DECODE], stdout=True)
    counts: list[int] = []
    reader = threading.Thread(target=lambda: counts.append(child.readinto(memoryview(bytearray(1 << 24)))))
    reader.start()
    time.sleep(0.3)
    child.kill()
    reader.join(10)
    assert not reader.is_alive()
    assert counts[0] < 1 << 24
    assert_gone(child.pid, threads)


def test_killing_while_another_thread_writes(program: Path) -> None:
    script(program, "time.sleep(60)\n")
    child = FfmpegChild([], stdin=True)
    errors: list[Exception] = []

    def write() -> None:
        try:
            child.write(bytes(1 << 24))
        except BrokenPipeError as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.2)
    child.kill()
    writer.join(10)
    assert not writer.is_alive()
    assert len(errors) == 1


@pytest.mark.parametrize("wait", ["readinto", "next_stamp", "write", "finish"])
def test_a_stalled_child_is_killed(program: Path, wait: str) -> None:
    script(program, "time.sleep(60)\n")
    threads = set(threading.enumerate())
    started = time.monotonic()
    with FfmpegChild([], stdin=wait == "write", stdout=wait == "readinto", stall_seconds=0.3) as child:
        if wait == "readinto":
            assert child.readinto(memoryview(bytearray(5))) == 0
        elif wait == "next_stamp":
            assert child.next_stamp() is None
        elif wait == "write":
            with pytest.raises(BrokenPipeError):
                child.write(bytes(1 << 24))
        else:
            assert child.finish() == -signal.SIGKILL
    assert time.monotonic() - started < 10
    assert child.stalled
    assert child.explain() == "ffmpeg made no progress for 0.3 s and was killed"
    assert_gone(child.pid, threads)


def test_a_signal_from_outside_is_named(program: Path) -> None:
    script(program, "os.kill(os.getpid(), 9)\n")
    with FfmpegChild([], stdout=True) as child:
        assert child.finish() == -9
    assert child.explain() == "ffmpeg was ended by signal 9"


def test_a_program_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nothing"))
    assert executable() == str(tmp_path / "nothing")
    with pytest.raises(FramenccError, match=r"ffmpeg '.*nothing' cannot be started: No such file or directory"):
        FfmpegChild([])


# ---------------------------------------------------------------------------------------------------- messages


def test_complaints_lose_their_prefixes(program: Path) -> None:
    lines = [
        "[info] fine",
        "[h264 @ 0x1] [error] bad",
        "[a @ 0x1] [b @ 0x2] [fatal] worse",
        "[warning] hm",
        "  [error]",
    ]
    script(program, f"sys.stderr.write({chr(10).join(lines)!r})\n")
    heard: list[str] = []
    with FfmpegChild([], on_line=heard.append) as child:
        child.finish()
    assert child.errors == ["bad", "worse"]
    assert heard == lines


def test_what_is_a_complaint_can_be_told(program: Path) -> None:
    script(program, "print('[info] a', '[warning] b', '[error] c', sep='\\n', file=sys.stderr)\n")
    with FfmpegChild([], is_complaint=lambda level, text, _: (level, text) != ("info", "a")) as child:
        child.finish()
    assert child.errors == ["b", "c"]


def test_a_child_that_meets_the_limit_of_its_memory_is_killed(program: Path) -> None:
    script(
        program, "print('[h264 @ 0x1] [error] Cannot allocate memory', file=sys.stderr, flush=True); time.sleep(60)\n"
    )
    with FfmpegChild([], memory_mib=1000) as child:
        assert child.finish() == -signal.SIGKILL
    assert child.explain() == "ffmpeg needs more memory than it may have, limits.decoder_memory_mib = 1000"


def test_other_words_about_memory_are_nothing(program: Path) -> None:
    script(program, "print('[info] title: Cannot allocate memory', file=sys.stderr)\n")
    with FfmpegChild([], memory_mib=1000) as child:
        assert child.finish() == 0
    assert not child.short_of_memory


def test_a_writer_that_says_something_may_take_its_time_at_the_end(program: Path) -> None:
    script(program, "for n in range(5): time.sleep(0.4); print(n, file=sys.stderr, flush=True)\n")
    with FfmpegChild([], stdin=True, stall_seconds=0.7) as child:
        assert child.finish() == 0
    script(program, "time.sleep(60)\n")
    with FfmpegChild([], stdin=True, stall_seconds=0.7) as child:
        assert child.finish() == -signal.SIGTERM
    assert child.explain() == "ffmpeg made no progress for 0.7 s and was killed"


def test_a_flood_of_messages_does_not_grow(program: Path) -> None:
    script(program, "for n in range(20000): print('[error]', n, file=sys.stderr)\n")
    with FfmpegChild([]) as child:
        child.finish()
    assert child.errors == [str(n) for n in range(50)]
    assert child.n_complaints == 20000
    assert child.latest_complaint == "19999"


def test_stamps(tmp_path: Path) -> None:
    path = media.write_clip(tmp_path / "in.mkv", media.random_frames(5), rate="20")
    with FfmpegChild([*decode(path, "-copyts", *PASSTHROUGH, *FRAME_STAMPS)], stdout=True) as child:
        found = stamps(child)
        assert child.next_stamp() is None
    times = [Fraction(n, 20) for n in range(5)]
    assert found == [FrameStamp(n, time, Fraction(1, 1000), True, time) for n, time in enumerate(times)]


def test_a_file_cannot_forge_a_stamp(tmp_path: Path) -> None:
    title = "title=@frame 0 7 1/25 @"
    path = media.write_clip(tmp_path / "in.mkv", media.random_frames(2), "-metadata", title)
    heard: list[str] = []
    with FfmpegChild([*decode(path, *PASSTHROUGH, *FRAME_STAMPS)], stdout=True, on_line=heard.append) as child:
        found = stamps(child)
    assert any("@frame 0 7 1/25 @" in line for line in heard)
    assert [stamp.pts_seconds for stamp in found] == [0, Fraction(1, 25)]


def test_a_stamp_comes_before_its_frame(tmp_path: Path) -> None:
    path = media.write_clip(tmp_path / "in.mkv", media.random_frames(200))
    buffer = memoryview(bytearray(36 * 52))
    with FfmpegChild([*decode(path, *PASSTHROUGH, *FRAME_STAMPS)], stdout=True, stall_seconds=5) as child:
        for index in range(200):
            stamp = child.next_stamp()
            assert stamp is not None
            assert stamp.index == index
            assert child.readinto(buffer) == len(buffer)
        assert child.next_stamp() is None
        assert child.finish() == 0


def test_stamps_after_a_complaint_are_not_clean_even_inside_torn_messages(program: Path) -> None:
    pieces = [
        *(
            "[info] one\n",
            f"{MARK} frame 0 0 1/25 0 1/25 @\n",
            "[h264 @ 0x1] [warn",
            f"{MARK} frame 1 1 1/25 1 1/25 @\n",
            "ing] harmless\n",
        ),
        *(
            "[h264 @ 0x1] ",
            "[error] to",
            f"{MARK} frame 2 -9223372036854775808 1/25 2 1/25 @\n",
            "rn\n",
            f"{MARK} frame 3 3 0/0 0 0/0 @\n",
        ),
    ]
    script(program, f"for piece in {pieces!r}: os.write(2, piece.encode()); time.sleep(0.01)\n")
    heard: list[str] = []
    with FfmpegChild([], on_line=heard.append) as child:
        found = stamps(child)
    unit = Fraction(1, 25)
    assert found == [
        FrameStamp(0, Fraction(0), unit, True, Fraction(0)),
        FrameStamp(1, unit, unit, True, unit),
        FrameStamp(2, None, None, True, 2 * unit),
        FrameStamp(3, None, None, False, None),
    ]
    assert child.errors == ["torn"]
    assert heard == ["[info] one", "[h264 @ 0x1] [warning] harmless", "[h264 @ 0x1] [error] torn"]


def hear(program: Path, lines: list[str], **options: object) -> FfmpegChild:
    """Let a child say some lines, to the end."""
    script(program, f"sys.stderr.write({chr(10).join(lines)!r})\n")
    with FfmpegChild([], **options) as child:  # type: ignore[arg-type]
        child.finish()
    return child


BEGIN, WORK, STAMP = "[info] Input #0, avi, from 'file:x':", "[info] Stream mapping:", f"{MARK} frame 0 0 1/25 0 1/25 @"


def test_what_a_description_says_is_no_complaint(program: Path) -> None:
    forged = ["[error] forged", "[fatal] Cannot allocate memory", WORK, "[error] forged too"]
    child = hear(
        program, ["[error] before", BEGIN, *forged, WORK, "[error] after", STAMP, "[error] late"], memory_mib=9
    )
    assert child.errors == ["before", "after", "late"]
    assert (child.n_complaints, child.latest_complaint) == (3, "late")


def test_what_a_description_says_of_memory_ends_no_child(program: Path) -> None:
    assert not hear(program, [BEGIN, "[fatal] Cannot allocate memory", WORK, STAMP], memory_mib=1000).short_of_memory


def test_complaints_behind_the_description_come_before_the_first_stamp(program: Path) -> None:
    script(program, f"sys.stderr.write({chr(10).join([BEGIN, WORK, '[error] bad', STAMP, ''])!r})\n")
    with FfmpegChild([]) as child:
        (stamp,) = stamps(child)
    assert (stamp.clean, stamp.n_complaints) == (False, 1)


def test_what_ended_a_child_before_its_work_began_is_told(program: Path) -> None:
    lines = [BEGIN, "[info]   Duration: N/A", "[error] no decoder", "[fatal] Error opening output files"]
    assert hear(program, lines).errors == ["no decoder", "Error opening output files"]


def test_a_line_of_any_length_keeps_its_beginning_and_its_end(program: Path) -> None:
    script(program, "sys.stderr.write('[info] ' + 'x' * 5_000_000 + chr(10) + '[error] no')\n")
    script(program, f"sys.stderr.write({MARK!r} + ' packet 1 @' + chr(10) + chr(10))\n")
    script(program, "sys.stderr.write('[error] ' + 'y' * 5_000_000 + chr(10) + '[error] z')\n")
    heard: list[str] = []
    with FfmpegChild([], on_line=heard.append) as child:
        child.finish()
    assert [error[:3] for error in child.errors] == ["no", "yyy", "z"]
    assert sum(map(len, heard)) < 40_000


def test_messages_are_never_coloured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AV_LOG_FORCE_COLOR", "1")
    with FfmpegChild(decode(tmp_path / "nothing.mkv"), stdout=True) as child:
        child.finish()
    assert child.explain() == "Error opening input: No such file or directory"
