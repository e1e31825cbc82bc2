"""The samples of a TIFF, decoded here: bounded by the picture's size, whatever its strips and tiles claim.

tifffile unpacks a strip to whatever it holds, and what it can unpack depends on what else is installed; Pillow halves
16-bit colour. Both are left out for the compressions that are known here.
"""

import lzma
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.errors import DamagedInputError, SourceError
from framencc.frames import Picture

NONE, LZW, PACK_BITS, DEFLATE, LZMA = (1,), (5,), (32773,), (8, 32946), (34925,)
COMPRESSIONS = NONE + LZW + PACK_BITS + DEFLATE + LZMA

_SEPARATE = 2  # planes one after the other
PREDICTABLE = LZW + DEFLATE + LZMA  # before which differences may have been taken
HORIZONTAL, FLOATING_POINT = 2, 3  # and how
_FRAMING = 1 << 16  # bytes by which a strip of noise may grow when it is packed
_LZMA_MEMORY = 1 << 28
_BLOCK = 1 << 20  # samples of few bits that are unpacked at a time
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1)[:, ::-1], axis=1)[:, 0]


class Layout(NamedTuple):
    """How the samples of a picture lie in its file.

    Parameters
    ----------
    dtype
        Of the samples as they are returned, in the machine's own order of bytes.
    bits
        Of a sample in the file: as many as the dtype has, or fewer, which are packed.
    """

    dtype: np.dtype[Any]
    bits: int


def read_samples(page: Any, layout: Layout, where: str) -> Picture:
    """Read a picture whose size, tiles, compression and kind have been checked.

    Parameters
    ----------
    page
        The tifffile.TiffPage, of one of `COMPRESSIONS`.
    layout
        What its samples are.
    where
        How messages name the file.

    Returns
    -------
    ndarray
        (H, W) or (H, W, S) of the layout's dtype; fewer bits than that has are its lower ones.

    Raises
    ------
    SourceError
        When its LZW is of an old kind.
    DamagedInputError
        When strips or tiles are missing, broken, too short, or unpack to more than their part of the picture.
    """
    height, width, n_samples = page.imagelength, page.imagewidth, page.samplesperpixel
    is_separate = page.planarconfig == _SEPARATE and n_samples > 1
    n_together = 1 if is_separate else n_samples
    out = np.full((n_samples if is_separate else 1, height, width, n_together), page.nodata, layout.dtype)
    for part, packed in _parts(page, out.shape, layout, where):
        raw = _unpack(page, packed, part, where)
        block = _samples(page, raw, (part.rows, part.columns, n_together), layout)
        y, x = part.y, part.x
        out[part.plane, y : y + part.rows, x : x + part.columns] = block[: height - y, : width - x]
    picture = np.moveaxis(out[..., 0], 0, 2) if is_separate else out[0]
    return picture[:, :, 0] if n_samples == 1 else picture


class _Part(NamedTuple):
    """A strip or tile: its place, its size in samples and bytes, and how many bytes it may unpack to."""

    plane: int
    y: int
    x: int
    rows: int
    columns: int
    size: int
    most: int


def _parts(page: Any, shape: tuple[int, ...], layout: Layout, where: str) -> Iterator[tuple[_Part, bytes]]:
    """Yield the strips or tiles that are not left out, and their bytes."""
    n_planes, height, width, n_together = shape
    rows = page.tilelength if page.is_tiled else min(page.rowsperstrip, height)
    columns = page.tilewidth if page.is_tiled else width
    if rows < 1 or columns < 1:
        raise DamagedInputError(f"{where} is damaged: its strips or tiles are empty")
    row_bytes = (columns * n_together * layout.bits + 7) // 8
    n_parts = n_planes * -(-height // rows) * -(-width // columns)
    offsets, counts = page.dataoffsets, page.databytecounts
    if min(len(offsets), len(counts)) < n_parts:
        raise DamagedInputError(f"{where} is damaged: it has {len(offsets)} strips or tiles of {n_parts}")
    places = ((p, y, x) for p in range(n_planes) for y in range(0, height, rows) for x in range(0, width, columns))
    for (plane, y, x), offset, count in zip(places, offsets, counts, strict=False):
        present = rows if page.is_tiled else min(rows, height - y)
        # Some writers fill up the last strip.
        part = _Part(plane, y, x, present, columns, present * row_bytes, 2 * rows * row_bytes)
        if offset or count:  # what is black, or has no data, may be left out
            yield part, _read(page, offset, count, part, where)


def _read(page: Any, offset: int, count: int, part: _Part, where: str) -> bytes:
    if page.compression in NONE and (not count or count > part.size):
        count = part.size
    wanted = min(count, part.most + _FRAMING)
    file = page.parent.filehandle
    file.seek(offset)
    packed: bytes = file.read(wanted)
    if not wanted or len(packed) < wanted:
        raise DamagedInputError(f"{where} is damaged: it ends early")
    if page.fillorder == 2:
        packed = _REVERSED[np.frombuffer(packed, np.uint8)].tobytes()
    return packed


def _unpack(page: Any, packed: bytes, part: _Part, where: str) -> npt.NDArray[np.uint8]:
    """Return the bytes of a strip or tile, never more than its part of the picture has."""
    if page.compression in NONE:
        raw, n_raw = np.frombuffer(packed, np.uint8), len(packed)
    elif page.compression in DEFLATE + LZMA:
        raw = np.frombuffer(_inflate(packed, part.most, where, is_deflate=page.compression in DEFLATE), np.uint8)
        n_raw = len(raw)
    else:
        if page.compression in LZW and packed[0] == 0 and packed[1:2] != b"" and packed[1] & 1:
            raise SourceError(f"{where} has LZW of an old kind, before TIFF 6.0, which is not read; save it again")
        from framencc.kernels.unpacking import DAMAGED, unpack_bits, unpack_lzw  # noqa: PLC0415  (Numba is slow)

        unpack = unpack_lzw if page.compression in LZW else unpack_bits
        raw = np.empty(part.most, np.uint8)
        n_raw = unpack(np.frombuffer(packed, np.uint8), raw)
        if n_raw == DAMAGED:
            raise DamagedInputError(f"{where} is damaged: a strip or tile cannot be unpacked")
    if n_raw > part.most:
        raise DamagedInputError(f"{where} is damaged: a strip unpacks to more than its part of the picture")
    if n_raw < part.size:
        raise DamagedInputError(f"{where} is damaged: it ends early")
    return raw[: part.size]


def _inflate(packed: bytes, most: int, where: str, *, is_deflate: bool) -> bytes:
    inflater = zlib.decompressobj() if is_deflate else lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
    try:
        data: bytes = inflater.decompress(packed, most + 1)
    except (zlib.error, lzma.LZMAError, EOFError) as error:
        raise DamagedInputError(f"{where} is damaged: {error}") from None
    if not inflater.eof and len(data) <= most:
        raise DamagedInputError(f"{where} is damaged: it ends early")
    return data


def _samples(page: Any, raw: npt.NDArray[np.uint8], shape: tuple[int, int, int], layout: Layout) -> Picture:
    """Turn the bytes of a strip or tile into samples."""
    rows, columns, n_together = shape
    if layout.bits < 8 * layout.dtype.itemsize:
        return _of_few_bits(raw.reshape(rows, -1), columns * n_together, layout).reshape(shape)
    order = page.parent.byteorder
    predictor = page.predictor if page.compression in PREDICTABLE else 1
    if predictor == FLOATING_POINT:
        # Differences of bytes, which are sorted by their place in the number, the highest first.
        planes = np.add.accumulate(raw.reshape(rows, -1, n_together), axis=1, dtype=np.uint8)
        numbers = np.moveaxis(planes.reshape(rows, layout.dtype.itemsize, columns * n_together), 1, 2)
        return np.ascontiguousarray(numbers).view(layout.dtype.newbyteorder(">")).reshape(shape)
    samples = raw.view(layout.dtype.newbyteorder(order)).reshape(shape)
    if predictor == HORIZONTAL:
        return np.add.accumulate(samples.astype(layout.dtype), axis=1, dtype=layout.dtype)
    return samples


def _of_few_bits(raw: npt.NDArray[np.uint8], n: int, layout: Layout) -> Picture:
    """Unpack (rows, bytes) of samples whose bits follow each other from the highest down; rows begin at whole bytes."""
    out = np.empty((len(raw), n), layout.dtype)
    step = max(1, _BLOCK // n)
    wide = 8 if layout.bits <= 8 else 16
    for y in range(0, len(raw), step):
        bits = np.unpackbits(raw[y : y + step], axis=1, count=n * layout.bits).reshape(-1, n, layout.bits)
        filled = np.zeros((*bits.shape[:2], wide), np.uint8)
        filled[..., wide - layout.bits :] = bits
        out[y : y + step] = np.packbits(filled, axis=2).view(f">u{wide // 8}")[..., 0]
    return out
