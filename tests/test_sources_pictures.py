"""Every kind of picture is read without loss, or refused."""

import lzma
import struct
import tracemalloc
import zlib
from pathlib import Path

import imageio.v3 as iio
import media
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from running import command

from framencc.errors import DamagedInputError, SourceError
from framencc.sources import read_picture


def png(path: Path, width: int, height: int, depth: int, colour_type: int, rows: bytes) -> Path:
    """Write a PNG chunk by chunk, for the kinds that no writer at hand makes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("bits", [8, 16])
def test_gray_png(tmp_path: Path, bits: int) -> None:
    picture = media.random_frames(1, bits=bits)[0]
    iio.imwrite(tmp_path / "p.png", picture)
    read = read_picture(tmp_path / "p.png")
    assert read.dtype == picture.dtype
    np.testing.assert_array_equal(read, picture)


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colour_and_alpha(tmp_path: Path, suffix: str, channels: int) -> None:
    picture = media.random_frames(1, channels=channels)[0]
    Image.fromarray(picture, {2: "LA", 3: "RGB", 4: "RGBA"}[channels]).save(tmp_path / f"p{suffix}")
    expected = picture[..., 0] if channels == 2 else media.luma_of_rgb(picture[..., :3])
    np.testing.assert_array_equal(read_picture(tmp_path / f"p{suffix}"), expected)


def test_jpeg(tmp_path: Path) -> None:
    Image.fromarray(media.random_frames(1)[0]).save(tmp_path / "gray.jpg")
    Image.fromarray(media.random_frames(1, channels=3)[0]).save(tmp_path / "rgb.jpg")
    np.testing.assert_array_equal(read_picture(tmp_path / "gray.jpg"), np.asarray(Image.open(tmp_path / "gray.jpg")))
    with Image.open(tmp_path / "rgb.jpg") as image:
        np.testing.assert_array_equal(read_picture(tmp_path / "rgb.jpg"), media.luma_of_rgb(np.asarray(image)))
    Image.fromarray(media.random_frames(1, channels=4)[0], "RGBA").convert("CMYK").save(tmp_path / "cmyk.jpg")
    with pytest.raises(SourceError, match="colour mode CMYK"):
        read_picture(tmp_path / "cmyk.jpg")


def test_few_bits_and_palettes(tmp_path: Path) -> None:
    bits = media.random_frames(1)[0] > 127
    for suffix in (".png", ".tif"):
        Image.fromarray(bits).save(tmp_path / f"bits{suffix}")
        np.testing.assert_array_equal(read_picture(tmp_path / f"bits{suffix}"), bits * np.uint8(255))
        image = Image.fromarray(media.random_frames(1, channels=3)[0]).quantize(16)
        image.save(tmp_path / f"palette{suffix}")
        expected = media.luma_of_rgb(np.asarray(image.convert("RGB")))
        np.testing.assert_array_equal(read_picture(tmp_path / f"palette{suffix}"), expected)
    png(tmp_path / "two.png", 4, 1, 2, 0, b"\0\x1b")
    np.testing.assert_array_equal(read_picture(tmp_path / "two.png"), [[0, 85, 170, 255]])


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4)])
def test_16_bit_colour_png_is_read_whole_not_halved(tmp_path: Path, colour_type: int, channels: int) -> None:
    codes = media.random_frames(1, 1, 2, bits=16, channels=channels)[0]
    png(tmp_path / "p.png", 2, 1, 16, colour_type, b"\0" + codes.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png"), media.luma_of_rgb(codes[..., :3]))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_16_bit_colour_png_is_turned_as_it_asks_for(tmp_path: Path, orientation: int) -> None:
    codes = media.random_frames(1, 2, 3, bits=16, channels=3)[0]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in codes)
    path = png(tmp_path / "p.png", 3, 2, 16, 2, rows)
    exif = Image.Exif()
    exif[274] = orientation
    data = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    content = path.read_bytes()
    path.write_bytes(content[:33] + chunk + content[33:])
    upright = np.rot90(codes, {1: 0, 3: 2, 6: -1, 8: 1}[orientation])
    np.testing.assert_array_equal(read_picture(path), media.luma_of_rgb(upright))


def test_metadata_that_cannot_be_read_are_no_damage_and_no_lines_on_stderr(tmp_path: Path) -> None:
    codes = media.random_frames(1, 24, 32)[0]
    path = png(tmp_path / "p.png", 32, 24, 8, 0, b"".join(b"\0" + row.tobytes() for row in codes))
    content = path.read_bytes()
    data = b"eXIf" + b"\xab" * 30
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    path.write_bytes(content[:33] + chunk + content[33:])
    np.testing.assert_array_equal(read_picture(path), codes)
    Image.fromarray(codes).save(tmp_path / "p.jpg")
    content = (tmp_path / "p.jpg").read_bytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(20)
    (tmp_path / "p.jpg").write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:])
    np.save(tmp_path / "in.npy", codes[np.newaxis])
    result = command("run", "in.npy", "o.npy", "--reference", "p.jpg", "-q", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(("colour_type", "channels"), [(4, 2)])
def test_16_bit_gray_and_alpha_png_is_refused_not_halved(tmp_path: Path, colour_type: int, channels: int) -> None:
    png(tmp_path / "p.png", 2, 1, 16, colour_type, b"\0" + bytes(range(4 * channels)))
    with pytest.raises(SourceError, match="16-bit PNG with alpha, which cannot be read without loss; store it as TIFF"):
        read_picture(tmp_path / "p.png")


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "f2", "f4", ">f4", "f8"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_types(tmp_path: Path, dtype: str, compression: str | None) -> None:
    picture = media.random_frames(1)[0].astype(dtype) * np.dtype(dtype).type(0.25 if "f" in dtype else 1)
    tifffile.imwrite(tmp_path / "p.tif", picture, byteorder=">" if ">" in dtype else "<", compression=compression)
    read = read_picture(tmp_path / "p.tif")
    assert read.dtype == (np.float32 if "f" in dtype else np.dtype(dtype).type)
    np.testing.assert_array_equal(read, picture)


@pytest.mark.parametrize("dtype", ["i1", "i2", "u4", "i4", "c8"])
def test_unsupported_types(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "p.tif", np.zeros((4, 6), dtype))
    with pytest.raises(SourceError, match=r"p.tif' has samples of type .*; use uint8, uint16, float32 or float64"):
        read_picture(tmp_path / "p.tif")


def test_tiff_layouts(tmp_path: Path) -> None:
    rgb = media.random_frames(1, bits=16, channels=3)[0]
    tifffile.imwrite(tmp_path / "chunky.tif", rgb, photometric="rgb")
    tifffile.imwrite(tmp_path / "planar.tif", np.moveaxis(rgb, 2, 0), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "white.tif", 65535 - rgb[..., 0], photometric="miniswhite")
    tifffile.imwrite(tmp_path / "big.tif", rgb[..., 0], bigtiff=True)
    np.testing.assert_array_equal(read_picture(tmp_path / "chunky.tif"), media.luma_of_rgb(rgb))
    np.testing.assert_array_equal(read_picture(tmp_path / "planar.tif"), media.luma_of_rgb(rgb))
    np.testing.assert_array_equal(read_picture(tmp_path / "white.tif"), rgb[..., 0])
    np.testing.assert_array_equal(read_picture(tmp_path / "big.tif"), rgb[..., 0])


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_tiff_compressions(tmp_path: Path, compression: str) -> None:
    gray, deep = media.random_frames(1)[0], media.random_frames(1, bits=16)[0]
    rgb = media.random_frames(1, channels=3)[0]
    for name, picture in (("gray", gray), ("deep", deep), ("rgb", rgb)):
        Image.fromarray(picture).save(tmp_path / f"{name}.tif", compression=compression)
        expected = media.luma_of_rgb(picture) if name == "rgb" else picture
        np.testing.assert_array_equal(read_picture(tmp_path / f"{name}.tif"), expected)


def test_pictures_of_several_pages(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "p.tif", np.zeros((3, 4, 6), np.uint8), photometric="minisblack")
    pages = [Image.fromarray(picture) for picture in media.random_frames(3)]
    pages[0].save(tmp_path / "p.png", save_all=True, append_images=pages[1:])
    for name in ("p.tif", "p.png"):
        with pytest.raises(SourceError, match="holds 3 pictures; one was expected"):
            read_picture(tmp_path / name)


@pytest.mark.parametrize("orientation", range(11))  # 1 to 8 mean something
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    picture = media.random_frames(1)[0]
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"p{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, picture, extratags=[(274, 3, 1, orientation, True)])
        expected = ImageOps.exif_transpose(_tagged(picture, exif))
    else:
        Image.fromarray(picture).save(path, exif=exif)
        with Image.open(path) as image:
            expected = ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(read_picture(path), np.asarray(expected))


def _tagged(picture: np.ndarray, exif: Image.Exif) -> Image.Image:
    image = Image.fromarray(picture)
    image.getexif()[274] = exif[274]
    return image


def test_npy_picture(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).normal(size=(4, 6))
    np.save(tmp_path / "p.npy", picture)
    np.testing.assert_array_equal(read_picture(tmp_path / "p.npy"), picture.astype(np.float32))
    np.save(tmp_path / "p.npy", np.zeros((2, 4, 6, 3)))
    with pytest.raises(SourceError, match=r"must be \(H, W\)"):
        read_picture(tmp_path / "p.npy")


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    picture = media.random_frames(1)[0]
    iio.imwrite(tmp_path / "p.png", picture)
    (tmp_path / "p.png").rename(tmp_path / "p.jpg")
    np.testing.assert_array_equal(read_picture(tmp_path / "p.jpg"), picture)
    for content in (b"GIF89a", b"%!PS-Adobe", b"text", b"BM"):
        (tmp_path / "p.png").write_bytes(content + bytes(100))
        with pytest.raises(SourceError, match=r"is no PNG, JPEG, TIFF or .npy file"):
            read_picture(tmp_path / "p.png")


def test_a_decompression_bomb_is_refused_unread(tmp_path: Path) -> None:
    png(tmp_path / "p.png", 20000, 10000, 8, 0, b"")
    tifffile.imwrite(tmp_path / "p.tif", np.zeros((4, 6), np.uint8))
    with tifffile.TiffFile(tmp_path / "p.tif", mode="r+") as file:
        file.pages[0].tags["ImageWidth"].overwrite(20000)
        file.pages[0].tags["ImageLength"].overwrite(10000)
    jpeg = iio.imwrite("<bytes>", np.zeros((4, 6), np.uint8), extension=".jpg")
    (tmp_path / "p.jpg").write_bytes(jpeg.replace(struct.pack(">HH", 4, 6), struct.pack(">HH", 10000, 20000), 1))
    for name in ("p.png", "p.tif", "p.jpg"):
        with pytest.raises(SourceError, match=r"says it is 20000 x 10000; pictures of 1 to 134217728 pixels are read"):
            read_picture(tmp_path / name)


@pytest.mark.parametrize("compression", ["zlib", "lzma"])
def test_a_strip_that_unpacks_to_gigabytes_takes_no_memory(tmp_path: Path, compression: str) -> None:
    if compression == "lzma":
        packed = lzma.compress(bytes(1 << 27), preset=0)
    else:
        packer = zlib.compressobj(9)
        first, again = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
        packed = first + again * 4096
    tifffile.imwrite(tmp_path / "p.tif", np.zeros((32, 48), np.uint8), compression=compression)
    with tifffile.TiffFile(tmp_path / "p.tif", mode="r+") as file:
        file.pages[0].tags["StripByteCounts"].overwrite(len(packed))
        file.pages[0].tags["StripOffsets"].overwrite((tmp_path / "p.tif").stat().st_size)
    with (tmp_path / "p.tif").open("ab") as opened:
        opened.write(packed)
    tracemalloc.start()
    with pytest.raises(DamagedInputError, match="a strip unpacks to more than its part of the picture"):
        read_picture(tmp_path / "p.tif")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".npy"])
@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.5, 0.97])
def test_cut_pictures_are_damaged(tmp_path: Path, suffix: str, fraction: float) -> None:
    picture = media.random_frames(1, 100, 100)[0]
    path = tmp_path / f"p{suffix}"
    np.save(path, picture) if suffix == ".npy" else iio.imwrite(path, picture)
    media.cut(path, path, fraction)
    with pytest.raises(DamagedInputError) as caught:
        read_picture(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tiff_cut_before_its_directory(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(media.random_frames(1)[0]).save(tmp_path / "p.tif", compression="tiff_lzw")
    media.cut(tmp_path / "p.tif", tmp_path / "p.tif", 0.7)
    with pytest.raises(DamagedInputError, match="it ends early"):
        read_picture(tmp_path / "p.tif")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_changed_byte_in_a_png_is_damage(tmp_path: Path, place: float) -> None:
    iio.imwrite(tmp_path / "p.png", media.random_frames(1)[0], compress_level=0)
    media.corrupt(tmp_path / "p.png", tmp_path / "p.png", place, n_bytes=1)
    with pytest.raises(DamagedInputError, match="checksum mismatch"):
        read_picture(tmp_path / "p.png")
