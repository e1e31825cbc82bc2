"""The plain formats of displacement fields: .npy, Middlebury's .flo, and 16-bit colour PNG.

A reader gets the size that is wanted and compares it with what the file says of itself before it reads the rest: no
file can make it allocate more than a field of that size.
"""

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from framencc import png
from framencc.errors import DamagedInputError, SourceError
from framencc.npy import NpyHeader, map_npy, read_npy_header

Size = tuple[int, int]
Stored = npt.NDArray[Any]

FLO_START = struct.pack("<f", 202021.25)
FLO_UNKNOWN = 1e9
"""Middlebury's limit: a larger component marks a pixel whose displacement is unknown."""
_FLO_UNKNOWN_VALUE = np.float32(1e10)  # what Middlebury's own code writes (flowIO.h: UNKNOWN_FLOW)
_FLO_HEADER = struct.Struct("<4sii")


class Note(NamedTuple):
    """What a user should know of a field although it can be read.

    Parameters
    ----------
    kind
        What it is about, one word.
    text
        What follows the file's name in a sentence without its full stop.
    step
        Of numbers that are rounded: to multiples of so many pixels.
    """

    kind: str
    text: str
    step: float = 0.0


def check_shape(shape: tuple[int, ...], where: str, wanted: Sequence[str] = ("(H, W, 2)", "(N, H, W, 2)")) -> None:
    """Refuse an array whose shape is none of a field's or of fields'.

    Raises
    ------
    SourceError
        Names its shape, those that are wanted, and where the axes are only in another order, how to change that.
    """
    if shape[-1:] == (2,) and any(len(shape) == form.count(",") + 1 for form in wanted):
        return
    advice = ""
    if len(shape) in (3, 4) and shape[-1] != 2 and shape[-3] == 2:
        advice = "; its channels come first: numpy.moveaxis(fields, -3, -1) puts them last"
    raise SourceError(f"{where} must be {' or '.join(wanted)}, not {shape}{advice}")


def check_size(given: Size, wanted: Size, where: str) -> None:
    """Compare two (height, width).

    Raises
    ------
    SourceError
        When they differ; names both.
    """
    if given != wanted:
        raise SourceError(
            f"{where} is {given[1]} x {given[0]}, but the reference is {wanted[1]} x {wanted[0]}; a field lies on the "
            f"reference's grid"
        )


def read_float_header(path: Path, where: str) -> NpyHeader:
    """Read the header of a .npy file of floats; see `framencc.npy.read_npy_header` for further errors.

    Raises
    ------
    SourceError
        When it holds anything but floats of 16, 32 or 64 bits.
    """
    header = read_npy_header(path, where)
    if header.dtype.kind != "f" or header.dtype.itemsize not in (2, 4, 8):
        raise SourceError(f"{where} holds {header.dtype}; a field is float16, float32 or float64")
    return header


def read_npy(path: Path, size: Size, where: str, index: int | None = None) -> Stored:
    """Read an (H, W, 2) array, or entry `index` of an (N, H, W, 2) one; see `read_float_header` for errors."""
    header = read_float_header(path, where)
    check_shape(header.shape, where, ["(H, W, 2)" if index is None else "(N, H, W, 2)"])
    check_size((header.shape[-3], header.shape[-2]), size, where)
    stored = map_npy(path, header)
    return np.array(stored if index is None else stored[index])


def read_flo(path: Path, size: Size, where: str) -> Stored:
    """Read Middlebury's .flo: magic number, width, height, then u and v of each pixel, all little-endian 32 bits.

    Baker et al., "A database and evaluation methodology for optical flow", https://vision.middlebury.edu/flow/code.

    Returns
    -------
    ndarray
        (H, W, 2) float32; NaN where a component is NaN or beyond 1e9, which means unknown there.

    Raises
    ------
    SourceError
        When the size is another.
    DamagedInputError
        When the file is shorter or longer than its size says.
    """
    with path.open("rb") as file:
        start = file.read(_FLO_HEADER.size)
        if len(start) < _FLO_HEADER.size:
            raise DamagedInputError(f"{where} is damaged: it ends early")
        _, width, height = _FLO_HEADER.unpack(start)
        if width < 1 or height < 1:
            raise DamagedInputError(f"{where} is damaged: it says it is {width} x {height}")
        check_size((height, width), size, where)
        content = file.read(8 * width * height + 1)
    if len(content) != 8 * width * height:
        raise DamagedInputError(f"{where} is damaged: it {_ends(len(content), 8 * width * height)}")
    stored = np.frombuffer(content, "<f4").reshape(height, width, 2).astype(np.float32)
    stored[~(np.abs(stored) <= FLO_UNKNOWN)] = np.nan
    return stored


def read_png(path: Path, size: Size, where: str) -> Stored:
    """Read the codes of a 16-bit colour PNG.

    Returns
    -------
    ndarray
        (H, W, 3 or 4) uint16.

    Raises
    ------
    SourceError
        When it is another kind of PNG, or the size is another.
    DamagedInputError
        When it is broken.
    """

    def accept(header: png.Header) -> None:
        if not header.is_16_bit_colour:
            raise SourceError(f"{where} is a PNG of another kind; a field is kept in 16-bit RGB")
        check_size((header.height, header.width), size, where)

    content, header = png.read(path, where, accept)
    return png.decode_16_bit_colour(content, header, where)


def from_kitti(codes: Stored, where: str) -> npt.NDArray[np.float32]:
    """Turn KITTI's codes (H, W, 3) uint16 into pixels: (code - 2^15) / 64, exact; NaN where the third is 0.

    The formula is that of the readme of the KITTI development kit for stereo and flow (Geiger, Lenz and Urtasun, "Are
    we ready for autonomous driving?", 2012).

    Raises
    ------
    SourceError
        When there is an alpha channel, which KITTI's files never have.
    """
    if codes.shape[2] != 3:
        raise SourceError(f"{where} has an alpha channel; KITTI's flow is 16-bit RGB")
    field = (codes[..., :2].astype(np.float32) - np.float32(32768)) / np.float32(64)
    field[codes[..., 2] == 0] = np.nan
    return field


def npy_content(field: npt.NDArray[np.float32]) -> bytes:
    """Return the content of an (H, W, 2) .npy file."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(field), allow_pickle=False)
    return file.getvalue()


def flo_content(field: npt.NDArray[np.float32]) -> bytes:
    """Return the content of a .flo file; NaN is written as a number that means unknown."""
    values = np.where(np.isnan(field), _FLO_UNKNOWN_VALUE, field).astype("<f4")
    return _FLO_HEADER.pack(FLO_START, field.shape[1], field.shape[0]) + values.tobytes()


def _ends(given: int, wanted: int) -> str:
    return "ends early" if given < wanted else "goes on after its end"
