"""Sources yield the frames of an input: a video, a sequence of pictures, or an array."""

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.frames import CodeRange, Conversion, Picture, StreamInfo, Use
from framencc.sources.arrays import ArraySource
from framencc.sources.base import Allocate, Source, allocate_new
from framencc.sources.images import ImageSequenceSource
from framencc.sources.kinds import kind_of, open_kind
from framencc.sources.limits import SizeLimits
from framencc.sources.masks import MaskedSource, open_mask
from framencc.sources.pictures import read_picture, take_from_file
from framencc.sources.probe import UNKNOWN_MATRIX
from framencc.sources.regions import read_regions
from framencc.sources.selection import DEFAULT_FRAME_RATE, SeekPoint, Selection
from framencc.sources.significant import find_code_range, same_depth
from framencc.sources.video import VideoSource
from framencc.sources.wanted import WantedChannels
from framencc.spec import LimitsSpec, RunSpec, parse_frame_rate

__all__ = [
    "Allocate",
    "ArraySource",
    "ImageSequenceSource",
    "MaskedSource",
    "ReferencePicture",
    "SeekPoint",
    "Selection",
    "Source",
    "VideoSource",
    "allocate_new",
    "open_mask",
    "open_source",
    "probe_source",
    "read_picture",
    "read_reference",
    "read_regions",
    "same_depth",
]


@dataclass(frozen=True, slots=True)
class ReferencePicture:
    """The picture that all frames are compared with.

    Parameters
    ----------
    data
        (H, W), or (3, H, W) red, green, blue; uint8, uint16 or float32.
    code_range
        Which of its integer codes are black and white, None for floats.
    details
        Where it comes from, JSON-ready.
    use
        (H, W) bool, False for the pixels that its alpha masks; None where all are used.
    conversion
        How `data` was computed; None where it is stored as such.
    warnings
        What a user should know of it although it can be read, a sentence without its full stop each.
    """

    data: Picture
    code_range: CodeRange | None
    details: dict[str, str | int | float]
    use: Use | None = None
    conversion: Conversion | None = None
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ReferencePicture({self.data.shape}, {self.data.dtype}, {self.code_range}, details={self.details})"

    @property
    def bits(self) -> int | None:
        """Significant bits of an integer sample (10 for 10-bit video held in uint16), None for floats."""
        return None if self.code_range is None else self.code_range.bits


def open_source(spec: RunSpec, done: int = 0, points: Sequence[SeekPoint] = ()) -> Source:
    """Open the input of a run, whatever it is.

    It yields the channels that the job compares, and says in `Frame.use` what the frame's own alpha masks.

    Parameters
    ----------
    spec
        The job.
    done
        How many of its frames are done: it begins behind them.
    points
        Frames of the input that have been read before.

    Raises
    ------
    SpecError
        When the input does not exist, or an option does not apply to what it is.
    SourceError
        When it cannot be read.
    """
    selection = Selection.parse(spec.frames, spec.warp.chain_length).after(done)
    return _open(spec, selection, WantedChannels.of_frames(spec.ncc), points=points)


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
    limits = LimitsSpec()
    with open_kind(
        path, allow_gaps=True, stall_seconds=limits.stall_seconds, memory_mib=limits.decoder_memory_mib
    ) as source:
        return source.info


def read_reference(spec: RunSpec, source: Source | None = None) -> ReferencePicture:
    """Read the reference of a run: a picture file, or one frame of the input.

    Parameters
    ----------
    spec
        The job.
    source
        The job's opened input, if there is one: a picture's luma is then made by the weights of its luma, and a frame
        of it is read without asking again what it is.

    Raises
    ------
    SpecError
        When the file does not exist, or the input has no frame of that index.
    SourceError
        When it cannot be read.
    """
    wanted = WantedChannels.of_reference(spec.ncc)
    if isinstance(spec.reference, str):
        matrix = None if source is None else source.info.matrix
        if matrix not in (None, UNKNOWN_MATRIX) and wanted.rgb_matrix == "auto":
            wanted = dataclasses.replace(wanted, rgb_matrix=matrix)  # type: ignore[arg-type]
        try:
            taken = take_from_file(
                spec.reference, wanted, what="reference", max_pixels=spec.limits.max_pixels, look=True
            )
        except DamagedInputError as error:
            # Exit code 3 promises a partial result; without a reference there is none.
            raise SourceError(str(error)) from None
        if matrix == UNKNOWN_MATRIX and taken.conversion is not None and spec.ncc.rgb_matrix == "auto":
            raise SpecError(
                f"reference {spec.reference!r} is in colour, and how input {spec.input!r} computes luma is not known; "
                f"set ncc.rgb_matrix"
            )
        details: dict[str, str | int | float] = {"kind": "picture", "path": spec.reference}
        code_range = find_code_range(taken.data.dtype, [taken.codes], spec.reference_bits, "reference")
        return ReferencePicture(taken.data, code_range, details, taken.use, taken.conversion)
    if spec.reference_bits is not None:
        raise SpecError(f"reference_bits = {spec.reference_bits} cannot apply to a frame of the input; use input_bits")
    selection = Selection.single(spec.reference, f"reference = {spec.reference}")
    with contextlib.ExitStack() as cleanup:
        if type(source) is VideoSource and source.wanted == wanted and source.begins_with(spec.reference):
            opened: Source = source
            read = source.first  # its decoder serves both
        else:
            opened = cleanup.enter_context(_open(spec, selection, wanted, source))
            read = lambda: next(opened.frames())  # noqa: E731
        try:
            frame = read()
        except DamagedInputError as error:
            raise SourceError(f"reference = {spec.reference}: {error}") from None
        if frame.damaged is not None:
            raise SourceError(f"reference = {spec.reference}: {frame.damaged}")
        details = {
            "kind": "frame",
            "path": spec.input,
            "index": frame.index,
            "pts_seconds": frame.pts_seconds,
        }
        return ReferencePicture(frame.data, opened.info.code_range, details, frame.use, opened.info.conversion)


def _open(
    spec: RunSpec,
    selection: Selection,
    wanted: WantedChannels,
    like: Source | None = None,
    points: Sequence[SeekPoint] = (),
) -> Source:
    if isinstance(like, VideoSource) and like.wanted == wanted:
        return like.again(selection)
    kind = kind_of(spec.input)
    if kind == "video" and spec.frame_rate is not None:
        raise SpecError(f"frame_rate = {spec.frame_rate} cannot apply to {spec.input!r}: a video has its own")
    if kind != "pictures" and spec.allow_gaps:
        raise SpecError(f"allow_gaps cannot apply to {spec.input!r}: only a sequence of pictures can have gaps")
    return open_kind(
        spec.input,
        selection=selection,
        wanted=wanted,
        frame_rate=DEFAULT_FRAME_RATE if spec.frame_rate is None else parse_frame_rate(spec.frame_rate),
        allow_gaps=spec.allow_gaps,
        stall_seconds=spec.limits.stall_seconds,
        points=points,
        memory_mib=spec.limits.decoder_memory_mib,
        tolerant=spec.tolerant,
        limits=SizeLimits.of(spec.limits),
        bits=spec.input_bits,
        threads=spec.threads,
    )
