"""Which kind of source a path names, and opening it as that."""

import stat
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

from framencc.errors import SpecError
from framencc.lookup import look_up, require_file
from framencc.sequences import is_pattern
from framencc.sources.arrays import ArraySource
from framencc.sources.base import Source
from framencc.sources.images import ImageSequenceSource
from framencc.sources.limits import DEFAULT_LIMITS, SizeLimits
from framencc.sources.pictures import PICTURE_SUFFIXES
from framencc.sources.selection import DEFAULT_FRAME_RATE, EVERYTHING, SeekPoint, Selection
from framencc.sources.tolerant import TolerantVideoSource
from framencc.sources.video import VideoSource
from framencc.sources.wanted import LUMA, Wanted

Kind = Literal["video", "pictures", "array"]


def open_kind(
    path: str,
    *,
    selection: Selection = EVERYTHING,
    wanted: Wanted = LUMA,
    frame_rate: Fraction = DEFAULT_FRAME_RATE,
    allow_gaps: bool = False,
    stall_seconds: float,
    points: Sequence[SeekPoint] = (),
    memory_mib: int | None = None,
    tolerant: bool = False,
    limits: SizeLimits = DEFAULT_LIMITS,
    bits: int | None = None,
    threads: int | None = None,
) -> Source:
    """Open a path as the source that it is; options that do not apply to its kind are not used.

    Raises
    ------
    SpecError
        When it does not exist, or is no source.
    SourceError
        When it cannot be read.
    """
    kind = kind_of(path)
    if kind == "pictures":
        return ImageSequenceSource(
            path,
            selection=selection,
            frame_rate=frame_rate,
            allow_gaps=allow_gaps,
            wanted=wanted,
            tolerant=tolerant,
            limits=limits,
            bits=bits,
        )
    if kind == "array":
        return ArraySource(path, selection=selection, frame_rate=frame_rate, wanted=wanted, limits=limits, bits=bits)
    return (TolerantVideoSource if tolerant else VideoSource)(
        path,
        selection=selection,
        stall_seconds=stall_seconds,
        memory_mib=memory_mib,
        wanted=wanted,
        points=points,
        limits=limits,
        bits=bits,
        threads=threads,
    )


def kind_of(path: str) -> Kind:
    """Tell what a path names. A file or directory of exactly that name goes before a pattern.

    Raises
    ------
    SpecError
        When it names nothing, or nothing that can be read more than once.
    SourceError
        When that cannot be found out, as in a folder without permission.
    """
    where = f"input {path!r}"
    status = look_up(path, where)
    if status is not None and stat.S_ISDIR(status.st_mode):
        return "pictures"
    if status is not None:
        require_file(path, where)
        suffix = Path(path).suffix.lower()
        if suffix == ".npy":
            return "array"
        return "pictures" if suffix in PICTURE_SUFFIXES else "video"
    if is_pattern(path):
        return "pictures"
    raise SpecError(f"{where} does not exist")
