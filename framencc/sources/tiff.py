"""TIFF files: which of their directories is the picture, what kind of picture it is, and what of it can be read."""

import contextlib
import io
import json
import logging
import math
import re
import struct
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from framencc.errors import DamagedInputError, SourceError
from framencc.sources.tiff_samples import COMPRESSIONS, FLOATING_POINT, HORIZONTAL, PACK_BITS, PREDICTABLE, Layout

logger = logging.getLogger(__name__)

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
# libtiff, inside Pillow, reads these as well: CCITT, JPEG and Zstandard.
COMPRESSIONS_OF_PILLOW = (2, 3, 4, 6, 7, 50000)

_MOST_SAMPLES = 4
_LARGEST_VALUES = (281, 341)  # MaxSampleValue, SMaxSampleValue
_WHITES = [(1 << bits) - 1 for bits in range(8, 17)]
_OME_BITS = re.compile(r'<Pixels\b[^>]*\bSignificantBits="(\d{1,2})"')
_MOST_PAGES = 1000
_FEW_BITS, _PACKED_BITS = (2, 4), range(9, 16)
_TYPES = {1: "u", 2: "i", 3: "f", 4: "u", 6: "c"}  # by sample format; undefined samples are whole numbers
_SIZES = {"u": (8, 16, 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64), "c": (64, 128)}
_JPEG_THUMBNAIL = 513
_STACK_PLANES, _SUB_DIRECTORIES, _PHOTOMETRIC = 33629, 330, 262
_OLD_JPEG = 6
_VALUE_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # others have one byte
_LARGEST_VALUE = 64 << 20
_TABLES = (273, 279, 324, 325)  # where each strip or tile is, and how long; each takes its time, however small
_LARGEST_TABLE = 2 << 20
_KINDS = {
    4: "a transparency mask",
    5: "in CMYK",
    8: "in CIELab",
    9: "in ICC Lab",
    10: "in ITU Lab",
    32803: "raw sensor data, a Bayer mosaic or another colour filter array (CFA)",
    32844: "in LogL (HDR)",
    32845: "in LogLuv (HDR)",
    34892: "linear raw data of a camera (DNG)",
    51177: "a depth map",
}
_RAW = (32803, 34892)


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


def check_directories(path: Path, where: str) -> None:
    """Look at the directories before tifffile does: it prints a message of its own where one is missing.

    It also reads every value that they announce, which a sparse file can have gigabytes of.

    Raises
    ------
    DamagedInputError
        When the first directory is not there.
    SourceError
        When a value is larger than any that belongs to a picture.
    """
    with path.open("rb") as file:
        header = file.read(16).ljust(16, b"\0")
        order = "<" if header.startswith(b"II") else ">"
        is_big = header[2:4] in (b"+\0", b"\0+")
        (offset,) = struct.unpack_from(f"{order}Q", header, 8) if is_big else struct.unpack_from(f"{order}I", header, 4)
        if not 0 < offset < file.seek(0, io.SEEK_END):
            raise DamagedInputError(f"{where} is damaged: it ends early")
        following, seen = [offset], set[int]()
        while following and len(seen) < _MOST_PAGES:
            if (offset := following.pop()) in seen:
                continue
            seen.add(offset)
            for tag, size, children in _values(file, offset, order, is_big=is_big):
                if size > (largest := _LARGEST_TABLE if tag in _TABLES else _LARGEST_VALUE):
                    raise SourceError(f"{where} has {size} bytes in its tag {tag}; up to {largest} are read")
                following += children


def stored_bits(page: Any) -> int | None:
    """Return how many bits of its samples a tifffile.TiffPage says are significant; None where it does not say.

    Packed samples say so by their size. A largest value is taken for white where it is one less than a power of two:
    many writers give the largest one that the picture holds.
    """
    if page.bitspersample in _PACKED_BITS:
        return int(page.bitspersample)
    if found := _OME_BITS.search(page.description or ""):
        return int(found[1]) if 8 <= int(found[1]) <= 16 else None
    for tag in _LARGEST_VALUES:
        value = page.tags.valueof(tag)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, int) and one in _WHITES and one < 1 << page.bitspersample:
                return one.bit_length()
    return None


def _values(file: BinaryIO, offset: int, order: str, *, is_big: bool) -> Iterator[tuple[int, int, list[int]]]:
    """Yield the tag and size of each value of a directory, and the directories that follow it or are below it."""
    count_form, entry_form, offset_form = ("Q", "HHQ8s", "Q") if is_big else ("H", "HHI4s", "I")
    file.seek(offset)
    start = file.read(struct.calcsize(f"={count_form}"))
    if len(start) < struct.calcsize(f"={count_form}"):
        return
    count = min(*struct.unpack(order + count_form, start), 1 << 16)
    entry_size, offset_size = struct.calcsize(f"={entry_form}"), struct.calcsize(f"={offset_form}")
    table = file.read(count * entry_size + offset_size)
    for place in range(min(count, len(table) // entry_size)):
        tag, kind, n, value = struct.unpack_from(order + entry_form, table, place * entry_size)
        children: list[int] = []
        if tag == _SUB_DIRECTORIES and 0 < n <= _MOST_PAGES:
            if n * offset_size > len(value):
                file.seek(*struct.unpack(order + offset_form, value))
                value = file.read(n * offset_size)
            children = list(struct.unpack(f"{order}{len(value) // offset_size}{offset_form}", value))
        yield tag, n * _VALUE_SIZES.get(kind, 1), children
    if len(table) == count * entry_size + offset_size:
        (following,) = struct.unpack_from(order + offset_form, table, count * entry_size)
        yield 0, 0, [following] if following else []


def find_picture(file: Any, where: str) -> Any:
    """Return the directory that holds the picture of a file.

    Previews, smaller versions and transparency masks say of themselves that they are such (NewSubfileType), wherever
    they stand; the thumbnail of a camera is the second directory and a JPEG; and a directory below another
    (SubIFDs) counts only where it is larger than that, or all above are previews.

    Parameters
    ----------
    file
        The opened tifffile.TiffFile.
    where
        How messages name the file.

    Raises
    ------
    SourceError
        When there is not exactly one picture.
    """
    pages = list(islice(file.pages, _MOST_PAGES))
    full = [page for page in pages if not _is_secondary(page)]
    full = [page for page in full if page is full[0] or not _is_thumbnail(page, full[0])]
    if not full:
        full = [child for page in pages for child in _children(page) if not _is_secondary(child)] or pages
    elif len(full) == 1:
        larger = [child for child in _children(full[0]) if not _is_secondary(child) and _size(child) > _size(full[0])]
        full = larger or full
    count = len(full) if len(full) != 1 else _n_slices(full[0])
    if count != 1:
        more = "more than " if len(pages) == _MOST_PAGES else ""
        raise SourceError(f"{where} holds {more}{count} pictures; one was expected: store each in a file of its own")
    return full[0]


def _is_secondary(page: Any) -> bool:
    return bool(page.is_reduced or page.is_mask)


def _is_thumbnail(page: Any, of: Any) -> bool:
    return _JPEG_THUMBNAIL in page.tags and _size(page) < _size(of)


def _children(page: Any) -> list[Any]:
    return list(islice(page.pages or (), _MOST_PAGES))


def _size(page: Any) -> int:
    return int(page.imagelength) * int(page.imagewidth)


def _n_slices(page: Any) -> int:
    """Return how many pictures follow each other in the data of one directory, as microscopes write stacks."""
    count = int(page.imagedepth)
    if _STACK_PLANES in page.tags:
        count = max(count, int(page.tags[_STACK_PLANES].count))
    described = _described_slices(page)
    if described > 1 and page.compression == 1 and len(page.dataoffsets):
        # A description may have been copied from another file: what it says must be there.
        slice_bytes = math.prod(page.shape) * page.bitspersample // 8
        n_stored = (page.parent.filehandle.size - int(page.dataoffsets[0])) // max(slice_bytes, 1)
        count = max(count, min(described, n_stored))
    return count


def _described_slices(page: Any) -> int:
    """Return how many pictures ImageJ's description, or the shape that tifffile writes, says that there are."""
    is_first = page.index == 0
    if not is_first or not isinstance(page.bitspersample, int):
        return 1
    for line in (page.imagej_description or "").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "images" and value.strip().isdecimal():
            return int(value)
    try:
        shape = json.loads(page.shaped_description or "{}").get("shape", ())
        return math.prod(int(side) for side in shape) // max(math.prod(page.shape), 1) if shape else 1
    except (ValueError, TypeError, AttributeError):
        return 1


def photometric_of(page: Any) -> int:
    """Return what the numbers of a picture mean; without a word about it black is 0, as for libtiff."""
    is_said = _PHOTOMETRIC in page.tags or page.compression == _OLD_JPEG
    return int(page.photometric) if is_said else RGB if page.samplesperpixel > 2 else MIN_IS_BLACK


def check_kind(page: Any, where: str) -> Layout:
    """Find out what a picture's samples are, and refuse the kinds that are not read, by their names.

    Parameters
    ----------
    page
        The tifffile.TiffPage.
    where
        How messages name the file.

    Returns
    -------
    Layout
        Of its samples.

    Raises
    ------
    SourceError
        When the picture may be whole, but is not of a kind that is read.
    """
    photometric = photometric_of(page)
    if page.samplesperpixel > _MOST_SAMPLES or (photometric == PALETTE and page.samplesperpixel > 2):
        raise SourceError(
            f"{where} has {page.samplesperpixel} samples a pixel; pictures of 1 to {_MOST_SAMPLES} are read"
        )
    if photometric in _RAW:
        raise SourceError(
            f"{where} is {_KINDS[photometric]}, which is not read; demosaic it and store it as gray or RGB"
        )
    if photometric not in (MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, YCBCR):
        what = _KINDS.get(photometric, f"of photometric interpretation {photometric}")
        raise SourceError(f"{where} is {what}, which is not read; convert it to gray or RGB")
    layout = _layout(page, where)
    if photometric == PALETTE and (layout.bits > 8 or layout.dtype.kind == "i"):
        raise SourceError(f"{where} has a palette of {layout.bits}-bit samples, which is not read; convert it to RGB")
    compression = int(page.compression)
    name = getattr(page.compression, "name", compression)
    way_out = "store it uncompressed or with LZW or deflate"
    if compression not in COMPRESSIONS + COMPRESSIONS_OF_PILLOW:
        raise SourceError(f"{where} has compression {name}, which is not read; {way_out}")
    if compression in COMPRESSIONS_OF_PILLOW and (
        layout.bits not in (1, 8, 16, 32)
        or (layout.bits > 8 and (page.samplesperpixel > 1 or photometric == MIN_IS_WHITE))
    ):
        raise SourceError(f"{where} has compression {name}, which is not read for {layout.bits}-bit samples; {way_out}")
    predictor = int(page.predictor)
    if compression in PACK_BITS and predictor != 1:
        # Who writes it means it, but libtiff takes no notice.
        raise SourceError(f"{where} has predictor {predictor} with PackBits, which not all programs undo; {way_out}")
    predictor = predictor if compression in PREDICTABLE else 1
    fits = {1: True, HORIZONTAL: layout.dtype.kind in "ui", FLOATING_POINT: layout.dtype.kind == "f"}
    if not fits.get(predictor) or (predictor != 1 and layout.bits != 8 * layout.dtype.itemsize):
        raise SourceError(f"{where} has predictor {predictor}, which is not read for such samples; store it without")
    return layout


def _layout(page: Any, where: str) -> Layout:
    bits, kind = page.bitspersample, _TYPES.get(_whole(page.sampleformat), "")
    if kind == "u" and bits == 1:
        return Layout(np.dtype(np.bool_), 1)
    if kind == "u" and bits in _FEW_BITS:
        return Layout(np.dtype(np.uint8), bits)
    if kind == "u" and bits in _PACKED_BITS:
        return Layout(np.dtype(np.uint16), bits)
    if bits in _SIZES.get(kind, ()):
        return Layout(np.dtype(f"{kind}{bits // 8}"), bits)
    names = {"u": "whole numbers", "i": "signed whole numbers", "f": "floats", "c": "complex numbers"}
    width = "-".join(map(str, bits)) if isinstance(bits, tuple) else bits
    raise SourceError(
        f"{where} has samples of {width} bits ({names.get(kind, 'of an unknown format')}), which are not read; convert "
        f"it to 8 or 16 bits, or float32"
    )


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int) else 0
