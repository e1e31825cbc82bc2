"""TIFF files of every kind are read as what they are, or refused by the kind's name; whole ones are never damaged."""

import struct
import zlib
from pathlib import Path

import media
import numpy as np
import pytest
import tifffile
from PIL import Image
from tiff_files import HEIGHT, WIDTH, tiff

from framencc.config import make_spec
from framencc.errors import DamagedInputError, SourceError
from framencc.sources import ImageSequenceSource, read_picture, read_reference
from framencc.sources.pictures import take_from_file
from framencc.sources.wanted import LUMA as LUMA_OF_ALL
from framencc.sources.wanted import WantedLabels
from framencc.spec import RunSpec

GRAY = media.random_frames(1)[0]
DEEP = media.random_frames(1, bits=16)[0]
RGB = media.random_frames(1, bits=16, channels=3)[0]


def pack(samples: np.ndarray, bits: int) -> bytes:
    """Write the lowest bits of each row's samples one after the other, from the highest down, to whole bytes."""
    rows = samples.reshape(len(samples), -1)
    each = (rows[:, :, np.newaxis] >> np.arange(bits)[::-1]) & 1
    return np.packbits(each.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def job(folder: Path, **options: object) -> RunSpec:
    return make_spec({"input": str(folder / "in.npy"), "output": str(folder / "o.npy"), "reference": 0} | options)


# --- packed bits


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15])
@pytest.mark.parametrize("order", ["<", ">"])
def test_packed_bits_are_read_as_their_codes(tmp_path: Path, bits: int, order: str) -> None:
    codes = DEEP >> (16 - bits)
    strips = [pack(codes[:20], bits), pack(codes[20:], bits)]
    taken = take_from_file(tiff(tmp_path / "p.tif", strips, order, t258=bits, t278=20), LUMA_OF_ALL)
    np.testing.assert_array_equal(taken.data, codes)
    assert (taken.data.dtype, taken.packed_bits) == (np.uint16, bits)


def test_packed_bits_in_other_orders_and_layouts(tmp_path: Path) -> None:
    codes = RGB >> 4
    reverse = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    gray = pack(codes[..., 0], 12)
    for name, strips, tags in (
        ("reversed", [gray.translate(reverse)], {"t266": 2}),
        ("packed again", [zlib.compress(gray)], {"t259": 8}),
        ("white is zero", [pack(4095 - codes[..., 0], 12)], {"t262": 0}),
    ):
        path = tiff(tmp_path / f"{name}.tif", strips, t258=12, **tags)
        np.testing.assert_array_equal(read_picture(path), codes[..., 0], err_msg=name)
    colour = {"t258": (12, 12, 12), "t262": 2, "t277": 3}
    tiff(tmp_path / "rgb.tif", [pack(codes, 12)], **colour)
    tiff(tmp_path / "planes.tif", [pack(codes[..., plane], 12) for plane in range(3)], t284=2, **colour)
    padded = np.pad(codes[..., 0], ((0, 12), (0, 12)))
    tiles = [pack(padded[y : y + 16, x : x + 16], 12) for y in range(0, 48, 16) for x in range(0, 64, 16)]
    for name in ("rgb", "planes"):
        np.testing.assert_array_equal(read_picture(tmp_path / f"{name}.tif"), media.luma_of_rgb(codes), err_msg=name)
    tiff(tmp_path / "tiles.tif", tiles, t258=12, t322=16, t323=16)
    np.testing.assert_array_equal(read_picture(tmp_path / "tiles.tif"), codes[..., 0])


def test_significant_bits_reach_the_reference_and_the_stream(tmp_path: Path) -> None:
    for index in range(3):
        tiff(tmp_path / f"f_{index}.tif", [pack(DEEP >> 6, 10)], t258=10)
    with ImageSequenceSource(str(tmp_path)) as source:
        assert (source.info.dtype, source.info.bits) == (np.uint16, 10)
    spec = RunSpec(input="in.mkv", output="o.mkv", reference=str(tmp_path / "f_0.tif"))
    assert read_reference(spec).bits == 10
    tiff(tmp_path / "f_2.tif", [pack(DEEP >> 4, 12)], t258=12)
    with ImageSequenceSource(str(tmp_path)) as source, pytest.raises(DamagedInputError) as caught:
        list(source.frames())
    assert "f_2.tif' (frame 2, 0.080 s) has 12 bits a sample, but 'f_0.tif' 10" in str(caught.value)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_stretched_but_labels_are_not(tmp_path: Path, bits: int) -> None:
    codes = GRAY >> (8 - bits)
    path = tiff(tmp_path / "p.tif", [pack(codes, bits)], t258=bits)
    np.testing.assert_array_equal(read_picture(path), codes * (255 // (2**bits - 1)))
    np.testing.assert_array_equal(take_from_file(path, WantedLabels()).data, codes)


def test_palettes_of_tiff(tmp_path: Path) -> None:
    codes = GRAY >> 4
    table = media.random_frames(1, 3, 16, bits=16)[0]
    path = tiff(tmp_path / "p.tif", [pack(codes, 4)], t258=4, t262=3, t320=tuple(table.ravel().tolist()))
    expected = media.luma_of_rgb(np.moveaxis((table >> 8).astype(np.uint8)[:, codes], 0, 2))
    np.testing.assert_array_equal(read_picture(path), expected)
    np.testing.assert_array_equal(take_from_file(path, WantedLabels()).data, codes)
    with pytest.raises(DamagedInputError, match="its palette has 0 numbers for 16 codes"):
        read_picture(tiff(tmp_path / "p.tif", [pack(codes, 4)], t258=4, t262=3))


# --- compressions


def zstd(content: bytes) -> bytes:
    """Wrap up to 65791 bytes as Zstandard has it, stored as they are."""
    size = struct.pack("<H", len(content) - 256)
    return b"\x28\xb5\x2f\xfd\x60" + size + struct.pack("<I", 1 | len(content) << 3)[:3] + content


@pytest.mark.parametrize("order", ["<", ">"])
def test_zstandard_is_right_or_refused_in_either_order_of_bytes(tmp_path: Path, order: str) -> None:
    codes = DEEP >> 4
    path = tiff(tmp_path / "u.tif", [zstd(codes.astype(f"{order}u2").tobytes())], order, t258=16, t259=50000)
    taken = take_from_file(path, LUMA_OF_ALL, look=True)
    np.testing.assert_array_equal(taken.data, codes)
    assert taken.codes is not None
    assert taken.codes.largest == codes.max()
    floats = tiff(tmp_path / "f.tif", [zstd(GRAY.astype(f"{order}f4").tobytes())], order, t258=32, t339=3, t259=50000)
    if order == "<":
        np.testing.assert_array_equal(read_picture(floats), GRAY)
    else:
        with pytest.raises(SourceError, match="a compressed TIFF in big-endian order; store it uncompressed"):
            read_picture(floats)


def test_a_large_value_that_8_bits_cannot_hold_is_no_depth(tmp_path: Path) -> None:
    path = tiff(tmp_path / "p.tif", [GRAY.tobytes()], t262=0, t281=4095)
    np.testing.assert_array_equal(read_picture(path), 255 - GRAY)


@pytest.mark.parametrize("compression", ["zlib", "tiff_lzw", "packbits", "lzma", None])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_compressions_and_colour_at_every_depth(tmp_path: Path, compression: str | None, dtype: str) -> None:
    cv2 = pytest.importorskip("cv2")
    colour = (RGB if dtype == "u2" else RGB >> 8).astype(dtype)
    number = {"zlib": 8, "tiff_lzw": 5, "packbits": 32773, "lzma": 34925, None: 1}[compression]
    for name, picture in (("gray", colour[..., 0]), ("rgb", colour)):
        path = tmp_path / f"{name}.tif"
        options = [cv2.IMWRITE_TIFF_COMPRESSION, number, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 7]
        if number == 34925 or not cv2.imwrite(str(path), picture[..., ::-1] if name == "rgb" else picture, options):
            kind = "minisblack" if name == "gray" else "rgb"
            tifffile.imwrite(path, picture, photometric=kind, compression=compression, rowsperstrip=7)
        expected = picture if name == "gray" else media.luma_of_rgb(picture)
        if dtype == "f4" and name == "rgb":
            expected = picture @ np.array([0.299, 0.587, 0.114])
        np.testing.assert_allclose(read_picture(path), expected, rtol=1e-6 if dtype == "f4" else 0, err_msg=name)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f2", "f4", "f8"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_differences_of_neighbours_are_undone(tmp_path: Path, dtype: str, byteorder: str) -> None:
    stored = np.ascontiguousarray(DEEP.astype(dtype))
    if dtype == "u2":
        packed = np.diff(stored, axis=1, prepend=np.uint16(0)).astype(f"{byteorder}u2").tobytes()
    elif dtype == "u1":
        packed = np.diff(stored, axis=1, prepend=np.uint8(0)).tobytes()
    else:
        stored = stored / np.dtype(dtype).type(7)
        planes = stored.astype(f">{dtype}").view(np.uint8).reshape(HEIGHT, WIDTH, -1).swapaxes(1, 2)
        packed = np.diff(planes.reshape(HEIGHT, -1), axis=1, prepend=np.uint8(0)).tobytes()
    n_bits, form = 8 * np.dtype(dtype).itemsize, 3 if "f" in dtype else 1
    tags = {"t258": n_bits, "t259": 8, "t317": 3 if "f" in dtype else 2, "t339": form}
    path = tiff(tmp_path / "p.tif", [zlib.compress(packed)], byteorder, **tags)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(read_picture(path), stored.astype(np.float32 if "f" in dtype else dtype))


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax_compressions(tmp_path: Path, compression: str) -> None:
    Image.fromarray(GRAY > 127).save(tmp_path / "p.tif", compression=compression)
    np.testing.assert_array_equal(read_picture(tmp_path / "p.tif"), (GRAY > 127) * np.uint8(255))


# --- what is whole but not read


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"t262": 32803}, r"raw sensor data, a Bayer mosaic .* \(CFA\), which is not read; demosaic it"),
        ({"t262": 32803, "t259": 7}, r"raw sensor data, a Bayer mosaic"),
        ({"t262": 34892}, r"linear raw data of a camera \(DNG\)"),
        ({"t262": 5, "t277": 4, "t258": (8, 8, 8, 8)}, "is in CMYK, which is not read; convert it to gray or RGB"),
        ({"t262": 8, "t277": 3, "t258": (8, 8, 8)}, "is in CIELab"),
        ({"t262": 32845}, "is in LogLuv"),
        ({"t262": 51177}, "is a depth map"),
        ({"t262": 999}, "of photometric interpretation 999"),
        ({"t258": 6}, r"samples of 6 bits \(whole numbers\), which are not read; convert it to 8 or 16 bits"),
        ({"t258": 24, "t339": 3}, r"samples of 24 bits \(floats\)"),
        ({"t258": 128}, r"samples of 128 bits"),
        ({"t258": (5, 6, 5), "t277": 3, "t262": 2}, "samples of 5-6-5 bits"),
        ({"t258": 16, "t339": 2}, "samples of type int16; use uint8, uint16, float32 or float64"),
        ({"t258": 64, "t339": 6}, "samples of type complex64"),
        ({"t258": 32}, "samples of type uint32"),
        ({"t259": 34712}, "compression JPEG2000, which is not read; store it uncompressed or with LZW or deflate"),
        ({"t259": 34887}, "compression LERC"),
        ({"t259": 50001}, "compression WEBP"),
        ({"t259": 50002}, "compression JPEGXL"),
        ({"t259": 65001}, "compression 65001|compression EER"),
        ({"t258": 12, "t259": 7}, "compression JPEG, which is not read for 12-bit samples"),
        ({"t258": 16, "t277": 3, "t262": 2, "t259": 50000}, "compression ZSTD, which is not read for 16-bit samples"),
        ({"t258": 12, "t259": 8, "t317": 2}, "predictor 2, which is not read for such samples"),
        ({"t259": 32773, "t317": 2}, "predictor 2 with PackBits, which not all programs undo"),
        ({"t277": 7}, "7 samples a pixel"),
    ],
)
def test_kinds_that_are_not_read_are_named(tmp_path: Path, tags: dict[str, object], words: str) -> None:
    path = tiff(tmp_path / "p.tif", [bytes(HEIGHT * WIDTH * 16)], **tags)
    with pytest.raises(SourceError, match=words) as caught:
        read_picture(path)
    assert not isinstance(caught.value, DamagedInputError)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"GIF89a", "GIF"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"\0\0\0\x18ftypheic", "HEIF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"\x76\x2f\x31\x01\2\0\0\0", "OpenEXR"),
        (b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, start: bytes, name: str) -> None:
    (tmp_path / "p.png").write_bytes(start + bytes(50))
    with pytest.raises(
        SourceError, match=rf"is no PNG, JPEG, TIFF or .npy file, but {name}; convert it to PNG or TIFF"
    ):
        read_picture(tmp_path / "p.png")


def test_without_a_word_about_it_black_is_0(tmp_path: Path) -> None:
    path = tiff(tmp_path / "p.tif", [GRAY.tobytes()])
    content = path.read_bytes()
    place = content.index(struct.pack("<HHI", 262, 4, 1))
    path.write_bytes(content[:place] + struct.pack("<HHI", 261, 4, 1) + content[place + 8 :])
    np.testing.assert_array_equal(read_picture(path), GRAY)


def test_lzw_of_an_old_kind_is_named(tmp_path: Path) -> None:
    path = tiff(tmp_path / "p.tif", [b"\0\1" + bytes(3000)], t259=5)
    with pytest.raises(SourceError, match=r"LZW of an old kind, before TIFF 6.0") as caught:
        read_picture(path)
    assert not isinstance(caught.value, DamagedInputError)


def test_broken_compressed_strips_never_do_more_than_fail(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(GRAY).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    Image.fromarray(GRAY // 90).save(tmp_path / "bits.tif", compression="packbits")
    for name in ("lzw", "bits"):
        whole = (tmp_path / f"{name}.tif").read_bytes()
        with tifffile.TiffFile(tmp_path / f"{name}.tif") as file:
            start, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
        for _ in range(150):
            content = bytearray(whole)
            for place in rng.integers(start, start + count, 4):
                content[place] = rng.integers(256)
            (tmp_path / "p.tif").write_bytes(content)
            try:
                assert read_picture(tmp_path / "p.tif").shape == GRAY.shape
            except DamagedInputError as error:
                assert "\n" not in str(error)  # noqa: PT017
