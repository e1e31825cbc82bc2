"""The packets of a Matroska file that ffmpeg has written for us: one video track, frames in the order of display.

Nothing is passed over: an element that no such file holds, a number that is cut, or a wrong checksum is an error.
Element numbers: RFC 9559, section 5; variable-size integers and checksums: RFC 8794, sections 4 and 11.3.1.
"""

import os
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

_EBML, _SEGMENT, _CLUSTER, _INFO, _TRACKS = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0x1549A966, 0x1654AE6B
_CHECKSUM, _VOID = 0xBF, 0xEC
_BESIDE_CLUSTERS = (_CHECKSUM, _VOID, _INFO, _TRACKS, 0x114D9B74, 0x1254C367, 0x1C53BB6B)  # SeekHead, Tags, Cues
_CLUSTER_TIME, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK, _REFERENCE_BLOCK = 0xE7, 0xA3, 0xA0, 0xA1, 0xFB
_BESIDE_BLOCKS = (_CHECKSUM, _VOID, 0xA7, 0xAB)  # Position, PrevSize
_TIME_UNIT, _TRACK, _CODEC_PRIVATE = 0x2AD7B1, 0xAE, 0x63A2
_BLOCK_HEADER = 4  # track number, time in the cluster (2), flags
_KEY_FRAME, _LACING = 0x80, 0x06
_LONGEST_HEADER = 12  # of an element: its number (4) and its size (8)
_USUAL_UNIT = 1_000_000  # nanoseconds
_SECOND = 1_000_000_000

Element = tuple[int, int, int, int]
"""Number, start, start of the content, end."""


class Packet(NamedTuple):
    """Where a compressed frame lies in its file, whether it can be decoded alone, and when it is shown."""

    begin: int
    end: int
    is_key: bool
    seconds: Fraction


class MatroskaFile:
    """An open file, for a ``with`` block.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    ebml, info, tracks
        The EBML header, Info and Tracks, as whole elements; known from the first packet on.
    codec_private
        What a decoder has to know besides the packets; known from the first packet on.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size
        self._unit = Fraction(_USUAL_UNIT, _SECOND)
        self.ebml = self.info = self.tracks = self.codec_private = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def packets(self) -> Iterator[Packet]:
        """Yield the packets in their order.

        Raises
        ------
        ValueError
            When the file is not whole, or is none of ours.
        OSError
            When it cannot be read.
        """
        outermost = list(self._elements(0, self._size))
        if [number for number, *_ in outermost] != [_EBML, _SEGMENT]:
            raise ValueError("it is not a Matroska file with one segment")
        self.ebml = self.read(0, outermost[0][3])
        for element in self._elements(*outermost[1][2:]):
            if element[0] == _CLUSTER:
                if not self.info or not self.tracks:
                    raise ValueError("frames come before their track")
                yield from self._packets_of(element)
            elif element[0] in _BESIDE_CLUSTERS:
                self._take(element)
            else:
                raise ValueError(f"it holds an unexpected element {element[0]:X}")

    def read(self, begin: int, end: int) -> bytes:
        """Return what is between two places of the file."""
        self._file.seek(begin)
        content = self._file.read(end - begin)
        if len(content) != end - begin:
            raise ValueError("it has become shorter")
        return content

    def _take(self, element: Element) -> None:
        """Check the checksum of an element that is no cluster, if it has one, and keep what is of use."""
        number, start, body, end = element
        if number in (_VOID, _CHECKSUM):
            return
        inside = list(self._elements(body, end))
        if inside and inside[0][0] == _CHECKSUM:
            _, _, first, last = inside[0]
            if zlib.crc32(self.read(last, end)) != int.from_bytes(self.read(first, last), "little"):
                raise ValueError("the checksum of its description is wrong")
        if number == _INFO:
            self.info = self.read(start, end)
            units = [self._unsigned(first, last) for one, _, first, last in inside if one == _TIME_UNIT]
            self._unit = Fraction(units[0] if units else _USUAL_UNIT, _SECOND)
        elif number == _TRACKS:
            self.tracks = self.read(start, end)
            tracks = [one for one in inside if one[0] == _TRACK]
            if len(tracks) != 1:
                raise ValueError(f"it holds {len(tracks)} tracks")
            for one, _, first, last in self._elements(*tracks[0][2:]):
                if one == _CODEC_PRIVATE:
                    self.codec_private = self.read(first, last)

    def _packets_of(self, cluster: Element) -> Iterator[Packet]:
        time: int | None = None
        for number, _, body, end in self._elements(*cluster[2:]):
            if number == _CLUSTER_TIME:
                time = self._unsigned(body, end)
            elif number == _SIMPLE_BLOCK:
                yield self._packet(body, end, time, is_key=None)
            elif number == _BLOCK_GROUP:
                # A block of a group has no flag of a key frame: it refers to no other frame if it is one.
                inside = {one: (first, last) for one, _, first, last in self._elements(body, end)}
                if _BLOCK not in inside:
                    raise ValueError("a group holds no block")
                yield self._packet(*inside[_BLOCK], time, is_key=_REFERENCE_BLOCK not in inside)
            elif number not in _BESIDE_BLOCKS:
                raise ValueError(f"a cluster holds an unexpected element {number:X}")

    def _packet(self, begin: int, end: int, cluster_time: int | None, *, is_key: bool | None) -> Packet:
        if end - begin <= _BLOCK_HEADER:
            raise ValueError("a block is empty")
        header = self.read(begin, begin + _BLOCK_HEADER)
        if header[0] != 0x81 or header[3] & _LACING or cluster_time is None:
            raise ValueError("a block does not belong to the only track")
        seconds = (cluster_time + int.from_bytes(header[1:3], "big", signed=True)) * self._unit
        return Packet(begin + _BLOCK_HEADER, end, bool(header[3] & _KEY_FRAME) if is_key is None else is_key, seconds)

    def _elements(self, place: int, end: int) -> Iterator[Element]:
        """Yield the elements between two places."""
        while place < end:
            header = self.read(place, min(place + _LONGEST_HEADER, end))
            number, after = _integer(header, 0, keep_marker=True)
            size, length = _integer(header, after, keep_marker=False)
            body = place + length
            if body + size > end:
                raise ValueError("an element is longer than what holds it")
            yield number, place, body, body + size
            place = body + size

    def _unsigned(self, begin: int, end: int) -> int:
        if end - begin > 8:
            raise ValueError("an integer of more than eight bytes")
        return int.from_bytes(self.read(begin, end), "big")


def _integer(header: bytes, place: int, *, keep_marker: bool) -> tuple[int, int]:
    """Return a variable-size integer and the place behind it."""
    length = 9 - header[place].bit_length() if place < len(header) else 9
    if length > 8 or place + length > len(header):
        raise ValueError("a number is cut")
    value = int.from_bytes(header[place : place + length], "big")
    return value if keep_marker else value & ((1 << 7 * length) - 1), place + length
