"""Videos that are edited byte by byte or packet by packet. Imports nothing of the package under test."""

import re
import struct
from collections.abc import Callable
from pathlib import Path

import media

H264 = ("-c:v", "libx264", "-preset", "veryfast", "-x264-params", "scenecut=0")
# x265 writes beyond its memory where a picture is smaller than its usual blocks of 64 pixels.
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:ctu=16:keyint=12:open-gop=1")
MPEG2 = ("-c:v", "mpeg2video", "-bf", "2", "-g", "12")
TRUNCATED_SEI = bytes([5, 200]) + b"0123456789abcdef" + b"short" + b"\x80"


def clip(path: Path, *codec: object, begin: float = 0, n_frames: int = 30, size: str = "64:48") -> Path:
    """Encode some frames of real footage, small and with square pixels."""
    filters = f"crop={size},setsar=1"
    media.ffmpeg("-ss", begin, "-i", media.footage(), "-vf", filters, "-frames:v", n_frames, *codec, path)
    return path


def without_packets(source: Path, target: Path, drop: str) -> Path:
    """Copy the packets of a video, but for those that an expression of ffmpeg's `noise` filter names."""
    noise = "noise=drop=" + drop.replace(",", "\\,")
    media.ffmpeg("-copyts", "-bsf:v", noise, "-i", source, "-map", "0:v", "-c", "copy", "-copyinkf", target)
    return target


def join(target: Path, *parts: Path) -> Path:
    """Put files behind each other, as cat does."""
    target.write_bytes(b"".join(part.read_bytes() for part in parts))
    return target


def units(content: bytes) -> list[bytes]:
    """Split a raw H.264 or HEVC stream into its units, without their start codes."""
    starts = [match.start() for match in re.finditer(b"\0\0\1", content)]
    parts = [content[begin + 3 : end] for begin, end in zip(starts, [*starts[1:], len(content)], strict=True)]
    return [part[:-1] if part.endswith(b"\0") else part for part in parts]


def of_units(parts: list[bytes]) -> bytes:
    """Put a raw stream together again."""
    return b"".join(b"\0\0\0\1" + part for part in parts)


def is_h264_slice(unit: bytes) -> bool:
    """Whether a unit holds samples."""
    return unit[0] & 31 in (1, 5)


def with_sei(content: bytes, payload: bytes = TRUNCATED_SEI) -> bytes:
    """Put a supplementary message before each frame of a raw H.264 stream."""
    parts: list[bytes] = []
    for unit in units(content):
        if is_h264_slice(unit) and unit[1] & 0x80:
            parts.append(b"\x06" + payload)
        parts.append(unit)
    return of_units(parts)


def with_segment(source: Path, target: Path, segment: Callable[[int], bytes]) -> Path:
    """Put a segment behind the first marker of each JPEG of an AVI; ffmpeg writes the list anew."""
    content, jpegs = source.read_bytes(), []
    position = content.index(b"movi") + 4
    while content[position : position + 4] == b"00dc":
        size = struct.unpack("<I", content[position + 4 : position + 8])[0]
        jpeg = content[position + 8 : position + 8 + size]
        jpegs.append(jpeg[:2] + segment(len(jpegs)) + jpeg[2:])
        position += 8 + size + size % 2
    raw = target.with_suffix(".mjpeg")
    raw.write_bytes(b"".join(jpegs))
    media.ffmpeg("-r", 25, "-f", "mjpeg", "-i", raw, "-c", "copy", target)
    return target


def exif(orientation: int) -> bytes:
    """Write an APP1 segment that says how a picture is to be turned."""
    tiff = b"II*\0\x08\0\0\0\1\0\x12\x01\3\0\1\0\0\0" + struct.pack("<HH", orientation, 0) + bytes(4)
    content = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
