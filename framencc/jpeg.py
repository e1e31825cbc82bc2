"""JPEG files seen from outside: their segments, the order of their restart markers, and their end.

libjpeg decodes whatever is left of a broken file, and tells of it only by warnings that Pillow does not pass on. What
can be seen without decoding is checked here; a wrong byte among the compressed samples cannot be seen, as JPEG has no
checksums, unless it makes or breaks a marker.
"""

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from framencc.errors import DamagedInputError, SourceError
from framencc.lookup import check_file_size

_MARKER = re.compile(rb"\xff++([^\x00\xff])")
# Among samples a run of FF is looked at once, from its beginning: otherwise megabytes of FF would take hours.
_MARKER_IN_SCAN = re.compile(rb"(?<!\xff)\xff++([^\x00\xff])")
_FILLING = re.compile(rb"\0*")
_END, _SCAN = 0xD9, 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_READ_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # baseline, extended and progressive, the last two in arithmetic coding
_MOST_SCANS = 100  # each is as much work as a whole picture; encoders make some ten
_MOST_SEGMENTS = 10_000
_LONGEST_START = 16 << 20  # bytes before the frame header
_RESTARTS = range(0xD0, 0xD8)
_ALONE = (0x01, 0xD8)  # markers without a segment of their own


def read(path: Path, where: str, accept: Callable[[int, int], None]) -> bytes:
    """Read a whole file, once its size is accepted, and check it.

    Parameters
    ----------
    path
        The file; it begins as a JPEG does.
    where
        How messages name it.
    accept
        Raises an error for a height and width that are not to be read.

    Raises
    ------
    SourceError
        When it is of a kind that is not read, or has far more bytes, segments or scans than its pixels need.
    DamagedInputError
        As of `check`.
    """
    with path.open("rb") as file:
        content = file.read(_LONGEST_START)
        frame = _frame(content)
        if frame is not None:
            accept(frame.height, frame.width)
            if frame.marker not in _READ_FRAMES or frame.bits != 8:
                what = f"of {frame.bits} bits" if frame.bits != 8 else "without loss or in layers (hierarchical)"
                raise SourceError(f"{where} is a JPEG {what}, which is not read; store it as PNG or TIFF")
            check_file_size(file, (frame.height, frame.width), where)
            content += file.read()
        elif len(content) == _LONGEST_START:
            raise DamagedInputError(f"{where} is damaged: no picture begins in its first {len(content)} bytes")
    check(content, where)
    return content


class _Frame(NamedTuple):
    """What a frame header says."""

    marker: int
    bits: int
    height: int
    width: int


def _frame(content: bytes) -> _Frame | None:
    """Return the frame header; None where there is none before the samples."""
    position = 2
    for _ in range(_MOST_SEGMENTS):
        position = _behind_filling(content, position)
        match = _MARKER.match(content, position)
        if match is None or match[1][0] in (_END, _SCAN):
            return None
        marker, position = match[1][0], match.end()
        if marker in _ALONE or marker in _RESTARTS:
            continue
        if marker in _FRAMES and position + 7 <= len(content):
            return _Frame(marker, *struct.unpack_from(">BHH", content, position + 2))
        position += max(2, int.from_bytes(content[position : position + 2], "big"))
    return None


def _behind_filling(content: bytes, position: int) -> int:
    """Return where the marker is, as some cameras fill up their segments with zeros."""
    match = _FILLING.match(content, position)
    return position if match is None else match.end()


def check(content: bytes, where: str) -> None:
    """Walk through a whole file.

    Parameters
    ----------
    content
        The file; it begins as a JPEG does.
    where
        How messages name it.

    Raises
    ------
    SourceError
        When it has more segments or scans than any picture needs.
    DamagedInputError
        When it ends early, or has something else where a marker has to be.
    """
    position, n_segments, n_scans = 2, 0, 0
    while True:
        if n_segments > _MOST_SEGMENTS or n_scans > _MOST_SCANS:
            what = f"{_MOST_SCANS} scans" if n_scans > _MOST_SCANS else f"{_MOST_SEGMENTS} segments"
            raise SourceError(f"{where} has more than {what}, which would take too long to decode; save it again")
        n_segments += 1
        position = _behind_filling(content, position)
        match = _MARKER.match(content, position)
        if match is None:
            problem = "it ends early" if position >= len(content) - 1 else f"there is no marker at byte {position}"
            raise DamagedInputError(f"{where} is damaged: {problem}")
        marker, position = match[1][0], match.end()
        if marker == _END:
            break
        if marker in _ALONE or marker in _RESTARTS:
            continue
        size = int.from_bytes(content[position : position + 2], "big")
        if size < 2 or position + size > len(content):
            raise DamagedInputError(f"{where} is damaged: it ends early, in the segment at byte {position - 2}")
        position += size
        if marker == _SCAN:
            n_scans += 1
            position = _end_of_scan(content, position, where)
    if not n_scans:
        raise DamagedInputError(f"{where} is damaged: it ends before its first pixel")


def _end_of_scan(content: bytes, position: int, where: str) -> int:
    """Return where the marker after a scan's samples stands; inside them only restart markers may, in their order."""
    expected = 0
    for match in _MARKER_IN_SCAN.finditer(content, position):
        marker = match[1][0]
        if marker not in _RESTARTS:
            return match.start()
        if marker != _RESTARTS[expected]:
            raise DamagedInputError(f"{where} is damaged: samples are missing before byte {match.start()}")
        expected = (expected + 1) % len(_RESTARTS)
    raise DamagedInputError(f"{where} is damaged: it ends early")
