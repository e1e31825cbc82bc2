"""AVI: the sizes of its lists, its index, and the index of indexes of a long one (OpenDML 1.02).

It stores no times: a frame is shown at its place in the order of display, divided by the rate.
"""

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from framencc.sources.containers.promise import MAX_CHUNKS, MOST_REORDERED, Promise, Window

# Writers that count the header into its own size are older than any of this.
_TOLERANCE = 8
# What is streamed has no sizes to begin with.
_UNKNOWN = (0, 0xFFFFFFFF, 0x7FFFFFFF)
# Codecs whose every chunk is a picture that is shown; one of MPEG-4 part 2 may be none.
_ONE_FRAME_A_CHUNK = (b"MJPG", b"FFV1", b"HFYU", b"FFVH", b"H264", bytes(4))
# An encoder that holds pictures back leaves so many places empty at most before the first of them.
_DELAY = 8


def read_avi(window: Window, stream: int) -> Promise:
    """Read what the tables of a stream say; see `read_promise`.

    Raises
    ------
    ValueError
        When they make no sense.
    """
    cut, holes, n_good = None, False, None
    n_places: int | None = None
    sizes = np.zeros(0, np.uint32)
    for part, kind, start, end in _lists(window):
        if end > window.size + _TOLERANCE and kind == b"movi":
            cut = f"its pictures should go on for another {end - window.size} bytes"
            n_good = max(0, _n_pictures(window, start + 4, stream) - MOST_REORDERED)
        elif kind == b"strl" and part == stream:
            n_places = _n_places(window, start, min(end, window.size))
            beyond = _beyond(window, start, min(end, window.size))
            if beyond is not None:
                cut = f"its index names pictures up to byte {beyond}, and it ends at byte {window.size}"
        elif kind == b"idx1":
            sizes = np.append(sizes, _indexed_sizes(window, start, min(end, window.size), stream))
    holes = bool((sizes[_DELAY:] == 0).any())
    is_counted = n_places == len(sizes) > 0 and bool(np.all(sizes > 0))
    return Promise(n_places if is_counted else None, n_places, cut, n_good=n_good, has_holes=holes)


def _lists(window: Window) -> Iterator[tuple[int, bytes, int, int]]:
    """Yield number, name, start and end of the lists of pictures, the descriptions of streams, and the old index."""
    n_streams = 0
    for name, _, start, end in _chunks(window, 0, window.size):
        if name != b"RIFF":
            return
        for inner, inner_kind, begin, stop in _chunks(window, start + 4, min(end, window.size)):
            if inner == b"idx1":
                yield 0, inner, begin, stop
            if inner == b"LIST" and inner_kind == b"movi":
                yield 0, b"movi", begin, stop
            if inner == b"LIST" and inner_kind == b"hdrl":
                for _, described, first, last in _chunks(window, begin + 4, min(stop, window.size)):
                    if described == b"strl":
                        yield n_streams, described, first, last
                        n_streams += 1


def _chunks(window: Window, position: int, end: int) -> Iterator[tuple[bytes, bytes, int, int]]:
    """Yield name, name of the list (or nothing), start and end of the chunks between two places."""
    for _ in range(MAX_CHUNKS):
        if position + 8 > end:
            return
        name, size = struct.unpack("<4sI", window.read(position, 8))
        start = position + 8
        is_list = name in (b"RIFF", b"LIST")
        if is_list and size in _UNKNOWN:
            size = end - start
        kind = window.read(start, 4) if is_list and start + 4 <= end else b""
        yield name, kind, start, start + size
        position = start + size + size % 2


def _beyond(window: Window, start: int, end: int) -> int | None:
    """Return up to where the index of indexes says that there are pictures, if that is beyond the end of the file."""
    for name, _, begin, stop in _chunks(window, start + 4, end):
        if name != b"indx" or stop > end or stop - begin < 24:
            continue
        longs, _, kind, count = struct.unpack("<HBBI", window.read(begin, 8))
        if longs != 4 or kind != 0 or begin + 24 + 16 * count > stop:
            continue
        rows = np.frombuffer(window.read(begin + 24, 16 * count), [("at", "<u8"), ("size", "<u4"), ("length", "<u4")])
        ends = [int(row["at"]) + int(row["size"]) for row in rows]
        if ends and max(ends) > window.size + _TOLERANCE:
            return max(ends)
    return None


def _n_pictures(window: Window, start: int, stream: int) -> int:
    """Count the pictures of a stream that are there as a whole, in a list of pictures without lists inside."""
    names = _picture_names(stream)
    chunks = _chunks(window, start, window.size)
    return sum(name in names and begin < end <= window.size for name, _, begin, end in chunks)


def _picture_names(stream: int) -> tuple[bytes, bytes]:
    number = f"{stream:02d}".encode()
    return number + b"dc", number + b"db"


def _n_places(window: Window, start: int, end: int) -> int | None:
    """Return how many chunks a stream has by its header, where each is one frame."""
    parts = {name: begin for name, _, begin, stop in _chunks(window, start + 4, end) if stop <= end}
    if window.read(parts[b"strf"] + 16, 4).upper() not in _ONE_FRAME_A_CHUNK:
        return None
    (length,) = struct.unpack("<I", window.read(parts[b"strh"] + 32, 4))
    return int(length)


def _indexed_sizes(window: Window, start: int, end: int, stream: int) -> npt.NDArray[np.uint32]:
    """Return the sizes of a stream's pictures as the old index names them."""
    count = (end - start) // 16
    rows = np.frombuffer(
        window.read(start, 16 * count), [("name", "S4"), ("flags", "<u4"), ("at", "<u4"), ("size", "<u4")]
    )
    sizes: npt.NDArray[np.uint32] = rows["size"][np.isin(rows["name"], _picture_names(stream))]
    return sizes
