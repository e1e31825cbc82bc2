"""Displacement fields in OpenEXR files: which two channels, where their window lies, and whether all of it is there.

The header is read here, before the library sees the file: size and channels are judged first, and of a file that was
cut (the damage that copying makes) the library would print messages of its own.
"""

import contextlib
import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.errors import DamagedInputError, MissingExtraError, SinkError, SourceError
from framencc.fields.exr_channels import find_pair, notes_on
from framencc.fields.formats import Note, Size, Stored, check_size
from framencc.values import MAX_PIXELS

EXR_START = b"\x76\x2f\x31\x01"
WRITTEN = ("dx", "dy")
_MAX_SAMPLES = 8 * MAX_PIXELS  # the library unpacks all channels
_MAX_CHANNELS = 1024
_TILED, _DEEP, _MULTIPART = 0x200, 0x800, 0x1000
_UINT = 0
# Rows of a chunk by compression: none, RLE, ZIPS, ZIP, PIZ, PXR24, B44, B44A, DWAA, DWAB, HTJ2K256, HTJ2K32.
_CHUNK_ROWS = (1, 1, 1, 16, 32, 16, 32, 32, 32, 256, 256, 32)
_LARGEST_ATTRIBUTE = 1 << 26  # a preview picture is the largest that is met


class Box(NamedTuple):
    """A window of pixels; all four belong to it."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int

    @property
    def size(self) -> Size:
        """Height and width."""
        return self.y_max - self.y_min + 1, self.x_max - self.x_min + 1


class ExrChannel(NamedTuple):
    """Name, type (0 uint, 1 half, 2 float) and subsampling of a channel."""

    name: str
    kind: int
    x_sampling: int
    y_sampling: int


def read_exr(path: Path, size: Size, where: str, notes: list[Note]) -> Stored:
    """Read the two channels of a field, placed in the display window.

    Parameters
    ----------
    path
        A single-part file of half or float channels, by scanlines or tiles, in any compression.
    size
        Height and width that the display window must have.
    where
        How messages name the file.
    notes
        Gets what a user should know of the file although it can be read.

    Returns
    -------
    ndarray
        (H, W, 2) float16 or float32; NaN where the data window leaves the display window empty.

    Raises
    ------
    SourceError
        When the size is another, or which two channels are the field is not clear.
    DamagedInputError
        When the file is broken.
    MissingExtraError
        When OpenEXR is not installed.
    """
    attributes = _read_header(path, where)
    data, display = (Box(*struct.unpack("<4i", attributes[name])) for name in ("dataWindow", "displayWindow"))
    check_size(display.size, size, where)
    channels = _channels(attributes["channels"], where)
    _check_count(data, len(channels), where)
    all_names = [channel.name for channel in channels]
    names = find_pair(all_names, where)
    notes += notes_on(all_names, names)
    for channel in channels:
        if channel.name in names and (channel.kind == _UINT or (channel.x_sampling, channel.y_sampling) != (1, 1)):
            raise SourceError(f"{where}: channel {channel.name!r} must be half or float and not subsampled")
    return _place(np.stack(_read_pixels(path, names, data.size), axis=-1), data, display)


def write_exr(path: Path, field: npt.NDArray[np.float32]) -> None:
    """Write an (H, W, 2) float32 field as float channels ``dx`` and ``dy``, ZIP-compressed, by scanlines.

    Raises
    ------
    SinkError
        When it cannot be written whole.
    MissingExtraError
        When OpenEXR is not installed.
    """
    exr = import_openexr()
    channels = {name: np.ascontiguousarray(field[..., place]) for place, name in enumerate(WRITTEN)}
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    try:
        exr.File(header, channels).write(str(path))
        _read_header(path, "it")  # the library is silent about a disk that is full
    except Exception as error:  # noqa: BLE001  (the library's errors are RuntimeError, and which is not documented)
        raise SinkError(f"field {str(path)!r} cannot be written: {' '.join(str(error).split())}") from None


def import_openexr() -> Any:
    """Import OpenEXR, an optional extra.

    Raises
    ------
    MissingExtraError
        With the command that installs it.
    """
    try:
        import OpenEXR  # noqa: PLC0415  (optional)
    except ImportError:
        raise MissingExtraError(
            'fields in .exr files need OpenEXR, which is not installed: pip install "framencc[exr]"'
        ) from None
    return OpenEXR


def _read_pixels(path: Path, names: tuple[str, str], size: Size) -> list[Stored]:
    exr = import_openexr()
    # The library prints what went wrong to Python's stdout, which is for results, and returns a file without parts.
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        file = exr.File(str(path), separate_channels=True)
        channels = file.channels() if file.parts else {}
    if any(name not in channels for name in names):
        raise ValueError(f"its pixels cannot be read {printed.getvalue()}")
    pixels = [np.asarray(channels[name].pixels) for name in names]
    if any(plane.shape != size for plane in pixels):
        raise ValueError("its pixels do not fill its data window")
    return pixels


def _place(stored: Stored, data: Box, display: Box) -> Stored:
    """Put what the data window holds into the display window: cut what is outside, NaN where there is nothing."""
    if data == display:
        return stored
    placed = np.full((*display.size, 2), np.nan, stored.dtype)
    x_min, y_min = max(data.x_min, display.x_min), max(data.y_min, display.y_min)
    x_end, y_end = min(data.x_max, display.x_max) + 1, min(data.y_max, display.y_max) + 1
    if x_min < x_end and y_min < y_end:
        placed[y_min - display.y_min : y_end - display.y_min, x_min - display.x_min : x_end - display.x_min] = stored[
            y_min - data.y_min : y_end - data.y_min, x_min - data.x_min : x_end - data.x_min
        ]
    return placed


def _check_count(data: Box, n_channels: int, where: str) -> None:
    height, width = data.size
    if height < 1 or width < 1:
        raise DamagedInputError(f"{where} is damaged: its data window is {width} x {height}")
    if height * width > MAX_PIXELS or height * width * n_channels > _MAX_SAMPLES:
        raise SourceError(
            f"{where} says it holds {width} x {height} pixels of {n_channels} channels, more than is read; keep only "
            f"the two channels of the field"
        )


def _read_header(path: Path, where: str) -> dict[str, bytes]:
    """Read the attributes by the format's description (https://openexr.com/en/latest/OpenEXRFileLayout.html).

    Raises
    ------
    SourceError
        When the file is deep or has several parts.
    DamagedInputError
        When an attribute is missing, or the file is cut.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(len(EXR_START))
        (flags,) = struct.unpack("<I", _take(file, 4, where))
        if flags & (_DEEP | _MULTIPART):
            raise SourceError(f"{where} is a deep or multi-part EXR; store the field as a flat picture of one part")
        attributes: dict[str, bytes] = {}
        while name := _take_name(file, where):
            _take_name(file, where)  # the type's
            (length,) = struct.unpack("<I", _take(file, 4, where))
            if length > _LARGEST_ATTRIBUTE:
                raise DamagedInputError(f"{where} is damaged: attribute {name!r} has {length} bytes")
            attributes[name] = _take(file, length, where)
        for name in ("channels", "compression", "dataWindow", "displayWindow"):
            if name not in attributes:
                raise DamagedInputError(f"{where} is damaged: attribute {name!r} is missing")
        _check_chunks(file, size, attributes, bool(flags & _TILED), where)
    return attributes


def _check_chunks(file: BinaryIO, size: int, attributes: Mapping[str, bytes], is_tiled: bool, where: str) -> None:
    """Raise unless the file goes on to the end of its last chunk; the table of chunks comes next in `file`."""
    height, width = Box(*struct.unpack("<4i", attributes["dataWindow"])).size
    if is_tiled:
        tile_width, tile_height, _ = struct.unpack("<IIB", attributes["tiles"])
        # Of several levels the largest comes first in the table, and it is the one that is read.
        count = -(-width // tile_width) * -(-height // tile_height)
        leader = 16  # tile x, y, level x, y
    else:
        compression = attributes["compression"][0]
        if compression >= len(_CHUNK_ROWS):
            return
        count = -(-height // _CHUNK_ROWS[compression])
        leader = 4  # y
    if not 0 < 8 * count <= size:
        raise DamagedInputError(f"{where} is damaged: it ends early")
    offsets = np.frombuffer(_take(file, 8 * count, where), "<u8")
    last = int(offsets.max())
    if int(offsets.min()) == 0 or last + leader + 4 > size:
        raise DamagedInputError(f"{where} is damaged: it ends early")
    file.seek(last + leader)
    (packed,) = struct.unpack("<I", _take(file, 4, where))
    if last + leader + 4 + packed > size:
        raise DamagedInputError(f"{where} is damaged: it ends early")


def _channels(attribute: bytes, where: str) -> list[ExrChannel]:
    channels, file = [], io.BytesIO(attribute)
    while name := _take_name(file, where):
        kind, x_sampling, y_sampling = struct.unpack("<i4xii", _take(file, 16, where))
        channels.append(ExrChannel(name, kind, x_sampling, y_sampling))
        if len(channels) > _MAX_CHANNELS:
            raise SourceError(f"{where} has more than {_MAX_CHANNELS} channels; keep only the two of the field")
    return channels


def _take(file: BinaryIO, count: int, where: str) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise DamagedInputError(f"{where} is damaged: it ends early")
    return content


def _take_name(file: BinaryIO, where: str) -> str:
    name = bytearray()
    while (byte := _take(file, 1, where)) != b"\0":
        name += byte
        if len(name) > 255:
            raise DamagedInputError(f"{where} is damaged: a name has more than 255 bytes")
    return name.decode("utf-8", "replace")
