"""Masks from files: one for the whole job, on the reference, or one for each frame of the input."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from framencc.errors import DamagedInputError, FramenccError, SourceError, SpecError
from framencc.frames import Frame, StreamInfo, Use
from framencc.lookup import is_file
from framencc.npy import read_npy_header
from framencc.sequences import sequence_numbers
from framencc.sources.base import Allocate, Source, allocate_new
from framencc.sources.kinds import kind_of, open_kind
from framencc.sources.limits import SizeLimits
from framencc.sources.pictures import PICTURE_SUFFIXES, take_from_file
from framencc.sources.selection import IndexedSource, Selection
from framencc.sources.wanted import WantedLabels, WantedMask
from framencc.spec import RunSpec


def open_mask(spec: RunSpec, source: Source, done: int = 0) -> tuple[Source, Use | None]:
    """Open the mask of a job.

    Parameters
    ----------
    spec
        The job.
    source
        Its input.
    done
        How many of its frames are done: masks of frames begin behind them.

    Returns
    -------
    source : Source
        The input, or where the mask has a picture for each frame, the input with those in `Frame.use`.
    use : numpy.ndarray or None
        (H, W) bool, the pixels of the reference that a single picture lets through; None where there is none.

    Raises
    ------
    SpecError
        When the mask does not exist, does not fit the input, or lets nothing through.
    SourceError
        When it cannot be read.
    """
    path = spec.ncc.mask
    if path is None:
        return source, None
    with _about_mask():
        wanted = WantedMask(spec.ncc.mask_labels)
        if _is_single_picture(path):
            return source, _read_mask(path, wanted, source.info, spec.limits.max_pixels)
        masks = open_kind(
            path,
            selection=Selection.parse(spec.frames, spec.warp.chain_length).after(done),
            wanted=wanted,
            allow_gaps=spec.allow_gaps,
            stall_seconds=spec.limits.stall_seconds,
            memory_mib=spec.limits.decoder_memory_mib,
            tolerant=spec.tolerant,
            limits=SizeLimits.of(spec.limits),
            threads=spec.threads,
        )
        try:
            return MaskedSource(source, masks, path), None
        except BaseException:
            masks.close()
            raise


class MaskedSource(Source):
    """An input whose frames come with a mask each.

    A mask's number is its frame's: mask 7 belongs to frame 7 of the input, also when a selection skips frames.

    Parameters
    ----------
    source
        The input.
    masks
        As many masks, of the same selection: uint8, 0 where masked.
    path
        How messages name the masks.

    Attributes
    ----------
    mask_files
        Their files, where they are a sequence of pictures.

    Raises
    ------
    SpecError
        When the sizes, or the numbers of frames where both are known, differ.
    """

    def __init__(self, source: Source, masks: Source, path: str) -> None:
        self.info = source.info
        self.files = source.files
        self.n_input_frames = source.n_input_frames
        self.mask_files = masks.files
        self._source = source
        self._masks = masks
        self._path = path
        self._more_masks: tuple[str, ...] = ()
        _require_size(path, (masks.info.height, masks.info.width), source.info)
        if isinstance(source, IndexedSource) and isinstance(masks, IndexedSource):
            given, needed = masks.n_input_frames, source.n_input_frames
            if given != needed:
                raise SpecError(f"{path!r} has {given} masks, the input {needed} frames; each frame needs its own")
        if _are_complete(source) and _are_complete(masks):
            assert source.files is not None
            assert masks.files is not None
            _require_same_numbers(path, masks.files, source.files)

    def read_ahead(self) -> None:
        """Begin with both; see `Source.read_ahead`."""
        self._source.read_ahead()
        self._masks.read_ahead()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the input and of the masks; see `Source.warnings`."""
        return (*self._source.warnings, *self._masks.warnings, *self._more_masks)

    def frames(self, allocate: Allocate = allocate_new) -> Iterator[Frame]:
        """Yield the frames with their masks; see `Source.frames`."""
        buffer = np.empty((self.info.height, self.info.width), np.uint8)
        masks = self._masks.frames(lambda shape, dtype: buffer)  # noqa: ARG005  (always this shape)
        n_frames = 0
        for frame in self._source.frames(allocate):
            n_frames = frame.index + 1
            with _about_mask():
                mask = next(masks, None)
                if mask is None:
                    raise SourceError(f"{self._path!r} ends before frame {frame.index}; each frame needs a mask")
            use = allocate(buffer.shape, np.dtype(np.bool_)) if frame.use is None else frame.use
            np.copyto(use, mask.data.view(np.bool_)) if frame.use is None else np.logical_and(use, mask.data, out=use)
            damaged = frame.damaged or (mask.damaged and f"ncc.mask: {mask.damaged}")
            yield dataclasses.replace(frame, use=use, damaged=damaged)
        n_masks = n_frames
        with contextlib.suppress(FramenccError):  # these are not needed
            for mask in masks:
                n_masks = mask.index + 1
        if n_masks > n_frames:
            counts = f"has {n_masks} masks, the input only {n_frames} frames"
            self._more_masks = (f"ncc.mask: {self._path!r} {counts}; check that they belong together",)

    def close(self) -> None:
        """Close the input and the masks; see `Source.close`."""
        try:
            self._source.close()
        finally:
            self._masks.close()


def _are_complete(pictures: Source) -> bool:
    """Whether each frame is a picture of a sequence; where numbers are missing, every place has the right one."""
    return pictures.files is not None and len(pictures.files) == pictures.n_input_frames


def _require_same_numbers(path: str, masks: Sequence[Path], frames: Sequence[Path]) -> None:
    """Refuse sequences with gaps at different places; where they begin to count does not matter."""
    of_masks, of_frames = sequence_numbers(path, masks), sequence_numbers(path, frames)
    if of_masks.are_times != of_frames.are_times:
        return
    pairs = zip(masks, frames, of_masks.numbers, of_frames.numbers, strict=True)
    for mask, frame, own, other in pairs:
        if own - of_masks.numbers[0] != other - of_frames.numbers[0]:
            raise SpecError(f"{path!r} has {mask.name!r} where the input has {frame.name!r}; their numbers must agree")


def _is_single_picture(path: str) -> bool:
    kind = kind_of(path)
    if kind == "array":
        try:
            return len(read_npy_header(Path(path), repr(path)).shape) == 2
        except SourceError:
            return False  # opening it as a source says what is wrong with it
    return kind == "pictures" and is_file(path, repr(path)) and Path(path).suffix.lower() in PICTURE_SUFFIXES


def _read_mask(path: str, wanted: WantedMask, info: StreamInfo, max_pixels: int) -> Use:
    stored = wanted if wanted.labels is None else WantedLabels()
    try:
        data = take_from_file(path, stored, what="mask", max_pixels=max_pixels).data
    except DamagedInputError as error:
        # Exit code 3 promises a partial result; without the mask there is none.
        raise SourceError(str(error)) from None
    _require_size(path, (data.shape[0], data.shape[1]), info)
    if wanted.labels is not None:
        found = np.unique(data)
        for label in wanted.labels:
            if label not in found:
                raise SpecError(f"{path!r} has no pixel of label {label}")
        data = wanted.choose(data)
    if not data.any():
        raise SpecError(f"{path!r} has no pixel above black")
    use: Use = data.view(np.bool_)
    return use


def _require_size(path: str, size: tuple[int, int], info: StreamInfo) -> None:
    if size != (info.height, info.width):
        raise SpecError(
            f"{path!r} is {size[1]} x {size[0]} pixels, the input {info.width} x {info.height}; they must be equal"
            f"{info.size_note}"
        )


@contextlib.contextmanager
def _about_mask() -> Iterator[None]:
    """Say of what goes wrong that it is about the mask."""
    try:
        yield
    except FramenccError as error:
        raise type(error)(f"ncc.mask: {error}") from None
