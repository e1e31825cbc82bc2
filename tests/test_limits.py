"""Limits on what is read: judged by what a file says of itself, before memory is taken for it."""

import struct
import tracemalloc
import zlib
from pathlib import Path

import imageio.v3 as iio
import media
import numpy as np
import pytest
from sink_readback import names

from framencc.cli import main
from framencc.config import make_spec
from framencc.errors import DamagedInputError, SourceError
from framencc.pipeline import describe, run
from framencc.sources import VideoSource, open_source

HEIGHT, WIDTH, N_FRAMES = 36, 52, 9
PIXELS = HEIGHT * WIDTH


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    frames = media.random_frames(N_FRAMES, HEIGHT, WIDTH)
    video = media.write_clip(folder / "in.mkv", frames)
    np.save(folder / "in.npy", frames)
    (folder / "pictures").mkdir()
    for index, frame in enumerate(frames):
        iio.imwrite(folder / "pictures" / f"f_{index}.png", frame)
    return {"video": video, "array": folder / "in.npy", "pictures": folder / "pictures"}


def job(path: Path, folder: Path, **options: object):
    return make_spec({"input": str(path), "output": str(folder / "out.npy"), "reference": 0, **options})


KINDS = ["video", "array", "pictures"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_just_within_the_limits_is_read(kind, inputs, tmp_path):
    gib = PIXELS * N_FRAMES / 2**30
    limits = {"max_pixels": PIXELS, "max_frames": N_FRAMES, "max_decoded_gib": gib}
    assert run(job(inputs[kind], tmp_path, limits=limits)).n_frames == N_FRAMES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_pixels": PIXELS - 1}, f"says it is 52 x 36; pictures of 1 to {PIXELS - 1} pixels are read"),
        ({"max_frames": N_FRAMES - 1}, "has more frames than limits.max_frames = 8; raise that, or choose fewer"),
        ({"max_decoded_gib": PIXELS * N_FRAMES / 2**30 * 0.99}, "unpacks to more than limits.max_decoded_gib = "),
    ],
)
def test_what_lies_beyond_is_refused_and_nothing_is_kept(kind, limits, message, inputs, tmp_path):
    with pytest.raises(SourceError, match=message) as caught:
        run(job(inputs[kind], tmp_path, limits=limits))
    assert not isinstance(caught.value, DamagedInputError)
    assert "limits." in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_selection_within_the_limits_is_read(kind, inputs, tmp_path):
    limits = {"max_frames": 3, "max_decoded_gib": PIXELS * 3 / 2**30}
    assert run(job(inputs[kind], tmp_path, frames="0:3", limits=limits)).n_frames == 3


def test_frames_that_are_decoded_and_dropped_count(inputs, tmp_path):
    with pytest.raises(SourceError, match=r"limits.max_frames = 8"):
        run(job(inputs["video"], tmp_path, frames="8:", limits={"max_frames": N_FRAMES - 1}))


@pytest.mark.parametrize("kind", ["array", "pictures"])
def test_what_can_be_counted_is_refused_by_a_dry_run(kind, inputs, tmp_path):
    with pytest.raises(SourceError, match=r"limits.max_frames = 8"):
        describe(job(inputs[kind], tmp_path, limits={"max_frames": 8}))


def test_a_video_of_whole_blocks_is_measured_by_its_picture(tmp_path):
    path = tmp_path / "in.mp4"
    frames = media.yuv444(media.random_frames(2, 34, 50))
    codec = ("-c:v", "libx264", "-preset", "ultrafast")
    media.write_clip(path, frames, "-pix_fmt", "yuv420p", pixel_format="yuv444p", codec=codec)
    with open_source(job(path, tmp_path, limits={"max_pixels": 34 * 50})) as source:
        assert len(list(source.frames())) == 2


def test_references_and_masks_have_the_same_limit(inputs, tmp_path):
    large = tmp_path / "large.png"
    iio.imwrite(large, media.random_frames(1, HEIGHT + 1, WIDTH)[0])
    limits = {"max_pixels": PIXELS}
    says = f"says it is 52 x 37; pictures of 1 to {PIXELS} pixels are read"
    with pytest.raises(SourceError, match=rf"^reference '.*large.png' {says}"):
        run(job(inputs["array"], tmp_path / "out", reference=str(large), limits=limits))
    with pytest.raises(SourceError, match=rf"^ncc.mask: mask '.*large.png' {says}"):
        run(job(inputs["array"], tmp_path / "out", ncc={"mask": str(large)}, limits=limits))
    media.write_clip(tmp_path / "masks.mkv", media.random_frames(N_FRAMES, HEIGHT + 1, WIDTH))
    with pytest.raises(SourceError, match=r"^ncc.mask: input '.*masks.mkv' says it is 52 x 37"):
        run(job(inputs["array"], tmp_path / "out", ncc={"mask": str(tmp_path / "masks.mkv")}, limits=limits))
    assert not (tmp_path / "out").exists()


def _png(width: int, height: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("name", ["in.png", "in.npy", "in.y4m", "in.gif", "in.mkv"])
def test_a_few_bytes_that_announce_a_huge_picture_take_no_memory(name, tmp_path, capfd):
    path = tmp_path / name
    if name == "in.png":
        path.write_bytes(_png(1 << 30, 1 << 30, bytes(1 << 20)))
    elif name == "in.npy":
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (9, 1000000, 1000000), }\n"
        path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)
    elif name == "in.y4m":
        path.write_bytes(b"YUV4MPEG2 W60000 H60000 F25:1 Ip A0:0 C420\nFRAME\n" + bytes(1000))
    elif name == "in.gif":
        path.write_bytes(
            b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + bytes.fromhex("2c00000000ffffffff00")
        )
    else:
        media.write_clip(path, media.random_frames(2, HEIGHT, WIDTH), codec=("-c:v", "rawvideo"))
        content = path.read_bytes()  # the track's PixelWidth and PixelHeight
        assert content.count(b"\xb0\x81\x34") == content.count(b"\xba\x81\x24") == 1
        path.write_bytes(content.replace(b"\xb0\x81\x34\xba\x81\x24", b"\xb0\x81\xff\xba\x81\xff"))
    tracemalloc.start()
    code = main(["run", str(path), str(tmp_path / "out" / "maps.npy"), "--reference", "0", "-q"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code == 1
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert peak < 20_000_000
    assert names(tmp_path) == [name]


def test_a_short_file_of_a_long_clip_ends_at_the_limit(tmp_path):
    # Pictures that repeat the one before take next to nothing.
    path = tmp_path / "in.mkv"
    options = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "100000", "-pix_fmt", "yuv420p")
    media.ffmpeg("-f", "lavfi", "-i", "color=gray:size=64x64:rate=25", "-frames:v", 5000, *options, path)
    assert path.stat().st_size < 200_000
    with VideoSource(str(path)) as source:
        assert sum(1 for _ in source.frames()) == 5000
    with pytest.raises(SourceError, match=r"limits.max_frames = 100"):
        run(job(path, tmp_path / "out", limits={"max_frames": 100}))
    assert names(tmp_path) == ["in.mkv"]
