"""What tifffile does not check of a TIFF before it reads it, and what it says where nobody asked."""

import contextlib
import io
import logging
import lzma
import math
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from framencc.errors import DamagedInputError, SourceError

logger = logging.getLogger(__name__)

_MOST_SAMPLES = 4
_DEFLATE, _LZMA = (8, 32946), (34925,)
_LARGEST_RATIO = {_DEFLATE: 1032, _LZMA: 1 << 20}  # how much a byte can unpack to
_LARGEST_VALUES = (281, 341)  # MaxSampleValue, SMaxSampleValue
_WHITES = [(1 << bits) - 1 for bits in range(8, 17)]
_OME_BITS = re.compile(r'<Pixels\b[^>]*\bSignificantBits="(\d{1,2})"')
_HARMLESS = 1 << 28  # bytes; a second look at what cannot unpack to more would only take time


@contextlib.contextmanager
def remarks_for_debugging() -> Iterator[None]:
    """Keep what tifffile logs of tags that it leaves out away from stderr, where our one line says what is wrong."""
    thread = threading.get_ident()

    def lower(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        logger.debug("tifffile: %s", record.getMessage())
        return False

    talkative = logging.getLogger("tifffile")
    talkative.addFilter(lower)
    try:
        yield
    finally:
        talkative.removeFilter(lower)


def check_directory(path: Path, where: str) -> None:
    """Find a TIFF cut before its directory, of which tifffile would print a message of its own.

    Raises
    ------
    DamagedInputError
        When it is.
    """
    with path.open("rb") as file:
        header = file.read(16).ljust(16, b"\0")
        size = file.seek(0, io.SEEK_END)
    order = "<" if header.startswith(b"II") else ">"
    is_big = header[2:4] in (b"+\0", b"\0+")
    (offset,) = struct.unpack_from(f"{order}Q", header, 8) if is_big else struct.unpack_from(f"{order}I", header, 4)
    if not 0 < offset < size:
        raise DamagedInputError(f"{where} is damaged: it ends early")


def stored_bits(page: Any) -> int | None:
    """Return how many bits of its samples a tifffile.TiffPage says are significant; None where it does not say.

    Packed samples say so by their size. A largest value is taken for white where it is one less than a power of two:
    many writers give the largest one that the picture holds.
    """
    if page.bitspersample in range(9, 16):
        return int(page.bitspersample)
    if found := _OME_BITS.search(page.description or ""):
        return int(found[1]) if 8 <= int(found[1]) <= 16 else None
    for tag in _LARGEST_VALUES:
        value = page.tags.valueof(tag)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, int) and one in _WHITES:
                return one.bit_length()
    return None


def check_samples(page: Any, where: str) -> None:
    """Refuse more samples than a picture of that size has, in its pixels or packed into its strips and tiles.

    tifffile unpacks a strip to whatever it holds, and cuts it afterwards: a file of a megabyte could take gigabytes.

    Parameters
    ----------
    page
        The tifffile.TiffPage, whose size has been checked.
    where
        How messages name the file.

    Raises
    ------
    SourceError
        When a pixel has more samples than any picture's.
    DamagedInputError
        When a strip or tile unpacks to more than it should.
    """
    if page.samplesperpixel > _MOST_SAMPLES:
        raise SourceError(
            f"{where} has {page.samplesperpixel} samples a pixel; pictures of 1 to {_MOST_SAMPLES} are read"
        )
    ratio = next((ratio for kinds, ratio in _LARGEST_RATIO.items() if page.compression in kinds), None)
    if ratio is None:
        return
    # Some writers fill up the last strip.
    largest = 2 * math.prod(page.chunks) * page.dtype.itemsize
    file = page.parent.filehandle
    for offset, n_packed in zip(page.dataoffsets, page.databytecounts, strict=False):
        if n_packed * ratio <= max(largest, _HARMLESS):
            continue
        file.seek(offset)
        unpacker = zlib.decompressobj() if page.compression in _DEFLATE else lzma.LZMADecompressor()
        try:
            n_unpacked = len(unpacker.decompress(file.read(n_packed), largest + 1))
        except (zlib.error, lzma.LZMAError, EOFError) as error:
            raise DamagedInputError(f"{where} is damaged: {error}") from None
        if n_unpacked > largest:
            raise DamagedInputError(f"{where} is damaged: a strip unpacks to more than its part of the picture")
