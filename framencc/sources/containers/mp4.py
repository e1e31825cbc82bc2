"""MP4 and QuickTime: the sample tables of a track (ISO/IEC 14496-12).

A file whose index stands before its pictures can be cut anywhere among them, and ffmpeg ends there without a word.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.sources.containers.promise import MAX_CHUNKS, MAX_ENTRIES, NOTHING, Promise, Window

Integers = npt.NDArray[np.int64]
Box = tuple[int, int]
"""Where the content of a box begins and ends."""

# Codecs whose every sample is a picture that is shown; a frame of MPEG-4 part 2 or VP8 may be none.
_ONE_FRAME_A_SAMPLE = (
    *(b"avc1", b"avc3", b"hvc1", b"hev1", b"dvh1", b"dvhe", b"av01", b"vp09"),
    *(b"apch", b"apcn", b"apcs", b"apco", b"ap4h", b"ap4x", b"AVdn", b"AVdh"),
    *(b"FFV1", b"jpeg", b"png ", b"v210"),
)
_VISUAL_ENTRY_BYTES = 78  # of a description of samples, before the boxes inside it
# What an image is for that holds the alpha of another, in AVIF and in HEIC.
_ALPHA_IMAGES = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_ONE = 1 << 16  # of a 16.16 fixed-point number


def read_mp4(window: Window, stream: int) -> Promise:
    """Read what the tables of a track say; see `read_promise`.

    Raises
    ------
    ValueError
        When they make no sense.
    """
    top = _top_level(window)
    movie = _children(window, top.movie)
    tracks = [box for name, box in _boxes(window, top.movie) if name == b"trak"]
    if not 0 <= stream < len(tracks):
        return NOTHING
    track = _children(window, tracks[stream])
    media = _children(window, track[b"mdia"])
    if window.read(media[b"hdlr"][0] + 8, 4) != b"vide":
        return NOTHING
    edit = _edit(window, movie, track)
    scale = _time_scale(window, media[b"mdhd"])
    if top.fragment is not None or b"mvex" in movie:
        if top.cut is None:
            return NOTHING
        good = _fragment_begins(window, top.fragment, track) if top.fragment else None
        return Promise(cut=top.cut, good_seconds=edit.seconds(good, scale))
    tables = _children(window, _children(window, media[b"minf"])[b"stbl"])
    sizes, times = _sample_sizes(window, tables), None
    beyond = _sample_ends(window, tables, sizes) > window.size
    try:
        times = _times(window, tables, len(sizes))
    except (ValueError, LookupError):
        if not beyond.any():
            raise
    cut = good_seconds = None
    if n_missing := int(np.count_nonzero(beyond)):
        cut = f"the data of {n_missing} of its {len(sizes)} frames are beyond the end of the file"
        good_seconds = edit.seconds(None if times is None else int(times[beyond].min()), scale)
    is_counted = (
        times is not None
        and _codec(window, tables[b"stsd"]) in _ONE_FRAME_A_SAMPLE
        and bool(np.all(sizes > 0))
        and _begins_with_first(window, tables, times)
        and edit.hides_none(times, scale)
    )
    return Promise(len(sizes) if is_counted else None, len(sizes), cut, good_seconds)


@dataclass(frozen=True)
class Samples:
    """Where the samples of a track lie in the file, and what a decoder has to know of them.

    Parameters
    ----------
    begins, ends
        Of each sample, in bytes.
    seconds
        When each is shown.
    codec_private
        The configuration of an H.264 decoder (avcC); empty for any other codec.
    """

    begins: Integers
    ends: Integers
    seconds: Sequence[float]
    codec_private: bytes


def read_samples(window: Window) -> Samples:
    """Read where the samples of a file's only track are.

    Raises
    ------
    ValueError, LookupError, struct.error
        When the tables make no sense.
    """
    top = _top_level(window)
    if top.cut is not None:
        raise ValueError(top.cut)
    movie = _children(window, top.movie)
    tracks = [box for name, box in _boxes(window, top.movie) if name == b"trak"]
    if len(tracks) != 1 or b"mvex" in movie:
        raise ValueError(f"it holds {len(tracks)} tracks")
    track = _children(window, tracks[0])
    media = _children(window, track[b"mdia"])
    tables = _children(window, _children(window, media[b"minf"])[b"stbl"])
    sizes = _sample_sizes(window, tables)
    ends = _sample_ends(window, tables, sizes)
    if (ends > window.size).any():
        raise ValueError("frames lie beyond its end")
    edit, scale = _edit(window, movie, track), _time_scale(window, media[b"mdhd"])
    seconds = [edit.seconds(int(time), scale) for time in _times(window, tables, len(sizes))]
    return Samples(ends - sizes, ends, seconds, _avc_configuration(window, tables[b"stsd"]))


def _avc_configuration(window: Window, descriptions: Box) -> bytes:
    start = descriptions[0] + 8
    name, first, end = _header(window, start, descriptions[1])
    boxes = _children(window, (first + _VISUAL_ENTRY_BYTES, end)) if name == b"avc1" else {}
    place = boxes.get(b"avcC", (0, 0))
    return window.read(place[0], place[1] - place[0])


def has_alpha_image(window: Window) -> bool:
    """Whether a still image (HEIF, ISO/IEC 23008-12) has its alpha in another image of the file.

    Raises
    ------
    ValueError
        When the file makes no sense.
    """
    position = 0
    for _ in range(MAX_CHUNKS):
        if position + 8 > window.size:
            return False
        name, start, end = _header(window, position, None)
        if name == b"meta" and end <= window.size:
            return any(kind in window.read(start, end - start) for kind in _ALPHA_IMAGES)
        position = end
    return False


@dataclass(frozen=True)
class _TopLevel:
    movie: Box
    fragment: Box | None  # the last that is there
    cut: str | None


def _top_level(window: Window) -> _TopLevel:
    """Find the movie among the outermost boxes, and whether the last of them is all there."""
    movie: Box | None = None
    fragment: Box | None = None
    cut = None
    position = 0
    for _ in range(MAX_CHUNKS):
        if position + 8 > window.size:
            if position < window.size and any(window.read(position, window.size - position)):
                cut = "it ends in the middle of a header"
            break
        name, start, end = _header(window, position, None)
        if end > window.size and name in (b"moof", b"mdat"):
            cut = f"it should go on for another {end - window.size} bytes"
        if name == b"moov" and end <= window.size and movie is None:
            movie = start, end
        if name == b"moof" and end <= window.size:
            fragment = start, end
        position = end
    if movie is None:
        raise ValueError("no moov")
    return _TopLevel(movie, fragment, cut)


def _header(window: Window, position: int, end_of_parent: int | None) -> tuple[bytes, int, int]:
    """Read name, start and end of the content of the box at `position`; only an outermost one may be cut."""
    size, name = struct.unpack(">I4s", window.read(position, 8))
    start = position + 8
    if size == 1:
        (size,) = struct.unpack(">Q", window.read(start, 8))
        start += 8
    end = position + size if size else window.size
    if end < start or (end_of_parent is not None and end > end_of_parent):
        raise ValueError("a box does not fit where it is")
    return name, start, end


def _boxes(window: Window, parent: Box) -> Iterator[tuple[bytes, Box]]:
    position, end = parent
    for _ in range(MAX_CHUNKS):
        if position + 8 > end:
            return  # QuickTime ends some lists with a zero
        name, start, stop = _header(window, position, end)
        yield name, (start, stop)
        position = stop


def _children(window: Window, parent: Box) -> dict[bytes, Box]:
    """Return the first box of each name."""
    found: dict[bytes, Box] = {}
    for name, box in _boxes(window, parent):
        found.setdefault(name, box)
    return found


def _table(window: Window, box: Box, columns: int, *, skip: int = 4, dtype: str = ">u4") -> npt.NDArray[Any]:
    """Read a table: flags, other fields up to `skip` bytes from the start, a count, and so many rows."""
    (count,) = struct.unpack(">I", window.read(box[0] + skip, 4))
    start = box[0] + skip + 4
    n_bytes = count * columns * np.dtype(dtype).itemsize
    if count > MAX_ENTRIES or start + n_bytes > box[1]:
        raise ValueError("a table is larger than its box")
    return np.frombuffer(window.read(start, n_bytes), dtype).reshape(count, columns)


def _sample_sizes(window: Window, tables: dict[bytes, Box]) -> Integers:
    if b"stsz" in tables:
        box = tables[b"stsz"]
        uniform, count = struct.unpack(">II", window.read(box[0] + 4, 8))
        if count > MAX_ENTRIES:
            raise ValueError("too many samples")
        if uniform:
            return np.full(count, uniform, np.int64)
        return _table(window, box, 1, skip=8)[:, 0].astype(np.int64)
    box = tables[b"stz2"]
    bits, count = struct.unpack(">3xBI", window.read(box[0] + 4, 8))
    if bits not in (4, 8, 16) or count > MAX_ENTRIES:
        raise ValueError("no table of sample sizes")
    packed = window.read(box[0] + 12, (count * bits + 7) // 8)
    if bits == 4:
        halves = np.frombuffer(packed, np.uint8)
        return np.stack([halves >> 4, halves & 15], axis=1).reshape(-1)[:count].astype(np.int64)
    return np.frombuffer(packed, ">u2" if bits == 16 else np.uint8).astype(np.int64)


def _sample_ends(window: Window, tables: dict[bytes, Box], sizes: Integers) -> Integers:
    """Return where each sample ends in the file."""
    wide = b"co64" in tables
    offsets = _table(window, tables[b"co64" if wide else b"stco"], 1, dtype=">u8" if wide else ">u4")[:, 0]
    offsets = np.minimum(offsets, np.uint64(1 << 62)).astype(np.int64)
    runs = _table(window, tables[b"stsc"], 3).astype(np.int64)
    first = runs[:, 0] - 1
    n_chunks = np.diff(np.append(first, len(offsets)))
    if not len(sizes):
        return np.zeros(0, np.int64)
    if not len(runs) or first[0] != 0 or (n_chunks < 0).any() or (runs[:, 1] > len(sizes)).any():
        raise ValueError("chunks that cannot be")
    if int((n_chunks * runs[:, 1]).sum()) != len(sizes):
        raise ValueError("chunks and samples do not match")
    per_chunk = np.repeat(runs[:, 1], n_chunks)
    ends = np.cumsum(sizes)
    before = np.concatenate([[0], np.cumsum(per_chunk)[:-1]])  # samples before each chunk
    base = np.where(before > 0, ends[before - 1], 0)
    result: Integers = np.repeat(offsets - base, per_chunk) + ends
    return result


def _codec(window: Window, box: Box) -> bytes:
    """Return the name of the one codec of a track; nothing where there are several."""
    (count,) = struct.unpack(">I", window.read(box[0] + 4, 4))
    return window.read(box[0] + 12, 4) if count == 1 else b""


def _begins_with_first(window: Window, tables: dict[bytes, Box], times: Integers) -> bool:
    """Whether the first sample stored is the first one shown: what is shown before it needs others, left elsewhere."""
    if b"stss" in tables:
        synchronous = _table(window, tables[b"stss"], 1)[:, 0]
        if not len(synchronous) or synchronous[0] != 1:
            return False
    return len(times) > 0 and bool(times[0] == times.min())


@dataclass(frozen=True)
class _Edit:
    """What a track's edit list shows of it.

    Parameters
    ----------
    simple
        It shows one part, at the usual speed.
    start, length
        The part: its first moment in the media's units, and its length in the movie's; 0 for all.
    delay
        When it is shown, in the movie's units.
    scale
        The movie's units a second.
    """

    simple: bool = True
    start: int = 0
    length: int = 0
    delay: int = 0
    scale: int = 1

    def hides_none(self, times: Integers, scale: int) -> bool:
        """Whether it shows the samples of all these times, which are in units of `scale` a second."""
        # A length is rounded to the movie's unit.
        end = self.start * self.scale + self.length * scale
        last = int(times.max()) * self.scale + scale
        return self.simple and self.start <= times[0] and (self.length == 0 or last < end)

    def seconds(self, time: int | None, scale: int) -> float:
        """Return when a moment of the media is shown; before everything where that is not known."""
        if time is None or not self.simple:
            return -math.inf
        return float(Fraction(time - self.start, scale) + Fraction(self.delay, self.scale))


def _edit(window: Window, movie: dict[bytes, Box], track: dict[bytes, Box]) -> _Edit:
    if b"edts" not in track or b"elst" not in (edits := _children(window, track[b"edts"])):
        return _Edit()
    box = edits[b"elst"]
    version = window.read(box[0], 1)[0]
    if version > 1:
        return _Edit(simple=False)
    number = "8" if version else "4"
    row = np.dtype([("length", f">u{number}"), ("time", f">i{number}"), ("rate", ">i4")])
    (count,) = struct.unpack(">I", window.read(box[0] + 4, 4))
    if count > MAX_CHUNKS or box[0] + 8 + count * row.itemsize > box[1]:
        raise ValueError("the edit list is larger than its box")
    listed = np.frombuffer(window.read(box[0] + 8, count * row.itemsize), row)
    empty = listed["time"] == -1
    n_empty = int(np.count_nonzero(empty))
    if count != n_empty + 1 or not empty[:n_empty].all() or listed["rate"][-1] != _ONE:
        return _Edit(simple=False)
    delay = sum(int(length) for length in listed["length"][:n_empty])
    scale = _time_scale(window, movie[b"mvhd"])
    return _Edit(True, int(listed["time"][-1]), int(listed["length"][-1]), delay, scale)


def _fragment_begins(window: Window, fragment: Box, track: dict[bytes, Box]) -> int | None:
    """Return when a fragment of a track begins, in the units of its media."""
    header = track[b"tkhd"]
    number = window.read(header[0] + (20 if window.read(header[0], 1)[0] == 1 else 12), 4)
    for name, box in _boxes(window, fragment):
        if name != b"traf":
            continue
        parts = _children(window, box)
        if window.read(parts[b"tfhd"][0] + 4, 4) == number and b"tfdt" in parts:
            begin = parts[b"tfdt"][0]
            n_bytes = 8 if window.read(begin, 1)[0] == 1 else 4
            return int.from_bytes(window.read(begin + 4, n_bytes), "big")
    return None


def _times(window: Window, tables: dict[bytes, Box], n_samples: int) -> Integers:
    """Return when each sample is shown, in the units of its media."""
    counts, deltas = _table(window, tables[b"stts"], 2).astype(np.int64).T
    if int(counts.sum()) != n_samples:
        raise ValueError("times and samples do not match")
    times: Integers = (
        np.concatenate([[0], np.cumsum(np.repeat(deltas, counts))[:-1]]) if n_samples else np.zeros(0, int)
    )
    if b"ctts" not in tables:
        return times
    # The offsets of version 0 are unsigned in the standard, and signed in the files of some writers and in ffmpeg.
    counts, offsets = _table(window, tables[b"ctts"], 2, dtype=">i4").astype(np.int64).T
    if (counts < 0).any() or int(counts.sum()) != n_samples:
        raise ValueError("offsets and samples do not match")
    times += np.repeat(offsets, counts)
    return times


def _time_scale(window: Window, box: Box) -> int:
    """Return the units a second of a movie or media header."""
    version = window.read(box[0], 1)[0]
    (scale,) = struct.unpack(">I", window.read(box[0] + (20 if version == 1 else 12), 4))
    if not scale:
        raise ValueError("a clock without units")
    return int(scale)
