"""Just enough Matroska to hand ffmpeg raw pictures with a time each.

ffmpeg's rawvideo input knows one constant frame rate and nothing else, so the times of a clip with a variable rate, or
one that does not start at 0, would be lost on the way in. Matroska with V_UNCOMPRESSED video carries a time stamp per
picture, in whole nanoseconds, and can be written to a pipe: one header, then one cluster a picture.

Element numbers: RFC 9559, section 5.
"""

from fractions import Fraction
from typing import Any

import numpy as np

# ffmpeg's names of raw pictures, gray and RGB (libavcodec/raw.c), by dtype and values of a pixel.
_FOURCC = {
    (np.dtype(np.uint8), 1): b"Y800",
    (np.dtype(np.uint16), 1): b"Y1\x00\x10",
    (np.dtype(np.uint8), 3): b"RGB\x18",
}
_UNKNOWN_SIZE = b"\x01" + b"\xff" * 7
_FULL_RANGE = 2


def stream_header(height: int, width: int, dtype: np.dtype[Any], frame_rate: Fraction, components: int = 1) -> bytes:
    """Open a stream of full-range pictures.

    Parameters
    ----------
    height, width
        Size of every picture in pixels.
    dtype
        uint8 or uint16.
    frame_rate
        Nominal pictures per second; it decides no time.
    components
        1 for gray; 3 for red, green and blue, uint8.

    Returns
    -------
    bytes
        What comes before the first picture.
    """
    video = _element(
        "E0",
        _number("B0", width)
        + _number("BA", height)
        + _element("2EB524", _FOURCC[dtype, components])  # UncompressedFourCC
        + _element("55B0", _number("55B9", _FULL_RANGE)),  # Colour: Range
    )
    track = _element(
        "AE",
        _number("D7", 1)  # TrackNumber
        + _number("73C5", 1)  # TrackUID
        + _number("83", 1)  # TrackType: video
        + _number("9C", 0)  # FlagLacing
        + _number("23E383", round(1_000_000_000 / frame_rate))  # DefaultDuration
        + _element("86", b"V_UNCOMPRESSED")
        + video,
    )
    return header_of(_element("1654AE6B", track))


def header_of(tracks: bytes) -> bytes:
    """Open a stream whose times are nanoseconds, of the tracks that a whole Tracks element describes."""
    ebml = _element(
        "1A45DFA3",
        _number("4286", 1)  # EBMLVersion
        + _number("42F7", 1)  # EBMLReadVersion
        + _number("42F2", 4)  # EBMLMaxIDLength
        + _number("42F3", 8)  # EBMLMaxSizeLength
        + _element("4282", b"matroska")  # DocType
        + _number("4287", 4)  # DocTypeVersion
        + _number("4285", 2),  # DocTypeReadVersion
    )
    info = _element(
        "1549A966",
        _number("2AD7B1", 1)  # TimestampScale: nanoseconds
        + _element("4D80", b"framencc")  # MuxingApp
        + _element("5741", b"framencc"),  # WritingApp
    )
    return header_like(ebml, info, tracks)


def header_like(ebml: bytes, info: bytes, tracks: bytes) -> bytes:
    """Open a stream of which these elements, as another file has them, say everything."""
    return ebml + bytes.fromhex("18538067") + _UNKNOWN_SIZE + info + tracks


def picture_header(nanoseconds: int, n_bytes: int, *, is_key: bool = True) -> bytes:
    """Announce one picture.

    Parameters
    ----------
    nanoseconds
        Its time, from 0; in the stream's own unit where that is another.
    n_bytes
        Size of its content, which has to follow: pixels, little-endian, without padding, or a packet.
    is_key
        Whether it can be shown without any other.

    Returns
    -------
    bytes
        What comes before its content.
    """
    time = _number("E7", nanoseconds)
    at_cluster_time = b"\x81\x00\x00\x80" if is_key else b"\x81\x00\x00\x00"
    block = bytes.fromhex("A3") + _size(len(at_cluster_time) + n_bytes) + at_cluster_time
    return bytes.fromhex("1F43B675") + _size(len(time) + len(block) + n_bytes) + time + block


def _size(n_bytes: int) -> bytes:
    """Write a length in its eight-byte form, which is always allowed."""
    return (n_bytes | 1 << 56).to_bytes(8, "big")


def _element(number: str, content: bytes) -> bytes:
    return bytes.fromhex(number) + _size(len(content)) + content


def _number(number: str, value: int) -> bytes:
    return _element(number, value.to_bytes(8, "big"))
