"""Displacement fields and files of them, made by other means than the package's."""

import struct
import zlib
from pathlib import Path

import numpy as np
import OpenEXR

H, W = 5, 7


def ramp(height: int = H, width: int = W) -> np.ndarray:
    """A field whose every number is another, with fractions and both signs."""
    return ((np.arange(height * width * 2).reshape(height, width, 2) - 31) / 8).astype(np.float32)


def write_exr(path: Path, channels: dict[str, np.ndarray], **header: object) -> Path:
    kind = OpenEXR.tiledimage if "tiles" in header else OpenEXR.scanlineimage
    arrays = {name: np.ascontiguousarray(plane) for name, plane in channels.items()}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": kind, **header}
    OpenEXR.File(header, arrays).write(str(path))
    return path


def png_bytes(codes: np.ndarray, *, interlace: int = 0, depth: int = 16) -> bytes:
    """A PNG by the book: filter 0 in every row."""
    height, width, samples = codes.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in codes)
    header = struct.pack(">IIBBBBB", width, height, depth, {3: 2, 4: 6}[samples], 0, 0, interlace)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def kitti_codes() -> np.ndarray:
    codes = np.random.default_rng(3).integers(0, 65536, (H, W, 3)).astype(np.uint16)
    codes[..., 2] = np.arange(H * W).reshape(H, W) % 3
    return codes
