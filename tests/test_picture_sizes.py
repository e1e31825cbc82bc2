"""Image files that are far larger than their pixels need, or cost far more: refused before they are read."""

import io
import os
import struct
import sys
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import media
import numpy as np
import pytest
import tifffile
from PIL import Image
from running import python

from framencc.errors import DamagedInputError, SourceError
from framencc.fields import read_field
from framencc.sources import ImageSequenceSource, read_picture

GRAY = media.random_frames(1, 48, 64)[0]


@contextmanager
def cheap(seconds: float = 5.0, n_bytes: int = 20_000_000) -> Iterator[None]:
    """Demand that what is done takes neither time nor memory."""
    tracemalloc.start()
    began = time.perf_counter()
    try:
        yield
        assert time.perf_counter() - began < seconds
        assert tracemalloc.get_traced_memory()[1] < n_bytes
    finally:
        tracemalloc.stop()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*extra: bytes, picture: np.ndarray = GRAY) -> bytes:
    rows = np.pad(picture, ((0, 0), (1, 0))).tobytes()
    header = struct.pack(">IIBBBBB", picture.shape[1], picture.shape[0], 8, 0, 0, 0, 0)
    body = (chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([GRAY] * 3)).save(buffer, "jpeg", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_sparse_file_of_40_gigabytes_is_refused_unread(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"f_0{suffix}"
    path.write_bytes(png() if suffix == ".png" else jpeg())
    os.truncate(path, 40 << 30)
    with cheap(), pytest.raises(SourceError) as caught:
        read_picture(path)
    says = "has 42949672960 bytes, too many for 64 x 48 pixels: up to 67158016 are read; save it again"
    assert says in str(caught.value)
    assert not isinstance(caught.value, DamagedInputError)
    with cheap(), pytest.raises(SourceError, match="too many for 64 x 48 pixels"):
        ImageSequenceSource(str(tmp_path))


def test_a_sparse_field_is_refused_unread(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 64, 48, 16, 2, 0, 0, 0)
    (tmp_path / "f.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header))
    os.truncate(tmp_path / "f.png", 40 << 30)
    with cheap(), pytest.raises(SourceError, match="too many for 64 x 48 pixels"):
        read_field(tmp_path / "f.png", (48, 64))


def test_a_jpeg_of_nothing_but_zeros_is_damaged_at_once(tmp_path: Path) -> None:
    (tmp_path / "p.jpg").write_bytes(b"\xff\xd8")
    os.truncate(tmp_path / "p.jpg", 40 << 30)
    with cheap(), pytest.raises(DamagedInputError, match="no picture begins in its first 16777216 bytes"):
        read_picture(tmp_path / "p.jpg")


def test_a_film_behind_a_photo_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "p.jpg").write_bytes(jpeg() + bytes(5_000_000))
    assert read_picture(tmp_path / "p.jpg").shape == GRAY.shape


def test_a_jpeg_of_thousands_of_scans_is_refused_undecoded(tmp_path: Path) -> None:
    content = jpeg(progressive=True)
    last = content.rindex(b"\xff\xda")
    for n_scans, is_read in ((90, True), (3000, False)):
        first = content[:last].count(b"\xff\xda")
        (tmp_path / "p.jpg").write_bytes(content[:last] + content[last:-2] * (n_scans - first) + b"\xff\xd9")
        if is_read:
            assert read_picture(tmp_path / "p.jpg").shape == GRAY.shape
            continue
        with cheap(), pytest.raises(SourceError, match="has more than 100 scans, which would take too long") as caught:
            read_picture(tmp_path / "p.jpg")
        assert not isinstance(caught.value, DamagedInputError)


def test_a_jpeg_of_ten_thousands_of_segments_is_refused(tmp_path: Path) -> None:
    content = jpeg()
    place = content.index(b"\xff\xc0")
    (tmp_path / "p.jpg").write_bytes(content[:place] + b"\xff\xfe\0\2" * 100_000 + content[place:])
    with cheap(), pytest.raises(SourceError, match="has more than 10000 segments"):
        read_picture(tmp_path / "p.jpg")


def test_a_long_run_of_one_byte_in_a_scan_takes_no_time(tmp_path: Path) -> None:
    (tmp_path / "p.jpg").write_bytes(jpeg()[:-2] + b"\xff" * 2_000_000 + b"\0\xff\xd9")
    with cheap():
        assert read_picture(tmp_path / "p.jpg").shape == GRAY.shape


BOMB = zlib.compress(bytes(1 << 26), 9)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"zTXt", b"Comment\0\0" + BOMB),
        (b"zTXt", b"Raw profile type exif\0\0" + BOMB),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB),
        (b"iCCP", b"profile\0\0" + BOMB),
        (b"tEXt", b"workflow\0" + b"x" * 3_000_000),
    ],
)
def test_what_stands_beside_the_pixels_is_not_unpacked(tmp_path: Path, name: bytes, data: bytes) -> None:
    (tmp_path / "p.png").write_bytes(png(*[chunk(name, data)] * 2))
    with cheap():
        np.testing.assert_array_equal(read_picture(tmp_path / "p.png"), GRAY)


@pytest.mark.parametrize("name", [b"zTXt", b"tEXt", b"iTXt", b"eXIf"])
def test_an_orientation_beside_the_pixels_is_still_heeded(tmp_path: Path, name: bytes) -> None:
    exif = Image.Exif()
    exif[274] = 3
    raw = exif.tobytes()
    hexed = b"\nexif\n%8d\n" % len(raw) + raw.hex().encode() + b"\n"
    data = {
        b"zTXt": b"Raw profile type exif\0\0" + zlib.compress(hexed),
        b"tEXt": b"Raw profile type exif\0" + hexed,
        b"iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + b'<x tiff:Orientation="3"/>',
        b"eXIf": raw.removeprefix(b"Exif\0\0"),
    }[name]
    (tmp_path / "p.png").write_bytes(png(chunk(name, data)))
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png"), GRAY[::-1, ::-1])


def test_a_png_of_a_million_chunks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(png(chunk(b"teXt", b"") * 1_000_000))
    with pytest.raises(SourceError, match="has more than 500000 chunks"):
        read_picture(tmp_path / "p.png")


@pytest.mark.parametrize(
    ("marker", "bits", "says"),
    [
        (0xC3, 8, "without loss or in layers"),
        (0xC1, 12, "of 12 bits"),
        (0xC3, 16, "of 16 bits"),
        (0xC5, 8, "in layers"),
    ],
)
def test_kinds_of_jpeg_that_are_not_read_are_named(tmp_path: Path, marker: int, bits: int, says: str) -> None:
    content = bytearray(jpeg())
    place = content.index(b"\xff\xc0")
    content[place + 1], content[place + 4] = marker, bits
    (tmp_path / "p.jpg").write_bytes(content)
    with pytest.raises(SourceError, match=rf"is a JPEG .*{says}.*, which is not read") as caught:
        read_picture(tmp_path / "p.jpg")
    assert not isinstance(caught.value, DamagedInputError)


def test_a_png_of_apples_own_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"CgBI", bytes(4)) + png()[8:])
    with pytest.raises(SourceError, match=r"Apple's own kind \(CgBI\), which is not read"):
        read_picture(tmp_path / "p.png")


def test_a_png_that_does_not_begin_with_its_header_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", bytes(13)) + chunk(b"IEND", b""))
    with pytest.raises(DamagedInputError, match="it does not begin with its header of 13 bytes"):
        read_picture(tmp_path / "p.png")


# What libtiff unpacks is nothing that tracemalloc sees.
MEASURE = """
import resource, sys
from framencc import FramenccError
from framencc.sources import read_picture
most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
read_picture(sys.argv[1])
before = most()
try:
    read_picture(sys.argv[2])
except FramenccError:
    pass
print(most() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the resource module")
@pytest.mark.parametrize(("compression", "mode"), [("zstd", "L"), ("group4", "1")])
def test_a_strip_that_libtiff_unpacks_takes_no_memory_beyond_its_part(
    tmp_path: Path, compression: str, mode: str
) -> None:
    Image.fromarray(GRAY).convert(mode).save(tmp_path / "small.tif", compression=compression)
    side = 16_000
    Image.new(mode, (side, side)).save(tmp_path / "bomb.tif", compression=compression, tiffinfo={278: side})
    content = bytearray((tmp_path / "bomb.tif").read_bytes())
    assert len(content) < 1 << 20
    with tifffile.TiffFile(tmp_path / "bomb.tif") as file:
        tags = file.pages[0].tags
        assert tags["RowsPerStrip"].value == side
        for name, value in {"ImageWidth": 64, "ImageLength": 48, "RowsPerStrip": 48}.items():
            struct.pack_into("<I" if tags[name].dtype == 4 else "<H", content, tags[name].valueoffset, value)
    (tmp_path / "bomb.tif").write_bytes(content)
    done = python(MEASURE, tmp_path / "small.tif", tmp_path / "bomb.tif")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20_000_000
