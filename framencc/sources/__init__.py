"""Sources yield the frames of an input: a video, a sequence of pictures, or an array."""

import glob
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.frames import Picture, StreamInfo
from framencc.sources.arrays import ArraySource
from framencc.sources.base import Allocate, Source, allocate_new
from framencc.sources.images import ImageSequenceSource
from framencc.sources.pictures import PICTURE_SUFFIXES, read_picture
from framencc.sources.selection import DEFAULT_FRAME_RATE, Selection, sample_bits
from framencc.sources.video import VideoSource
from framencc.spec import LimitsSpec, RunSpec, is_sequence_pattern

__all__ = [
    "Allocate",
    "ArraySource",
    "ImageSequenceSource",
    "ReferencePicture",
    "Selection",
    "Source",
    "VideoSource",
    "allocate_new",
    "open_source",
    "probe_source",
    "read_picture",
    "read_reference",
]


@dataclass(frozen=True, slots=True)
class ReferencePicture:
    """The picture that all frames are compared with.

    Parameters
    ----------
    data
        (H, W) luma, uint8, uint16 or float32.
    bits
        Significant bits of an integer sample (10 for 10-bit video held in uint16), None for floats.
    details
        Where it comes from, JSON-ready.
    """

    data: Picture
    bits: int | None
    details: dict[str, str | int | float]

    def __repr__(self) -> str:
        return f"ReferencePicture({self.data.shape}, {self.data.dtype}, bits={self.bits}, details={self.details})"


def open_source(spec: RunSpec) -> Source:
    """Open the input of a run, whatever it is.

    Raises
    ------
    SpecError
        When the input does not exist, or an option does not apply to what it is.
    SourceError
        When it cannot be read.
    """
    return _open(spec, Selection.parse(spec.frames))


def probe_source(path: str | Path) -> StreamInfo:
    """Say what an input is; `StreamInfo.details` holds what is known of its kind.

    Raises
    ------
    SpecError
        When it does not exist.
    SourceError
        When it cannot be read.
    """
    path = str(path)
    stall_seconds = LimitsSpec().stall_seconds
    if _kind(path) == "pictures":
        with ImageSequenceSource(path, allow_gaps=True) as source:
            return source.info
    with ArraySource(path) if _kind(path) == "array" else VideoSource(path, stall_seconds=stall_seconds) as source:
        return source.info


def read_reference(spec: RunSpec) -> ReferencePicture:
    """Read the reference of a run: a picture file, or one frame of the input.

    Raises
    ------
    SpecError
        When the file does not exist, or the input has no frame of that index.
    SourceError
        When it cannot be read.
    """
    if isinstance(spec.reference, str):
        try:
            data = read_picture(spec.reference, what="reference")
        except DamagedInputError as error:
            # Exit code 3 promises a partial result; without a reference there is none.
            raise SourceError(str(error)) from None
        return ReferencePicture(data, sample_bits(data.dtype), {"kind": "picture", "path": spec.reference})
    selection = Selection.single(spec.reference, f"reference = {spec.reference}")
    with _open(spec, selection) as source:
        try:
            frame = next(source.frames())
        except DamagedInputError as error:
            raise SourceError(f"reference = {spec.reference}: {error}") from None
        details: dict[str, str | int | float] = {
            "kind": "frame",
            "path": spec.input,
            "index": frame.index,
            "pts_seconds": frame.pts_seconds,
        }
        return ReferencePicture(frame.data, source.info.bits, details)


def _open(spec: RunSpec, selection: Selection) -> Source:
    kind = _kind(spec.input)
    if kind == "video" and spec.frame_rate is not None:
        raise SpecError(f"frame_rate = {spec.frame_rate} cannot apply to {spec.input!r}: a video has its own")
    if kind != "pictures" and spec.allow_gaps:
        raise SpecError(f"allow_gaps cannot apply to {spec.input!r}: only a sequence of pictures can have gaps")
    frame_rate = DEFAULT_FRAME_RATE if spec.frame_rate is None else Fraction(spec.frame_rate)
    if kind == "pictures":
        return ImageSequenceSource(spec.input, selection=selection, frame_rate=frame_rate, allow_gaps=spec.allow_gaps)
    if kind == "array":
        return ArraySource(spec.input, selection=selection, frame_rate=frame_rate)
    return VideoSource(spec.input, selection=selection, stall_seconds=spec.limits.stall_seconds)


def _kind(path: str) -> str:
    """Tell what a path names. A file or directory of exactly that name goes before a pattern."""
    given = Path(path)
    try:
        is_directory, is_file, exists = given.is_dir(), given.is_file(), given.exists()
    except (OSError, ValueError) as error:  # a name too long, a folder without permission
        raise SpecError(f"input {path!r} cannot be looked up: {getattr(error, 'strerror', error)}") from None
    if is_directory:
        return "pictures"
    if exists and not is_file:
        raise SpecError(f"input {path!r} is no regular file; it is read more than once")
    if is_file:
        suffix = given.suffix.lower()
        if suffix == ".npy":
            return "array"
        return "pictures" if suffix in PICTURE_SUFFIXES else "video"
    if is_sequence_pattern(path) or glob.has_magic(path):
        return "pictures"
    raise SpecError(f"input {path!r} does not exist")
