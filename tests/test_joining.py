"""Parts of a video become one, packet by packet, each at its own time."""

import contextlib
import dataclasses
from fractions import Fraction

import media
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_readback import decode, decode_gray, map_format, some_maps

from framencc.errors import SinkError
from framencc.sinks.joining import join_videos
from framencc.sinks.matroska_file import MatroskaFile
from framencc.sinks.video import VideoClock, VideoSink

KINDS = [("ffv1", ".mkv", "uint8"), ("ffv1", ".mkv", "uint16"), ("h264", ".mkv", "uint8"), ("h264", ".mp4", "uint8")]
UNEVEN = [0.0, 0.04, 0.05, 0.2, 0.2017, 0.5, 1.5, 1.6, 40.0, 40.001, 90.0]


def write_parts(folder, target, maps, times, codec, *, size=4):
    given = dataclasses.replace(map_format(str(maps.dtype), maps.shape[1:]), time_base=Fraction(1, 90000))
    clock, parts = VideoClock(target, given, codec), []
    for first in range(0, len(maps), size):
        with VideoSink(folder / f"{first}.mkv", given, codec=codec, clock=clock, shown=target) as sink:
            for index in range(first, min(first + size, len(maps))):
                sink.write(maps[index], index, times[index])
            parts.append(sink.commit())
    return parts, given


def join(parts, given, target, times, codec):
    clock = VideoClock(target, given, codec)
    stamps = (clock.nanoseconds(index, time) for index, time in enumerate(times))
    join_videos(parts, stamps, target, given, unit=clock.unit, stall_seconds=30, shown=target)


def packets_of(path):
    with MatroskaFile(path) as video:
        return [(video.read(packet.begin, packet.end), packet.is_key, packet.seconds) for packet in video.packets()]


@pytest.mark.parametrize(("codec", "suffix", "dtype"), KINDS)
def test_every_picture_once_in_order_at_its_time(codec, suffix, dtype, tmp_path):
    maps, target = some_maps(len(UNEVEN), dtype), tmp_path / f"out{suffix}"
    parts, given = write_parts(tmp_path, target, maps, UNEVEN, codec)
    join(parts, given, target, UNEVEN, codec)
    if codec == "ffv1":
        got, times = decode_gray(target, dtype, maps.shape[1:])
        np.testing.assert_array_equal(got, maps)
    else:
        _, times = decode(target, "gray")
    unit = Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, 90000)
    assert len(times) == len(UNEVEN)
    for got_time, time in zip(times, UNEVEN, strict=True):
        assert abs(float(got_time) - time) <= float(unit) / 2 + 1e-9


def test_a_joined_lossless_video_is_the_one_that_was_written_in_one_piece(tmp_path):
    maps, times = some_maps(11, "uint8"), [index / 25 for index in range(11)]
    parts, given = write_parts(tmp_path, tmp_path / "out.mkv", maps, times, "ffv1")
    join(parts, given, tmp_path / "out.mkv", times, "ffv1")
    with VideoSink(tmp_path / "whole.mkv", given, codec="ffv1") as sink:
        for index, data in enumerate(maps):
            sink.write(data, index, times[index])
        sink.commit()
    packets = [packets_of(tmp_path / name) for name in ("out.mkv", "whole.mkv")]
    assert packets[0] == packets[1]
    assert len(packets[0]) == 11


def test_parts_of_different_encodings_are_not_joined(tmp_path):
    maps = some_maps(4, "uint8")
    parts, given = write_parts(tmp_path, tmp_path / "out.mkv", maps, UNEVEN, "ffv1")
    other, _ = write_parts(tmp_path / "other", tmp_path / "out.mkv", maps[:, :20], UNEVEN, "ffv1")
    with pytest.raises(SinkError, match="its parts were not encoded alike; start anew"):
        join([*parts, *other], given, tmp_path / "out.mkv", UNEVEN, "ffv1")


@settings(max_examples=60)
@given(st.data())
def test_a_broken_part_is_an_error_or_gives_whole_packets(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("parts")
    frames = media.random_frames(3, 8, 8)
    path = media.write_clip(folder / "part.mkv", frames)
    content = bytearray(path.read_bytes())
    n_packets = len(packets_of(path))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(1, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with contextlib.suppress(ValueError):
        assert len(packets_of(path)) <= n_packets


def test_more_or_fewer_times_than_pictures_are_an_error(tmp_path):
    maps = some_maps(4, "uint8")
    parts, given = write_parts(tmp_path, tmp_path / "out.mkv", maps, UNEVEN, "ffv1")
    for times in (UNEVEN[:3], UNEVEN[:5]):
        with pytest.raises(SinkError, match="another number of maps than were written"):
            join(parts, given, tmp_path / "out.mkv", times, "ffv1")
