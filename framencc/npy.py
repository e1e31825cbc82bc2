"""The headers of .npy files, judged before anything of what they announce is mapped, allocated or evaluated.

NumPy's own reader evaluates the header as Python: a hostile one makes it warn, recurse and overflow before it says no.
A header of plain numbers is so simple that a few patterns tell all of it (the format's definition is NEP 1). Nothing is
ever unpickled.
"""

import io
import math
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc.errors import DamagedInputError, SourceError

START = b"\x93NUMPY"

_VERSIONS = {(1, 0): "<H", (2, 0): "<I"}  # (3, 0) is for records whose fields have names beyond Latin-1
_LONGEST_HEADER = 10_000  # NumPy's own limit
_MOST_AXES = 32
_RECORDS = re.compile(r"""['"]descr['"]\s*:\s*\[""")
_ITEMS = {
    "descr": re.compile(r"""['"]descr['"]\s*:\s*['"]([<>|=]?[?biufcOSUVmM]\d{0,9}(?:\[\w{0,9}\])?)['"]\s*,?"""),
    "fortran_order": re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)\s*,?"""),
    "shape": re.compile(r"""['"]shape['"]\s*:\s*\(([\d\s,L]*)\)\s*,?"""),
}


class NpyHeader(NamedTuple):
    """What a .npy file says of itself; its data begins at byte `offset`, and all of it is there."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int


def read_npy_header(path: Path, where: str) -> NpyHeader:
    """Read the header of a .npy file, and check that its data is all there.

    Parameters
    ----------
    path
        The file.
    where
        How messages name it.

    Raises
    ------
    SourceError
        When it is no .npy file, cannot be opened, or holds anything but plain numbers.
    DamagedInputError
        When its header is broken or its data ends early.
    """
    try:
        with path.open("rb") as file:
            text, offset = _header_text(file, where)
            size = file.seek(0, io.SEEK_END)
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"{where} cannot be read: {error.strerror or error}") from None
    if _RECORDS.search(text):
        raise SourceError(f"{where} holds records; store plain numbers")
    found = {}
    for name, pattern in _ITEMS.items():
        match = pattern.search(text)
        if match is None:
            raise DamagedInputError(f"{where} is damaged: its header has no {name} that can be read")
        found[name] = match[1]
        text = text[: match.start()] + text[match.end() :]
    if "".join(text.split()) != "{}":
        raise DamagedInputError(f"{where} is damaged: its header holds more than it should")
    header = NpyHeader(
        _shape(found["shape"], where), _dtype(found["descr"], where), found["fortran_order"] == "True", offset
    )
    if size - offset < math.prod(header.shape) * header.dtype.itemsize:
        raise DamagedInputError(f"{where} is damaged: it ends early")
    return header


def map_npy(path: Path, header: NpyHeader) -> npt.NDArray[Any]:
    """Map the array whose header has been read, read-only; nothing is loaded.

    Raises
    ------
    OSError, ValueError
        When the file is no longer what its header said.
    """
    if 0 in header.shape:  # there is nothing to map
        return np.empty(header.shape, header.dtype)
    order = "F" if header.fortran else "C"
    return np.memmap(path, header.dtype, "r", header.offset, header.shape, order)  # type: ignore[call-overload,no-any-return]


def _header_text(file: BinaryIO, where: str) -> tuple[str, int]:
    start = file.read(len(START) + 2)
    if not start.startswith(START):
        raise SourceError(f"{where} is {'no .npy file' if start else 'empty'}")
    if len(start) < len(START) + 2:
        raise DamagedInputError(f"{where} is damaged: it ends early")
    version = (start[-2], start[-1])
    if version not in _VERSIONS:
        raise SourceError(f"{where} is a .npy of version {version[0]}.{version[1]}; store plain numbers")
    packed = file.read(struct.calcsize(_VERSIONS[version]))
    if len(packed) < struct.calcsize(_VERSIONS[version]):
        raise DamagedInputError(f"{where} is damaged: it ends early")
    (length,) = struct.unpack(_VERSIONS[version], packed)
    if length > _LONGEST_HEADER:
        raise DamagedInputError(f"{where} is damaged: its header claims {length} bytes")
    text = file.read(length)
    if len(text) < length:
        raise DamagedInputError(f"{where} is damaged: it ends early")
    return text.decode("latin-1"), file.tell()


def _shape(text: str, where: str) -> tuple[int, ...]:
    sides = [side.strip().removesuffix("L") for side in text.split(",")]  # Python 2 wrote 3L
    if sides[-1] == "":
        sides.pop()
    if len(sides) > _MOST_AXES or not all(side.isdigit() and len(side) < 20 for side in sides):
        raise DamagedInputError(f"{where} is damaged: its header has no shape that can be read")
    return tuple(map(int, sides))


def _dtype(descr: str, where: str) -> np.dtype[Any]:
    if "O" in descr:
        raise SourceError(f"{where} holds Python objects, which are never loaded; store plain numbers")
    try:
        return np.dtype(descr)
    except (TypeError, ValueError, OverflowError):
        raise DamagedInputError(f"{where} is damaged: there are no samples of type {descr!r}") from None
