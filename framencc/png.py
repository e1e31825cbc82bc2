"""PNG files seen from outside (chunks and their checksums), and the pixels of the 16-bit colour ones.

Pillow, and so imageio's default, halves 16-bit colour to 8 bits without a word (`PngImagePlugin._MODES` has no other
mode for it), and so does imageio's OpenCV plugin. Such files can hold measurements, so they are decoded here.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.errors import DamagedInputError, SourceError
from framencc.lookup import check_file_size

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RGB, RGBA = 2, 6
_SAMPLES = {RGB: 3, RGBA: 4}
_LAST_FILTER = 4
_HEADER_BYTES = len(SIGNATURE) + 25
# What decides over the pixels. All else, which can unpack to gigabytes, is left out before a decoder sees it.
_OF_THE_PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_ORIENTATIONS = (b"Raw profile type exif", b"XML:com.adobe.xmp")
_LONGEST_TEXT = 1 << 20
_MOST_CHUNKS = 500_000


class Header(NamedTuple):
    """What a PNG says of itself, in the order of its IHDR chunk; and by its further chunks."""

    width: int = 0
    height: int = 0
    bit_depth: int = 0
    colour_type: int = 0
    compression: int = 0
    filtering: int = 0
    interlace: int = 0
    significant_bits: int | None = None  # of samples; None where it does not say
    may_be_turned: bool = False  # by an orientation that it holds

    @property
    def is_16_bit_colour(self) -> bool:
        """Whether the samples are 16-bit RGB or RGBA."""
        return self.bit_depth == 16 and self.colour_type in _SAMPLES


def read(path: Path, where: str, accept: Callable[[Header], None]) -> tuple[bytes, Header]:
    """Read a whole file, once its header is accepted, and verify the checksums of all chunks, which Pillow skips.

    Parameters
    ----------
    path
        The file; it begins as a PNG does.
    where
        How messages name it.
    accept
        Raises an error for a picture that is not to be read, whose size above all.

    Returns
    -------
    content : bytes
        The file without the chunks that do not concern the picture.
    header : Header
        What it says of itself.

    Raises
    ------
    SourceError
        When it holds several pictures, or far more than its pixels need.
    DamagedInputError
        When a checksum is wrong or the file ends early.
    """
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
        header = _header(start, where)
        accept(header)
        check_file_size(file, (header.height, header.width), where)
        content = start + file.read()
    kept = [SIGNATURE]
    position = len(SIGNATURE)
    for n_chunks, (name, data) in enumerate(_chunks(content, where)):
        end = position + 12 + len(data)
        if n_chunks > _MOST_CHUNKS:
            raise SourceError(f"{where} has more than {_MOST_CHUNKS} chunks, too many to look at; save it again")
        if name == b"acTL" and (count := int.from_bytes(data[:4], "big")) > 1:
            raise SourceError(f"{where} holds {count} pictures; one was expected: store each in a file of its own")
        if name in _OF_THE_PICTURE or (name in _TEXTS and _may_hold_orientation(name, data)):
            kept.append(content[position:end])
            if name == b"eXIf" or name in _TEXTS:
                header = header._replace(may_be_turned=True)
        elif name == b"sBIT":
            header = header._replace(significant_bits=_significant_bits(header, data))
        position = end
    return b"".join(kept), header


def _header(start: bytes, where: str) -> Header:
    name, data = next(_chunks(start, where))
    if name == b"CgBI":
        raise SourceError(f"{where} is a PNG of Apple's own kind (CgBI), which is not read; convert it to plain PNG")
    if name != b"IHDR" or len(data) != 13:
        raise DamagedInputError(f"{where} is damaged: it does not begin with its header of 13 bytes")
    return Header(*struct.unpack(">IIBBBBB", data))


def _significant_bits(header: Header, data: memoryview) -> int | None:
    colours = bytes(data[: 3 if header.colour_type & 2 else 1])  # after them alpha's
    bits = max(colours, default=0)
    return bits if 8 <= bits <= header.bit_depth else None


def _may_hold_orientation(name: bytes, data: memoryview) -> bool:
    """Whether a text chunk is one in which Pillow looks for the orientation, and short enough to be looked at."""
    keyword, _, rest = bytes(data[:_LONGEST_TEXT]).partition(b"\0")
    if len(data) >= _LONGEST_TEXT or keyword not in _ORIENTATIONS:
        return False
    if name != b"zTXt":
        return name == b"tEXt" or rest.startswith(b"\0")  # not packed
    try:
        return len(zlib.decompressobj().decompress(rest[1:], _LONGEST_TEXT)) < _LONGEST_TEXT
    except zlib.error:
        return False


def decode_16_bit_colour(content: bytes, header: Header, where: str) -> npt.NDArray[np.uint16]:
    """Decode the pixels of a 16-bit RGB or RGBA file that `check` has seen; the caller has checked its size.

    Parameters
    ----------
    content
        The whole file.
    header
        As `check` returned it; `is_16_bit_colour`.
    where
        How messages name the file.

    Returns
    -------
    ndarray
        (H, W, 3 or 4) uint16, the codes as stored: no gamma, no colour management, no premultiplication.

    Raises
    ------
    SourceError
        When the file is interlaced, or of a kind that PNG does not know yet.
    DamagedInputError
        When the pixels are broken.
    """
    if header.interlace or header.compression or header.filtering:
        raise SourceError(f"{where} is an interlaced PNG; store it without interlacing")
    samples = _SAMPLES[header.colour_type]
    row_bytes = 2 * samples * header.width
    lines = _inflate(content, header.height * (1 + row_bytes), where).reshape(header.height, 1 + row_bytes)
    if lines[:, 0].max() > _LAST_FILTER:
        raise DamagedInputError(f"{where} is damaged: a row has filter {lines[:, 0].max()}, the last is {_LAST_FILTER}")
    from framencc.kernels.png_filters import undo_filters  # noqa: PLC0415  (Numba is slow to import)

    rows = np.empty((header.height, row_bytes), np.uint8)
    undo_filters(lines, 2 * samples, rows)
    return rows.view(">u2").reshape(header.height, header.width, samples).astype(np.uint16)


def _inflate(content: bytes, size: int, where: str) -> npt.NDArray[Any]:
    """Return the `size` bytes that all IDAT chunks unpack to, never more: a small file can hold terabytes of zeros."""
    packed = b"".join(data for name, data in _chunks(content, where) if name == b"IDAT")
    inflater = zlib.decompressobj()
    try:
        lines = inflater.decompress(packed, size + 1)
    except zlib.error as error:
        raise DamagedInputError(f"{where} is damaged: {error}") from None
    if len(lines) != size or not inflater.eof:
        raise DamagedInputError(f"{where} is damaged: its pixels do not fill its size")
    return np.frombuffer(lines, np.uint8)


def _chunks(content: bytes, where: str) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and data of each chunk, up to and with IEND."""
    view = memoryview(content)
    position, name = len(SIGNATURE), b""
    while name != b"IEND":
        if position + 12 > len(content):
            raise DamagedInputError(f"{where} is damaged: it ends early")
        size, name = struct.unpack_from(">I4s", content, position)
        end = position + 8 + size
        if content[end : end + 4] != struct.pack(">I", zlib.crc32(view[position + 4 : end])):
            raise DamagedInputError(f"{where} is damaged: checksum mismatch or early end at byte {position}")
        yield name, view[position + 8 : end]
        position = end + 4
