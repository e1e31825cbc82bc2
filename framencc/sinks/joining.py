"""One video from its parts, without encoding anything again.

The parts are Matroska files as ffmpeg writes them, one track each, whose pictures lie in the order in which they are
shown. Their packets are passed on to an ffmpeg that only copies, each with the exact time that its map came with, so
nothing depends on what a part's own container could hold.

Element numbers: RFC 9559, section 5; variable-size integers: RFC 8794, section 4.
"""

import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from framencc.errors import SinkError
from framencc.ffmpeg import FfmpegChild
from framencc.sinks import matroska
from framencc.sinks.base import MapFormat
from framencc.sinks.video import failure, muxing_arguments, require_written

_SEGMENT, _TRACKS, _CLUSTER = 0x18538067, 0x1654AE6B, 0x1F43B675
_SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK, _REFERENCE_BLOCK = 0xA3, 0xA0, 0xA1, 0xFB
_BLOCK_HEADER = 4  # track number, time in the cluster (2), flags
_KEY_FRAME, _LACING = 0x80, 0x06


@dataclass(frozen=True, slots=True)
class Packet:
    """One picture as the encoder left it."""

    data: bytes
    is_key: bool


def join_videos(
    parts: Sequence[Path],
    nanoseconds: Iterable[int],
    target: Path,
    map_format: MapFormat,
    *,
    unit: Fraction,
    stall_seconds: float,
    shown: Path,
) -> None:
    """Write one video that holds the pictures of all parts.

    Parameters
    ----------
    parts
        The parts in order, Matroska.
    nanoseconds
        The time of every picture, from 0.
    target
        The file to write, .mkv, .mp4 or .mov.
    map_format
        Whose metadata it gets.
    unit
        Of its times, in seconds.
    stall_seconds
        ffmpeg is killed when it makes no progress for this long.
    shown
        What messages call the target.

    Raises
    ------
    SinkError
        When a part is not as it was written, or the video cannot be written.
    """
    arguments = [
        *("-f", "matroska", "-i", "pipe:0", "-map", "0:v:0", "-map_metadata", "-1", "-c", "copy", "-copyts"),
        *muxing_arguments(map_format, unit, target),
    ]
    with FfmpegChild(arguments, stdin=True, stall_seconds=stall_seconds) as child:
        try:
            n_pictures = _feed(child, parts, nanoseconds, shown)
        except BrokenPipeError:
            child.finish()
            raise failure(child, shown) from None
        require_written(child, n_pictures, shown)


def _feed(child: FfmpegChild, parts: Sequence[Path], nanoseconds: Iterable[int], shown: Path) -> int:
    """Pass the parts' packets on as one stream; return how many there were."""
    times = iter(nanoseconds)
    first, n_pictures = None, 0
    for part in parts:
        try:
            for tracks, packet in read_part(part):
                time = next(times, None)
                if time is None:
                    raise ValueError("it holds another number of maps than were written")
                if first is None:
                    first = tracks
                    child.write(matroska.header_of(tracks))
                elif tracks != first:
                    raise SinkError(f"output {str(shown)!r}: its parts were not encoded alike; start anew")
                child.write(matroska.picture_header(time, len(packet.data), is_key=packet.is_key))
                child.write(packet.data)
                n_pictures += 1
        except ValueError as error:
            raise SinkError(f"output {str(shown)!r}: part {part.name!r} is damaged: {error}; start anew") from None
    if next(times, None) is not None:
        raise SinkError(f"output {str(shown)!r}: its parts hold another number of maps than were written; start anew")
    return n_pictures


def read_part(path: Path) -> Iterator[tuple[bytes, Packet]]:
    """Yield the packets of a Matroska file with one track, each beside the file's Tracks element.

    Raises
    ------
    ValueError
        When it is none, or not whole.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield from _packets(content)


def _packets(content: mmap.mmap) -> Iterator[tuple[bytes, Packet]]:
    tracks = None
    for number, _, body, end in _elements(content, 0, len(content)):
        if number != _SEGMENT:
            continue
        for child, start, first, last in _elements(content, body, end):
            if child == _TRACKS:
                tracks = content[start:last]
            elif child == _CLUSTER:
                if tracks is None:
                    raise ValueError("pictures come before their track")
                yield from ((tracks, packet) for packet in _blocks(content, first, last))


def _blocks(content: mmap.mmap, start: int, end: int) -> Iterator[Packet]:
    for number, _, body, last in _elements(content, start, end):
        if number == _SIMPLE_BLOCK:
            yield _packet(content, body, last, is_key=bool(content[body + 3] & _KEY_FRAME))
        elif number == _BLOCK_GROUP:
            # A block of a group has no such flag: it refers to no other picture if it is a key frame.
            inside = {child: (first, final) for child, _, first, final in _elements(content, body, last)}
            if _BLOCK not in inside:
                raise ValueError("a group holds no block")
            yield _packet(content, *inside[_BLOCK], is_key=_REFERENCE_BLOCK not in inside)


def _packet(content: mmap.mmap, start: int, end: int, *, is_key: bool) -> Packet:
    if end - start <= _BLOCK_HEADER or content[start] != 0x81 or content[start + 3] & _LACING:
        raise ValueError("a block is none of a single track")
    return Packet(content[start + _BLOCK_HEADER : end], is_key)


def _elements(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, start, start of the content and end of each element between two places."""
    place = start
    while place < end:
        number, after = _integer(content, place, end, keep_marker=True)
        size, body = _integer(content, after, end, keep_marker=False)
        if body + size > end:
            raise ValueError("an element is longer than what holds it")
        yield number, place, body, body + size
        place = body + size


def _integer(content: mmap.mmap, place: int, end: int, *, keep_marker: bool) -> tuple[int, int]:
    first = content[place]
    length = 9 - first.bit_length()
    if length > 8 or place + length > end:
        raise ValueError("a number is cut")
    value = int.from_bytes(content[place : place + length], "big")
    if not keep_marker:
        value &= (1 << 7 * length) - 1
    return value, place + length
