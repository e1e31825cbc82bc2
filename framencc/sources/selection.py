"""Which frames of an input are wanted, and what every source does about it in the same way."""

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

import numpy as np

from framencc.errors import SourceError, SpecError
from framencc.frames import Frame, Picture, StreamInfo
from framencc.sources.base import Allocate, Source, allocate_new
from framencc.sources.limits import DEFAULT_LIMITS, SizeLimits
from framencc.sources.wanted import Taken
from framencc.spec import parse_frames

DEFAULT_FRAME_RATE = Fraction(25)
_LARGEST_CODE = np.iinfo(np.uint16).max


@dataclass(frozen=True, slots=True)
class SeekPoint:
    """A frame that has been read before, by which a source can find its place again.

    Parameters
    ----------
    index
        Its number in the input.
    pts_seconds
        Its time.
    digest
        Of its samples, by `Frame.digest`.
    """

    index: int
    pts_seconds: float
    digest: str

    def as_json(self) -> dict[str, Any]:
        """Return it as its own keyword arguments."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Selection:
    """Half-open range of frames, as of a Python slice with a positive step.

    Parameters
    ----------
    start, stop, step
        As of a slice; stop = None: to the end.
    label
        How messages name the selection; the option and its value, or nothing.
    chain
        Frames come in chains of so many, in which each leads to the next: before a selected frame, all of its chain
        are read as well.
    done
        How many frames have been taken from its beginning already: `start` lies behind them.
    """

    start: int = 0
    stop: int | None = None
    step: int = 1
    label: str = ""
    chain: int = 1
    done: int = 0

    def __post_init__(self) -> None:
        if self.start < 0 or self.step < 1 or (self.stop is not None and self.stop <= self.start):
            raise ValueError(f"a selection counts forward from 0 and is not empty, unlike {self}")

    @classmethod
    def parse(cls, text: str | None, chain: int = 1) -> Self:
        """Read ``start:stop[:step]``; None selects everything."""
        if text is None:
            return cls(chain=chain)
        parsed = parse_frames(text)
        return cls(parsed.start, parsed.stop, parsed.step, f"frames = {text}", chain)

    def after(self, n_frames: int) -> Self:
        """Return the selection without its first `n_frames` frames.

        Raises
        ------
        ValueError
            When that leaves nothing for certain; see `exhausted_by`.
        """
        if n_frames == 0:
            return self
        return dataclasses.replace(self, start=self.start + n_frames * self.step, done=n_frames)

    def exhausted_by(self, n_frames: int) -> bool:
        """Whether its first `n_frames` frames are all that there can be."""
        return self.stop is not None and self.start + n_frames * self.step >= self.stop

    @property
    def origin(self) -> int:
        """The first selected frame, whether or not it has been taken already."""
        return self.start - self.done * self.step

    @property
    def first_read(self) -> int:
        """The first frame that is read: the first selected one, or the beginning of its chain."""
        return self.start - self.start % self.chain

    @classmethod
    def single(cls, index: int, label: str) -> Self:
        """Select one frame."""
        return cls(index, index + 1, label=label)

    def __contains__(self, index: int) -> bool:
        return (
            index >= self.start and (self.stop is None or index < self.stop) and (index - self.start) % self.step == 0
        )

    def reads(self, index: int) -> bool:
        """Whether a frame is selected, or leads to one that is."""
        if self.chain == 1 or index in self:
            return index in self
        following = self.start if index < self.start else index + (self.start - index) % self.step
        return following in self and following // self.chain == index // self.chain

    @property
    def end(self) -> int | None:
        """One past the last selected frame, or None where the input decides."""
        if self.stop is None:
            return None
        return range(self.start, self.stop, self.step)[-1] + 1

    def indices(self, n_frames: int) -> range:
        """Return the selected ones of `n_frames` frames; like a slice, it takes a stop beyond the end."""
        stop = n_frames if self.stop is None else min(self.stop, n_frames)
        return range(self.start, stop, self.step)

    def nothing_selected(self, path: str, n_frames: int) -> SpecError:
        """Build the error for a selection that starts beyond the input's end."""
        return SpecError(
            f"{self.label or 'frames'}: there is no frame {self.start}, input {path!r} has "
            f"{n_frames} frame{'s' if n_frames != 1 else ''}, counted from 0"
        )


EVERYTHING = Selection()


class SelectedSource(Source):
    """What all sources have in common: a path for messages, a selection, one pass, and an end.

    Parameters
    ----------
    path
        How messages name the input.
    selection
        The wanted frames.
    """

    def __init__(self, path: str, selection: Selection) -> None:
        self._path = path
        self._selection = selection
        self._started = False
        self._closed = False
        self._larger: tuple[str, ...] = ()
        self._allocate: Allocate = allocate_new
        self._reading: Iterator[Frame] | None = None
        self._first: Frame | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the input; see `Source.warnings`."""
        return (*self.info.warnings, *self._larger)

    def frames(self, allocate: Allocate = allocate_new) -> Iterator[Frame]:
        """Yield the selected frames; see `Source.frames`."""
        self._refuse_closed()
        if self._started:
            raise SourceError(f"input {self._path!r} can be read only once; open it again")
        self._started, self._allocate = True, allocate
        return self._watched(self._all_frames())

    def begins_with(self, index: int) -> bool:
        """Whether the first frame that is read is frame `index`, and selected."""
        return self._selection.first_read == index and index in self._selection

    def first(self) -> Frame:
        """Read the first frame before its turn; `frames` yields it again. Not to be called while `frames` is used."""
        self._refuse_closed()
        if self._first is None:
            self._first = next(self._frames_to_come())
        return self._first

    def _frames_to_come(self) -> Iterator[Frame]:
        if self._reading is None:
            self._reading = self._read_frames(self._allocated)
        return self._reading

    def _copied(self, picture: Picture) -> Picture:
        copy = self._allocate(picture.shape, picture.dtype)
        np.copyto(copy, picture)
        return copy

    def _allocated(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Picture:
        return self._allocate(shape, dtype)  # another than when the first frame was read

    def _all_frames(self) -> Iterator[Frame]:
        first, self._first = self._first, None
        if first is not None:
            data = self._copied(first.data)
            yield dataclasses.replace(first, data=data, use=None if first.use is None else self._copied(first.use))
        yield from self._frames_to_come()

    def _watched(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Take note of the first frame that shows a guess at the significant bits, from a few frames, to be wrong."""
        for frame in frames:
            codes = self.info.code_range
            if codes is not None and codes.largest is not None and codes.white < _LARGEST_CODE and not self._larger:
                largest = int(frame.data.max())
                if largest > codes.white:
                    codes_of = f"frame {frame.index} of input {self._path!r} holds code {largest}"
                    assumed = f"too large for the {codes.bits} significant bits that were assumed"
                    self._larger = (f"{codes_of}, {assumed}; set input_bits to those of its camera",)
            yield frame

    @abstractmethod
    def _read_frames(self, allocate: Allocate) -> Iterator[Frame]:
        """Yield the selected frames."""

    def close(self) -> None:
        """Release everything; see `Source.close`."""
        self._closed = True

    def _refuse_closed(self) -> None:
        if self._closed:
            raise SourceError(f"input {self._path!r} has been closed")


class IndexedSource(SelectedSource):
    """A source whose frames can be read one by one by their number, at a rate that the user gives.

    The constructor of a subclass sets `info`, and `_tolerant` where a frame that cannot be read is to be a damaged one.

    Parameters
    ----------
    path, selection
        As of `SelectedSource`.
    n_frames
        Number of frames in the input, the unselected ones included.
    frame_rate
        Frames per second.
    limits
        How much is read at most.
    """

    _tolerant = False

    def __init__(
        self,
        path: str,
        selection: Selection,
        n_frames: int,
        frame_rate: Fraction,
        limits: SizeLimits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(path, selection)
        self.n_input_frames = n_frames
        self._frame_rate = frame_rate
        self._limits = limits
        self._indices = selection.indices(n_frames)
        if not self._indices and not selection.done:
            raise selection.nothing_selected(path, n_frames)

    @abstractmethod
    def _load(self, index: int) -> Taken:
        """Return what is wanted of frame `index`, as `info` says or of a dtype that converts to it."""

    def _check_length(self) -> None:
        """Refuse more than the limits allow; for the end of a constructor, when `info` is known."""
        info = self.info
        frame_bytes = info.height * info.width * info.n_channels * info.dtype.itemsize
        self._limits.check_length(len(self._indices), frame_bytes, f"input {self._path!r}")

    def _read_frames(self, allocate: Allocate) -> Iterator[Frame]:
        for index in range(self._indices[-1] + 1 if self._indices else 0):
            if not self._selection.reads(index):
                continue
            self._refuse_closed()
            try:
                taken = self._load(index)
            except SourceError as error:
                if not self._tolerant:
                    raise
                self._refuse_closed()
                yield self._damaged(index, str(error), allocate)
                continue
            data = allocate(taken.data.shape, self.info.dtype)
            copy_into(data, taken.data)
            use = None
            if taken.use is not None:
                use = allocate(taken.use.shape, np.dtype(np.bool_))
                np.copyto(use, taken.use)
            seconds = float(index / self._frame_rate)
            yield Frame(data, index, seconds, use, self._file_name(index), index in self._selection)

    def _file_name(self, index: int) -> str | None:
        """Name the picture of a frame; None where it has none."""
        return None if self.files is None else self.files[index].name

    def _damaged(self, index: int, why: str, allocate: Allocate) -> Frame:
        seconds, wanted = float(index / self._frame_rate), index in self._selection
        return damaged_frame(self.info, index, seconds, why, allocate, self._file_name(index), wanted=wanted)


def damaged_frame(
    info: StreamInfo,
    index: int,
    seconds: float,
    why: str,
    allocate: Allocate,
    file_name: str | None = None,
    *,
    wanted: bool,
) -> Frame:
    """Return what stands in the place of a picture that is not there."""
    shape = (info.height, info.width)
    data = allocate(shape if info.n_channels == 1 else (info.n_channels, *shape), info.dtype)
    data.fill(0)
    return Frame(data, index, seconds, None, file_name, wanted, why)


def copy_into(out: Picture, picture: Picture) -> None:
    """Copy a picture; float64 beyond the range of float32 becomes infinite, which is invalid and not an error."""
    with np.errstate(over="ignore"):
        np.copyto(out, picture, casting="same_kind")
