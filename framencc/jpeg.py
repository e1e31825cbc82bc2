"""JPEG files seen from outside: their segments, the order of their restart markers, and their end.

libjpeg decodes whatever is left of a broken file, and tells of it only by warnings that Pillow does not pass on. What
can be seen without decoding is checked here; a wrong byte among the compressed samples cannot be seen, as JPEG has no
checksums, unless it makes or breaks a marker.
"""

import re

from framencc.errors import DamagedInputError

_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_END, _SCAN = 0xD9, 0xDA
_RESTARTS = range(0xD0, 0xD8)
_ALONE = (0x01, 0xD8)  # markers without a segment of their own


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
    DamagedInputError
        When it ends early, or has something else where a marker has to be.
    """
    position, n_scans = 2, 0
    while True:
        while content[position : position + 1] == b"\0":
            position += 1  # some cameras fill up their segments
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
    for match in _MARKER.finditer(content, position):
        marker = match[1][0]
        if marker not in _RESTARTS:
            return match.start()
        if marker != _RESTARTS[expected]:
            raise DamagedInputError(f"{where} is damaged: samples are missing before byte {match.start()}")
        expected = (expected + 1) % len(_RESTARTS)
    raise DamagedInputError(f"{where} is damaged: it ends early")
