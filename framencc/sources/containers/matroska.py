"""Matroska and WebM: what the description of a track says that ffmpeg's decoder passes over (RFC 9559)."""

from collections.abc import Iterator

from framencc.sources.containers.promise import MAX_CHUNKS, Window

_SEGMENT, _TRACKS, _TRACK, _CLUSTER = 0x18538067, 0x1654AE6B, 0xAE, 0x1F43B675
_TYPE, _VIDEO, _ALPHA_MODE = 0x83, 0xE0, 0x53C0
_VIDEO_TRACK = 1


def has_alpha_layer(window: Window, track: int) -> bool:
    """Whether the `track`-th video track, counted from 0, has an alpha layer beside its pictures.

    Raises
    ------
    ValueError
        When this is no Matroska file, or its description makes no sense.
    """
    n_videos = 0
    for number, start, end in _elements(window, 0, window.size):
        if number != _SEGMENT:
            continue
        for inner, begin, stop in _elements(window, start, end):
            if inner == _CLUSTER:
                return False  # pictures begin: tracks are described before them
            if inner != _TRACKS:
                continue
            for entry, first, last in _elements(window, begin, stop):
                parts = {name: (at, to) for name, at, to in _elements(window, first, last)} if entry == _TRACK else {}
                if _TYPE not in parts or _integer(window, *parts[_TYPE]) != _VIDEO_TRACK:
                    continue
                if n_videos == track:
                    return _says_alpha(window, *parts[_VIDEO]) if _VIDEO in parts else False
                n_videos += 1
    return False


def _says_alpha(window: Window, start: int, end: int) -> bool:
    return any(name == _ALPHA_MODE and _integer(window, at, to) == 1 for name, at, to in _elements(window, start, end))


def _elements(window: Window, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of the content of each element between two places; the last may be cut."""
    place = start
    for _ in range(MAX_CHUNKS):
        if place >= end:
            return
        number, after, _ = _variable(window, place, keep_marker=True)
        size, body, is_unknown = _variable(window, after, keep_marker=False)
        stop = end if is_unknown else min(end, body + size)
        yield number, body, stop
        place = stop


def _variable(window: Window, place: int, *, keep_marker: bool) -> tuple[int, int, bool]:
    """Read a variable-size integer (RFC 8794): its value, the place behind it, and whether all its bits are 1."""
    length = 9 - window.read(place, 1)[0].bit_length()
    if length > 8:
        raise ValueError("no variable-size integer")
    value = int.from_bytes(window.read(place, length), "big")
    mask = (1 << 7 * length) - 1
    return value if keep_marker else value & mask, place + length, value & mask == mask


def _integer(window: Window, start: int, end: int) -> int:
    if end - start > 8:
        raise ValueError("an integer of more than eight bytes")
    return int.from_bytes(window.read(start, end - start), "big")
