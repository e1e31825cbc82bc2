"""Picture files, arrays and displacement fields that are broken or lie, and what other readers make of them.

Imports nothing of the package under test.
"""

import ast
import lzma
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import tifffile
from hostile_corpus import HEIGHT, WIDTH
from media import ffmpeg, luma_of_rgb

N_FRAMES = 4


def _deep(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.uint16) * 257


def _rgb(picture: np.ndarray) -> np.ndarray:
    return np.stack([picture, 255 - picture // 2, picture // 3], axis=-1)


def _deep_rgb_png(path: Path, picture: np.ndarray) -> None:
    cv2.imwrite(str(path), _deep(_rgb(picture))[:, :, ::-1])


WRITERS: dict[str, tuple[str, Callable[[Path, np.ndarray], object]]] = {
    "png": (".png", iio.imwrite),
    "png-16": (".png", lambda path, p: iio.imwrite(path, _deep(p))),
    "png-rgb": (".png", lambda path, p: iio.imwrite(path, _rgb(p))),
    "png-rgb-16": (".png", _deep_rgb_png),
    "jpg": (".jpg", lambda path, p: iio.imwrite(path, p, quality=95)),
    "jpg-rgb": (".jpg", lambda path, p: iio.imwrite(path, _rgb(p), quality=95)),
    "tif": (".tif", tifffile.imwrite),
    "tif-16": (".tif", lambda path, p: tifffile.imwrite(path, _deep(p), compression="zlib")),
    "tif-rgb": (".tif", lambda path, p: tifffile.imwrite(path, _rgb(p), photometric="rgb")),
    "tif-float": (".tif", lambda path, p: tifffile.imwrite(path, p.astype(np.float32))),
    "tif-lzw": (".tif", lambda path, p: cv2.imwrite(str(path), p, [cv2.IMWRITE_TIFF_COMPRESSION, 5])),
    "tif-tiles": (".tif", lambda path, p: tifffile.imwrite(path, p, tile=(16, 16))),
    "npy": (".npy", np.save),
    "npy-float": (".npy", lambda path, p: np.save(path, p.astype(np.float64) / 255)),
    "npy-rgb": (".npy", lambda path, p: np.save(path, _rgb(p))),
}
"""Each kind's ending, and what writes a gray picture as one."""


def read_elsewhere(path: Path) -> np.ndarray | None:
    """Return the luma of a picture by another reader, or None where that finds none."""
    start = path.read_bytes()[:6]
    if start == b"\x93NUMPY":
        picture = read_npy(path)
    elif start[:2] == b"\xff\xd8" or start[:4] == b"\x89PNG":
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        picture = picture[:, :, ::-1] if picture is not None and picture.ndim == 3 else picture
    else:
        picture = read_tiff(path)
    if picture is None or picture.ndim == 2:
        return picture
    return luma_of_rgb(picture) if picture.dtype.kind == "u" else picture @ np.array([0.299, 0.587, 0.114])


def read_npy(path: Path) -> np.ndarray:
    """Read an array by the format's description."""
    content = path.read_bytes()
    size = 2 if content[6] == 1 else 4
    (length,) = struct.unpack_from("<H" if size == 2 else "<I", content, 8)
    header = ast.literal_eval(content[8 + size : 8 + size + length].decode("latin-1"))
    count = int(np.prod(header["shape"], dtype=object))
    array = np.frombuffer(content, np.dtype(header["descr"]), count, 8 + size + length)
    return array.reshape(header["shape"], order="F" if header["fortran_order"] else "C")


def read_tiff(path: Path) -> np.ndarray | None:
    """Read a TIFF by the library of that name."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return picture[:, :, ::-1] if picture is not None and picture.ndim == 3 else picture


def a_field(shift: float) -> np.ndarray:
    """Make a displacement field that differs everywhere."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([shift + np.sin(y / 5) * 2, np.cos(x / 7) - shift], axis=-1).astype(np.float32)


def _kitti(path: Path, field: np.ndarray) -> None:
    codes = np.rint(field * 64 + 32768).astype(np.uint16)
    cv2.imwrite(str(path), np.dstack([np.ones(codes.shape[:2], np.uint16), codes[..., 1], codes[..., 0]]))


def _flo(path: Path, field: np.ndarray) -> None:
    path.write_bytes(struct.pack("<fii", 202021.25, field.shape[1], field.shape[0]) + field.tobytes())


def _exr(path: Path, field: np.ndarray) -> None:
    import OpenEXR

    channels = {"R": field[..., 0].copy(), "G": field[..., 1].copy(), "B": np.zeros(field.shape[:2], np.float32)}
    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, channels).write(str(path))


FIELD_WRITERS: dict[str, Callable[[Path, np.ndarray], object]] = {
    ".npy": np.save,
    ".flo": _flo,
    ".png": _kitti,
    ".exr": _exr,
}


def read_field_elsewhere(path: Path) -> np.ndarray:
    """Return the displacements of a file by another reader; NaN in both components where there is none."""
    if path.suffix == ".npy":
        field = read_npy(path).astype(np.float32)
    elif path.suffix == ".flo":
        content = path.read_bytes()
        width, height = struct.unpack_from("<ii", content, 4)
        field = np.frombuffer(content, "<f4", 2 * height * width, 12).reshape(height, width, 2).copy()
        field[~(np.abs(field) <= 1e9)] = np.nan
    elif path.suffix == ".png":
        codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        field = (codes[..., :0:-1].astype(np.float32) - 32768) / 64
        field[codes[..., 0] == 0] = np.nan
    else:
        planes = np.frombuffer(ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "gbrpf32le", "-"), "<f4")
        green, _, red = planes.reshape(3, HEIGHT, WIDTH)
        field = np.stack([red, green], axis=-1)
    field[np.isnan(field).any(axis=-1)] = np.nan
    return field


def png_chunks(header: bytes, rows: bytes) -> bytes:
    """Put a PNG together, whatever its header says."""
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode("latin-1") + data


def _npy_of(shape: str, descr: str = "|u1") -> bytes:
    return _npy(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n", bytes(64))


def _tiff(width: int, height: int, **tags: int) -> bytes:
    """A TIFF of one strip by the book: 8-bit gray."""
    fields = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: height, 279: 64}
    fields |= {int(tag.removeprefix("t")): value for tag, value in tags.items()}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(fields.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4) + bytes(200)


def _tiff_packed(compression: int, packed: bytes) -> bytes:
    return _tiff(WIDTH, HEIGHT, t259=compression, t279=len(packed))[:200] + packed


def liars(pickled: bytes) -> dict[str, bytes]:
    """Make files that claim what they are not, by name; `pickled` is an array of objects that must never be loaded."""
    bomb = zlib.compress(bytes(1 << 24), 9)
    packer = zlib.compressobj(9)
    begin, more = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return {
        "pickle.npy": pickled,
        "shape-overflow.npy": _npy_of("(4294967296, 4294967296)"),
        "shape-product-is-small.npy": _npy_of("(4, 4611686018427387904, 4611686018427387904, 4)"),
        "shape-huge.npy": _npy_of("(9, 1000000, 1000000)"),
        "shape-negative.npy": _npy_of("(-4, -16)"),
        "shape-0.npy": _npy_of("(0, 32, 48)"),
        "shape-none.npy": _npy_of("()"),
        "shape-1.npy": _npy_of("(64,)"),
        "shape-5.npy": _npy_of("(2, 2, 2, 2, 4)"),
        "shape-digits.npy": _npy_of("(" + "9" * 4000 + ", 4)"),
        "nested.npy": _npy_of("(" * 2000 + ")" * 2000),
        "code.npy": _npy_of("__import__('os').system('touch gone')"),
        "is.npy": _npy_of("(1 is 1, 8)"),
        "escape.npy": _npy_of("(4, 16)", "\\d"),
        "void.npy": _npy_of("(1, 1, 1)", "|V64"),
        "text.npy": _npy_of("(4, 4)", "<U1"),
        "complex.npy": _npy_of("(2, 2, 2)", "<c8"),
        "date.npy": _npy_of("(2, 2, 2)", "<M8[ns]"),
        "header-of-gigabytes.npy": b"\x93NUMPY\2\0\xff\xff\xff\x7f" + bytes(64),
        "giant.png": png_chunks(struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0), bytes(64)),
        "giant-16-rgb.png": png_chunks(struct.pack(">IIBBBBB", 2**30, 2**30, 16, 2, 0, 0, 0), bytes(64)),
        "zero.png": png_chunks(struct.pack(">IIBBBBB", 0, 0, 8, 0, 0, 0, 0), b""),
        "bomb.png": png_chunks(struct.pack(">IIBBBBB", 48, 32, 8, 0, 0, 0, 0), bytes(1 << 26)),
        "bomb-16-rgb.png": png_chunks(struct.pack(">IIBBBBB", 48, 32, 16, 2, 0, 0, 0), bytes(1 << 26)),
        "bomb-text.png": b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d))
            for n, d in [
                (b"IHDR", struct.pack(">IIBBBBB", 48, 32, 8, 0, 0, 0, 0)),
                (b"zTXt", b"Comment\0\0" + bomb),
                (b"iCCP", b"icc\0\0" + bomb),
                (b"IDAT", zlib.compress(bytes(49 * 32 - 9))),
                (b"IEND", b""),
            ]
        ),
        "bad-type.png": png_chunks(struct.pack(">IIBBBBB", 48, 32, 7, 5, 9, 9, 9), bytes(49 * 32)),
        "giant.tif": _tiff(2**31 - 1, 2**31 - 1),
        "giant-samples.tif": _tiff(48, 32, t277=60000),
        "giant-strip.tif": _tiff(48, 32, t279=2**31),
        "strip-outside.tif": _tiff(48, 32, t273=2**31),
        "strip-short.tif": _tiff(48, 32),
        "bits.tif": _tiff(48, 32, t258=2**16),
        "rows-per-strip-0.tif": _tiff(48, 32, t278=0),
        "deflate.tif": _tiff(48, 32, t259=8),
        "bomb-deflate.tif": _tiff_packed(8, begin + more * 1024),
        "bomb-lzma.tif": _tiff_packed(34925, lzma.compress(bytes(1 << 26), preset=0)),
        "lzw.tif": _tiff(48, 32, t259=5),
        "jpeg.tif": _tiff(48, 32, t259=7),
        "unknown-compression.tif": _tiff(48, 32, t259=77),
        "loop.tif": b"II*\0" + struct.pack("<IHI", 8, 0, 8) + bytes(100),
        "directory-outside.tif": b"II*\0" + struct.pack("<I", 2**31) + bytes(100),
        "entries.tif": b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(100),
        "big.tif": b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 2**63) + bytes(100),
        "giant.jpg": bytes.fromhex("ffd8ffc0000b08ffffffff010111 00ffda0008010100003f00".replace(" ", "")) + bytes(64),
        "giant.flo": struct.pack("<fii", 202021.25, 2**30, 2**30) + bytes(64),
        "negative.flo": struct.pack("<fii", 202021.25, -48, -32) + bytes(64),
        "nothing.exr": b"\x76\x2f\x31\x01\2\0\0\0" + bytes(64),
    }
