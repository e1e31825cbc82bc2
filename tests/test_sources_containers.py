"""What containers promise: whole files keep it, cut ones do not, and a hostile one costs nothing."""

import re
import struct
import time
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest

from framencc.errors import DamagedInputError, SourceError
from framencc.sources import Selection, VideoSource
from framencc.sources.containers import NOTHING, Promise, read_promise
from framencc.sources.probe import probe_video
from framencc.sources.wanted import LUMA

X264 = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "2")
FASTSTART = ("-movflags", "+faststart")
N = 24


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some frames of real footage, small and lossless."""
    path = tmp_path_factory.mktemp("short") / "short.mkv"
    media.ffmpeg("-i", media.footage(), "-frames:v", N, "-vf", "crop=64:48", *media.FFV1, path)
    return path


def read(path: Path, **options: object) -> list[np.ndarray]:
    with VideoSource(str(path), **options) as source:
        return [frame.data for frame in source.frames()]


def read_until_damage(path: Path) -> tuple[list[np.ndarray], DamagedInputError]:
    frames: list[np.ndarray] = []
    with VideoSource(str(path)) as source, pytest.raises(DamagedInputError) as caught:
        frames.extend(frame.data for frame in source.frames())
    return frames, caught.value


def table(content: bytes, name: bytes) -> int:
    """Find where the content of the only box of a name begins."""
    assert content.count(name) == 1
    return content.index(name) + 4


# ---------------------------------------------------------------------------------------------------- whole files


WHOLE = {
    "b.mp4": (X264, N),
    "front.mp4": ((*X264, *FASTSTART), N),
    "b.mov": (X264, N),
    "b.m4v": (X264, N),
    "open.mp4": ((*X264, "-x264-params", "open-gop=1:keyint=8"), N),
    "hevc.mp4": (("-c:v", "libx265", "-x265-params", "log-level=error:keyint=8:open-gop=1:bframes=2"), N),
    "vp9.mp4": (("-c:v", "libvpx-vp9", "-cpu-used", "8", "-lag-in-frames", "16"), N),
    "prores.mov": (("-c:v", "prores_ks"), N),
    "mjpeg.mov": (("-c:v", "mjpeg"), N),
    "ffv1.mov": (media.FFV1, N),
    "shifted.mp4": ((*X264, "-output_ts_offset", "2.5"), N),
    "turned.mp4": ((*X264, "-bsf:v", "h264_metadata=display_orientation=insert:rotate=90"), N),
    "variable.mp4": (("-vf", "select='not(eq(mod(n,6),3))'", "-fps_mode", "vfr", *X264), 20),
    # Of these the count is not relied on: some of their samples may not be frames, or not be in the index.
    "mpeg4.mp4": (("-c:v", "mpeg4", "-bf", "2"), None),
    "interlaced.mp4": ((*X264, "-flags", "+ilme+ildct", "-x264-params", "interlaced=1"), None),
    "fragments.mp4": ((*X264, "-g", "8", "-movflags", "+frag_keyframe+empty_moov"), None),
    "a.avi": (("-c:v", "mjpeg"), N),
    "b.avi": (("-c:v", "mpeg4", "-bf", "2"), None),
    "a.mkv": (X264, None),
    "a.webm": (("-c:v", "libvpx-vp9", "-cpu-used", "8"), None),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_are_read_whole(short: Path, tmp_path: Path, name: str) -> None:
    options, promised = WHOLE[name]
    media.ffmpeg("-i", short, *options, tmp_path / name)
    with VideoSource(str(tmp_path / name)) as source:
        assert (source.info.n_frames, source.n_input_frames) == (promised, promised)
        assert source._probe.promise.cut is None
        assert len(list(source.frames())) == (promised or N)


def test_sound_before_the_video_and_chosen_frames(short: Path, tmp_path: Path) -> None:
    sound = ("-f", "lavfi", "-i", "sine=d=3")
    path = tmp_path / "in.mp4"
    media.ffmpeg("-i", short, *sound, "-map", "1:a", "-map", "0:v", *X264, "-c:a", "aac", path)
    assert len(read(path)) == N
    with VideoSource(str(path), selection=Selection(3, 12, 4)) as source:
        assert (source.info.n_frames, source.n_input_frames) == (3, N)
        assert [frame.index for frame in source.frames()] == [3, 7, 11]


@pytest.mark.parametrize("codec", [X264, ("-c:v", "libx265", "-x265-params", "log-level=error:keyint=8:bframes=3")])
@pytest.mark.parametrize("start", ["0.2", "0.42"])
@pytest.mark.parametrize("edits", [(), ("-use_editlist", "0"), ("-avoid_negative_ts", "disabled")])
def test_a_part_copied_out_of_a_clip_is_whole(
    short: Path, tmp_path: Path, codec: tuple[str, ...], start: str, edits: tuple[str, ...]
) -> None:
    """Its edit list may hide frames, and its first pictures may need others that were left behind."""
    media.ffmpeg("-i", short, *codec, tmp_path / "whole.mp4")
    media.ffmpeg("-ss", start, "-i", tmp_path / "whole.mp4", "-c", "copy", *edits, tmp_path / "part.mp4")
    expected = len(media.decode_luma(tmp_path / "part.mp4", 48, 64))
    assert 0 < expected <= N
    assert len(read(tmp_path / "part.mp4")) == expected


def test_the_count_is_known_where_everything_says_so() -> None:
    for name, n_frames in {"carphone_pristine.mp4": 120, "bikes.mp4": 250, "bigbuckbunny.mp4": 132}.items():
        assert read_promise(str(media.footage(name)), 0) == Promise(n_frames, n_frames)


def test_another_stream_or_another_format_promises_nothing(short: Path, tmp_path: Path) -> None:
    media.ffmpeg("-i", short, "-f", "lavfi", "-i", "sine=d=1", *X264, "-c:a", "aac", tmp_path / "in.mp4")
    assert read_promise(str(tmp_path / "in.mp4"), 0).n_frames == N
    for stream in (1, 2, 99):
        assert read_promise(str(tmp_path / "in.mp4"), stream) == NOTHING
    (tmp_path / "text").write_text("no video")
    (tmp_path / "empty").touch()
    for path in (short, tmp_path / "text", tmp_path / "empty", tmp_path / "nothing", tmp_path):
        assert read_promise(str(path), 0) == NOTHING


# ---------------------------------------------------------------------------------------------------- cut files


def cuts_of_mp4(content: bytes) -> list[int]:
    """Where each sample of a file of one chunk, whose index stands first, ends."""
    sizes, offsets = table(content, b"stsz"), table(content, b"stco")
    count = struct.unpack_from(">I", content, sizes + 8)[0]
    assert struct.unpack_from(">I", content, offsets + 4)[0] == 1
    return list(
        struct.unpack_from(">I", content, offsets + 8)[0]
        + np.cumsum(struct.unpack_from(f">{count}I", content, sizes + 12))
    )


def cuts_of_avi(content: bytes) -> list[int]:
    """Where each chunk of the list of pictures ends."""
    position, cuts = table(content, b"movi"), []
    while content[position : position + 4] == b"00dc":
        size = struct.unpack_from("<I", content, position + 4)[0]
        position += 8 + size + size % 2
        cuts.append(position)
    return cuts


@pytest.mark.parametrize("name", ["x.mp4", "x.mov", "j.mov", "p.mov", "m.mp4", "j.avi", "f.avi", "b.avi"])
def test_a_file_cut_between_two_frames_is_damaged(short: Path, tmp_path: Path, name: str) -> None:
    codecs = {"x": X264, "j": ("-c:v", "mjpeg"), "p": ("-c:v", "prores_ks"), "m": ("-c:v", "mpeg4")}
    codec = codecs | {"f": media.FFV1, "b": ("-c:v", "mpeg4", "-bf", "2")}
    options = () if name.endswith("avi") else FASTSTART
    media.ffmpeg("-i", short, *codec[name[0]], *options, tmp_path / name)
    good, content = read(tmp_path / name), (tmp_path / name).read_bytes()
    cuts = (cuts_of_avi if name.endswith("avi") else cuts_of_mp4)(content)
    assert len(cuts) == N
    withheld = {"x": 3, "b": 16}.get(name[0], 0)
    path = tmp_path / f"cut_{name}"
    for n_left in (N - 1, N - 2, N - 3, N // 2, 4):
        path.write_bytes(content[: cuts[n_left - 1]])
        frames, error = read_until_damage(path)
        where = rf"is damaged at frame {len(frames)} \(\d\.\d\d\d s\) or soon after: .*; the frames before it are good$"
        assert re.search(where, str(error))
        # A frame shown later may have been stored before the cut, and the other way round.
        assert n_left - withheld <= len(frames) <= n_left
        np.testing.assert_array_equal(frames, good[: len(frames)])


def test_what_is_missing_is_named(short: Path, tmp_path: Path) -> None:
    media.ffmpeg("-i", short, "-c:v", "mjpeg", *FASTSTART, tmp_path / "in.mov")
    content = (tmp_path / "in.mov").read_bytes()
    (tmp_path / "in.mov").write_bytes(content[: cuts_of_mp4(content)[9]])
    frames, error = read_until_damage(tmp_path / "in.mov")
    assert len(frames) == 10
    assert f"the data of {N - 10} of its {N} frames are beyond the end of the file" in str(error)


def test_a_cut_beyond_the_selection_does_not_matter(short: Path, tmp_path: Path) -> None:
    media.ffmpeg("-i", short, "-c:v", "mjpeg", *FASTSTART, tmp_path / "in.mov")
    content = (tmp_path / "in.mov").read_bytes()
    (tmp_path / "in.mov").write_bytes(content[: cuts_of_mp4(content)[9]])
    assert len(read(tmp_path / "in.mov", selection=Selection(0, 10))) == 10
    with pytest.raises(DamagedInputError):
        read(tmp_path / "in.mov", selection=Selection(0, 11))


def test_fragments_that_end_early_are_damaged(short: Path, tmp_path: Path) -> None:
    media.ffmpeg("-i", short, *X264, "-g", "8", "-movflags", "+frag_keyframe+empty_moov", tmp_path / "in.mp4")
    content, good = (tmp_path / "in.mp4").read_bytes(), read(tmp_path / "in.mp4")
    second = content.index(b"moof", content.index(b"moof") + 4)
    for end in (second, content.index(b"mdat", second) + 4, content.index(b"moof", second + 4) - 10):
        (tmp_path / "in.mp4").write_bytes(content[:end])
        frames, error = read_until_damage(tmp_path / "in.mp4")
        assert len(frames) <= 8
        assert re.search(r"is damaged at frame \d ", str(error))
        np.testing.assert_array_equal(frames, good[: len(frames)])


def test_matroska_cut_between_two_frames_is_damaged(short: Path, tmp_path: Path) -> None:
    """FFmpeg itself complains about it."""
    content = short.read_bytes()
    blocks = [match.start() for match in re.finditer(rb"\xa3[\x40-\x7f].\x81..\x80", content, re.DOTALL)]
    assert len(blocks) == N
    (tmp_path / "in.mkv").write_bytes(content[: blocks[15]])
    frames, error = read_until_damage(tmp_path / "in.mkv")
    assert len(frames) <= 15
    assert "File ended prematurely" in str(error)


@pytest.mark.parametrize("promised", [N - 5, N + 5])
def test_more_or_fewer_frames_than_promised_are_damage(short: Path, promised: int) -> None:
    probe = replace(probe_video(str(short), 60, LUMA), promise=Promise(promised, promised))
    frames = []
    with VideoSource(str(short), probe=probe) as source, pytest.raises(DamagedInputError) as caught:
        frames.extend(source.frames())
    assert len(frames) == min(promised, N)
    where = rf"frame {len(frames)} \(0\.\d\d\d s\)"
    more = rf"is damaged at {where} or soon after: its index promises only 19 frames; the frames before it are good$"
    fewer = rf"is damaged: it ends at {where}, but its index promises 29 frames; which are missing is not known$"
    assert re.search(fewer if promised > N else more, str(caught.value))


def test_a_frame_that_an_avi_loses_without_a_word_is_damage(short: Path, tmp_path: Path) -> None:
    media.ffmpeg("-i", short, "-c:v", "mjpeg", tmp_path / "in.avi")
    content = bytearray((tmp_path / "in.avi").read_bytes())
    begin, end = cuts_of_avi(bytes(content))[9:11]
    content[begin:end] = b"JUNK" + struct.pack("<I", end - begin - 8) + bytes(end - begin - 8)
    (tmp_path / "in.avi").write_bytes(content)
    with pytest.raises(DamagedInputError, match=rf"its index promises {N} frames; which are missing is not known$"):
        read(tmp_path / "in.avi")


# ---------------------------------------------------------------------------------------------------- times of AVI


@pytest.mark.parametrize("codec", [("-c:v", "mpeg4", "-bf", "2"), ("-c:v", "mpeg2video", "-bf", "2"), X264])
def test_avi_with_b_frames_counts(short: Path, tmp_path: Path, codec: tuple[str, ...]) -> None:
    """Of such a file ffmpeg knows when frames are decoded, but not when they are shown."""
    media.ffmpeg("-i", short, *codec, tmp_path / "in.avi")
    with VideoSource(str(tmp_path / "in.avi")) as source:
        times = [frame.pts_seconds for frame in source.frames()]
    assert times == [float(Fraction(1001 * k, 30000)) for k in range(N)]


def test_avi_without_b_frames_keeps_its_places(short: Path, tmp_path: Path) -> None:
    chosen = ("-vf", "select='not(eq(mod(n,6),3))'", "-fps_mode", "vfr")
    media.ffmpeg("-i", short, *chosen, "-c:v", "mjpeg", tmp_path / "in.avi")
    with VideoSource(str(tmp_path / "in.avi")) as source:
        times = [frame.pts_seconds for frame in source.frames()]
    assert times == [float(Fraction(1001 * k, 30000)) for k in range(N) if k % 6 != 3]


def test_avi_with_b_frames_and_empty_places_is_refused(short: Path, tmp_path: Path) -> None:
    chosen = ("-vf", "select='lt(n,12)+not(eq(mod(n,6),3))'", "-fps_mode", "vfr")
    media.ffmpeg("-i", short, *chosen, *X264, tmp_path / "in.avi")
    with pytest.raises(SourceError, match=r"leaves places between its pictures empty .* convert it to \.mkv$"):
        VideoSource(str(tmp_path / "in.avi"))


# ---------------------------------------------------------------------------------------------------- hostile files


def box(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return struct.pack(">I4s", len(content) + 8 if size is None else size, name) + content


def hostile() -> dict[str, bytes]:
    start = box(b"ftyp", b"isom" * 2)

    def track(tables: bytes) -> bytes:
        media_ = box(b"hdlr", bytes(8) + b"vide" + bytes(12)) + box(b"minf", box(b"stbl", tables))
        return start + box(b"moov", box(b"mvhd", bytes(100)) + box(b"trak", box(b"mdia", media_)))

    most = 0xFFFFFFFF
    giant = [
        *(box(b"stsz", struct.pack(">III", 0, most, most)), box(b"stsz", struct.pack(">III", 0, 0, most))),
        box(b"stz2", struct.pack(">IIBBBBI", 0, 0, 0, 0, 0, 4, most)[:16]),
    ]
    good_sizes = box(b"stsz", struct.pack(">III", 0, 1, 4_000_000))
    offsets = box(b"stco", struct.pack(">III", 0, 1, 0))
    riff = b"RIFF" + struct.pack("<I", most) + b"AVI "
    return {
        "no end of empty boxes": start + box(b"free", b"") * 400_000,
        "a box inside out": start + box(b"moov", box(b"trak", b"", 4) * 10),
        "a box larger than its parent": start + box(b"moov", box(b"trak", b"", 1 << 30)),
        "a box of 64 bits": start + struct.pack(">I4sQ", 1, b"moov", (1 << 64) - 1),
        **{f"sizes {number}": track(table) for number, table in enumerate(giant)},
        "a chunk of everything": track(good_sizes + offsets + box(b"stsc", struct.pack(">IIIII", 0, 1, 1, most, 1))),
        "chunks backwards": track(good_sizes + offsets + box(b"stsc", struct.pack(">II6I", 0, 2, 1, 9, 1, 0, 9, 1))),
        "boxes in boxes": start + b"".join(struct.pack(">I4s", 80_000 - 8 * n, b"moov") for n in range(10_000)),
        "lists in lists": riff + b"".join(b"LIST" + struct.pack("<I", most) + b"hdrl" for _ in range(10_000)),
        "an index of everything": riff + b"idx1" + struct.pack("<I", most) + bytes(100),
        "lists without content": riff + (b"LIST" + struct.pack("<I", 4) + b"movi") * 400_000,
    }


@pytest.mark.parametrize("name", hostile())
def test_a_hostile_file_promises_nothing_and_costs_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / "in.mp4"
    path.write_bytes(hostile()[name])
    tracemalloc.start()
    try:
        assert read_promise(str(path), 0).n_frames is None
        assert tracemalloc.get_traced_memory()[1] < 400e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_no_bytes_make_a_reader_fail(short: Path, tmp_path: Path, suffix: str) -> None:
    media.ffmpeg("-i", short, *X264, *(FASTSTART if suffix == ".mp4" else ()), tmp_path / f"in{suffix}")
    whole = (tmp_path / f"in{suffix}").read_bytes()
    head = whole.index(b"mdat" if suffix == ".mp4" else b"movi")
    rng = np.random.default_rng(0)
    path = tmp_path / f"changed{suffix}"
    for _ in range(400):
        content = bytearray(whole)
        for place in rng.integers(0, head, rng.integers(1, 8)):
            content[place] = rng.choice([0, 1, 0x7F, 0xFF, rng.integers(256)])
        path.write_bytes(content[: rng.integers(head, len(content) + 1)])
        began = time.monotonic()
        promise = read_promise(str(path), 0)
        assert time.monotonic() - began < 5
        assert promise.n_stored is None or promise.n_stored < 1 << 22


def test_a_cut_avi_without_times_keeps_the_frames_that_are_certain(tmp_path: Path) -> None:
    source = tmp_path / "whole.avi"
    codec = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "25")
    media.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x80:r=25:d=4", *codec, source)
    with VideoSource(str(source)) as video:
        whole = [frame.data for frame in video.frames()]
    path = media.cut(source, tmp_path / "cut.avi", 0.6)
    found = []
    with VideoSource(str(path)) as video, pytest.raises(DamagedInputError):
        found.extend(frame.data for frame in video.frames())
    assert len(found) >= 30
    np.testing.assert_array_equal(found, whole[: len(found)])
