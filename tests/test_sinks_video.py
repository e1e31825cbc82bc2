import os
import re
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction

import imageio_ffmpeg
import numpy as np
import pytest
from running import wait_until
from sink_readback import RATE, decode, decode_gray, decode_luma, describe, map_format, names, some_maps, write_maps

from framencc.errors import SinkError, SpecError
from framencc.sinks import VideoSink
from framencc.sinks.video import ffv1_slices

SHAPE = (37, 51)
SUFFIXES = {"ffv1": ".mkv", "h264": ".mp4"}


def smooth_maps(n_maps, shape=SHAPE):
    """A moving pattern: unlike noise it makes x264 reorder pictures (B-frames)."""
    y, x = np.indices(shape)
    waves = [np.sin(x / 7 + i / 9) * np.cos(y / 5 - i / 11) for i in range(n_maps)]
    return np.rint(127 + 120 * np.stack(waves)).astype(np.uint8)


def write_at(path, maps, times, *, codec, frame_rate=RATE, time_base=None, metadata=None):
    announced = map_format(
        str(maps.dtype), maps.shape[1:], frame_rate=frame_rate, time_base=time_base, metadata=metadata
    )
    with VideoSink(path, announced, codec=codec) as sink:
        for index, (data, seconds) in enumerate(zip(maps, times, strict=True)):
            sink.write(data, index, float(seconds))
        return sink.commit()


def uneven(time_base, n_times=40, first=0):
    steps = np.random.default_rng(3).integers(1, 5, n_times) * round(Fraction(1, 30) / time_base)
    return [first + int(tick) * time_base for tick in np.cumsum(steps)]


EXACT_TIMES = {
    "constant 25": (Fraction(25), None, [Fraction(i, 25) for i in range(40)]),
    "constant 30000/1001": (RATE, None, [i / RATE for i in range(40)]),
    "unit with a numerator": (RATE, 1 / RATE, [i / RATE for i in range(40)]),
    "a selection that starts late": (RATE, Fraction(1, 30000), [i / RATE for i in range(1000, 1040)]),
    "variable": (RATE, Fraction(1, 90000), uneven(Fraction(1, 90000))),
    "variable, in milliseconds": (RATE, Fraction(1, 1000), uneven(Fraction(1, 1000))),
    "variable, late": (RATE, Fraction(1, 15360), uneven(Fraction(1, 15360), first=100_000)),
    "above 1000 a second": (Fraction(2000), None, [Fraction(i, 2000) for i in range(40)]),
    "a long gap": (Fraction(25), Fraction(1, 12800), [Fraction(i, 25) for i in range(39)] + [Fraction(8000)]),
    "one map": (Fraction(25), None, [Fraction(3, 25)]),
}


@pytest.mark.parametrize("case", EXACT_TIMES)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_mp4_times_are_exact(case, suffix, tmp_path):
    frame_rate, time_base, times = EXACT_TIMES[case]
    path = tmp_path / f"out{suffix}"
    write_at(path, smooth_maps(len(times)), times, codec="h264", frame_rate=frame_rate, time_base=time_base)
    assert decode(path, "gray")[1] == times


@pytest.mark.parametrize("case", EXACT_TIMES)
@pytest.mark.parametrize("codec", ["ffv1", "h264"])
def test_mkv_times_are_rounded_to_its_milliseconds(case, codec, tmp_path):
    frame_rate, time_base, times = EXACT_TIMES[case]
    path = tmp_path / "out.mkv"
    write_at(path, smooth_maps(len(times)), times, codec=codec, frame_rate=frame_rate, time_base=time_base)
    stamps = decode(path, "gray")[1]
    assert len(stamps) == len(times)
    assert max(abs(stamp - exact) for stamp, exact in zip(stamps, times, strict=True)) <= Fraction(1, 2000)


def test_ffv1_keeps_equal_times(tmp_path):
    times = [Fraction(i, 25) for i in (0, 1, 1, 1, 2)]
    maps = some_maps(5)
    path = write_at(tmp_path / "out.mkv", maps, times, codec="ffv1", frame_rate=Fraction(25))
    got, stamps = decode_gray(path, "uint8", SHAPE)
    assert stamps == times
    np.testing.assert_array_equal(got, maps)


@pytest.mark.parametrize(
    ("codec", "times", "problem"),
    [
        ("h264", [-0.04], "map 0 at -0.04 s: a video has only times from 0 on"),
        ("ffv1", [-0.04], "map 0 at -0.04 s: a video has only times from 0 on"),
        ("ffv1", [0.0, float("nan")], "map 1 at nan s: a video has only times"),
        ("h264", [0.0, 0.04, 0.04], "map 2 at 0.04 s: H.264 has no two maps at one time"),
        ("h264", [0.0, 0.08, 0.04], "map 2 at 0.04 s: it is earlier than the map before it"),
        ("ffv1", [0.0, 0.08, 0.04], "map 2 at 0.04 s: it is earlier than the map before it"),
    ],
)
def test_times_that_a_file_would_not_hold_are_refused(codec, times, problem, tmp_path):
    maps = some_maps(len(times))
    with pytest.raises(SinkError, match=re.escape(problem)):
        write_at(tmp_path / f"out{SUFFIXES[codec]}", maps, times, codec=codec, frame_rate=Fraction(25))
    assert names(tmp_path) == []


def test_units_too_fine_for_mp4_become_a_tenth_of_a_microsecond(tmp_path):
    times = [Fraction(0), Fraction(123_456_789, 10**9), Fraction(10)]
    path = write_at(tmp_path / "out.mp4", some_maps(3), times, codec="h264", time_base=Fraction(1, 10**9))
    assert decode(path, "gray")[1] == [0, Fraction(1_234_568, 10**7), 10]


@pytest.mark.parametrize("rate", [Fraction(25), RATE, Fraction(24000, 1001), Fraction(60)])
def test_the_nominal_rate_is_kept(rate, tmp_path):
    shown = f"{float(rate):.4g} fps"
    for codec, suffix in SUFFIXES.items():
        path = tmp_path / f"out{suffix}"
        write_at(path, smooth_maps(10), [i / rate for i in range(10)], codec=codec, frame_rate=rate)
        assert shown in describe(path)


def test_odd_sizes_are_padded_with_black_never_scaled(tmp_path):
    maps = np.full((3, 37, 51), 255, np.uint8)
    write_at(tmp_path / "out.mp4", maps, [0, 1, 2], codec="h264", frame_rate=Fraction(1))
    assert " 52x38 " in describe(tmp_path / "out.mp4")
    luma = decode(tmp_path / "out.mp4", "yuv420p")[0][:, : 38 * 52].reshape(3, 38, 52).astype(int)
    np.testing.assert_allclose(luma[:, :32, :46], 235, atol=3)  # further out the black line shines in
    np.testing.assert_allclose(luma[:, 37], 16, atol=24)
    np.testing.assert_allclose(luma[:, :, 51], 16, atol=24)


def test_h264_shows_codes_in_limited_range_and_says_so(tmp_path):
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(16, 0).repeat(16, 1)
    announced = map_format(shape=codes.shape)
    with VideoSink(tmp_path / "out.mp4", announced, codec="h264", quality=0) as sink:
        write_maps(sink, codes[None])
        sink.commit()
    assert "yuv420p(tv, bt709, progressive)" in describe(tmp_path / "out.mp4")
    luma = decode_luma(tmp_path / "out.mp4", codes.shape)[0][0]
    np.testing.assert_array_equal(luma, np.rint(16 + codes * (219 / 255)))
    assert np.unique(decode(tmp_path / "out.mp4", "yuv420p")[0][0, codes.size :]).tolist() == [128]


def test_h264_looks_like_the_maps(tmp_path):
    maps = smooth_maps(20)
    path = write_at(tmp_path / "out.mp4", maps, [i / RATE for i in range(20)], codec="h264")
    shown = (decode_luma(path, SHAPE)[0].astype(float) - 16) * 255 / 219
    assert np.abs(shown - maps).mean() < 3


def test_ffv1_is_tagged_full_range(tmp_path):
    write_at(tmp_path / "out.mkv", some_maps(2), [0, 1], codec="ffv1", frame_rate=Fraction(1))
    assert "ffv1, gray(pc" in describe(tmp_path / "out.mkv")


@pytest.mark.parametrize(("codec", "suffix"), [("ffv1", ".mkv"), ("h264", ".mp4"), ("h264", ".mov"), ("h264", ".mkv")])
def test_metadata_is_in_the_container(codec, suffix, tmp_path):
    metadata = {"framencc_encoding": "clip", "framencc_note": "a=b; c, 100 % \u00e9"}
    path = tmp_path / f"out{suffix}"
    write_at(path, some_maps(2), [0, 1], codec=codec, frame_rate=Fraction(1), metadata=metadata)
    printed = describe(path).lower()  # Matroska writes names in capitals
    for name, value in metadata.items():
        assert re.search(rf"{name} *: {re.escape(value)}", printed)


def test_names_that_ffmpeg_would_take_for_something_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-y.mkv", "a:b|c.mkv", "100%d.mkv", "two words\n.mp4", "n" * 251 + ".mkv"):
        codec = "ffv1" if name.endswith("mkv") else "h264"
        sink = VideoSink(tmp_path.__class__(name), map_format(), codec=codec)
        with sink:
            write_maps(sink, some_maps(2))
            sink.commit()
        assert len(decode(tmp_path / name, "gray")[1]) == 2
    assert len(names(tmp_path)) == 5


def test_maps_that_the_codec_cannot_hold_are_refused(tmp_path):
    for codec, dtype in (("ffv1", "float32"), ("h264", "float32"), ("h264", "uint16")):
        with pytest.raises(SpecError, match=f"codec {codec} cannot hold {dtype} maps"):
            VideoSink(tmp_path / "out.mkv", map_format(dtype), codec=codec)
    assert names(tmp_path) == []


@pytest.mark.parametrize("codec", ["ffv1", "h264"])
@pytest.mark.parametrize("when", ["writing", "committing"])
def test_a_killed_encoder_is_an_error_and_leaves_nothing(codec, when, tmp_path):
    target = tmp_path / f"out{SUFFIXES[codec]}"
    target.write_text("old")
    with VideoSink(target, map_format(), codec=codec, overwrite=True) as sink:
        write_maps(sink, some_maps(3))
        pid = sink.encoder_pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: sink._child._process.poll() is not None)  # until then its pipe takes what is written
        with pytest.raises(SinkError, match=r"^output '.*' cannot be written: .*signal 9$"):
            sink.commit() if when == "committing" else write_maps(sink, some_maps(500), first=3)
        with pytest.raises(SinkError, match="was failed"):
            sink.commit()
    assert target.read_text() == "old"
    assert names(tmp_path) == [target.name]
    assert_gone(pid)


@pytest.mark.parametrize("codec", ["ffv1", "h264"])
def test_no_child_process_outlives_its_sink(codec, tmp_path):
    pids = []
    for commit in (True, False):
        with VideoSink(tmp_path / f"out{SUFFIXES[codec]}", map_format(), codec=codec, overwrite=True) as sink:
            write_maps(sink, some_maps(3))
            pids.append(sink.encoder_pid)
            if commit:
                sink.commit()
    for pid in pids:
        assert_gone(pid)


def test_abort_frees_a_writer_that_waits_for_the_encoder(tmp_path):
    sink = VideoSink(tmp_path / "out.mkv", map_format(shape=(1000, 1000)), codec="ffv1")
    black = np.zeros((100, 1000, 1000), np.uint8)
    write_maps(sink, black[:1])
    os.kill(sink.encoder_pid, signal.SIGSTOP)
    failures = []

    def write_until_stopped():
        with pytest.raises(SinkError) as caught:
            write_maps(sink, black, first=1)
        failures.append(str(caught.value))

    writer = threading.Thread(target=write_until_stopped)
    writer.start()
    time.sleep(0.3)
    assert writer.is_alive()
    sink.abort()
    writer.join(10)
    assert not writer.is_alive()
    assert "abort" in failures[0]
    assert names(tmp_path) == []
    assert_gone(sink.encoder_pid)


def test_an_encoder_that_hangs_is_killed(tmp_path):
    with VideoSink(tmp_path / "out.mkv", map_format(shape=(1000, 1000)), codec="ffv1", stall_seconds=0.4) as sink:
        black = np.zeros((100, 1000, 1000), np.uint8)
        write_maps(sink, black[:1])
        os.kill(sink.encoder_pid, signal.SIGSTOP)
        with pytest.raises(SinkError, match=r"no progress for 0.4 s"):
            write_maps(sink, black, first=1)
    assert names(tmp_path) == []
    assert_gone(sink.encoder_pid)


def test_an_encoder_without_the_codec_is_one_clear_line(tmp_path, monkeypatch):
    script = tmp_path / "ffmpeg"
    real = imageio_ffmpeg.get_ffmpeg_exe()
    lack = "echo \"[error] Unknown encoder 'libx264'\" >&2; exit 8"
    script.write_text(f'#!/bin/sh\ncase "$*" in *libx264*) {lack};; esac\nexec {real} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(script))
    target = tmp_path / "new" / "out.mp4"
    problem = pytest.raises(
        SinkError, match=r"ffmpeg '.*', version \S+, has no encoder libx264; set IMAGEIO_FFMPEG_EXE to"
    )
    with VideoSink(target, map_format(), codec="h264") as sink, problem:
        write_maps(sink, some_maps(2000))
    assert names(tmp_path) == ["ffmpeg"]


def test_an_encoder_that_says_error_but_exits_well_has_failed(tmp_path, monkeypatch):
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\ncat >/dev/null\necho '[error] something is lost' >&2\n")
    script.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(script))
    with VideoSink(tmp_path / "out.mkv", map_format(), codec="ffv1") as sink:
        write_maps(sink, some_maps(3))
        with pytest.raises(SinkError, match="something is lost"):
            sink.commit()
    assert names(tmp_path) == ["ffmpeg"]


def test_an_encoder_that_drops_a_map_has_failed(tmp_path, monkeypatch):
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\ncat >/dev/null\necho '[info] frame=    2 fps=0.0 q=-0.0 Lsize= 1KiB' >&2\n")
    script.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(script))
    with VideoSink(tmp_path / "out.mkv", map_format(), codec="ffv1") as sink:
        write_maps(sink, some_maps(3))
        with pytest.raises(SinkError, match="ffmpeg wrote 2 of 3 maps"):
            sink.commit()


def test_no_encoder_at_all_is_told_before_the_first_map(tmp_path, monkeypatch):
    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with pytest.raises(SinkError, match="no ffmpeg program found"):
        VideoSink(tmp_path / "new" / "out.mkv", map_format(), codec="ffv1")
    assert names(tmp_path) == []


def test_a_run_killed_outright_leaves_the_target_as_it_was(tmp_path):
    target = tmp_path / "out.mkv"
    target.write_text("old")
    script = (
        "import os, signal, sys\n"
        "from sink_readback import map_format, some_maps, write_maps\n"
        "from pathlib import Path\n"
        "from framencc.sinks import VideoSink\n"
        "sink = VideoSink(Path(sys.argv[1]), map_format(), codec='ffv1', overwrite=True)\n"
        "write_maps(sink, some_maps(3))\n"
        "print(sink.encoder_pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-c", script, target], stdout=subprocess.PIPE, check=False, env=environment, text=True
    )
    assert result.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    assert all(name == "out.mkv" or name.startswith(".out.mkv.framencc-") for name in names(tmp_path))
    assert_gone(int(result.stdout))  # the encoder sees its input end, and ends


def assert_gone(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} still runs")


@pytest.mark.parametrize(
    ("shape", "slices"),
    [((480, 640), None), ((720, 1280), 9), ((1080, 1920), 20), ((2160, 3840), 64), ((1, 2_000_000), None), ((9, 1), 1)],
)
def test_the_slices_of_ffv1_follow_from_the_size(shape, slices):
    assert ffv1_slices(*shape) == slices


@pytest.mark.parametrize("shape", [(37, 51), (721, 1283)])
def test_what_is_written_does_not_depend_on_threads(shape, tmp_path, monkeypatch):
    maps = some_maps(2, shape=shape)

    def written(threads, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for codec, suffix in SUFFIXES.items():
            path = tmp_path / f"{threads}{suffix}"
            with VideoSink(path, map_format("uint8", shape), codec=codec, threads=threads, overwrite=True) as sink:
                for index, data in enumerate(maps):
                    sink.write(data, index, index / 25)
                sink.commit()
            yield path.read_bytes()

    expected = list(written(1))
    assert list(written(3)) == expected
    assert list(written(2000)) == expected
    assert list(written(None, NUMBA_NUM_THREADS="2")) == expected
