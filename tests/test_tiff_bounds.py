"""TIFF files that claim, or unpack to, more than a picture: refused, without the memory that they ask for."""

import contextlib
import struct
import tracemalloc
from pathlib import Path

import media
import pytest
from tiff_files import tiff

from framencc.errors import DamagedInputError, SourceError
from framencc.sources import read_picture

GRAY = media.random_frames(1)[0]


def zeros_by_lzw(n_codes: int) -> bytes:
    """Pack zeros as tightly as LZW can: each code stands for one zero more than the one before."""
    bits, width, following = [f"{256:09b}", f"{0:09b}"], 9, 258
    for _ in range(n_codes):
        bits.append(f"{following:0{width}b}")
        following += 1
        if following >= (1 << width) - 1 and width < 12:
            width += 1
        if following == 4094:
            bits += [f"{256:0{width}b}", f"{0:09b}"]
            width, following = 9, 258
    text = "".join(bits)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


@pytest.mark.parametrize("compression", [5, 32773])
def test_strips_that_unpack_to_more_than_their_part_take_no_memory(tmp_path: Path, compression: int) -> None:
    packed = zeros_by_lzw(20_000) if compression == 5 else b"\x81\0" * 400_000
    path = tiff(tmp_path / "p.tif", [packed], t259=compression)
    read_picture(tiff(tmp_path / "warm.tif", [b"\x80\xc1\0"], t256=8, t257=8, t278=8, t259=32773))
    tracemalloc.start()
    with pytest.raises(DamagedInputError, match="a strip unpacks to more than its part of the picture"):
        read_picture(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_tile_that_is_larger_than_any_picture_is_refused(tmp_path: Path) -> None:
    for compression in (1, 5, 7, 8, 50000):
        path = tiff(tmp_path / "p.tif", [bytes(99)], t259=compression, t322=1 << 16, t323=1 << 16)
        with pytest.raises(SourceError, match=r"a tile of picture '.*' says it is 65536 x 65536; .*limits.max_pixels"):
            read_picture(path)


def test_strips_that_claim_gigabytes_of_a_sparse_file_are_not_read(tmp_path: Path) -> None:
    for compression, packed in ((5, b"\x80\x40\x20\x10"), (32773, b"\xc1\0")):
        with contextlib.suppress(DamagedInputError):  # the kernels are loaded
            read_picture(tiff(tmp_path / "warm.tif", [packed], t256=8, t257=8, t259=compression))
    for compression in (5, 8, 32773, 34925):
        path = tiff(tmp_path / f"{compression}.tif", [bytes(50)], t259=compression)
        content = bytearray(path.read_bytes())
        place = content.index(struct.pack("<HHI", 279, 4, 1))
        content[place + 8 : place + 12] = struct.pack("<I", 0xFFFFFFF0)
        path.write_bytes(content)
        with path.open("r+b") as file:
            file.truncate(5 << 30)
        tracemalloc.start()
        with contextlib.suppress(DamagedInputError):  # zeros are valid PackBits
            read_picture(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20_000_000


def test_a_tiff_of_a_million_tiles_of_one_pixel_is_refused_at_once(tmp_path: Path) -> None:
    path = tiff(tmp_path / "p.tif", [b"\5"], t256=1000, t257=1000, t322=1, t323=1)
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<HHI", 324, 4, 1))
    content[place + 4 : place + 8] = struct.pack("<I", 1_000_000)
    path.write_bytes(content + bytes(4_000_000))
    with pytest.raises(SourceError, match="has 4000000 bytes in its tag 324; up to 2097152 are read"):
        read_picture(path)


@pytest.mark.parametrize("tag", [273, 279, 270, 330, 40000])
def test_a_sparse_file_with_a_value_of_gigabytes_is_refused_unread(tmp_path: Path, tag: int) -> None:
    path = tiff(tmp_path / "p.tif", [GRAY.tobytes()], **{f"t{tag}": (0, 0)})
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<HHI", tag, 4, 2 if tag not in (273, 279) else 1))
    content[place + 4 : place + 8] = struct.pack("<I", 1 << 30)
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(5 << 30)
    tracemalloc.start()
    with pytest.raises(SourceError, match=f"has 4294967296 bytes in its tag {tag}; up to \\d+ are read"):
        read_picture(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
